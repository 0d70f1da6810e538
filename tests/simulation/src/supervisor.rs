//! The edge of a supervisor: what its driver does with processes, a socket and a clock, done with
//! simulated ones. What decides is the supervisor's own: [`Table`], its instances and its fence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::event::{Fact, WorkerChange, WorkerFact};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::{Exit, State, Usage};
use dsbus_supervisor::clock::Now;
use dsbus_supervisor::instance::{Effect, End, Input};
use dsbus_supervisor::protocol::{Child, ProcessEvent, Report, Reported, ToAgent, ToSupervisor};
use dsbus_supervisor::report::Ledger;
use dsbus_supervisor::table::{Effects, Table};
use uuid::Uuid;

use crate::dice::MS;
use crate::disk::Disk;
use crate::event::{Event, Run, Tick, Who};
use crate::link::{ANSWER_MAX, FIRST_WORD_MAX, PAUSE_MIN, QUIET};
use crate::owners::Rules;
use crate::planted::Planted;
use crate::world::World;

/// How long the agent may take to publish the last reports.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// When a sleep took so much longer than it was meant to, the supervisor was frozen.
const FROZEN: Duration = Duration::from_millis(500);
/// SIGKILL.
const KILL: i32 = 9;

/// What is known of the agent.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) run: Run,
    pub(crate) started: BootTime,
    pub(crate) heard: BootTime,
    pub(crate) spoken: bool,
    pub(crate) asked: Option<BootTime>,
}

/// How far the worker is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Not,
    Stopping,
    Bye(BootTime),
}

/// A supervisor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) table: Table,
    pub(crate) ledger: Ledger,
    pub(crate) incarnation: Incarnation,
    pub(crate) started: Timestamp,
    pub(crate) reports: VecDeque<Report>,
    pub(crate) reported: u64,
    pub(crate) link: Option<Link>,
    pub(crate) generation: u64,
    pub(crate) pause: Duration,
    pub(crate) start_at: BootTime,
    pub(crate) say_at: u64,
    pub(crate) wanted: VecDeque<(InstanceId, Arc<ProgramSpec>, Epoch)>,
    pub(crate) ending: Ending,
    pub(crate) timer: u64,
    /// What its machine's owner allowed when that was last read.
    pub(crate) rules: Rules,
    /// When it meant to wake up.
    pub(crate) asleep_until: Option<BootTime>,
}

impl Supervisor {
    /// Whether nothing waits to be told.
    pub(crate) fn idle(&self) -> bool {
        self.reports.is_empty() && self.wanted.is_empty()
    }
}

impl World {
    /// A worker starts on its machine.
    pub(crate) fn start_supervisor(&mut self, n: usize) {
        if !self.machines[n].powered || self.procs.get(&Who::Supervisor(n)).is_some_and(|p| p.alive)
        {
            return;
        }
        if self.procs.get(&Who::Agent(n)).is_some_and(|p| p.alive) {
            self.kill_process(Who::Agent(n));
        }
        let run = self.begin(Who::Supervisor(n));
        self.sweep_leftovers(n);
        let worker = self.worker(n);
        self.witness.promised.retain(|(of, _), _| *of != worker);
        self.machines[n].last_resort = None;
        // Grows with time, as a UUID v7 does.
        let incarnation = Incarnation(Uuid::from_u128(
            (u128::from(self.agenda.now()) << 64) | u128::from(run.number + 1),
        ));
        let Disk { reports, reported, ledger, .. } = self.take_disk(n);
        self.supervisors[n] = Some(Supervisor {
            table: Table::new(self.worker(n), incarnation),
            ledger,
            incarnation,
            started: self.wall(),
            reports,
            reported,
            link: None,
            generation: 0,
            pause: PAUSE_MIN,
            start_at: BootTime(0),
            say_at: 0,
            wanted: VecDeque::new(),
            ending: Ending::Not,
            timer: 0,
            rules: self.machines[n].rules.clone(),
            asleep_until: None,
        });
        self.supervisor_loop(n, run);
    }

