//! What goes wrong in a run, and when.

use dsbus_supervisor::clock::Now;

use crate::dice::{MS, SECOND};
use crate::event::{Event, Run, Who};
use crate::stream::index;
use crate::world::World;

/// Faults begin after so long, and no later than [`CALM`].
const FIRST: u64 = 3 * SECOND;
/// From then on nothing goes wrong.
pub(crate) const CALM: u64 = 30 * SECOND;
/// How often one looks whether all is as wanted.
pub(crate) const LOOK: u64 = 400 * MS;

/// A fault, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(Who),
    Start(Who),
    Freeze(Who, bool),
    FreezeMachine(usize, bool),
    Power(usize, bool),
    Cut(usize, bool, bool),
    KillNode(usize),
    KillBus,
    HandOver,
    StepClock(usize, bool),
    StepLeader,
    StallLink(Who, u64),
    StallWatches(Who, u64),
    DropLink(Who),
    StopWorker(usize),
    /// An owner forbids one of the programs, or nothing.
    Forbid(usize, Option<usize>),
}

/// In a run in which writing is deadly, one write of so many is its scheduler's last.
const KILLED_WRITERS: u64 = 20;

impl World {
    /// Plans all faults of the run.
    pub(crate) fn plan_faults(&mut self, seed: u64) {
        let count = self.dice.range(1, 9);
        for _ in 0..count {
            let at = self.dice.range(FIRST, CALM);
            self.plan_one(at);
        }
        self.plan_owners(seed);
        self.agenda.at(CALM, Event::Quiet);
    }

    pub(crate) fn plan(&mut self, at: u64, fault: Fault) {
        self.faults.push(fault);
        self.agenda.at(at, Event::Fault(self.faults.len() - 1));
    }

    fn some_process(&mut self) -> Who {
        let (workers, schedulers) = (self.machines.len(), self.schedulers.len());
        let n = self.dice.below(workers);
        match self.dice.range(0, 2) {
            0 => Who::Scheduler(self.dice.below(schedulers)),
            1 => Who::Agent(n),
            _ => Who::Supervisor(n),
        }
    }

