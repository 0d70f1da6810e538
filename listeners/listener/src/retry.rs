//! How long to wait before an event is tried again. Pure.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest: whoever mends what is broken should not have to wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double, each a little random, so that listeners of a fleet do not all try at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause; `chance` is from 0 to 1, and makes it up to a quarter shorter.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX));
        self.tries = self.tries.saturating_add(1);
        doubled.min(LONGEST).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..40).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[8..10], [25_600, 30_000]);
        assert!(pauses[9..].iter().all(|ms| *ms == 30_000));
        assert_eq!(Backoff::default().next(1.0).as_millis(), 75);
    }
}
