//! The end of a run: once nothing goes wrong any more, everything is as wanted within a bound.

use std::collections::BTreeMap;

use dsbus_planner::Now;
use dsbus_schema::command::Verb;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::state::State;

use crate::Invariant;
use crate::adapter::{self, Wish};
use crate::dice::SECOND;
use crate::event::{Asked, Event, Who};
use crate::faults::{CALM, LOOK};
use crate::scheduler::Scheduler;
use crate::world::World;

/// Within this time after the last fault everything is as wanted: an election, the longest lease
/// twice (rule 7), one retry of what was held, a start and a stop.
const BOUND: u64 = 45 * SECOND;
/// So often in a row all must be well.
const WELL_MIN: u32 = 3;

impl World {
    /// Is everything as wanted?
    pub(crate) fn look(&mut self) {
        let now = self.agenda.now();
        match self.wrong() {
            None => {
                self.counts.well += 1;
                if self.counts.well >= WELL_MIN {
                    self.counts.settled_after = now - CALM;
                    self.done = true;
                    self.last_look();
                    return;
                }
            }
            Some(what) => {
                self.counts.well = 0;
                if now > CALM + BOUND {
                    let shown: Vec<String> =
                        self.schedulers.iter().flatten().map(Scheduler::shown).collect();
                    for line in shown {
                        self.note(|| line);
                    }
                    let told = self.untold().is_none();
                    let invariant = if told { Invariant::AsWanted } else { Invariant::EventsTold };
                    return self.fail(invariant, what);
                }
            }
        }
        self.agenda.at(now + LOOK, Event::Look);
    }

    fn last_look(&mut self) {
        if let Some(gap) = self.gap() {
            self.fail(Invariant::EventsGapless, gap);
        }
        if let Some(lost) = self.lost_command() {
            self.fail(Invariant::CommandsKept, lost);
        }
    }

    /// What is not as wanted, if anything is not.
    fn wrong(&self) -> Option<String> {
        if self.commands_wait() {
            return Some("a command waits for its answer".to_owned());
        }
        let wishes = adapter::wishes(&self.witness.oracle);
        let unfulfilled = wishes.iter().find_map(|wish| self.unfulfilled(wish));
        let wrong = unfulfilled.or_else(|| self.unwanted(&wishes)).or_else(|| self.busy());
        wrong.or_else(|| self.untold().map(|what| format!("{what}, and that is not told")))
    }

    fn unfulfilled(&self, wish: &Wish) -> Option<String> {
        let Wish { name, wanted, revision, .. } = wish;
        let oracle = &self.witness.oracle;
        let placed = adapter::placements(oracle, name);
        let Some((worker, placement)) = placed.first() else {
            return wanted.run.then(|| format!("{name} has no place"));
        };
        let n = self.machine_of(worker)?;
        if !wanted.run && self.witness.for_good.contains(&n) {
            // Nobody can tell that it has stopped.
            return None;
        }
        let status = adapter::status(oracle, name, worker);
        let Some(status) = status.filter(|status| status.epoch == placement.epoch) else {
            return Some(format!("{name} has no status on {worker}"));
        };
        if status.wanted != *wanted || status.revision != *revision {
            let (acted, revision) = (status.wanted, status.revision);
            return Some(format!("{name} acted on {acted:?} r{revision}, not on {wish:?}"));
        }
        let mine = |kid: &&crate::machine::Kid| kid.name == *name && kid.main;
        let kids: Vec<_> = self.machines[n].kids.values().filter(mine).collect();
        let state = status.state;
        match (wanted.run, kids.as_slice()) {
            (true, [kid]) if kid.epoch == placement.epoch && state == State::Running => None,
            (false, []) => None,
            _ => {
                Some(format!("{name} is {state} on {worker}, {} children, {wanted:?}", kids.len()))
            }
        }
    }

    /// Children that nobody wants.
    fn unwanted(&self, wishes: &[Wish]) -> Option<String> {
        let mut count: BTreeMap<&InstanceId, u32> = BTreeMap::new();
        for (n, machine) in self.machines.iter().enumerate() {
            // Nobody ends what is not exclusive, where the supervisor is frozen for good.
            let left = self.witness.for_good.contains(&n);
            for kid in machine.kids.values().filter(|kid| kid.main && (kid.exclusive || !left)) {
                *count.entry(&kid.name).or_default() += 1;
            }
        }
        count.into_iter().find_map(|(name, count)| {
            let wanted = wishes.iter().any(|wish| wish.name == *name && wish.wanted.run);
            let most = u32::from(wanted);
            (count > most).then(|| format!("{name} has {count} children, of {most} wanted"))
        })
    }

    /// Whoever has still something to do.
    fn busy(&self) -> Option<String> {
        for (n, agent) in self.agents.iter().enumerate() {
            let frozen = self.witness.for_good.contains(&n);
            if agent.as_ref().is_some_and(|agent| !agent.idle()) && !frozen {
                return Some(format!("w{} has something to publish", n + 1));
            }
        }
        for (n, supervisor) in self.supervisors.iter().enumerate() {
            let frozen = self.witness.for_good.contains(&n);
            if supervisor.as_ref().is_some_and(|s| !s.idle()) && !frozen {
                return Some(format!("w{} has something to tell", n + 1));
            }
        }
        for scheduler in self.schedulers.iter().flatten() {
            let id = &scheduler.id;
            let now = self.now(Who::Client(0));
            let now = Now { boot: now.boot, wall: now.wall };
            let planned = adapter::all_planned(&scheduler.core, now);
            if let Some((action, _)) = planned.first() {
                return Some(format!("{id} plans {action:?}"));
            }
            if !scheduler.idle() {
                return Some(format!("{id} is busy"));
            }
        }
        None
    }

    /// A command that was acknowledged, and that nobody acted on.
    fn lost_command(&self) -> Option<String> {
        let wishes = adapter::wishes(&self.witness.oracle);
        wishes.iter().find_map(|Wish { name, .. }| {
            let about = |verb: Verb| {
                let counts = self.witness.acknowledged.iter().filter(|command| {
                    command.program == name.program
                        && matches!(command.what, Asked::Act { verb: v, index } if v == verb
                            && index.is_none_or(|index| index == name.index))
                });
                counts.count() as u64
            };
            let placed = adapter::placements(&self.witness.oracle, name);
            let (worker, _) = placed.first()?;
            if self.witness.for_good.contains(&self.machine_of(worker)?) {
                return None;
            }
            let acted = adapter::status(&self.witness.oracle, name, worker)?.wanted;
            let (restarts, starts) = (about(Verb::Restart), about(Verb::Start));
            let lost = acted.restarts < restarts || acted.starts < starts;
            lost.then(|| {
                format!("{name}: {starts} starts and {restarts} restarts were acknowledged, and it acted on {acted:?}")
            })
        })
    }
}
