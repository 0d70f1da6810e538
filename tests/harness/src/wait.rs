//! Waiting for a condition, with a deadline that is generous and never part of what is tested.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for a busy machine with one core, short enough for a person who waits.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks until `observe` gives something.
///
/// # Panics
/// With `what` when it gave nothing before the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut observe: impl FnMut() -> Option<T>) -> T {
    wait_until(what, deadline, || observe().ok_or("nothing"))
}

/// Looks until `observe` gives `Ok`.
///
/// # Panics
/// With `what` and the last `Err` when none came before the deadline.
pub fn wait_until<T, E: Debug>(
    what: &str,
    deadline: Duration,
    mut observe: impl FnMut() -> Result<T, E>,
) -> T {
    let end = now() + deadline;
    loop {
        // Whoever was frozen over the deadline has one more look.
        let is_last = now() >= end;
        match observe() {
            Ok(seen) => return seen,
            Err(last) if is_last => {
                panic!("waited {deadline:?} for {what}; last seen: {last:?}")
            }
            Err(_) => pause(),
        }
    }
}

/// Looks until `observe` gives something; for asynchronous tests.
///
/// # Panics
/// With `what` when it gave nothing before the deadline.
pub async fn wait_for_async<T>(
    what: &str,
    deadline: Duration,
    mut observe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let looking = async {
        loop {
            if let Some(seen) = observe().await {
                return seen;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let Ok(seen) = tokio::time::timeout(deadline, looking).await else {
        panic!("waited {deadline:?} for {what}")
    };
    seen
}

#[expect(clippy::disallowed_methods, reason = "tests wait on the real clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the loop that waits for conditions")]
fn pause() {
    std::thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_until_it_sees() {
        let mut looks = 0;
        let seen = wait_for("the third look", DEADLINE, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen, 3);
    }

    #[test]
    #[should_panic(expected = "for the moon; last seen: \"clouds\"")]
    fn says_what_it_saw_last() {
        wait_until("the moon", Duration::ZERO, || Err::<(), _>("clouds"));
    }
}
