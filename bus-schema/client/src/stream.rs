//! The streams behind buckets and events, as `JetStream` is told of them and tells of them.

use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{
    Bucket, EVENTS_AGE_MAX, EVENTS_BYTES_MAX, EVENTS_DUPLICATE_WINDOW, MARKER_TTL, events_stream,
};
use dsbus_schema::subject;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

use crate::{Bus, Error};

/// Consumers of a stream: each worker watches one bucket, each scheduler and many a listener several.
/// Where no limit is named, a server allows 1,000 for each stream (measured: 2.15.1, one replica).
const CONSUMERS_MAX: u32 = 100_000;
/// What must not differ between the configuration of a stream that is there and ours; the rest
/// (limits, replicas, descriptions) is the administrator's to change.
const MUST_AGREE: [&str; 6] = [
    "subjects",
    "max_msgs_per_subject",
    "allow_msg_ttl",
    "subject_delete_marker_ttl",
    "allow_atomic",
    "retention",
];

/// Keys whose values are nanoseconds.
const DURATIONS: [&str; 2] = ["max_age", "duplicate_window"];

/// What a reader must know of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamInfo {
    /// Its configuration.
    pub(crate) config: Value,
    /// When it was made: another stream of the same name was made at another time.
    pub(crate) created: String,
    /// What is in it.
    pub(crate) state: StreamState,
}

impl StreamInfo {
    /// How many servers keep it.
    pub(crate) fn replicas(&self) -> u64 {
        self.config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1)
    }
}

/// What is in a stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamState {
    /// Sequence of the first message that is kept.
    pub(crate) first_seq: u64,
    /// When that was stored.
    #[serde(default)]
    pub(crate) first_ts: Option<Timestamp>,
    /// Sequence of the last message that was ever stored.
    pub(crate) last_seq: u64,
}

impl Bus {
    pub(crate) async fn stream_info(
        &self,
        stream: &str,
        within: Duration,
    ) -> Result<StreamInfo, Error> {
        let answer = self.api(&format!("STREAM.INFO.{stream}"), &Value::Null, within).await?;
        serde_json::from_value(answer).map_err(|e| Error::malformed(stream, e))
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// The configuration of a bucket's stream, but for the replicas: what every KV client expects of a
/// bucket (ADR-8), and the bucket's rules.
pub(crate) fn bucket_config(fleet: &FleetName, bucket: Bucket) -> Value {
    let rules = bucket.rules();
    let mut config = json!({
        "name": bucket.stream(fleet),
        "subjects": [bucket.subject(fleet, ">")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": rules.history,
        "max_consumers": CONSUMERS_MAX,
        // By a header on a message whoever may write one key of it could empty the bucket. A bucket with
        // markers cannot be without: the server puts it on.
        "allow_rollup_hdrs": rules.ttl,
        "deny_delete": true,
        "allow_direct": true,
    });
    if rules.ttl {
        config["allow_msg_ttl"] = true.into();
        config["subject_delete_marker_ttl"] = nanos(MARKER_TTL).into();
    }
    if rules.batch {
        config["allow_atomic"] = true.into();
    }
    config
}

/// The configuration of the stream of events, but for the replicas.
pub(crate) fn events_config(fleet: &FleetName) -> Value {
    json!({
        "name": events_stream(fleet),
        "subjects": [subject::events(fleet)],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": nanos(EVENTS_AGE_MAX),
        "max_bytes": EVENTS_BYTES_MAX,
        "duplicate_window": nanos(EVENTS_DUPLICATE_WINDOW),
        "max_consumers": CONSUMERS_MAX,
        "allow_direct": true,
    })
}

/// What of `there` is not as dsbus needs it.
pub(crate) fn difference(wanted: &Value, there: &Value) -> Option<String> {
    differences(wanted, there).into_iter().next()
}

/// Everything of `there` that is not as dsbus needs it.
pub(crate) fn differences(wanted: &Value, there: &Value) -> Vec<String> {
    let differ = |key: &&str| {
        let (wanted, there) = (normal(key, &wanted[*key]), normal(key, &there[*key]));
        (wanted != there).then(|| format!("{key} is {there}, and must be {wanted}"))
    };
    MUST_AGREE.iter().filter_map(differ).collect()
}

/// What of `there` is not as dsbus makes it, and may be so.
pub(crate) fn changes(wanted: &Value, there: &Value) -> Vec<String> {
    let keys = wanted.as_object().into_iter().flat_map(|object| object.keys());
    let free = keys.filter(|key| !MUST_AGREE.contains(&key.as_str()) && *key != "num_replicas");
    let change = |key: &String| {
        let (wanted, there) = (normal(key, &wanted[key]), normal(key, &there[key]));
        let told = |value: &Value| match value.as_u64() {
            Some(nanos) if DURATIONS.contains(&key.as_str()) => {
                format!("{} s", Duration::from_nanos(nanos).as_secs())
            }
            Some(_) | None => value.to_string(),
        };
        (wanted != there)
            .then(|| format!("{key} is {}, and {} by default", told(&there), told(&wanted)))
    };
    free.filter_map(change).collect()
}

/// NATS leaves out what is off, and writes -1 for no limit.
fn normal(key: &str, value: &Value) -> Value {
    match value {
        Value::Null if key == "max_msgs_per_subject" => json!(-1),
        Value::Null if key.starts_with("allow") || key.starts_with("deny") => json!(false),
        Value::Null => json!(0),
        given => given.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_compared_and_the_rest_is_not() {
        let fleet = FleetName::default();
        let wanted = bucket_config(&fleet, Bucket::Fleet);
        let mut there = wanted.clone();
        there["num_replicas"] = 3.into();
        there["max_bytes"] = 1_000_000.into();
        assert_eq!(difference(&wanted, &there), None);
        there["max_msgs_per_subject"] = 5.into();
        let said = difference(&wanted, &there).unwrap();
        assert_eq!(said, "max_msgs_per_subject is 5, and must be 1");
        there = wanted.clone();
        there.as_object_mut().unwrap().remove("allow_msg_ttl");
        assert_eq!(
            difference(&wanted, &there).unwrap(),
            "allow_msg_ttl is false, and must be true"
        );
        assert_eq!(changes(&wanted, &wanted), Vec::<String>::new());
        let events = events_config(&fleet);
        let mut there = events.clone();
        there["max_age"] = nanos(Duration::from_secs(60)).into();
        assert_eq!(changes(&events, &there), ["max_age is 60 s, and 604800 s by default"]);
        assert_eq!(difference(&events, &there), None, "that is the administrator's to change");
        there["max_msgs_per_subject"] = (-1).into();
        assert_eq!(difference(&events, &there), None);
    }
}
