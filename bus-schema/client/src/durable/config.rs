//! What NATS is asked for, and what its statuses mean. Pure.

use serde_json::{Value, json};

use super::{ACK_WAIT, Begin, DurableOptions, GROUP, STAND_BY, Share, nanos};
use crate::Error;

/// Longest name of a consumer.
const NAME_MAX: usize = 64;
/// `err_code` of `JetStream` that is electing a leader.
const UNAVAILABLE: u64 = 10008;
/// Status of a pull by one who is not, or not any more, the one who reads.
pub(super) const NOT_PINNED: u16 = 423;

/// How a pull goes on after a status.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pull {
    /// As before.
    On,
    /// It has ended.
    Over,
    /// So has the consumer, or it has another leader now.
    Lost,
}

/// What a status means (ADR-37, ADR-42).
pub(super) fn after(status: u16, text: &str) -> Pull {
    match status {
        100 => Pull::On,
        // Nothing came in time, or the pull was too much.
        404 | 408 | NOT_PINNED => Pull::Over,
        409 => {
            let gone = ["Consumer Deleted", "Leadership Change", "Server Shutdown"];
            if gone.iter().any(|what| text.contains(what)) { Pull::Lost } else { Pull::Over }
        }
        // Nobody answers there, or something that is not known.
        _ => Pull::Lost,
    }
}

impl DurableOptions {
    /// Whether the name can be one.
    pub(super) fn check(&self) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=NAME_MAX).contains(&self.name.len()) && self.name.chars().all(fits) {
            return Ok(());
        }
        Err(Error::malformed(&self.name, "must be 1 to 64 letters, digits, _ and -"))
    }

    /// The configuration of the consumer, but for where it begins.
    pub(super) fn config(&self) -> Value {
        let mut config = json!({
            "name": self.name,
            "durable_name": self.name,
            "ack_policy": "explicit",
            "ack_wait": nanos(ACK_WAIT),
            "max_ack_pending": self.window,
            "max_deliver": -1,
            "replay_policy": "instant",
        });
        match self.subjects.as_slice() {
            // One filter is part of the subject that makes the consumer, so that permissions can
            // limit it.
            [one] => config["filter_subject"] = one.as_str().into(),
            several => config["filter_subjects"] = several.into(),
        }
        if self.share == Share::One {
            config["priority_groups"] = json!([GROUP]);
            config["priority_policy"] = "pinned_client".into();
            config["priority_timeout"] = nanos(STAND_BY).into();
        }
        config
    }
}

impl Begin {
    pub(super) fn put_into(self, config: &mut Value) {
        match self {
            Begin::New => config["deliver_policy"] = "new".into(),
            Begin::All => config["deliver_policy"] = "all".into(),
            Begin::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = time.to_string().into();
            }
            Begin::Sequence(seq) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = seq.max(1).into();
            }
        }
    }
}

/// The configuration that is there, with what is wanted put into it; nothing where it has all of it
/// already. Where it begins stays.
pub(super) fn adapted(there: &Value, wanted: &Value) -> Option<Value> {
    let mut config = there.clone();
    let (new, old) = (wanted.as_object()?, config.as_object_mut()?);
    for filter in ["filter_subject", "filter_subjects"] {
        if !new.contains_key(filter) {
            old.remove(filter);
        }
    }
    old.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
    (config != *there).then_some(config)
}

/// Whether trying again is of no use.
pub(super) fn is_final(error: &Error) -> bool {
    match error {
        Error::Denied { .. } | Error::Malformed { .. } | Error::Refused { .. } => true,
        Error::Api { code, .. } => *code != UNAVAILABLE,
        Error::LostRace { .. }
        | Error::Timeout
        | Error::Disconnected
        | Error::NoResponders
        | Error::NoScheduler
        | Error::NoBus { .. }
        | Error::NotProvisioned
        | Error::ServerTooOld { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_end_a_pull_or_the_consumer() {
        assert_eq!(after(100, ""), Pull::On);
        assert_eq!(after(408, "Request Timeout"), Pull::Over);
        assert_eq!(after(423, "Nats-Pin-Id mismatch"), Pull::Over);
        assert_eq!(after(409, "Batch Completed"), Pull::Over);
        assert_eq!(after(409, "Consumer Deleted"), Pull::Lost);
        assert_eq!(after(409, "Leadership Change"), Pull::Lost);
        assert_eq!(after(503, "No Responders"), Pull::Lost);
    }

    #[test]
    fn a_consumer_is_adapted_where_it_differs() {
        let wanted = json!({ "name": "x", "filter_subject": "a", "max_ack_pending": 9 });
        let mut there = wanted.clone();
        there["deliver_policy"] = "new".into();
        there["num_replicas"] = 0.into();
        assert_eq!(adapted(&there, &wanted), None, "what is not ours to say stays");
        there["filter_subjects"] = json!(["b", "c"]);
        there.as_object_mut().unwrap().remove("filter_subject");
        let now = adapted(&there, &wanted).unwrap();
        assert_eq!((&now["filter_subject"], &now["filter_subjects"]), (&json!("a"), &Value::Null));
        assert_eq!(now["deliver_policy"], "new");
    }
}
