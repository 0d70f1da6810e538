//! Whether a stream is the one that was read so far, by when it was made and where it ends. Pure.

use std::time::Duration;

/// A server that led a stream, and was frozen or cut off, answers from the past until it hears of
/// its successor: within moments when it is back, and else until it steps down, which takes up to
/// 10 s. A stream whose end is before what was read for longer than this did go back in time.
const STALE_MAX: Duration = Duration::from_secs(15);

/// What a stream is to the one that was read so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// The same.
    Same,
    /// Perhaps the same, as a server tells it that does not know the end.
    Stale,
    /// Made anew, or gone back in time.
    Other,
}

/// `same`: it was made at the same time. `behind`: for how long its end has been before what was
/// read.
pub(crate) fn judge(same: bool, behind: Option<Duration>, replicas: u64) -> Kinship {
    match behind {
        _ if !same => Kinship::Other,
        None => Kinship::Same,
        // With one replica nobody else knows better.
        Some(behind) if replicas > 1 && behind < STALE_MAX => Kinship::Stale,
        Some(_) => Kinship::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_away_is_not_believed_at_once() {
        let (moment, long) = (Some(Duration::ZERO), Some(STALE_MAX));
        assert_eq!(judge(true, None, 3), Kinship::Same);
        assert_eq!(judge(true, moment, 3), Kinship::Stale);
        assert_eq!(judge(true, long, 3), Kinship::Other, "it did go back in time");
        assert_eq!(judge(true, moment, 1), Kinship::Other, "nobody else knows better");
        assert_eq!(judge(false, None, 3), Kinship::Other, "made anew");
        assert_eq!(judge(false, moment, 3), Kinship::Other);
    }
}
