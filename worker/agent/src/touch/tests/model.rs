//! A key on a server, and the way to it: answers are delayed and lost, touches arrive late, an
//! expiry marker is proposed, and erases what arrives while it is on its way; the supervisor is
//! silent and the agent is frozen now and then.

use std::collections::BTreeMap;

use proptest::test_runner::TestCaseError;

use super::*;

/// Steps of one run, a millisecond each.
const STEPS: i64 = 60_000;
/// Longest way of a touch to the server, of an answer back, and of a delivery by the watch. A
/// touch that arrives after its time-out is a late write.
const WAY_MAX: u64 = 600;
/// How late the server looks for expired keys.
const SWEEP_MAX: u64 = 330;
/// How long a marker is on its way.
const MARKER_WAY_MAX: u64 = 100;

struct Dice(u64);

impl Dice {
    /// splitmix64
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((z ^ (z >> 31)) % n).unwrap()
    }

    fn way(&mut self) -> i64 {
        let longest = if self.below(4) == 0 { WAY_MAX } else { 5 };
        1 + self.below(longest)
    }
}

enum Due {
    Arrive { attempt: u64, sent: BootTime, expect: u64 },
    Answer(Input),
    Propose { seq: u64 },
    Marker,
}

struct World {
    dice: Dice,
    seconds: u64,
    agenda: BTreeMap<(i64, u64), Due>,
    planned: u64,
    seq: u64,
    live: bool,
    /// The watch delivers in order.
    delivered: i64,
    /// What was promised.
    until: BootTime,
    silent_until: i64,
    frozen_until: i64,
}

impl World {
    fn plan(&mut self, ms: i64, due: Due) {
        self.planned += 1;
        self.agenda.insert((ms, self.planned), due);
    }

    fn deliver(&mut self, ms: i64, touch: Option<Touch>) {
        self.delivered = self.delivered.max(ms + self.dice.way());
        let entry = Input::Seen(Seen { seq: self.seq, touch });
        self.plan(self.delivered, Due::Answer(entry));
    }

    /// The server's side of one thing; gives what reaches the lease.
    fn happen(&mut self, due: Due, ms: i64) -> Result<Option<Input>, TestCaseError> {
        match due {
            Due::Answer(input) => return Ok(Some(input)),
            Due::Arrive { attempt, sent, expect } if expect == self.seq => {
                self.seq += 1;
                self.live = true;
                let expiry = ms + i64::try_from(self.seconds * 1000).unwrap();
                let sweep = self.dice.below(SWEEP_MAX);
                self.plan(expiry + sweep, Due::Propose { seq: self.seq });
                if self.dice.below(10) > 0 {
                    let answer = Input::Acked { attempt, seq: self.seq };
                    let way = self.dice.way();
                    self.plan(ms + way, Due::Answer(answer));
                }
                self.deliver(ms, Some(me().touch(attempt, sent)));
            }
            Due::Arrive { attempt, .. } => {
                let way = self.dice.way();
                self.plan(ms + way, Due::Answer(Input::LostRace { attempt }));
            }
            Due::Propose { seq } if seq == self.seq => {
                let way = self.dice.below(MARKER_WAY_MAX);
                self.plan(ms + way, Due::Marker);
            }
            Due::Propose { .. } => {}
            Due::Marker => {
                // It erases whatever came meanwhile.
                prop_assert!(at(ms) >= self.until, "a marker at {ms}, but {:?}", self.until);
                self.seq += 1;
                self.live = false;
                self.deliver(ms, None);
            }
        }
        Ok(None)
    }

    fn act(&mut self, output: &Output, ms: i64) -> Result<(), TestCaseError> {
        let rules = Rules::new(self.seconds);
        match *output {
            Output::Send { attempt, sent, expect } => {
                if self.dice.below(20) == 0 {
                    self.frozen_until = ms + self.dice.below(self.seconds * 1500);
                }
                let leaves = ms.max(self.frozen_until);
                let patience = i64::try_from(rules.patience().as_millis()).unwrap();
                self.plan(leaves + patience, Due::Answer(Input::TimedOut { attempt }));
                if self.dice.below(10) > 0 {
                    let way = self.dice.way();
                    self.plan(leaves + way, Due::Arrive { attempt, sent, expect });
                }
            }
            Output::Extend { until } => {
                prop_assert!(until > self.until, "a promise only grows");
                prop_assert!(until <= at(ms) + rules.life());
                prop_assert!(until <= at(ms) || self.live, "promised at {ms} without a key");
                self.until = until;
            }
            Output::ForceReconnect | Output::Expired => {}
            Output::NameTaken { .. } => prop_assert!(false, "nobody else is there"),
        }
        Ok(())
    }

    /// What happens to the lease by itself.
    fn chance(&mut self, ms: i64, inputs: &mut Vec<Input>) {
        if self.dice.below(3000) == 0 {
            inputs.extend([Input::Disconnected, Input::Reconnected]);
        }
        if self.dice.below(5000) == 0 {
            self.silent_until = ms + self.dice.below(2 * self.seconds * 1000);
        }
        if ms >= self.silent_until {
            inputs.push(Input::SupervisorAnswered(at(ms)));
        }
        inputs.push(Input::Tick);
    }
}

pub(super) fn run(seed: u64, seconds: u64, omitted: Omitted) -> Result<(), TestCaseError> {
    let mut world = World {
        dice: Dice(seed),
        seconds,
        agenda: BTreeMap::new(),
        planned: 0,
        seq: 0,
        live: false,
        delivered: 0,
        until: at(0),
        silent_until: 0,
        frozen_until: 0,
    };
    let mut lease = Lease::new(seconds, me(), 0, None, at(0), at(0));
    lease.omit(omitted);
    let mut inputs = Vec::new();
    for ms in 0..STEPS {
        while let Some(first) = world.agenda.first_entry().filter(|e| e.key().0 <= ms) {
            let due = first.remove();
            inputs.extend(world.happen(due, ms)?);
        }
        world.chance(ms, &mut inputs);
        if ms < world.frozen_until {
            continue;
        }
        for input in inputs.drain(..) {
            for output in lease.handle(input, at(ms)) {
                world.act(&output, ms)?;
            }
        }
    }
    prop_assert!(world.until > at(0), "the lease was never held");
    Ok(())
}
