//! The numbers of a run, as they are kept and told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Milliseconds in which users were affected, over faults that came alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// What a kind of fault did, of one length where it came alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KindReport {
    pub(crate) name: String,
    /// How long it lasted where it came alone, in milliseconds.
    pub(crate) hold_ms: u64,
    /// How often it was injected, however long.
    pub(crate) injected: usize,
    /// How often it came alone.
    pub(crate) alone: usize,
    /// Longest time without a living copy, of the ordinary instance that missed one longest.
    pub(crate) ordinary: Option<Spread>,
    /// The same of exclusive instances whose `touch_timeout` is 5 s.
    pub(crate) exclusive_5: Option<Spread>,
    /// The same of exclusive instances whose `touch_timeout` is 15 s.
    pub(crate) exclusive_15: Option<Spread>,
    /// Longest time that a command waited for its answer.
    pub(crate) commands: Option<Spread>,
    /// Instances that moved.
    pub(crate) moves: usize,
}

/// Overlaps that only a thawed machine can make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thawed {
    /// Outdated exclusive children that beat after the thaw beside a newer copy.
    pub(crate) overlaps: usize,
    /// How long after the thaw each of them lived, in milliseconds.
    pub(crate) lived_ms: Vec<u64>,
    /// Writes under an old epoch that the stores refused.
    pub(crate) refused: usize,
    /// Writes under an old epoch that were taken.
    pub(crate) taken: usize,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) date: String,
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) seconds: u64,
    pub(crate) faults: usize,
    pub(crate) kinds: Vec<KindReport>,
    /// Why hosts could not be cut.
    pub(crate) no_network: Option<String>,
    /// These must be 0.
    pub(crate) exclusive_overlaps: usize,
    pub(crate) unneeded_moves: usize,
    pub(crate) lost_commands: usize,
    pub(crate) lost_events: usize,
    pub(crate) not_calm: usize,
    /// These are told.
    pub(crate) thawed: Thawed,
    pub(crate) moves: usize,
    pub(crate) moves_on_lossy_links: usize,
    pub(crate) events: u64,
    pub(crate) events_twice: u64,
    pub(crate) commands: usize,
    pub(crate) commands_sent_again: usize,
    pub(crate) lives: usize,
    pub(crate) commands_ms: Option<Spread>,
    pub(crate) calm_ms: Option<Spread>,
    pub(crate) ended_by_themselves: Vec<String>,
    /// What each number that is not 0 is about.
    pub(crate) problems: Vec<String>,
}

impl Spread {
    /// Of these; `None` of none.
    pub(crate) fn of(mut millis: Vec<u64>) -> Option<Spread> {
        millis.sort_unstable();
        let at = |percent: usize| millis.get((millis.len() * percent).div_ceil(100).max(1) - 1);
        Some(Spread { p50: *at(50)?, p99: *at(99)?, max: *millis.last()? })
    }
}

impl Report {
    /// Whether all is 0 that must be.
    pub(crate) fn good(&self) -> bool {
        self.zeros().iter().all(|(_, number)| *number == 0)
    }

    /// What must be 0.
    pub(crate) fn zeros(&self) -> [(&'static str, usize); 5] {
        [
            ("exclusive overlaps", self.exclusive_overlaps),
            ("unneeded moves", self.unneeded_moves),
            ("lost acknowledged commands", self.lost_commands),
            ("lost events", self.lost_events),
            ("rounds that did not end as wanted", self.not_calm),
        ]
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let names: BTreeSet<&str> =
            self.kinds.iter().filter(|k| k.injected > 0).map(|k| k.name.as_str()).collect();
        let (n, kinds) = (self.faults, names.len());
        let _ =
            writeln!(text, "{n} faults of {kinds} kinds in {} s, seed {}", self.seconds, self.seed);
        if let Some(why) = &self.no_network {
            let _ =
                writeln!(text, "SKIPPED: cuts, loss and slow links: no network namespaces: {why}");
        }
        for (what, number) in self.zeros() {
            let verdict = if number == 0 { "" } else { "  <- must be 0" };
            let _ = writeln!(text, "{what}: {number}{verdict}");
        }
        let Thawed { overlaps, lived_ms, refused, taken } = &self.thawed;
        let _ = writeln!(
            text,
            "outdated exclusive copies after the thaw of a machine (told apart): {overlaps}; lived {lived_ms:?} ms; \
             writes under an old epoch: {refused} refused, {taken} taken"
        );
        let _ = writeln!(
            text,
            "moves: {} ({} on lossy links); lives: {}; events: {} ({} twice); commands: {} ({} sent again)",
            self.moves,
            self.moves_on_lossy_links,
            self.lives,
            self.events,
            self.events_twice,
            self.commands,
            self.commands_sent_again
        );
        let _ = writeln!(text, "commands were answered after, ms: {}", told(self.commands_ms));
        let _ = writeln!(text, "calm after a round, ms: {}", told(self.calm_ms));
        let _ = writeln!(
            text,
            "\n{:<20} {:>4} {:>4} {:>5} {:>5}  {:<22} {:<22} {:<22} commands",
            "ms without a copy",
            "s",
            "n",
            "alone",
            "moves",
            "ordinary p50/p99/max",
            "exclusive, 5 s",
            "exclusive, 15 s"
        );
        for kind in self.kinds.iter().filter(|kind| kind.injected > 0) {
            let _ = writeln!(
                text,
                "{:<20} {:>4} {:>4} {:>5} {:>5}  {:<22} {:<22} {:<22} {}",
                kind.name,
                kind.hold_ms / 1000,
                kind.injected,
                kind.alone,
                kind.moves,
                told(kind.ordinary),
                told(kind.exclusive_5),
                told(kind.exclusive_15),
                told(kind.commands)
            );
        }
        for ended in &self.ended_by_themselves {
            let _ = writeln!(text, "ended by itself: {ended}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "PROBLEM: {problem}");
        }
        text
    }
}

/// `p50 / p99 / max`.
pub(crate) fn told(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |s| format!("{} / {} / {}", s.p50, s.p99, s.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample() {
        let spread = Spread::of((1..=200).rev().collect()).unwrap();
        assert_eq!((spread.p50, spread.p99, spread.max), (100, 198, 200));
        assert_eq!(Spread::of(vec![7]).map(|s| (s.p50, s.max)), Some((7, 7)));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