    /// Something happens to a supervisor.
    pub(crate) fn wake_supervisor(&mut self, n: usize, event: Event) {
        let Some(run) = event.to() else { return };
        let now = self.now(run.who);
        let Some(s) = &mut self.supervisors[n] else { return };
        if let Event::Timer { tick: Tick::Loop, number, .. } = event
            && number != s.timer
            && number != 0
        {
            return;
        }
        if s.asleep_until.is_some_and(|at| now.boot.since(at) > FROZEN)
            && let Some(link) = &mut s.link
        {
            link.asked = link.asked.map(|_| now.boot);
            link.started = link.started.max(now.boot);
        }
        match event {
            Event::Timer { tick: Tick::Spawn, .. } => self.spawn_wanted(n, run, now),
            Event::Heard { from, message, .. } => self.supervisor_told(n, run, from, *message, now),
            Event::AgentGone { agent, .. }
                if s.link.as_ref().is_some_and(|link| link.run.number == agent) =>
            {
                self.agent_lost(n, now.boot);
            }
            Event::Reap { pid, exit, .. } => self.reap(n, run, pid, exit),
            Event::Buried { pid, exit, .. } => self.bury(n, run, pid, exit, now),
            _ => {}
        }
        self.supervisor_loop(n, run);
    }

    fn supervisor_told(&mut self, n: usize, run: Run, from: Run, message: ToSupervisor, now: Now) {
        let Some(s) = &mut self.supervisors[n] else { return };
        let Some(link) = s.link.as_mut().filter(|link| link.run == from) else { return };
        (link.heard, link.spoken, link.asked) = (now.boot, true, None);
        let effects = match message {
            ToSupervisor::Sync { orders, keep, let_go } => {
                self.sync(n, orders, &keep, &let_go.unwrap_or_default(), now)
            }
            ToSupervisor::Anew(anew) => {
                s.table.began_anew(anew);
                Effects::new()
            }
            ToSupervisor::Place { order } => self.place(n, *order, now),
            ToSupervisor::Unplace { name } => s.table.unplace(&name, now),
            ToSupervisor::Lease { seconds, until } => s.table.lease(seconds, until, now),
            ToSupervisor::Done { through } => {
                while s.reports.front().is_some_and(|report| report.number <= through) {
                    s.reports.pop_front();
                }
                Effects::new()
            }
            ToSupervisor::Ping { number } => {
                self.supervisor_says(n, ToAgent::Pong { number });
                Effects::new()
            }
            ToSupervisor::NameTaken { .. } => self.stop_worker(n, true, now),
            ToSupervisor::Unusable { .. } => self.stop_worker(n, false, now),
            ToSupervisor::Finished => {
                if matches!(s.ending, Ending::Bye(_)) {
                    self.worker_ends(n);
                }
                return;
            }
            ToSupervisor::Pong { .. }
            | ToSupervisor::Probed { .. }
            | ToSupervisor::Secret { .. }
            | ToSupervisor::Drained
            | ToSupervisor::ClearLogs { .. }
            | ToSupervisor::Signal { .. }
            | ToSupervisor::Stdin { .. } => Effects::new(),
        };
        self.perform(n, run, effects, now);
    }

    /// The worker is told to stop.
    pub(crate) fn stop_worker(&mut self, n: usize, fence: bool, now: Now) -> Effects {
        let Some(s) = &mut self.supervisors[n] else { return Effects::new() };
        if s.ending == Ending::Not {
            s.ending = Ending::Stopping;
            self.supervisor_says(n, ToAgent::Stopping { reason: "asked to".to_owned() });
        }
        let Some(s) = &mut self.supervisors[n] else { return Effects::new() };
        s.table.shutdown(fence, now)
    }

    /// A worker that stopped is started again by whatever runs it.
    fn worker_ends(&mut self, n: usize) {
        self.kill_process(Who::Supervisor(n));
        let pause = self.dice.ms(300, 3_000);
        self.agenda.at(self.agenda.now() + pause, Event::Start(Who::Supervisor(n)));
    }

