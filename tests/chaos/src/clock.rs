//! The clock of the run, and rests on it.

use std::time::Duration;

pub(crate) use dsbus_chaos::beat::now;
use nix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Rests.
pub(crate) async fn rest(length: Duration) {
    tokio::time::sleep(length).await;
}

/// A length in nanoseconds.
pub(crate) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds between two moments; none when they are in the wrong order.
pub(crate) fn millis(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / 1_000_000
}

/// What is to be added to [`now`] to have nanoseconds since 1970: events tell wall time.
pub(crate) fn wall_offset() -> i128 {
    let wall = clock_gettime(ClockId::CLOCK_REALTIME).map_or(Duration::ZERO, Duration::from);
    i128::try_from(wall.as_nanos()).unwrap_or(0) - i128::from(now())
}

/// Looks every `pause` until `is` gives `Ok`.
///
/// # Errors
/// What was last seen, when that does not come within `within`.
pub(crate) async fn look<T>(
    what: &str,
    within: Duration,
    pause: Duration,
    mut is: impl AsyncFnMut() -> Result<T, String>,
) -> Outcome<T> {
    let end = now() + nanos(within);
    loop {
        // Whoever was frozen over the end has one more look.
        let is_last = now() > end;
        match is().await {
            Ok(seen) => return Ok(seen),
            Err(last) if is_last => {
                return Err(format!("waited {within:?} for {what}; last seen: {last}").into());
            }
            Err(_) => rest(pause).await,
        }
    }
}
