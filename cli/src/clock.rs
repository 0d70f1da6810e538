//! The one place of this crate that reads a clock.

use std::time::UNIX_EPOCH;

use dsbus_schema::moment::Timestamp;

/// The time of day, for telling people how long ago something was; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "a person reads it; nothing is decided by it")]
pub(crate) fn now() -> Timestamp {
    let nanos = std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    Timestamp::from_unix_nanos(i128::try_from(nanos).unwrap_or(0))
}
