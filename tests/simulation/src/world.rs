//! A fleet in memory: its processes, machines and bus, and the loop that lets things happen.

use std::collections::{BTreeMap, VecDeque};

use dsbus_schema::ids::{ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::program::ProgramSpec;
use dsbus_supervisor::clock::Now;
use uuid::Uuid;

use crate::agent::Agent;
use crate::bus::{Link, Net, Server};
use crate::commands::Client;
use crate::dice::{Dice, MS, SECOND};
use crate::event::{Agenda, Event, Run, Tick, Who};
use crate::faults::Fault;
use crate::machine::Machine;
use crate::scheduler::Scheduler;
use crate::stream::{EVENTS, Stream};
use crate::supervisor::Supervisor;
use crate::watch::Watch;
use crate::witness::Witness;
use crate::{Counts, Failure, Setup};

/// The wall clock when a run begins.
pub(crate) const WALL: i128 = 1_800_000_000_000_000_000;
/// Lines of a trace that are kept.
const TRACE_MAX: usize = 20_000;
/// Longest time from proposal to storage on three nodes, of which one is slow, in milliseconds.
const COMMIT_MS_MAX: u64 = 90;

/// A process.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) run: u64,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    pub(crate) deferred: Vec<Event>,
    pub(crate) link: Link,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) agenda: Agenda,
    pub(crate) tokens: u64,
    pub(crate) nodes: Vec<Server>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) commit_ms_max: u64,
    pub(crate) watches: Vec<Watch>,
    pub(crate) nets: Vec<Net>,
    pub(crate) procs: BTreeMap<Who, Process>,
    pub(crate) schedulers: Vec<Option<Scheduler>>,
    pub(crate) agents: Vec<Option<Agent>>,
    pub(crate) supervisors: Vec<Option<Supervisor>>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) clients: Vec<Client>,
    pub(crate) programs: Vec<ProgramName>,
    pub(crate) specs: BTreeMap<ProgramName, ProgramSpec>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) quiet: bool,
    /// Now and then a scheduler dies of what it has just written.
    pub(crate) deadly: bool,
    pub(crate) witness: Witness,
    pub(crate) counts: Counts,
    pub(crate) failure: Option<Failure>,
    pub(crate) done: bool,
    pub(crate) trace: VecDeque<(u64, String)>,
}

impl World {
    /// A fleet that is about to start.
    pub(crate) fn new(seed: u64, mut setup: Setup) -> World {
        let mut dice = Dice::new(seed);
        setup.schedulers = 2 + dice.below(2);
        let nodes = if dice.one_in(4) { 1 } else { 3 };
        let skewed = dice.one_in(2);
        let skew = |dice: &mut Dice| {
            let off = i128::from(dice.range(0, 3 * SECOND)) - i128::from(3 * SECOND / 2);
            if skewed { off } else { 0 }
        };
        let nodes: Vec<Server> =
            (0..nodes).map(|_| Server { up: true, skew: skew(&mut dice) }).collect();
        let leader = |dice: &mut Dice| Some(dice.below(nodes.len()));
        let streams = (0..=EVENTS).map(|_| Stream::led_by(leader(&mut dice)));
        let streams: Vec<Stream> = streams.collect();
        let hosts = setup.workers + setup.schedulers + setup.clients;
        let machines = (0..setup.workers).map(|_| {
            let clock = dice.range(SECOND, 1_000_000 * SECOND);
            Machine::new(dice.uuid(), clock)
        });
        let machines = machines.collect();
        let deadly = dice.one_in(4);
        let commit_ms_max = if dice.one_in(3) { COMMIT_MS_MAX } else { 10 };
        World {
            seed,
            nodes,
            streams,
            commit_ms_max,
            machines,
            agenda: Agenda::default(),
            tokens: 0,
            watches: Vec::new(),
            nets: (0..hosts).map(|_| Net::default()).collect(),
            procs: BTreeMap::new(),
            schedulers: (0..setup.schedulers).map(|_| None).collect(),
            agents: (0..setup.workers).map(|_| None).collect(),
            supervisors: (0..setup.workers).map(|_| None).collect(),
            clients: (0..setup.clients).map(|_| Client::default()).collect(),
            programs: Vec::new(),
            specs: BTreeMap::new(),
            faults: Vec::new(),
            quiet: false,
            deadly,
            witness: Witness::new(setup.workers),
            counts: Counts::default(),
            failure: None,
            done: false,
            trace: VecDeque::new(),
            setup,
            dice,
        }
    }

