//! Is a worker lost? Rules 4 to 7 of DESIGN.md section 5, for one scheduler, as a value: what
//! was heard and asked, and the scheduler's own touches, go in; a verdict comes out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dsbus_schema::moment::BootTime;

/// An unanswered ask counts only when it is this old: a worker on a busy machine may be slow.
pub const ASK_PATIENCE: Duration = Duration::from_millis(150);
/// Time between two asks.
pub const ASK_EVERY: Duration = Duration::from_millis(150);
/// How many asks must stay unanswered.
pub const ASKS_MIN: usize = 3;
/// Over how long they must be spread.
pub const ASKS_OVER: Duration = Duration::from_millis(300);
/// How many own touches are remembered: with one every quarter of the shortest lease, they reach
/// back over the longest lease worth judging by them; what is older counts as one great gap.
const OWN_TOUCHES_MAX: usize = 4096;
/// How many asks are remembered.
const ASKS_MAX: usize = 64;

/// What one lease is judged by.
#[derive(Debug, Clone, Default)]
struct Witness {
    /// When the last touch was received, or the key or a placement under it was first seen.
    heard: BootTime,
    /// It expired, or does not exist.
    expired: bool,
    /// When the worker was asked, since it last touched or answered.
    asks: VecDeque<BootTime>,
}

/// What becomes of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not overdue.
    Live,
    /// It is overdue or expired; ask its worker (again) at the given time, at the earliest.
    Ask {
        /// When.
        at: BootTime,
    },
    /// Expired for long enough on this scheduler's clock, while the bus was there, and the worker
    /// did not answer.
    Lost,
}

/// Rules that the simulation leaves out, to show that each is needed. A scheduler leaves out none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct Omitted {
    /// Rule 4: the marker of NATS is enough.
    pub own_clock: bool,
    /// Rule 5: the bus is taken to have been there.
    pub own_touch: bool,
    /// Rule 6: the worker need not be asked.
    pub asking: bool,
    /// Rule 7: that many are silent at once is no reason to wait.
    pub many: bool,
}

/// All that a scheduler judges leases by. `K` names a lease.
#[derive(Debug, Clone)]
pub struct Judge<K> {
    leases: BTreeMap<K, Witness>,
    /// Own touches: when each was sent, and when it was acknowledged.
    own: VecDeque<(BootTime, BootTime)>,
    omitted: Omitted,
}

impl<K> Default for Judge<K> {
    fn default() -> Self {
        Judge { leases: BTreeMap::new(), own: VecDeque::new(), omitted: Omitted::default() }
    }
}

impl<K: Ord + Clone> Judge<K> {
    /// Leaves rules out; only the simulation does that.
    #[doc(hidden)]
    pub fn omit(&mut self, omitted: Omitted) {
        self.omitted = omitted;
    }

    /// A touch was received.
    pub fn touched(&mut self, key: &K, now: BootTime) {
        let witness = Witness { heard: now, expired: false, asks: VecDeque::new() };
        self.leases.insert(key.clone(), witness);
    }

    /// The key expired, or a placement needs a lease that does not exist. The time since it was
    /// last heard, or first seen, goes on.
    pub fn expired(&mut self, key: &K, now: BootTime) {
        let first = Witness { heard: now, ..Witness::default() };
        self.leases.entry(key.clone()).or_insert(first).expired = true;
    }

    /// A placement was seen that lives by a lease which is not held (yet): its time begins now.
    pub fn first_seen(&mut self, key: &K, now: BootTime) {
        let witness = Witness { heard: now, expired: true, asks: VecDeque::new() };
        self.leases.insert(key.clone(), witness);
    }

    /// Whether there is anything to judge this lease by.
    pub fn knows(&self, key: &K) -> bool {
        self.leases.contains_key(key)
    }

    /// Its worker was asked.
    pub fn asked(&mut self, key: &K, now: BootTime) {
        if let Some(witness) = self.leases.get_mut(key) {
            if witness.asks.len() >= ASKS_MAX {
                // The first is kept: it shows over how long the worker has been silent.
                witness.asks.remove(1);
            }
            witness.asks.push_back(now);
        }
    }

    /// Its worker answered: whatever was asked before is no sign of death.
    pub fn answered(&mut self, key: &K) {
        if let Some(witness) = self.leases.get_mut(key) {
            witness.asks.clear();
        }
    }

