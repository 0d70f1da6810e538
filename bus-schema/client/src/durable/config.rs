//! What NATS is asked for, and what its statuses mean. Pure.

use dsbus_schema::subject::wide;
use serde_json::{Value, json};

use super::{ACK_WAIT, Begin, DurableOptions, GROUP, STAND_BY, Share, nanos};
use crate::Error;

/// Longest name of a consumer.
const NAME_MAX: usize = 64;
/// Room for less than this part of what may be held is not worth a pull.
const LITTLE: u16 = 8;
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
        if !(1..=NAME_MAX).contains(&self.name.len()) || !self.name.chars().all(fits) {
            return Err(Error::malformed(&self.name, "must be 1 to 64 letters, digits, _ and -"));
        }
        if self.subjects.is_empty() {
            return Err(Error::malformed(&self.name, "must have at least one subject"));
        }
        Ok(())
    }

    /// Whether an event of this subject is meant.
    pub(super) fn wants(&self, subject: &str) -> bool {
        self.subjects.iter().any(|filter| fits(filter, subject))
    }

    /// How many events one who has some already, and may hold so many, pulls now. None while there is little
    /// room: a pull for each event costs more than it brings. One that reads alone says by a pull
    /// that it lives, when the last one is `old`.
    pub(super) fn room(&self, most: u16, has: usize, old: bool) -> Option<usize> {
        let most = self.window.get().min(most).max(1);
        let room = usize::from(most).saturating_sub(has);
        let worth = room >= usize::from(most / LITTLE).max(1);
        (worth || (old && self.share == Share::One)).then_some(room.max(1))
    }

    /// One subject that holds all that is meant.
    pub(super) fn subject(&self) -> String {
        wide(&self.subjects)
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
        // One filter is part of the subject that makes the consumer, so that permissions can limit
        // it. And of several the server reads what is stored already so slowly that it is faster to
        // leave out here what is not meant.
        config["filter_subject"] = self.subject().into();
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

/// What becomes of a consumer that is there.
#[derive(Debug, PartialEq)]
pub(super) enum Adapt {
    /// Nothing: it is as it is wanted.
    No,
    /// It gets this configuration.
    Now(Value),
    /// Nothing yet, because another reader has it.
    Later,
}

/// What becomes of the consumer that `info` is about. `pin` is what NATS calls us. Where it begins
/// stays.
pub(super) fn adapt(info: &Value, wanted: &Value, pin: Option<&str>) -> Adapt {
    let Some(config) = adapted(&info["config"], wanted) else { return Adapt::No };
    let groups = info["priority_groups"].as_array().into_iter().flatten();
    let mut pinned = groups.filter_map(|group| group["pinned_client_id"].as_str());
    let another = pinned.any(|id| !id.is_empty() && Some(id) != pin);
    if another { Adapt::Later } else { Adapt::Now(config) }
}

/// The subjects of a configuration, as people read them.
pub(super) fn subjects(config: &Value) -> String {
    let several = config["filter_subjects"].as_array().into_iter().flatten();
    let all: Vec<&str> =
        several.chain([&config["filter_subject"]]).filter_map(Value::as_str).collect();
    all.join(", ")
}

/// The configuration that is there, with what is wanted put into it; nothing where it has all of it
/// already.
fn adapted(there: &Value, wanted: &Value) -> Option<Value> {
    let mut config = there.clone();
    let (new, old) = (wanted.as_object()?, config.as_object_mut()?);
    // Of these it has some and not others, by how it is asked for; and older ones had several
    // subjects.
    let several = ["filter_subjects"];
    let shared = ["priority_groups", "priority_policy", "priority_timeout"];
    for key in several.into_iter().chain(shared) {
        if !new.contains_key(key) {
            old.remove(key);
        }
    }
    old.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
    (config != *there).then_some(config)
}

/// Whether a filter of NATS has this subject.
fn fits(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            (_, Some(_)) => return false,
        }
    }
    tokens.next().is_none()
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
    use std::num::NonZeroU16;

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
    fn there_is_a_pull_where_there_is_room_worth_one() {
        let of = |share, window| DurableOptions {
            name: "x".to_owned(),
            subjects: Vec::new(),
            begin: Begin::All,
            share,
            window: NonZeroU16::new(window).unwrap(),
        };
        let (one, many) = (of(Share::One, 80), of(Share::Many, 80));
        for (most, has, room) in [
            (80, 0, Some(80)),
            (80, 70, Some(10)),
            (80, 71, None),
            (2, 0, Some(2)),
            (2, 1, Some(1)),
            (2, 2, None),
            (0, 0, Some(1)),
            (1000, 0, Some(80)),
        ] {
            assert_eq!(many.room(most, has, true), room, "{most} {has}");
            assert_eq!(one.room(most, has, false), room, "{most} {has}");
        }
        assert_eq!(one.room(80, 80, true), Some(1), "it says that it lives");
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
        // One that was read by one, and is shared now.
        let mut alone = wanted.clone();
        alone["priority_policy"] = "pinned_client".into();
        alone["priority_groups"] = json!([GROUP]);
        assert_eq!(adapted(&alone, &wanted), Some(wanted.clone()));
        assert_eq!(adapted(&wanted, &alone), Some(alone));
    }

    #[test]
    fn a_consumer_that_another_one_reads_is_not_adapted() {
        let wanted = json!({ "name": "x", "filter_subject": "a" });
        let there = json!({ "name": "x", "filter_subject": "b" });
        let info = |config: &Value, pinned: Value| json!({ "config": config, "priority_groups": [pinned] });
        let (held, free) = (json!({ "pinned_client_id": "id" }), json!({ "group": GROUP }));
        assert_eq!(adapt(&info(&there, held.clone()), &wanted, None), Adapt::Later);
        assert_eq!(adapt(&info(&there, held.clone()), &wanted, Some("mine")), Adapt::Later);
        let now = Adapt::Now(wanted.clone());
        assert_eq!(adapt(&info(&there, held.clone()), &wanted, Some("id")), now);
        assert_eq!(adapt(&info(&there, free), &wanted, None), now);
        assert_eq!(adapt(&json!({ "config": there }), &wanted, None), now);
        assert_eq!(adapt(&info(&wanted, held), &wanted, None), Adapt::No);
        let several = json!({ "filter_subjects": ["a.b", "c"] });
        assert_eq!((subjects(&there).as_str(), subjects(&several).as_str()), ("b", "a.b, c"));
    }

    #[test]
    fn filters_fit_as_in_nats() {
        for (filter, subject, fit) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("*.b", "a.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
        ] {
            assert_eq!(fits(filter, subject), fit, "{filter} {subject}");
        }
    }
}