    /// Everything is started, and the faults are planned.
    pub(crate) fn begin_run(&mut self) {
        for name in ["a", "b", "c"] {
            if let Ok(name) = ProgramName::parse(name) {
                let spec = self.another_spec(&name);
                self.declare(&name, &spec);
                self.programs.push(name);
            }
        }
        self.agenda.at(1, Event::Sweep { term: 0 });
        for n in 0..self.schedulers.len() {
            let at = self.dice.ms(1, 300);
            self.agenda.at(at, Event::Start(Who::Scheduler(n)));
        }
        for n in 0..self.machines.len() {
            let at = self.dice.ms(1, 500);
            self.agenda.at(at, Event::Start(Who::Supervisor(n)));
        }
        for n in 0..self.clients.len() {
            let run = self.begin(Who::Client(n));
            self.reconnect(run, MS);
            let at = self.dice.ms(2_000, 6_000);
            self.agenda.at(at, Event::Timer { to: run, tick: Tick::Command, number: 0 });
        }
        self.witness.skewed = self.nodes.iter().any(|node| node.skew != 0);
        self.plan_faults(self.seed);
    }

    /// Lets everything happen.
    pub(crate) fn run(&mut self) {
        self.begin_run();
        while !self.done && self.failure.is_none() {
            let Some(event) = self.agenda.next() else { return };
            self.counts.events += 1;
            self.happen(event);
            self.observe();
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(machine) = event.machine() {
            let m = &mut self.machines[machine];
            if !m.powered {
                return;
            }
            if m.frozen {
                return m.deferred.push(event);
            }
        }
        if let Some(to) = event.to() {
            return self.happen_to(to, event);
        }
        match event {
            Event::Arrive(call) => self.arrive(*call),
            Event::Commit { stream, proposal } => self.commit(stream, proposal),
            Event::Sweep { term } => self.sweep(term),
            Event::Elect { stream, term } => self.elect(stream, term),
            Event::NodeUp(node) => self.node_up(node),
            Event::Resume { watch, generation } => self.resume(watch, generation),
            Event::Connect { to, attempt } => self.connect(to, attempt),
            Event::KidEnds { machine, pid, exit } => self.kid_ends(machine, pid, exit),
            Event::KinEnds { machine, pid } => self.kin_ends(machine, pid),
            Event::LastResort { of, number } => self.resort(of, number),
            Event::Start(who) => self.start(who),
            Event::Fault(fault) => self.strike(fault),
            Event::Quiet => self.calm(),
            Event::Look => self.look(),
            Event::Thawed(machine) => self.check_thawed(machine),
            _ => {}
        }
    }

    fn happen_to(&mut self, to: Run, event: Event) {
        if !self.lives(to) {
            return;
        }
        let machine = match to.who {
            Who::Agent(n) | Who::Supervisor(n) => self.machines.get_mut(n),
            Who::Scheduler(_) | Who::Client(_) => None,
        };
        if let Some(machine) = machine.filter(|machine| machine.frozen) {
            return machine.deferred.push(event);
        }
        if let Some(process) = self.procs.get_mut(&to.who).filter(|p| p.frozen) {
            return process.deferred.push(event);
        }
        if let Event::LinkDown(run) = event {
            // Noticed by the client; the process is told at once.
            return self.link_down(run, None);
        }
        self.dispatch(to.who, event);
    }

    fn dispatch(&mut self, who: Who, event: Event) {
        match who {
            Who::Scheduler(n) => self.wake_scheduler(n, event),
            Who::Agent(n) => self.wake_agent(n, event),
            Who::Supervisor(n) => self.wake_supervisor(n, event),
            Who::Client(n) => self.wake_client(n, event),
        }
    }

    /// A process learns that its connection is gone.
    pub(crate) fn tell_link(&mut self, run: Run, up: bool) {
        let event = if up { Event::LinkUp(run) } else { Event::LinkDown(run) };
        let frozen = self.procs.get(&run.who).is_some_and(|p| p.frozen);
        if self.lives(run) && !frozen {
            self.dispatch(run.who, event);
        }
    }

    fn start(&mut self, who: Who) {
        match who {
            Who::Scheduler(n) if !self.procs.get(&who).is_some_and(|p| p.alive) => {
                self.start_scheduler(n);
            }
            Who::Supervisor(n) => self.start_supervisor(n),
            _ => {}
        }
    }

    /// A process begins.
    pub(crate) fn begin(&mut self, who: Who) -> Run {
        let process = self.procs.entry(who).or_default();
        process.run += 1;
        let number = process.run;
        *process = Process { run: number, alive: true, ..Process::default() };
        Run { who, number }
    }

    /// Whether this run of a process is the present one.
    pub(crate) fn lives(&self, run: Run) -> bool {
        self.procs.get(&run.who).is_some_and(|p| p.alive && p.run == run.number)
    }

    /// A process dies.
    pub(crate) fn kill_process(&mut self, who: Who) {
        let Some(process) = self.procs.get_mut(&who).filter(|p| p.alive) else { return };
        process.alive = false;
        process.deferred.clear();
        let run = Run { who, number: process.run };
        let soon = self.agenda.now() + self.dice.range(MS / 10, 2 * MS);
        match who {
            Who::Scheduler(n) => self.schedulers[n] = None,
            Who::Agent(n) => {
                self.agents[n] = None;
                let parent = Who::Supervisor(n);
                let to = Run { who: parent, number: self.procs.get(&parent).map_or(0, |p| p.run) };
                self.agenda.at(soon, Event::AgentGone { to, agent: run.number });
            }
            Who::Supervisor(n) => {
                self.keep_disk(n);
                self.machines[n].last_resort = None;
                self.orphan(run);
                let agent = Who::Agent(n);
                let to = Run { who: agent, number: self.procs.get(&agent).map_or(0, |p| p.run) };
                self.agenda.at(soon, Event::SupervisorGone { to });
            }
            Who::Client(_) => {}
        }
        if !matches!(who, Who::Supervisor(_)) {
            self.drop_link(run);
            self.drop_watches(run);
        }
    }

    /// A process stands still, or goes on: what its timers and answers brought comes first, as in
    /// the daemons' own loops.
    pub(crate) fn freeze(&mut self, who: Who, frozen: bool) {
        let now = self.agenda.now();
        let Some(process) = self.procs.get_mut(&who).filter(|p| p.alive && p.frozen != frozen)
        else {
            return;
        };
        process.frozen = frozen;
        let run = Run { who, number: process.run };
        let deferred = std::mem::take(&mut process.deferred);
        let first = |event: &Event| {
            matches!(event, Event::Timer { .. } | Event::Answered { .. } | Event::Said { .. })
        };
        let (first, then): (Vec<Event>, Vec<Event>) = deferred.into_iter().partition(first);
        let events = first.into_iter().chain(then);
        let machine = match who {
            Who::Agent(n) | Who::Supervisor(n) => self.machines.get_mut(n),
            Who::Scheduler(_) | Who::Client(_) => None,
        };
        if let Some(machine) = machine.filter(|machine| machine.frozen) {
            // They are older than what waits for the machine.
            machine.deferred.splice(0..0, events);
        } else {
            events.for_each(|event| self.agenda.at(now, event));
        }
        if !frozen && !matches!(who, Who::Supervisor(_)) {
            let linked = self.procs.get(&who).is_some_and(|p| p.link.node.is_some());
            self.tell_link(run, linked);
        }
    }

    /// The CLOCK_BOOTTIME of a process's machine.
    pub(crate) fn clock(&self, who: Who) -> BootTime {
        let now = self.agenda.now();
        match who {
            Who::Agent(n) | Who::Supervisor(n) => self.machines[n].clock(now),
            Who::Scheduler(_) | Who::Client(_) => {
                BootTime(now + 1_000 * SECOND * (self.host(who) as u64 + 1))
            }
        }
    }

    /// Both clocks of a process's machine.
    pub(crate) fn now(&self, who: Who) -> Now {
        Now { boot: self.clock(who), wall: self.wall() }
    }

    /// The wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_unix_nanos(WALL + i128::from(self.agenda.now()))
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        self.dice.uuid()
    }

    /// A worker's name.
    pub(crate) fn worker(&self, n: usize) -> WorkerName {
        self.witness.workers[n].clone()
    }

    /// The machine of a worker.
    pub(crate) fn machine_of(&self, worker: &WorkerName) -> Option<usize> {
        self.witness.workers.iter().position(|name| name == worker)
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.setup.trace {
            if self.trace.len() >= TRACE_MAX {
                self.trace.pop_front();
            }
            self.trace.push_back((self.agenda.now(), line()));
        }
    }
}
