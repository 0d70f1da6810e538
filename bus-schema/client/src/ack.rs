//! What `JetStream` answers, and by which numbers its errors are known.

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// `JSStreamWrongLastSequenceErrF`: "wrong last sequence: N".
const WRONG_LAST_SEQUENCE: u64 = 10071;
/// `JSStreamWrongLastSequenceConstantErr`: the same, from a replicated stream that saw the rival
/// still in flight.
const WRONG_LAST_SEQUENCE_IN_FLIGHT: u64 = 10164;
/// `JSNoMessageFoundErr`.
pub(crate) const NO_MESSAGE: u64 = 10037;
/// `JSStreamNotFoundErr`.
pub(crate) const NO_STREAM: u64 = 10059;
/// `JSConsumerNotFoundErr`.
pub(crate) const NO_CONSUMER: u64 = 10014;
/// `JSStreamNameExistErr`: with a configuration other than the one asked for.
pub(crate) const STREAM_EXISTS: u64 = 10058;

/// `JSStreamMessageExceedsMaximumErr`: the stream takes no message of this length.
const MESSAGE_TOO_LONG: u64 = 10054;
/// `JSStreamHeaderExceedsMaximumErr`.
const HEADER_TOO_LONG: u64 = 10097;

/// `JSStreamDuplicateMessageConflict`, as the code of an [`Error::Api`]: a copy of what was sent, under
/// the same id, is being stored right now. Sent again a moment later it counts as stored.
pub const STORING_ALREADY: u64 = 10158;
/// `JSClusterNotAvailErr`: the cluster has no leader, or this server does not know it yet.
const NO_LEADER: u64 = 10008;
/// `JSClusterNoPeersErrF`, as the code of an [`Error::Api`]: fewer nodes with `JetStream` and room are
/// known than a stream is to have replicas. Nodes of a cluster that is just starting are yet to come.
pub const NO_PEERS: u64 = 10005;

/// The `error` of a `JetStream` answer.
#[derive(Debug, Deserialize)]
struct Refused {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Refused {
    /// As an answer to something sent to `subject`.
    fn into_error(self, subject: &str) -> Error {
        match self.err_code {
            WRONG_LAST_SEQUENCE | WRONG_LAST_SEQUENCE_IN_FLIGHT => {
                Error::LostRace { current: current_sequence(&self.description) }
            }
            NO_STREAM => Error::NotProvisioned,
            NO_LEADER => Error::NoResponders,
            MESSAGE_TOO_LONG | HEADER_TOO_LONG => Error::malformed(subject, self.description),
            0 => Error::Api { code: self.code, text: self.description },
            code => Error::Api { code, text: self.description },
        }
    }
}

/// N of "wrong last sequence: N".
fn current_sequence(description: &str) -> Option<u64> {
    description.rsplit_once(": ")?.1.parse().ok()
}

/// Reads an answer of `JetStream` to something sent to `subject`.
pub(crate) fn read(subject: &str, payload: &[u8]) -> Result<Value, Error> {
    let mut answer: Value =
        serde_json::from_slice(payload).map_err(|e| Error::malformed(subject, e))?;
    match answer.get_mut("error").map(Value::take) {
        None | Some(Value::Null) => Ok(answer),
        Some(error) => Err(serde_json::from_value::<Refused>(error)
            .map_err(|e| Error::malformed(subject, e))?
            .into_error(subject)),
    }
}

/// The sequence that a publish got.
pub(crate) fn sequence(subject: &str, answer: &Value) -> Result<u64, Error> {
    let seq = answer.get("seq").and_then(Value::as_u64).filter(|seq| *seq > 0);
    seq.ok_or_else(|| Error::malformed(subject, "the acknowledgement has no sequence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(err_code: u64, description: &str) -> Error {
        let answer = serde_json::json!({
            "error": { "code": 400, "err_code": err_code, "description": description }
        });
        read("x", answer.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn both_codes_of_a_lost_race_are_one() {
        let lost = refused(10071, "wrong last sequence: 17");
        assert_eq!(lost, Error::LostRace { current: Some(17) });
        let lost = refused(10164, "wrong last sequence");
        assert_eq!(lost, Error::LostRace { current: None });
        assert_eq!(refused(10059, "stream not found"), Error::NotProvisioned);
        assert_eq!(refused(10008, "system temporarily unavailable"), Error::NoResponders);
        assert!(matches!(refused(10054, "message size exceeds maximum"), Error::Malformed { .. }));
        assert_eq!(refused(10166, "no ttl"), Error::Api { code: 10166, text: "no ttl".to_owned() });
    }

    #[test]
    fn an_acknowledgement_has_a_sequence() {
        let answer = read("x", br#"{"stream":"S","seq":4,"duplicate":true}"#).unwrap();
        assert_eq!(sequence("x", &answer), Ok(4));
        assert!(matches!(sequence("x", &Value::Null), Err(Error::Malformed { .. })));
        assert!(matches!(read("x", b"+OK"), Err(Error::Malformed { .. })));
    }
}
