//! A life: one file per child, in which it says from when to when it lived, and when it was held
//! up meanwhile. All hosts are one kernel, so there is one clock.
//!
//! The first [`HEAD`] bytes are first and last beat, written in place; each further line is a gap.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Length of the first line, which is written anew with every beat.
pub const HEAD: usize = 44;
/// A pause between two beats that is told: longer than a busy machine makes its processes wait.
pub const GAP: Duration = Duration::from_millis(250);

/// What a child said of its life, in nanoseconds on CLOCK_BOOTTIME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beats {
    /// First beat.
    pub first: u64,
    /// Last beat.
    pub last: u64,
    /// When it was held up: last beat before, first beat after.
    pub gaps: Vec<(u64, u64)>,
}

/// Nanoseconds on CLOCK_BOOTTIME.
pub fn now() -> u64 {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |t| u64::try_from(Duration::from(t).as_nanos()).unwrap_or(u64::MAX))
}

/// The first line.
pub fn head(first: u64, last: u64) -> String {
    format!("{first:020} {last:020}  \n")
}

/// The line of a gap.
pub fn gap(from: u64, to: u64) -> String {
    format!("{from} {to}\n")
}

/// Reads such a file; `None` for one that was not begun.
pub fn read(text: &str) -> Option<Beats> {
    let pair = |line: &str| {
        let (a, b) = line.trim().split_once(' ')?;
        Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?))
    };
    let (first, last) = pair(text.get(..HEAD)?)?;
    // A child that was killed while writing leaves half a line.
    let whole = |line: &&str| line.ends_with('\n');
    let gaps = text.get(HEAD..)?.split_inclusive('\n').filter(whole).filter_map(pair).collect();
    Some(Beats { first, last, gaps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_read_back() {
        let text = head(7, 99) + &gap(20, 30) + "4";
        assert_eq!(head(1, 2).len(), HEAD);
        assert_eq!(head(u64::MAX, u64::MAX).len(), HEAD);
        assert_eq!(read(&text), Some(Beats { first: 7, last: 99, gaps: vec![(20, 30)] }));
        assert_eq!(read("0000"), None);
    }
}
