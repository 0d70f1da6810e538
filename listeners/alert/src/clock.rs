//! The only place of this crate that reads the time of day.

use dsbus_schema::moment::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Now. What is told, and when, goes on on another machine: so it is by the time of day, and
/// whoever reads a time that lies ahead takes it for now.
pub(crate) fn wall() -> Timestamp {
    // The clock exists on every Linux, and reading it cannot fail.
    let nanos = clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(0, |t| i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()));
    Timestamp::from_unix_nanos(nanos)
}