    /// This scheduler's own touch was acknowledged.
    pub fn own_touch(&mut self, sent: BootTime, acked: BootTime) {
        if self.own.len() >= OWN_TOUCHES_MAX {
            self.own.pop_front();
        }
        self.own.push_back((sent, acked));
    }

    /// Judges the lease `key` of `seconds`. When `many` workers are silent at once, it is given its
    /// time twice (rule 7).
    pub fn verdict(&self, key: &K, seconds: u64, many: bool, now: BootTime) -> Verdict {
        let Some(witness) = self.leases.get(key) else { return Verdict::Live };
        let lease = Duration::from_secs(seconds);
        // Rule 6: a renewal is due at T/3; it is overdue by T/6 at T/2.
        if !witness.expired && now.since(witness.heard) < lease / 2 {
            return Verdict::Live;
        }
        let Omitted { own_clock, own_touch, asking, many: alone } = self.omitted;
        let times = if many && !alone { 2 } else { 1 };
        let silent = own_clock || now.since(witness.heard) >= lease * times;
        let bus = self.bus_since(lease / 2, now);
        let bus_there = own_touch || bus.is_some_and(|at| now.since(at) >= lease);
        let unanswered = asking || self.unanswered(&witness.asks, now);
        if witness.expired && silent && bus_there && unanswered {
            return Verdict::Lost;
        }
        Verdict::Ask { at: witness.asks.back().map_or(now, |last| *last + ASK_EVERY) }
    }

    /// Rule 7: whether nothing was heard by which the worker of this lease would live, and it left
    /// several asks unanswered: it has expired, or is about to.
    pub fn silent(&self, key: &K, now: BootTime) -> bool {
        self.leases.get(key).is_some_and(|witness| self.unanswered(&witness.asks, now))
    }

    /// Whether a worker was asked often enough, for long enough, and did not answer. An ask counts
    /// only when the bus has answered something of this scheduler's own since: if its link is stalled,
    /// so are the asks or their answers (found by the simulation).
    fn unanswered(&self, asks: &VecDeque<BootTime>, now: BootTime) -> bool {
        let heard = self.own.back().map_or(BootTime(0), |(sent, _)| *sent);
        // Without rule 5 its own touches prove nothing here, either.
        let proven = |ask: BootTime| self.omitted.own_touch || ask <= heard;
        let ripe = |ask: &&BootTime| now.since(**ask) >= ASK_PATIENCE && proven(**ask);
        let ripe: Vec<_> = asks.iter().filter(ripe).collect();
        match (ripe.first(), ripe.last()) {
            (Some(first), Some(last)) => ripe.len() >= ASKS_MIN && last.since(**first) >= ASKS_OVER,
            _ => false,
        }
    }

    /// Rule 5: since when the bus has been there without a gap longer than `gap`; `None` when it
    /// is not there now. The bus was surely there at some moment between the sending of a touch
    /// and its acknowledgement, so a gap is counted from the former to the next one's latter.
    fn bus_since(&self, gap: Duration, now: BootTime) -> Option<BootTime> {
        let (last_sent, mut since) = *self.own.back()?;
        if now.since(last_sent) > gap {
            return None;
        }
        for (sent, acked) in self.own.iter().rev().skip(1) {
            if since.since(*sent) > gap {
                break;
            }
            since = *acked;
        }
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(millis: u64) -> BootTime {
        BootTime(100 * SECOND + millis * 1_000_000)
    }

    /// A scheduler that touched every 250 ms from 0 to `until`, but for the gap.
    fn judge(until: u64, gap: std::ops::Range<u64>) -> Judge<&'static str> {
        let mut judge = Judge::default();
        for t in (0..=until).step_by(250).filter(|t| !gap.contains(t)) {
            judge.own_touch(at(t), at(t + 1));
        }
        judge
    }

    fn ask(judge: &mut Judge<&'static str>, times: &[u64]) {
        for t in times {
            judge.asked(&"w1", at(*t));
        }
    }

