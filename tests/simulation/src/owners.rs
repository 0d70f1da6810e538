//! Owners of machines, who forbid a program there, and allow it again: what it is refused for, and
//! what comes of that. Their dice are their own, so that a run without them is what it always was.

use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::worker::{PolicyFacts, Refusal};
use dsbus_supervisor::clock::Now;
use dsbus_supervisor::instance::Input;
use dsbus_supervisor::protocol::ToAgent;

use crate::dice::{Dice, SECOND};
use crate::event::{Run, Who};
use crate::faults::{CALM, Fault};
use crate::world::World;

/// Tells their dice from those of the run.
const DICE: u64 = 0x0077_6e65_7273;

/// What an owner allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    /// Another number for each change.
    number: u64,
    forbidden: Option<ProgramName>,
}

impl Rules {
    /// What the worker's record says of it.
    pub(crate) fn facts(&self) -> Option<PolicyFacts> {
        (self.number > 0).then(|| PolicyFacts {
            digest: self.number.to_string(),
            user: "root".to_owned(),
            users: None,
            root: true,
        })
    }

    /// Why an instance may not be started.
    pub(crate) fn refusal(&self, name: &InstanceId) -> Option<Refusal> {
        let forbidden = self.forbidden.as_ref() == Some(&name.program);
        forbidden.then(|| Refusal {
            policy: self.number.to_string(),
            reason: format!("{} is forbidden", name.program),
        })
    }
}

impl World {
    /// In one run of three, one or two owners forbid something for a while.
    pub(crate) fn plan_owners(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ DICE);
        if !dice.one_in(3) {
            return;
        }
        for _ in 0..dice.range(1, 2) {
            let n = dice.below(self.machines.len());
            let at = dice.range(SECOND, CALM);
            let program = dice.below(3);
            self.plan(at, Fault::Forbid(n, Some(program)));
            // Some are allowed again only when the faults are over.
            self.plan(at + dice.ms(500, 20_000), Fault::Forbid(n, None));
        }
    }

    /// An owner changes what is allowed, and has the worker read it.
    pub(crate) fn forbid(&mut self, n: usize, program: Option<usize>) {
        let rules = &mut self.machines[n].rules;
        rules.number += 1;
        rules.forbidden = program.and_then(|at| self.programs.get(at).cloned());
        self.read_rules(n);
    }

    /// Everything is allowed again.
    pub(crate) fn forbid_nothing(&mut self) {
        for n in 0..self.machines.len() {
            if self.machines[n].rules.forbidden.is_some() {
                self.forbid(n, None);
            } else if self.machines[n].rules.number > 0 {
                self.read_rules(n);
            }
        }
    }

    /// A supervisor that lives reads its file again; another one reads it when it starts.
    fn read_rules(&mut self, n: usize) {
        let who = Who::Supervisor(n);
        let rules = self.machines[n].rules.clone();
        let live = self.procs.get(&who).filter(|p| p.alive && !p.frozen).map(|p| p.run);
        let Some(number) = live.filter(|_| !self.machines[n].frozen) else { return };
        let run = Run { who, number };
        let now: Now = self.now(who);
        let Some(s) = &mut self.supervisors[n] else { return };
        let policy = rules.facts();
        s.rules = rules.clone();
        let names: Vec<InstanceId> = s.table.iter().map(|(name, _)| name.clone()).collect();
        let (labels, capacity) = Default::default();
        self.supervisor_says(n, ToAgent::Described { labels, capacity, policy });
        for name in names {
            let refusal = rules.refusal(&name);
            let Some(s) = &mut self.supervisors[n] else { return };
            let effects = s.table.handle(&name, Input::Judged { refusal }, now);
            self.perform(n, run, effects, now);
        }
        self.supervisor_loop(n, run);
    }
}