    fn some_client(&mut self) -> Who {
        loop {
            match self.some_process() {
                Who::Supervisor(_) => {}
                who => return who,
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table of faults")]
    fn plan_one(&mut self, at: u64) {
        let workers = self.machines.len();
        let w = self.dice.below(workers);
        let short = self.dice.ms(200, 4_000);
        let long = self.dice.ms(500, 14_000);
        match self.dice.range(0, 19) {
            0 => {
                let who = Who::Scheduler(self.dice.below(self.schedulers.len()));
                self.plan(at, Fault::Kill(who));
                self.plan(at + short, Fault::Start(who));
            }
            1 | 2 => {
                let who = Who::Scheduler(self.dice.below(self.schedulers.len()));
                self.plan(at, Fault::Freeze(who, true));
                self.plan(at + long, Fault::Freeze(who, false));
            }
            3 => self.plan(at, Fault::Kill(Who::Agent(w))),
            4 => {
                self.plan(at, Fault::Freeze(Who::Agent(w), true));
                self.plan(at + long, Fault::Freeze(Who::Agent(w), false));
            }
            5 => {
                self.plan(at, Fault::Kill(Who::Supervisor(w)));
                self.plan(at + short, Fault::Start(Who::Supervisor(w)));
            }
            6 => {
                self.plan(at, Fault::Freeze(Who::Supervisor(w), true));
                if self.dice.one_in(4) && self.witness.for_good.is_empty() {
                    self.witness.for_good.insert(w);
                } else {
                    self.plan(at + long, Fault::Freeze(Who::Supervisor(w), false));
                }
            }
            7 => {
                for who in [Who::Supervisor(w), Who::Agent(w)] {
                    self.plan(at, Fault::Freeze(who, true));
                    self.plan(at + long, Fault::Freeze(who, false));
                }
            }
            8 => {
                for who in [Who::Supervisor(w), Who::Agent(w)] {
                    self.plan(at, Fault::Kill(who));
                }
                self.plan(at + short, Fault::Start(Who::Supervisor(w)));
            }
            9 => {
                self.plan(at, Fault::FreezeMachine(w, true));
                self.plan(at + long, Fault::FreezeMachine(w, false));
            }
            10 => {
                self.plan(at, Fault::Power(w, false));
                if self.dice.one_in(3) && self.witness.for_good.is_empty() {
                    self.witness.for_good.insert(w);
                } else {
                    self.plan(at + long, Fault::Power(w, true));
                }
            }
            11..=13 => {
                let host = self.dice.below(workers + self.schedulers.len());
                let (out, inward) = match self.dice.range(0, 3) {
                    0 => (true, false),
                    1 => (false, true),
                    _ => (true, true),
                };
                self.plan(at, Fault::Cut(host, out, inward));
                self.plan(at + long, Fault::Cut(host, false, false));
            }
            14 => {
                // Two at once, as behind one switch.
                for host in [w, (w + 1) % workers] {
                    self.plan(at, Fault::Cut(host, true, true));
                    self.plan(at + long, Fault::Cut(host, false, false));
                }
            }
            15 => {
                let node = self.dice.below(self.nodes.len());
                let all = self.dice.one_in(3);
                self.plan(at, if all { Fault::KillBus } else { Fault::KillNode(node) });
            }
            16 => {
                let node = self.dice.below(self.nodes.len());
                let ahead = self.dice.one_in(2);
                if self.dice.one_in(2) {
                    // Its keys expire early, and it does not hear of that.
                    let blind = self.dice.ms(2_000, 5_000);
                    self.plan(at, Fault::StallWatches(Who::Agent(w), blind));
                    return self.plan(at + 20 * MS, Fault::StepLeader);
                }
                let step = Fault::StepClock(node, ahead);
                let fault = if self.dice.one_in(2) { Fault::HandOver } else { step };
                self.plan(at, fault);
            }
            17 => {
                let who = self.some_client();
                self.plan(at, Fault::StallLink(who, short));
            }
            18 => {
                let who = self.some_client();
                self.plan(at, Fault::StallWatches(who, short));
            }
            _ => {
                let fault = if self.dice.one_in(3) {
                    Fault::StopWorker(w)
                } else {
                    Fault::DropLink(self.some_client())
                };
                self.plan(at, fault);
            }
        }
    }

    fn run_of(&self, who: Who) -> Option<Run> {
        let process = self.procs.get(&who).filter(|p| p.alive)?;
        Some(Run { who, number: process.run })
    }

    /// Something was written: now and then its writer dies of it, before it can tell.
    pub(crate) fn kill_writer(&mut self, who: Who) {
        let deadly = self.deadly && !self.quiet && self.agenda.now() > FIRST;
        if deadly && self.dice.one_in(KILLED_WRITERS) {
            let now = self.agenda.now();
            let (at, back) = (now + self.dice.range(0, 2 * MS), now + self.dice.ms(200, 8_000));
            self.plan(at, Fault::Kill(who));
            self.plan(back, Fault::Start(who));
        }
    }

    /// A fault strikes, or ends.
    pub(crate) fn strike(&mut self, number: usize) {
        let fault = self.faults[number];
        if self.quiet {
            return;
        }
        self.note(|| format!("FAULT {fault:?}"));
        self.counts.faults += 1;
        let now = self.agenda.now();
        match fault {
            Fault::Kill(who) => self.kill_process(who),
            Fault::Start(who) => self.agenda.at(now, Event::Start(who)),
            Fault::Freeze(who, frozen) => self.freeze(who, frozen),
            Fault::FreezeMachine(n, frozen) => self.freeze_machine(n, frozen),
            Fault::Power(n, true) => self.power_on(n),
            Fault::Power(n, false) => self.power_off(n),
            Fault::Cut(host, out, inward) => self.cut(host, out, inward),
            Fault::KillNode(node) => {
                let all_up = self.nodes.iter().all(|node| node.up);
                if all_up {
                    self.kill_node(node);
                }
            }
            Fault::KillBus => {
                for node in 0..self.nodes.len() {
                    if self.nodes[node].up {
                        self.kill_node(node);
                    }
                }
            }
            Fault::HandOver => self.hand_over(index(dsbus_schema::storage::Bucket::Fleet)),
            Fault::StepClock(node, ahead) => {
                let step = i128::from(self.dice.range(SECOND / 2, 3 * SECOND));
                self.nodes[node].skew += if ahead { step } else { -step };
                self.witness.skewed = true;
            }
            Fault::StepLeader => {
                let fleet = index(dsbus_schema::storage::Bucket::Fleet);
                if let Some(node) = self.streams[fleet].leader {
                    self.nodes[node].skew += i128::from(3 * SECOND);
                    self.witness.skewed = true;
                }
            }
            Fault::StallLink(who, time) => {
                if let Some(process) = self.procs.get_mut(&who) {
                    process.link.stalled_until = now + time;
                    self.agenda.at(now + time + MS, Event::Observe);
                }
            }
            Fault::StallWatches(who, time) => {
                if let Some(run) = self.run_of(who) {
                    if let Who::Scheduler(n) = who {
                        self.witness.deaf[n] = now + time;
                    }
                    for watch in self.watches_of(run) {
                        self.stall_watch(watch, time);
                    }
                }
            }
            Fault::DropLink(who) => {
                if let Some(run) = self.run_of(who) {
                    self.force_reconnect(run);
                }
            }
            Fault::StopWorker(n) => self.stop_by_signal(n),
            Fault::Forbid(n, program) => self.forbid(n, program),
        }
    }

    /// A node dies, and comes back.
    fn kill_node(&mut self, node: usize) {
        self.node_down(node);
        let back = self.agenda.now() + self.dice.ms(1_000, 9_000);
        self.agenda.at(back, Event::NodeUp(node));
    }

    /// A worker is told to stop by a signal.
    fn stop_by_signal(&mut self, n: usize) {
        let who = Who::Supervisor(n);
        let frozen = self.procs.get(&who).is_none_or(|p| !p.alive || p.frozen);
        if let Some(run) = self.run_of(who).filter(|_| !frozen && !self.machines[n].frozen) {
            let now: Now = self.now(who);
            let effects = self.stop_worker(n, false, now);
            self.perform(n, run, effects, now);
            let event = Event::Timer { to: run, tick: crate::event::Tick::Loop, number: 0 };
            self.agenda.at(self.agenda.now(), event);
        }
    }

    /// The faults are over: everything that is not lost for good comes back.
    pub(crate) fn calm(&mut self) {
        self.note(|| "the faults are over".to_owned());
        self.quiet = true;
        let now = self.agenda.now();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.agenda.at(now, Event::NodeUp(node));
            }
        }
        for host in 0..self.nets.len() {
            self.cut(host, false, false);
        }
        let all: Vec<Who> = self.procs.keys().copied().collect();
        for who in all {
            let for_good = matches!(who, Who::Supervisor(n) if self.witness.for_good.contains(&n));
            if !for_good {
                self.freeze(who, false);
            }
            if let Some(process) = self.procs.get_mut(&who) {
                process.link.stalled_until = 0;
            }
        }
        for n in 0..self.machines.len() {
            self.freeze_machine(n, false);
            if !self.witness.for_good.contains(&n) {
                self.power_on(n);
                self.agenda.at(now + SECOND, Event::Start(Who::Supervisor(n)));
            }
        }
        self.forbid_nothing();
        for n in 0..self.schedulers.len() {
            self.agenda.at(now + SECOND / 2, Event::Start(Who::Scheduler(n)));
        }
        self.agenda.at(now + LOOK, Event::Look);
    }
}
