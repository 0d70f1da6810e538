//! The clock of the bench and of its witnesses: one for all processes of the machine.

use std::time::Duration;

use dsbus_schema::moment::{BootTime, Timestamp};
use nix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// A moment on CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Duration);

impl Moment {
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

pub(crate) fn now() -> Moment {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Moment(Duration::ZERO), |t| Moment(t.into()))
}

/// The same moment as a timestamp of the clock on the wall of this machine tells it, to the
/// millisecond. Both clocks are read now: whoever sets the one on the wall spoils it.
pub(crate) fn moment_of(stamp: Timestamp) -> Outcome<Moment> {
    let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    let stamp = Duration::from_nanos(u64::try_from(stamp.unix_nanos())?);
    Ok(Moment((now().0 + stamp).checked_sub(wall).ok_or("a time before the machine's start")?))
}

/// The clock on the wall, for messages that carry it.
pub(crate) fn wall() -> Timestamp {
    let nanos = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |t| Duration::from(t).as_nanos());
    Timestamp::from_unix_nanos(i128::try_from(nanos).unwrap_or(0))
}

/// CLOCK_BOOTTIME, for messages that carry it.
pub(crate) fn boot() -> BootTime {
    let nanos = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| Duration::from(t).as_nanos());
    BootTime(u64::try_from(nanos).unwrap_or(0))
}

/// Processor time of this thread so far.
pub(crate) fn busy() -> Duration {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Rests: what is measured comes between rests, not in them.
pub(crate) fn rest(length: Duration) {
    let begun = now();
    while let Some(left) = length.checked_sub(now().since(begun)).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Looks every `pause` until `is` gives something.
pub(crate) fn look<T>(
    what: &str,
    within: Duration,
    pause: Duration,
    mut is: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let begun = now();
    loop {
        if let Some(seen) = is()? {
            return Ok(seen);
        }
        if now().since(begun) > within {
            return Err(format!("waited {within:?} for {what}").into());
        }
        rest(pause);
    }
}

pub(crate) fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}

pub(crate) fn micros(length: Duration) -> f64 {
    length.as_secs_f64() * 1e6
}
