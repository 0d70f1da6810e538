//! The witness on children: who lives beside whom, and who can be reached.

use dsbus_schema::storage::Bucket;

use crate::Invariant;
use crate::agent::Agent;
use crate::dice::MS;
use crate::event::{Event, Who};
use crate::machine::Kid;
use crate::world::World;

/// After a machine's thaw its outdated children are dead within this time.
const THAW_MS: u64 = 50;

impl World {
    /// Looks at what changed by the last event: who can be reached, and who is in trouble.
    pub(crate) fn observe(&mut self) {
        let (now, fleet) = (self.agenda.now(), crate::stream::index(Bucket::Fleet));
        let led = self.streams[fleet].leader.is_some();
        self.witness.deaf.resize(self.schedulers.len(), 0);
        for n in 0..self.schedulers.len() {
            if !self.hears(n) {
                self.witness.deaf[n] = self.witness.deaf[n].max(now);
            }
        }
        for n in 0..self.machines.len() {
            let reached = self.reachable(n);
            let w = &mut self.witness;
            match (reached, w.reached[n]) {
                (true, None) => w.reached[n] = Some(now),
                (false, Some(_)) => w.reached[n] = None,
                _ => {}
            }
            match (reached && led, w.trouble[n]) {
                (false, None) => w.trouble[n] = Some(now),
                (true, Some(since)) => {
                    w.troubles[n].push((since, now));
                    w.trouble[n] = None;
                }
                _ => {}
            }
        }
    }

    /// Whether a scheduler hears and speaks.
    pub(crate) fn hears(&self, n: usize) -> bool {
        let who = Who::Scheduler(n);
        let (net, now) = (&self.nets[self.host(who)], self.agenda.now());
        let process = self.procs.get(&who).filter(|p| p.alive && !p.frozen);
        let linked = process.is_some_and(|p| p.link.node.is_some() && p.link.stalled_until <= now);
        linked && !net.cut_in && !net.cut_out
    }

    /// Whether a worker answers whoever asks it.
    pub(crate) fn reachable(&self, n: usize) -> bool {
        let runs = |who: Who| self.procs.get(&who).filter(|p| p.alive && !p.frozen);
        let (agent, supervisor) = (runs(Who::Agent(n)), runs(Who::Supervisor(n)));
        let linked = agent
            .is_some_and(|p| p.link.node.is_some() && p.link.stalled_until <= self.agenda.now());
        let net = &self.nets[n];
        linked
            && supervisor.is_some()
            && !self.machines[n].frozen
            && !net.cut_in
            && !net.cut_out
            && self.agents[n].as_ref().is_some_and(Agent::serves)
    }

    /// Whether a worker could be reached all the time for so long.
    pub(crate) fn reached_for(&self, n: usize, time: u64) -> bool {
        let since = self.witness.reached[n];
        since.is_some_and(|since| since + time <= self.agenda.now())
    }

    /// The longest trouble of a worker in the last `time`.
    pub(crate) fn longest_trouble(&self, n: usize, time: u64) -> u64 {
        let now = self.agenda.now();
        let from = now.saturating_sub(time);
        let w = &self.witness;
        let current = w.trouble[n].map(|since| (since, now));
        let all = w.troubles[n].iter().copied().chain(current);
        let part = |(a, b): (u64, u64)| (b > from).then(|| b - a.max(from));
        all.filter_map(part).max().unwrap_or(0)
    }

    /// A child is born.
    pub(crate) fn witness_birth(&mut self, machine: usize, pid: i32) {
        self.counts.births += 1;
        let Some(kid) = self.machines[machine].kids.get(&pid).cloned() else { return };
        self.check_alone(machine, pid, &kid, Invariant::OneChild);
    }

    /// Whether another child of an exclusive instance runs somewhere.
    fn check_alone(&mut self, machine: usize, pid: i32, kid: &Kid, broken: Invariant) {
        for (n, m) in self.machines.iter().enumerate().filter(|(_, m)| !m.frozen) {
            let others = m.kids.iter().filter(|(other, _)| (n, **other) != (machine, pid));
            let same = |(_, other): &(&i32, &Kid)| {
                other.name == kid.name
                    && (other.exclusive || kid.exclusive)
                    && (other.main || (other.kin && self.lives(other.parent)))
            };
            // What was frozen with its machine has a moment to be killed.
            let thaws = m.thawed.is_some_and(|at| at + THAW_MS * MS > self.agenda.now());
            if let Some((other, _)) = { others }.find(same).filter(|_| !thaws) {
                let what = format!(
                    "{} lives on w{} as {pid} and on w{} as {other}",
                    kid.name,
                    machine + 1,
                    n + 1
                );
                return self.fail(broken, what);
            }
        }
    }

    /// A child has ended.
    pub(crate) fn witness_end(&mut self, machine: usize, pid: i32) {
        self.note(|| format!("w{}: process {pid} is dead", machine + 1));
    }

    /// A machine was frozen, or thaws.
    pub(crate) fn witness_freeze(&mut self, machine: usize, frozen: bool) {
        if !frozen {
            let at = self.agenda.now() + THAW_MS * MS + MS;
            self.agenda.at(at, Event::Thawed(machine));
        }
    }

    /// Some moments after a thaw.
    pub(crate) fn check_thawed(&mut self, machine: usize) {
        if self.machines[machine].frozen {
            return;
        }
        let kids: Vec<_> = self.machines[machine].kids.clone().into_iter().collect();
        for (pid, kid) in kids.into_iter().filter(|(_, kid)| kid.main) {
            self.check_alone(machine, pid, &kid, Invariant::KilledAfterThaw);
        }
    }
}
