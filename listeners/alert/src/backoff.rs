//! How long to wait after a try that failed. Pure.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait of our own.
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after the `tries`th try, from 1; `asked` is what the target asked for, and
/// `random` is from 0 to 1. The wait doubles with each try, and is shortened by up to a half, so
/// that letters that failed together do not come again together.
pub(crate) fn wait(tries: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let own = doubled.min(LONGEST).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
    own.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        for (tries, seconds) in
            [(0, 1), (1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (u32::MAX, 300)]
        {
            assert_eq!(wait(tries, None, 0.0), Duration::from_secs(seconds), "{tries}");
            assert_eq!(wait(tries, None, 1.0), Duration::from_secs(seconds) / 2, "{tries}");
        }
        assert_eq!(wait(1, Some(Duration::from_secs(30)), 0.5), Duration::from_secs(30));
        assert_eq!(wait(9, Some(Duration::from_secs(30)), 0.0), Duration::from_secs(256));
    }
}
