//! The only place where the scheduler reads clocks.

use dsbus_planner::Now;
use dsbus_schema::moment::{BootTime, Timestamp};
use nix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> i128 {
    // Both clocks exist on every Linux that async-nats runs on, and reading one cannot fail.
    clock_gettime(clock)
        .map_or(0, |t| i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()))
}

/// Now, for deciding.
pub(crate) fn now() -> BootTime {
    BootTime(u64::try_from(read(ClockId::CLOCK_BOOTTIME)).unwrap_or(0))
}

/// Now, for people.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from_unix_nanos(read(ClockId::CLOCK_REALTIME))
}

/// Now, on both clocks.
pub(crate) fn both() -> Now {
    Now { boot: now(), wall: wall() }
}
