//! Consumers, as `JetStream` is asked for them, and what their messages say about themselves.

use std::time::Duration;

use dsbus_schema::moment::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stream::StreamInfo;
use crate::{Bus, Error};

/// For a call of the API while making a consumer. Short, because after the death of a leader the
/// answer to a consumer placed on the dead node never comes; the next try has another name.
pub(crate) const API_MAX: Duration = Duration::from_millis(500);
/// How often a consumer that has nothing to deliver says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A consumer whose subscriber is gone goes away after this.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);
/// A consumer that only counts goes away after this.
const COUNTED_AFTER: Duration = Duration::from_secs(1);

/// Where a consumer begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deliver {
    LastPerKey,
    All,
    Time(Timestamp),
    Sequence(u64),
}

/// A consumer that was made.
pub(crate) struct Opened {
    /// How many messages it will deliver of those that are there.
    pub(crate) pending: u64,
    /// The stream, as it was just after.
    pub(crate) stream: StreamInfo,
}

impl Deliver {
    fn put_into(self, config: &mut Value) {
        match self {
            Deliver::LastPerKey => config["deliver_policy"] = "last_per_subject".into(),
            Deliver::All => config["deliver_policy"] = "all".into(),
            Deliver::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = time.to_string().into();
            }
            Deliver::Sequence(seq) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = seq.max(1).into();
            }
        }
    }
}

impl Bus {
    /// Makes an ordered push consumer under a name that was never used.
    pub(crate) async fn push_consumer(
        &self,
        stream: &str,
        filter: &str,
        name: &str,
        inbox: &str,
        deliver: Deliver,
    ) -> Result<Opened, Error> {
        let mut config = json!({
            "deliver_subject": inbox,
            "idle_heartbeat": nanos(HEARTBEAT),
            "flow_control": true,
            "max_deliver": 1,
            "inactive_threshold": nanos(ABANDONED_AFTER),
        });
        deliver.put_into(&mut config);
        let pending = self.make_consumer(stream, filter, name, config).await?;
        let stream = self.stream_info(stream, API_MAX).await?;
        Ok(Opened { pending, stream })
    }

    /// Makes a consumer and returns how many messages wait for it. It is named and has one filter:
    /// only such consumers can be limited by permissions.
    async fn make_consumer(
        &self,
        stream: &str,
        filter: &str,
        name: &str,
        mut config: Value,
    ) -> Result<u64, Error> {
        let name = format!("{name}-{}", Uuid::now_v7().simple());
        config["name"] = name.as_str().into();
        config["filter_subject"] = filter.into();
        config["ack_policy"] = "none".into();
        config["replay_policy"] = "instant".into();
        config["mem_storage"] = true.into();
        config["num_replicas"] = 1.into();
        let body = json!({ "stream_name": stream, "config": config, "action": "create" });
        let call = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
        let answer = self.api(&call, &body, API_MAX).await?;
        let pending = answer.get("num_pending").and_then(Value::as_u64);
        pending.ok_or_else(|| Error::malformed(stream, "the new consumer does not count"))
    }

    /// How many messages match from `seq` on.
    pub(crate) async fn count(&self, stream: &str, filter: &str, seq: u64) -> Result<u64, Error> {
        let mut config = json!({ "inactive_threshold": nanos(COUNTED_AFTER) });
        Deliver::Sequence(seq).put_into(&mut config);
        self.make_consumer(stream, filter, "count", config).await
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// What a delivered message says about itself in its reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Sequence in the stream.
    pub(crate) seq: u64,
    /// Number among the deliveries of this consumer, from 1.
    pub(crate) number: u64,
    /// How often it was delivered, this time included.
    pub(crate) tries: u64,
    /// When it was stored.
    pub(crate) time: Timestamp,
    /// How many wait behind it.
    pub(crate) pending: u64,
}

impl Delivery {
    /// Reads `$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<number>.<time>.<pending>`, or the longer
    /// form with `<domain>.<account>` before the stream and one more token at the end.
    pub(crate) fn parse(reply: &str) -> Option<Delivery> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => &tokens[2..],
            9.. => &tokens[4..],
            _ => return None,
        };
        Some(Delivery {
            tries: tokens[0].parse().ok()?,
            seq: tokens[1].parse().ok()?,
            number: tokens[2].parse().ok()?,
            time: Timestamp::from_unix_nanos(tokens[3].parse().ok()?),
            pending: tokens[4].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_read_in_both_forms() {
        let time = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
        let delivery = Delivery { tries: 1, seq: 12, number: 3, time, pending: 4 };
        for reply in [
            "$JS.ACK.S.c.1.12.3.1790000000000000000.4",
            "$JS.ACK.hub.acc.S.c.1.12.3.1790000000000000000.4.rnd",
            "$JS.ACK.hub.acc.S.c.1.12.3.1790000000000000000.4",
        ] {
            assert_eq!(Delivery::parse(reply), Some(delivery), "{reply}");
        }
        assert_eq!(Delivery::parse("_INBOX.x"), None);
        assert_eq!(Delivery::parse("$JS.ACK.S.c.1.12.3"), None);
    }
}
