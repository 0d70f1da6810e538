//! Durations that are counted as they pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsbus_schema::stats::Durations;

/// Counts durations in buckets. Two additions of a number each; whoever reads sees each sooner or later.
#[derive(Debug)]
pub struct Meter {
    bounds_us: &'static [u64],
    counts: Vec<AtomicU64>,
    sum_us: AtomicU64,
}

impl Meter {
    /// With buckets up to these durations, in microseconds, each longer than the one before.
    pub fn new(bounds_us: &'static [u64]) -> Meter {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Meter { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    /// One more.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_us.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// All so far.
    pub fn read(&self) -> Durations {
        Durations {
            bounds_us: self.bounds_us.to_vec(),
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_lowest_bucket_that_holds_it() {
        let meter = Meter::new(&[10, 100]);
        for us in [0, 10, 11, 100, 101, 5_000] {
            meter.add(Duration::from_micros(us));
        }
        let read = meter.read();
        assert_eq!((read.counts, read.sum_us), (vec![2, 2, 2], 5_222));
        assert_eq!(read.bounds_us, [10, 100]);
    }
}
