//! When exclusive children may live (DESIGN.md section 5, rules 13 and 14). Pure.

use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;

/// An exclusive child is not started on the last moments of a lease: it would be stopped at once.
const START_REST_MIN: Duration = Duration::from_millis(200);

/// Rule 13's margin: the deadline is this much before the lease can end elsewhere.
pub fn margin(seconds: u64) -> Duration {
    Duration::from_millis(250).max(Duration::from_secs(seconds) / 10)
}

/// When an exclusive child is asked to stop because its lease was not renewed: early enough for
/// its `stopwaitsecs`, but so late that a bus which was away for half of the lease stops nothing.
/// A lease that is not renewed was last touched up to T/3 before the bus went, and ends 9T/10 after
/// that touch: T/15 is left.
pub fn ask_at(spec: &ProgramSpec, until: BootTime) -> BootTime {
    until - spec.stopwaitsecs.0.min(Duration::from_secs(spec.touch_seconds()) / 15)
}

/// Whether an exclusive child may be started now.
pub fn may_start(spec: &ProgramSpec, until: BootTime, now: BootTime) -> bool {
    now + START_REST_MIN < ask_at(spec, until)
}

/// When the kernel kills the whole worker, if neither of its sides has ended a child whose lease
/// ended at `until`: half a margin later, which is half a margin before anybody else may start it.
pub fn last_resort(seconds: u64, until: BootTime) -> BootTime {
    until + margin(seconds) / 2
}
