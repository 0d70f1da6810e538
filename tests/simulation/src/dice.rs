//! All chance of a run: the same from the same seed.

use fastrand::Rng;

/// A millisecond, in the unit of the virtual clock.
pub(crate) const MS: u64 = 1_000_000;
/// A second.
pub(crate) const SECOND: u64 = 1_000 * MS;

/// The dice.
#[derive(Debug)]
pub(crate) struct Dice(Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(Rng::with_seed(seed))
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn range(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most.max(least))
    }

    /// An index below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.usize(0..n.max(1))
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.0.u64(0..n.max(1)) == 0
    }

    /// A time from `least` to `most` milliseconds.
    pub(crate) fn ms(&mut self, least: u64, most: u64) -> u64 {
        self.range(least * MS, most * MS)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())]) }
    }

    pub(crate) fn uuid(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0.u128(..))
    }
}
