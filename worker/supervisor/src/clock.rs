//! The only place of a worker where clocks are read.

use dsbus_schema::moment::{BootTime, Timestamp};
use nix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> i128 {
    // Both clocks exist on every Linux that has pidfds, and reading one cannot fail.
    clock_gettime(clock)
        .map_or(0, |t| i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()))
}

/// A moment, as deciding and as telling needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deciding.
    pub boot: BootTime,
    /// For people.
    pub wall: Timestamp,
}

/// Now.
pub fn now() -> Now {
    let boot = BootTime(u64::try_from(read(ClockId::CLOCK_BOOTTIME)).unwrap_or(0));
    Now { boot, wall: Timestamp::from_unix_nanos(read(ClockId::CLOCK_REALTIME)) }
}
