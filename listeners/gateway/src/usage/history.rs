//! The samples of the last hour. Pure.

use std::collections::{BTreeMap, VecDeque};

use dsbus_client::Used;
use dsbus_schema::ids::InstanceId;

/// Samples that are kept of one instance: an hour of one every two seconds.
const SAMPLES_MAX: usize = 1_800;
/// Samples that are kept in all, 24 MB. Where there are many instances each has fewer, and so a
/// shorter past.
const SAMPLES_ALL_MAX: usize = 1_000_000;
/// How old a sample may become, in milliseconds.
const AGE_MAX_MS: i64 = 3_600_000;

/// What an instance used at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// Processors, of which 1.0 is one that is busy all the time.
    pub(crate) cpu: Option<f32>,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Sample {
    /// Of what is used at a moment.
    pub(super) fn new(at_ms: i64, used: &Used) -> Sample {
        #[expect(clippy::cast_possible_truncation, reason = "a plot has no more digits")]
        let cpu = used.cpu.map(|cpu| cpu as f32);
        Sample { at_ms, cpu, memory: used.memory }
    }
}

/// Samples by instance, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<InstanceId, VecDeque<Sample>>);

impl History {
    /// Keeps one more.
    pub(super) fn push(&mut self, name: &InstanceId, sample: Sample) {
        let instances = self.0.len() + usize::from(!self.0.contains_key(name));
        let limit = (SAMPLES_ALL_MAX / instances).clamp(1, SAMPLES_MAX);
        let samples = self.0.entry(name.clone()).or_default();
        samples.push_back(sample);
        let is_old = |one: &Sample| one.at_ms < sample.at_ms - AGE_MAX_MS;
        while samples.len() > limit || samples.front().is_some_and(is_old) {
            samples.pop_front();
        }
    }

    /// All of one.
    pub(super) fn of(&self, name: &InstanceId) -> Vec<Sample> {
        self.0.get(name).map(|samples| samples.iter().copied().collect()).unwrap_or_default()
    }

    /// Forgets what is not among these any more.
    pub(super) fn keep(&mut self, is_known: impl Fn(&InstanceId) -> bool) {
        self.0.retain(|name, _| is_known(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: i64) -> Sample {
        Sample { at_ms, cpu: None, memory: 1 }
    }

    fn name(index: usize) -> InstanceId {
        format!("web:{index}").parse().unwrap()
    }

    #[test]
    fn an_hour_is_kept_of_each() {
        let mut history = History::default();
        for n in 0..2_000 {
            history.push(&name(0), sample(n * 2_000));
        }
        let kept = history.of(&name(0));
        assert_eq!((kept.len(), kept[0].at_ms), (SAMPLES_MAX, 200 * 2_000));
        history.push(&name(0), sample(2_000 * 2_000 + AGE_MAX_MS));
        assert_eq!(history.of(&name(0)).len(), 1);
        assert!(history.of(&name(1)).is_empty());
        history.keep(|_| false);
        assert!(history.of(&name(0)).is_empty());
    }

    #[test]
    fn of_many_instances_less_is_kept_of_each() {
        let mut history = History::default();
        let many = 20_000;
        for at in 0..60 {
            for index in 0..many {
                history.push(&name(index), sample(at));
            }
        }
        let all: usize = history.0.values().map(VecDeque::len).sum();
        assert_eq!(all, SAMPLES_ALL_MAX);
        assert_eq!(history.of(&name(7)).len(), SAMPLES_ALL_MAX / many);
    }
}