    pub(crate) fn perform(&mut self, n: usize, run: Run, effects: Effects, now: Now) {
        for (name, effect) in effects {
            match effect {
                Effect::Spawn { spec, epoch } => {
                    if let Some(s) = &mut self.supervisors[n] {
                        s.wanted.push_back((name, spec, epoch));
                    }
                    let turn = if self.dice.one_in(20) { self.dice.ms(5, 100) } else { MS };
                    let at = self.agenda.now() + turn;
                    self.agenda.at(at, Event::Timer { to: run, tick: Tick::Spawn, number: 0 });
                }
                Effect::Signal { pid, signal, group } => {
                    self.signal(n, pid, signal.number(), group);
                }
                Effect::Kill { pid } => self.signal(n, pid, KILL, true),
                Effect::Report { mut status, fact } => {
                    if let Some(fact) = &fact
                        && fact.state == State::Stopping
                    {
                        let reason = fact.reason.clone().unwrap_or_default();
                        self.witness_stopping(n, &name, fact.epoch, &reason);
                    }
                    let event = fact.map(|fact| {
                        let id = self.uuid();
                        status.event = Some(id);
                        Box::new(ProcessEvent { id, time: now.wall, fact: *fact })
                    });
                    self.report(n, Reported::Instance { name, status, event });
                }
                Effect::Notice(fact) => {
                    let (id, fact) = (self.uuid(), Box::new(Fact::Notice(*fact)));
                    self.report(n, Reported::Event { id, time: now.wall, fact });
                }
                Effect::Gone { epoch } => self.report(n, Reported::Gone { name, epoch }),
                Effect::Worker { change, reason } => {
                    self.note(|| format!("w{}: {change:?}: {reason}", n + 1));
                    self.worker_event(n, change, Some(reason), now);
                }
                Effect::Hook { .. }
                | Effect::KillHook { .. }
                | Effect::Ask { .. }
                | Effect::Change { .. }
                | Effect::EndWorker { .. } => {}
            }
        }
    }

    fn worker_event(&mut self, n: usize, change: WorkerChange, reason: Option<String>, now: Now) {
        let (id, worker) = (self.uuid(), self.worker(n));
        let incarnation = self.supervisors[n].as_ref().map(|s| s.incarnation);
        let fact = WorkerFact { worker, change, reason, incarnation, dropped: None };
        self.report(n, Reported::Worker { id, time: now.wall, fact });
    }

    pub(crate) fn report(&mut self, n: usize, what: Reported) {
        let Some(s) = &mut self.supervisors[n] else { return };
        s.ledger.note(&what);
        s.reported += 1;
        let report = Report { number: s.reported, what };
        s.reports.push_back(report.clone());
        self.supervisor_says(n, ToAgent::Report(report));
    }

    fn spawn_wanted(&mut self, n: usize, run: Run, now: Now) {
        let Some(s) = &mut self.supervisors[n] else { return };
        let Some((name, spec, epoch)) = s.wanted.pop_front() else { return };
        let wanted = s.table.get(&name).is_some_and(|i| i.still_wants(&spec, epoch, now.boot));
        let refusal = s.rules.refusal(&name);
        let input = if !wanted {
            Input::NotSpawned
        } else if let Some(refusal) = refusal {
            Input::Refused { refusal }
        } else {
            let pid = self.birth(n, run, (&name, epoch, spec.exclusive));
            let lease = spec.exclusive.then(|| spec.touch_seconds());
            self.note(|| format!("w{}: {name} starts as {pid}, epoch {epoch}", n + 1));
            let child = child_of(&name, epoch, pid, lease);
            self.supervisor_says(n, ToAgent::Child(child));
            Input::Spawned { pid }
        };
        let Some(s) = &mut self.supervisors[n] else { return };
        let effects = s.table.handle(&name, input, now);
        self.perform(n, run, effects, now);
    }

