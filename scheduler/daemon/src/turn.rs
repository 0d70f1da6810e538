//! Whose turn it is (DESIGN.md section 5, rule 11). Schedulers that see the same plan the same, so
//! all of them would write the same at once, and all but one in vain. For each program they have an
//! order, which each computes for itself; the first acts at once, the next a step later. Pure, and an
//! optimisation only: whatever they believe of each other, the guards decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::ids::ProgramName;
use dsbus_schema::moment::BootTime;

/// How much later the next scheduler acts: several times as long as a write takes, and its news to
/// reach the others.
pub const STEP: Duration = Duration::from_millis(100);
/// The greatest number of steps that are waited: of so many schedulers one lives.
const STEPS_MAX: u32 = 5;
/// After this time a turn is over, whether it was used or not.
const FORGOTTEN: Duration = STEP.saturating_mul(STEPS_MAX + 5);

/// FNV-1a, and a last round that spreads what differs in the last byte. The same on every machine
/// and in every release, as it must be.
fn weight(id: &str, program: &ProgramName) -> u64 {
    let bytes = id.bytes().chain([b'/']).chain(program.as_str().bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// How long the scheduler `me` lets others go first with a program, of those that `live`
/// (rendezvous hashing: when one dies, only its programs pass to others).
pub fn patience(me: &str, live: &BTreeSet<String>, program: &ProgramName) -> Duration {
    let mine = (weight(me, program), me);
    let before = live.iter().filter(|id| *id != me && (weight(id, program), id.as_str()) > mine);
    STEP * u32::try_from(before.count()).unwrap_or(STEPS_MAX).min(STEPS_MAX)
}

/// Since when each thing is to be done.
#[derive(Debug, Default)]
pub struct Turns {
    since: BTreeMap<String, BootTime>,
}

impl Turns {
    /// When that may be done which is planned under this name, by one who is to wait so long; `None`
    /// when its turn has come. It is to be asked again then.
    pub fn wait(&mut self, what: &str, patience: Duration, now: BootTime) -> Option<BootTime> {
        if patience.is_zero() {
            self.since.remove(what);
            return None;
        }
        // What was planned and not asked about again was done by somebody else.
        self.since.retain(|_, since| now.since(*since) < FORGOTTEN);
        let since = *self.since.entry(what.to_owned()).or_insert(now);
        if now.since(since) >= patience {
            self.since.remove(what);
            return None;
        }
        Some(since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn each_program_has_an_order_and_every_scheduler_its_share_of_firsts() {
        let all = live(&["s1", "s2", "s3"]);
        let mut firsts: BTreeMap<&str, u32> = BTreeMap::new();
        for n in 0..300 {
            let program = ProgramName::parse(&format!("web{n}")).unwrap();
            let mut order: Vec<_> =
                all.iter().map(|id| (patience(id, &all, &program), id.as_str())).collect();
            order.sort_unstable();
            let steps: Vec<_> = order.iter().map(|(patience, _)| *patience).collect();
            assert_eq!(steps, [Duration::ZERO, STEP, STEP * 2]);
            *firsts.entry(order[0].1).or_default() += 1;
            // One dies: those behind it move up, those before it stay.
            let left = live(&["s1", "s3"]);
            for (before, id) in order.iter().filter(|(_, id)| *id != "s2") {
                assert!(patience(id, &left, &program) <= *before);
            }
        }
        assert!(firsts.values().all(|n| (60..140).contains(n)), "{firsts:?}");
    }

    #[test]
    fn one_that_is_not_known_to_live_has_a_turn_too() {
        let program = ProgramName::parse("web").unwrap();
        assert_eq!(patience("s1", &live(&[]), &program), Duration::ZERO);
    }

    #[test]
    fn a_turn_comes_after_its_time_and_once() {
        let at = |ms: u64| BootTime(ms * 1_000_000);
        let mut turns = Turns::default();
        assert_eq!(turns.wait("fleet web:0", Duration::ZERO, at(0)), None);
        assert_eq!(turns.wait("fleet web:0", STEP, at(0)), Some(at(100)));
        assert_eq!(turns.wait("fleet web:0", STEP, at(99)), Some(at(100)));
        assert_eq!(turns.wait("fleet web:0", STEP, at(100)), None);
        assert_eq!(turns.wait("fleet web:0", STEP, at(100)), Some(at(200)), "something else");
        assert_eq!(turns.wait("fleet web:0", STEP, at(9_000)), Some(at(9_100)), "long ago");
    }
}