    #[test]
    fn lost_only_when_all_rules_are_met() {
        let mut j = judge(12_000, 0..0);
        j.touched(&"w1", at(5_000));
        assert_eq!(j.verdict(&"w1", 2, false, at(5_900)), Verdict::Live);
        assert_eq!(j.verdict(&"w1", 2, false, at(6_000)), Verdict::Ask { at: at(6_000) });
        ask(&mut j, &[6_000, 6_150, 6_300]);
        assert_eq!(
            j.verdict(&"w1", 2, false, at(7_100)),
            Verdict::Ask { at: at(6_450) },
            "not expired"
        );
        j.expired(&"w1", at(7_100));
        assert_eq!(j.verdict(&"w1", 2, false, at(7_100)), Verdict::Lost);
    }

    #[test]
    fn rule_4_own_clock() {
        let mut j = judge(12_000, 0..0);
        j.touched(&"w1", at(6_000));
        j.expired(&"w1", at(6_100));
        ask(&mut j, &[6_100, 6_250, 6_400]);
        assert_ne!(j.verdict(&"w1", 5, false, at(10_900)), Verdict::Lost);
        assert_eq!(j.verdict(&"w1", 5, false, at(11_000)), Verdict::Lost);
    }

    #[test]
    fn rule_5_a_gap_in_own_touches_starts_the_time_anew() {
        let mut j = judge(12_000, 4_000..6_500);
        j.touched(&"w1", at(3_000));
        j.expired(&"w1", at(6_600));
        ask(&mut j, &[6_600, 6_800, 7_000]);
        assert_ne!(
            j.verdict(&"w1", 2, false, at(7_500)),
            Verdict::Lost,
            "the bus is back since 6.5 s"
        );
        assert_eq!(j.verdict(&"w1", 2, false, at(8_600)), Verdict::Lost);
        let mut silent = judge(5_000, 0..0);
        silent.expired(&"w1", at(1_000));
        ask(&mut silent, &[2_000, 3_000, 4_000]);
        assert_ne!(
            silent.verdict(&"w1", 2, false, at(6_500)),
            Verdict::Lost,
            "the bus is not there now"
        );
    }

    #[test]
    fn rule_6_any_answer_means_alive() {
        let mut j = judge(12_000, 0..0);
        j.expired(&"w1", at(1_000));
        ask(&mut j, &[4_000, 4_100, 4_200]);
        assert_ne!(j.verdict(&"w1", 2, false, at(9_000)), Verdict::Lost, "asks over 200 ms only");
        ask(&mut j, &[4_300]);
        assert_ne!(
            j.verdict(&"w1", 2, false, at(4_400)),
            Verdict::Lost,
            "the last may yet be answered"
        );
        assert_eq!(j.verdict(&"w1", 2, false, at(4_450)), Verdict::Lost);
        j.answered(&"w1");
        assert_ne!(j.verdict(&"w1", 2, false, at(9_000)), Verdict::Lost);
    }

    #[test]
    fn an_ask_over_a_stalled_link_is_no_sign_of_death() {
        let mut j = judge(5_000, 0..0);
        j.touched(&"w1", at(3_000));
        j.expired(&"w1", at(5_050));
        ask(&mut j, &[5_050, 5_200, 5_350, 5_500]);
        let lost = |j: &Judge<&'static str>, t| j.verdict(&"w1", 2, false, at(t)) == Verdict::Lost;
        assert!(!lost(&j, 5_700), "nothing came back since it was asked");
        j.own_touch(at(5_600), at(5_720));
        assert!(lost(&j, 5_730));
    }

    #[test]
    fn a_new_scheduler_waits() {
        let mut j = judge(1_000, 0..0);
        j.expired(&"w1", at(0));
        ask(&mut j, &[100, 300, 500]);
        assert_ne!(j.verdict(&"w1", 5, false, at(1_000)), Verdict::Lost);
    }

    #[test]
    fn rule_7_many_at_once_are_given_their_time_twice() {
        let mut j = judge(12_000, 0..0);
        j.touched(&"w1", at(5_000));
        assert!(!j.silent(&"w1", at(6_000)));
        ask(&mut j, &[6_000, 6_150, 6_300]);
        assert!(j.silent(&"w1", at(6_450)));
        j.expired(&"w1", at(7_000));
        assert_eq!(j.verdict(&"w1", 2, false, at(7_000)), Verdict::Lost);
        assert_ne!(j.verdict(&"w1", 2, true, at(8_999)), Verdict::Lost);
        assert_eq!(j.verdict(&"w1", 2, true, at(9_000)), Verdict::Lost);
    }
}