    /// A child's main process is dead: whatever it had started is killed before that is told.
    fn reap(&mut self, n: usize, run: Run, pid: i32, exit: Exit) {
        let now = self.agenda.now();
        let kin = self.machines[n].kids.get(&pid).is_some_and(|kid| kid.kin);
        let omitted = self.setup.planted == Some(Planted::Tree);
        let mut at = now;
        if kin && !omitted {
            at += self.dice.ms(1, 5);
            self.agenda.at(at, Event::KinEnds { machine: n, pid });
        } else if kin {
            let late = now + self.dice.ms(1_000, 20_000);
            self.agenda.at(late, Event::KinEnds { machine: n, pid });
        }
        self.agenda.at(at, Event::Buried { to: run, pid, exit });
    }

    fn bury(&mut self, n: usize, run: Run, pid: i32, exit: Exit, now: Now) {
        self.supervisor_says(n, ToAgent::ChildGone { pid });
        let Some(s) = &mut self.supervisors[n] else { return };
        let of = |(name, i): (&InstanceId, &dsbus_supervisor::instance::Instance)| {
            i.child().is_some_and(|(child, _)| child == pid).then(|| name.clone())
        };
        let Some(name) = s.table.iter().find_map(of) else { return };
        self.note(|| format!("w{}: {name} ({pid}) has ended: {exit}", n + 1));
        let usage = Some(Usage::default());
        let end = End { pid, exit, usage, stderr_line: None, oom: false };
        let Some(s) = &mut self.supervisors[n] else { return };
        let effects = s.table.handle(&name, Input::Ended(end), now);
        self.perform(n, run, effects, now);
    }

    /// Everything that time brings.
    pub(crate) fn supervisor_loop(&mut self, n: usize, run: Run) {
        let now = self.now(run.who);
        let Some(s) = &mut self.supervisors[n] else { return };
        let effects = s.table.tick(now);
        self.perform(n, run, effects, now);
        self.tend_agent(n, run, now);
        let Some(s) = &mut self.supervisors[n] else { return };
        if s.ending == Ending::Stopping && s.table.childless() && s.wanted.is_empty() {
            s.ending = Ending::Bye(now.boot + LAST_WORDS_MAX);
            self.worker_event(n, WorkerChange::Stopped, None, now);
            self.supervisor_says(n, ToAgent::Bye);
        }
        let Some(s) = &mut self.supervisors[n] else { return };
        if let Ending::Bye(until) = s.ending
            && now.boot >= until
        {
            return self.worker_ends(n);
        }
        self.arm_supervisor(n, run, now);
    }

    fn arm_supervisor(&mut self, n: usize, run: Run, now: Now) {
        let Some(s) = &mut self.supervisors[n] else { return };
        let agent = match &s.link {
            None => s.start_at,
            Some(link) => match link.asked {
                Some(asked) => asked + ANSWER_MAX,
                None if !link.spoken => link.started + FIRST_WORD_MAX,
                None => link.heard + QUIET,
            },
        };
        let ending = match s.ending {
            Ending::Bye(until) => Some(until),
            Ending::Not | Ending::Stopping => None,
        };
        let next = [s.table.deadline(), ending, Some(agent)].into_iter().flatten().min();
        s.asleep_until = next.map(|at| at.max(now.boot));
        let soon = self.agenda.now() + MS;
        let at = self.machines[n].moment(next.unwrap_or(now.boot)).max(soon);
        if at != s.timer {
            s.timer = at;
            self.agenda.at(at, Event::Timer { to: run, tick: Tick::Loop, number: at });
        }
        let m = &mut self.machines[n];
        let resort = if m.kids.is_empty() { None } else { s.table.last_resort() };
        if resort != m.last_resort {
            m.last_resort = resort;
            m.resorts += 1;
            let number = m.resorts;
            let omitted = self.setup.planted == Some(Planted::OneEnforcer);
            if let Some(at) = resort.filter(|_| !omitted) {
                let at = m.moment(at);
                self.agenda.at(at, Event::LastResort { of: run, number });
            }
        }
    }
}

pub(crate) fn child_of(name: &InstanceId, epoch: Epoch, pid: i32, lease: Option<u64>) -> Child {
    let name = name.clone();
    Child { name, epoch, pid, group: None, start_time: 1, lease, cgroup: None }
}
