//! What the witnesses said: lives, overlaps of lives, and when no copy lived.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dsbus_chaos::beat::{self, GAP};

use crate::Outcome;
use crate::clock::nanos;

/// One child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) instance: String,
    pub(crate) worker: String,
    pub(crate) epoch: u64,
    pub(crate) pid: i32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    gaps: Vec<(u64, u64)>,
}

/// Two copies that lived at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) old: Life,
    pub(crate) new: Life,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// A time in which no copy of an instance lived, or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) instance: String,
    /// Where it lived before.
    pub(crate) worker: String,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// All lives so far, by their beginning.
pub(crate) fn read(directory: &Path) -> Outcome<Vec<Life>> {
    let mut lives = Vec::new();
    for entry in fs::read_dir(directory.join("lives"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let words: Vec<&str> = name.split('~').collect();
        let [instance, worker, epoch, pid, _] = words.as_slice() else { continue };
        // One that has just begun has written nothing yet.
        let Some(beats) = beat::read(&fs::read_to_string(entry.path())?) else { continue };
        lives.push(Life {
            instance: (*instance).to_owned(),
            worker: (*worker).to_owned(),
            epoch: epoch.parse()?,
            pid: pid.parse()?,
            first: beats.first,
            last: beats.last,
            gaps: beats.gaps,
        });
    }
    lives.sort_by_key(|life| (life.first, life.pid));
    Ok(lives)
}

/// By instance, each by their beginning.
fn by_instance(lives: &[Life]) -> BTreeMap<&str, Vec<&Life>> {
    let mut by: BTreeMap<&str, Vec<&Life>> = BTreeMap::new();
    for life in lives {
        by.entry(&life.instance).or_default().push(life);
    }
    by
}

/// Every pair of lives of one instance that overlaps.
pub(crate) fn overlaps(lives: &[Life], of: impl Fn(&str) -> bool) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (_, lives) in by_instance(lives).into_iter().filter(|(instance, _)| of(instance)) {
        for (index, new) in lives.iter().enumerate() {
            for old in lives[..index].iter().filter(|old| old.last >= new.first) {
                found.push(Overlap {
                    old: (*old).clone(),
                    new: (*new).clone(),
                    from: new.first,
                    until: old.last.min(new.last),
                });
            }
        }
    }
    found
}

/// Every time in which an instance had no living copy, after its first one and before `end`; of those
/// in which a copy was only held up, the ones longer than [`GAP`].
pub(crate) fn outages(lives: &[Life], end: u64, of: impl Fn(&str) -> bool) -> Vec<Outage> {
    let mut found = Vec::new();
    for (instance, lives) in by_instance(lives).into_iter().filter(|(instance, _)| of(instance)) {
        let mut stretches: Vec<(u64, u64, &str)> =
            lives.iter().flat_map(|life| life.stretches()).collect();
        stretches.sort_unstable();
        let mut covered: Option<(u64, &str)> = None;
        // One that beats at the end of the run is not away.
        let end = (end.saturating_sub(nanos(GAP)), end, "");
        for (from, until, worker) in stretches.into_iter().chain([end]) {
            if let Some((last, before)) = covered
                && from > last
            {
                found.push(Outage {
                    instance: instance.to_owned(),
                    worker: before.to_owned(),
                    from: last,
                    until: from,
                });
            }
            if covered.is_none_or(|(last, _)| until > last) {
                covered = Some((until, worker));
            }
        }
    }
    found
}

impl Life {
    /// When it lived and was not held up.
    fn stretches(&self) -> Vec<(u64, u64, &str)> {
        let mut from = self.first;
        let mut stretches = Vec::new();
        for (begin, end) in &self.gaps {
            stretches.push((from, *begin, self.worker.as_str()));
            from = *end;
        }
        stretches.push((from, self.last, self.worker.as_str()));
        stretches
    }
}

/// What a store said of its writers: `(taken, refused, taken though a higher epoch had been)`.
pub(crate) fn store(directory: &Path, instance: &str) -> (usize, usize, usize) {
    let path = directory.join("store").join(format!("{instance}.log"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let (mut taken, mut refused, mut wrong, mut highest) = (0, 0, 0, 0);
    for line in text.lines() {
        let mut words = line.split(' ');
        let word = words.next();
        let epoch: u64 = words.nth(1).and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        match word {
            Some("refused") => refused += 1,
            Some("taken") => {
                taken += 1;
                wrong += usize::from(epoch < highest);
                highest = highest.max(epoch);
            }
            _ => {}
        }
    }
    (taken, refused, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn life(instance: &str, epoch: u64, first: u64, last: u64, gaps: &[(u64, u64)]) -> Life {
        Life {
            instance: instance.to_owned(),
            worker: format!("w{epoch}"),
            epoch,
            pid: 1,
            first: first * MS,
            last: last * MS,
            gaps: gaps.iter().map(|(a, b)| (a * MS, b * MS)).collect(),
        }
    }

    #[test]
    fn two_copies_at_once_are_found() {
        let apart = [life("a:0", 1, 0, 10, &[]), life("a:0", 2, 11, 20, &[])];
        assert_eq!(overlaps(&apart, |_| true), []);
        // A long life is compared with all later ones, not only with the next.
        let lives = [
            life("a:0", 1, 0, 30, &[]),
            life("a:0", 2, 11, 12, &[]),
            life("a:0", 3, 20, 40, &[]),
            life("b:0", 1, 0, 90, &[]),
        ];
        let found = overlaps(&lives, |_| true);
        let told: Vec<_> = found.iter().map(|o| (o.new.epoch, o.from / MS, o.until / MS)).collect();
        assert_eq!(told, [(2, 11, 12), (3, 20, 30)]);
        assert_eq!(overlaps(&lives, |name| name == "b:0"), []);
    }

    #[test]
    fn times_without_a_copy_are_found() {
        let lives = [
            life("a:0", 1, 0, 1000, &[(100, 600)]),
            life("a:0", 2, 900, 3000, &[]),
            life("a:0", 3, 5000, 6000, &[]),
            life("a:0", 4, 6010, 6900, &[]),
        ];
        let found = outages(&lives, 7000 * MS, |_| true);
        let told: Vec<_> =
            found.iter().map(|o| (o.worker.as_str(), o.from / MS, o.until / MS)).collect();
        assert_eq!(told, [("w1", 100, 600), ("w2", 3000, 5000), ("w3", 6000, 6010)]);
        assert_eq!(outages(&lives, 8000 * MS, |_| true).len(), 4, "it is still away");
    }
}
