//! Commands: clients that give them, again and again under the same id until one is answered, and
//! schedulers that read, decide by the daemon's own functions, write by compare-and-set, and answer.

use std::time::Duration;

use dsbus_client::{Entry, Error, Write};
use dsbus_scheduler::{Author, Order, changed, revised};
use dsbus_schema::command::{Change, Verb};
use dsbus_schema::goal::{Goal, Sender};
use dsbus_schema::ids::{ProgramId, ProgramName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::Program;
use dsbus_schema::storage::{Bucket, goal_key, instance_key, placement_guard};

use crate::adapter;
use crate::dice::MS;
use crate::event::{Answer, Answered, Asked, Command, Event, Op, Run, Tick, Who};
use crate::planted::Planted;
use crate::scheduler::{Pending, lost_race};
use crate::world::World;

/// A client asks all schedulers when one has not answered for so long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// So often a command is sent before its client gives it up.
const TRIES_MAX: u32 = 30;
/// So often a scheduler tries to write.
const RACES_MAX: u32 = 50;

/// A command that a scheduler is doing.
#[derive(Debug)]
pub(crate) struct Commanded {
    from: Run,
    token: u64,
    command: Command,
    read: Vec<Option<Entry>>,
    races: u32,
    writing: bool,
}

/// A client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    current: Option<Issued>,
    token: u64,
}

/// A command that a client has given.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) command: Command,
    tries: u32,
}

impl World {
    /// Something happens to a client.
    pub(crate) fn wake_client(&mut self, n: usize, event: Event) {
        let Some(run) = event.to() else { return };
        match event {
            Event::Timer { tick: Tick::Command, .. } => {
                if self.clients[n].current.is_none() && !self.quiet {
                    let command = self.think();
                    self.witness_issued(&command);
                    self.note(|| format!("client {}: {}", n + 1, shown(&command)));
                    self.clients[n].current = Some(Issued { command, tries: 0 });
                    self.send_command(n, run);
                }
                let next = self.agenda.now() + self.dice.ms(500, 6_000);
                self.agenda.at(next, Event::Timer { to: run, tick: Tick::Command, number: 0 });
            }
            Event::Timer { tick: Tick::Again(_), .. } => self.send_command(n, run),
            Event::Answered { token, result, .. } if token == self.clients[n].token => {
                self.clients[n].token = 0;
                let Some(issued) = &mut self.clients[n].current else { return };
                if result.is_ok() {
                    let command = issued.command.clone();
                    self.clients[n].current = None;
                    self.note(|| format!("client {}: acknowledged {}", n + 1, shown(&command)));
                    return self.witness_acknowledged(&command);
                }
                issued.tries += 1;
                issued.command.all = true;
                if issued.tries >= TRIES_MAX {
                    self.clients[n].current = None;
                } else {
                    let again = self.agenda.now() + self.dice.ms(50, 400);
                    let tick = Tick::Again(0);
                    self.agenda.at(again, Event::Timer { to: run, tick, number: 0 });
                }
            }
            _ => {}
        }
    }

    /// A worker was just declared lost: somebody commands something about what is placed there, which
    /// another scheduler may write while the first one moves it.
    pub(crate) fn meddle(&mut self, worker: &WorkerName) {
        let here = adapter::placed_here(&self.witness.oracle, worker);
        let free = self.clients.iter().position(|client| client.current.is_none());
        let (Some(n), Some(name)) = (free, here.first()) else { return };
        if self.quiet || !self.dice.one_in(2) {
            return;
        }
        let what = Asked::Act { verb: Verb::Restart, index: Some(name.index) };
        let command = Command { id: self.uuid(), program: name.program.clone(), what, all: false };
        self.witness_issued(&command);
        self.note(|| format!("client {}: {}", n + 1, shown(&command)));
        self.clients[n].current = Some(Issued { command, tries: 0 });
        let who = Who::Client(n);
        let number = self.procs.get(&who).map_or(0, |process| process.run);
        self.send_command(n, Run { who, number });
    }

    fn send_command(&mut self, n: usize, run: Run) {
        if let Some(issued) = self.clients[n].current.clone() {
            let op = Op::Command(Box::new(issued.command));
            self.clients[n].token = self.call(run, op, CLIENT_PATIENCE);
        }
    }

    /// Whether some client still waits for an answer.
    pub(crate) fn commands_wait(&self) -> bool {
        self.clients.iter().any(|client| client.current.is_some())
    }

    /// A command of a client's own choice.
    fn think(&mut self) -> Command {
        let at = self.dice.below(self.programs.len());
        let name = self.programs[at].clone();
        let id = self.uuid();
        let copies = self.copies(&name);
        let index = (self.dice.one_in(2))
            .then(|| u32::try_from(self.dice.below(copies as usize)).unwrap_or(0));
        let what = match self.dice.range(0, 9) {
            0..=2 => Asked::Act { verb: Verb::Restart, index },
            3..=4 => Asked::Act { verb: Verb::Stop, index },
            5..=7 => Asked::Act { verb: Verb::Start, index },
            _ => Asked::Apply(Box::new(self.another_spec(&name))),
        };
        Command { id, program: name, what, all: false }
    }

    /// A command has reached the bus: one scheduler of the queue group gets it, or all do.
    pub(crate) fn deliver_command(&mut self, from: Run, token: u64, command: &Command) {
        let listens = |n: &usize| {
            let process = self.procs.get(&Who::Scheduler(*n));
            let linked = process.is_some_and(|p| p.alive && p.link.node.is_some());
            linked && self.schedulers[*n].as_ref().is_some_and(|s| s.served)
        };
        let listening: Vec<usize> = (0..self.schedulers.len()).filter(listens).collect();
        let chosen =
            if command.all { listening } else { self.dice.pick(&listening).into_iter().collect() };
        if chosen.is_empty() {
            return self.answer(from, token, Err(Error::NoResponders));
        }
        for n in chosen {
            let who = Who::Scheduler(n);
            let to = Run { who, number: self.procs.get(&who).map_or(0, |p| p.run) };
            let (way, command) = (self.way(), Box::new(command.clone()));
            self.carry(to, way, Event::Command { to, from, token, command });
        }
    }

    /// A scheduler begins to do a command.
    pub(crate) fn begin_command(
        &mut self,
        n: usize,
        run: Run,
        from: Run,
        token: u64,
        command: Command,
    ) {
        let now = self.clock(run.who);
        let number = self.tokens + 1;
        self.tokens += 1;
        let Some(s) = &mut self.schedulers[n] else { return };
        // Rule: what piled up during a freeze was long since given to another.
        if s.pulse.is_stale(now) {
            return;
        }
        let commanded =
            Commanded { from, token, command, read: Vec::new(), races: 0, writing: false };
        s.commands.insert(number, commanded);
        self.command_step(n, run, number);
    }

    /// Tries again after a lost race.
    pub(crate) fn command_again(&mut self, n: usize, run: Run, number: u64) {
        self.command_step(n, run, number);
    }

    fn command_step(&mut self, n: usize, run: Run, number: u64) {
        let planted = self.setup.planted;
        let (id, wall) = (ProgramId(self.uuid()), self.wall());
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(mut doing) = s.commands.remove(&number) else { return };
        let in_placement = planted == Some(Planted::CommandInPlacement);
        let op = if in_placement
            && matches!(doing.command.what, Asked::Act { verb: Verb::Restart, .. })
        {
            doing.in_placement(&s.core)
        } else {
            doing.next(id, wall)
        };
        match op {
            Ok(op) => {
                s.commands.insert(number, doing);
                let token = self.call(run, op, PATIENCE);
                if let Some(s) = &mut self.schedulers[n] {
                    s.calls.insert(token, Pending::Command(number));
                }
            }
            Err(Ok(_)) => self.audit(n, run, &doing.command, (doing.from, doing.token)),
            Err(result) => self.reply(run, doing.from, doing.token, result),
        }
    }

    /// An answer of one process to another, by way of the bus.
    pub(crate) fn reply(&mut self, by: Run, to: Run, token: u64, result: Answered) {
        let host = self.host(by.who);
        let linked = self.procs.get(&by.who).is_some_and(|p| p.link.node.is_some());
        if linked && !self.nets[host].cut_out {
            self.answer(to, token, result);
        }
    }

    /// A step of a command is answered.
    pub(crate) fn command_answered(&mut self, n: usize, run: Run, number: u64, result: Answered) {
        let again = self.agenda.now() + self.dice.range(0, 20 * MS);
        let Some(s) = &mut self.schedulers[n] else { return };
        let Some(doing) = s.commands.get_mut(&number) else { return };
        if lost_race(&result) && doing.races < RACES_MAX {
            doing.races += 1;
            doing.read.clear();
            doing.writing = false;
            let tick = Tick::Again(number);
            return self.agenda.at(again, Event::Timer { to: run, tick, number: 0 });
        }
        let (to, command) = ((doing.from, doing.token), doing.command.clone());
        match result {
            Ok(Answer::Entry(entry)) => {
                doing.read.push(entry.map(|entry| *entry));
                self.command_step(n, run, number);
            }
            Ok(_) => {
                s.commands.remove(&number);
                self.audit(n, run, &command, to);
            }
            Err(e) => {
                s.commands.remove(&number);
                self.reply(run, to.0, to.1, Err(e));
            }
        }
    }
}

impl Commanded {
    /// The next step, or the answer.
    fn next(&mut self, id: ProgramId, wall: Timestamp) -> Result<Op, Answered> {
        let program = self.command.program.clone();
        let get = |bucket, pattern: String| Ok(Op::Get { bucket, pattern });
        match (&self.command.what, self.read.len()) {
            (Asked::Apply(_), 0) => get(Bucket::Programs, program.to_string()),
            (Asked::Apply(spec), _) => {
                let entry = self.read.first().cloned().flatten();
                let seq = entry.as_ref().map_or(0, |entry| entry.seq);
                let stored: Option<Program> = entry.and_then(|e| e.json().ok().flatten());
                let new = stored.is_none();
                if stored.as_ref().is_some_and(|p| p.commands.has_acted(self.command.id)) {
                    return Err(Ok(Answer::Done));
                }
                let by = UserName::default();
                let author = Author {
                    command: self.command.id,
                    verb: "apply",
                    sender: Sender { by: &by, at: wall.unix_seconds() },
                    at: wall,
                };
                let mut revised = revised(&program, stored, spec, &author, None);
                if revised.change == Change::Unchanged {
                    return Err(Ok(Answer::Done));
                }
                if new {
                    revised.program.id = id;
                }
                let record = revised.program;
                write(
                    Bucket::Programs,
                    Write::put(program.as_str(), &record).map(|w| w.expect(seq)),
                )
            }
            // The guard is read first: what is written after it makes the write fail.
            (Asked::Act { .. }, 0) => get(Bucket::Goals, pattern(&program)),
            (Asked::Act { index, .. }, 1) => get(Bucket::Goals, goal_key(&program, *index)),
            (Asked::Act { verb, index }, _) => {
                let last = self.read[0].as_ref().map_or(0, |entry| entry.seq);
                let stored = self.read[1].as_ref();
                let goal: Goal = stored.and_then(|e| e.json().ok().flatten()).unwrap_or_default();
                if goal.commands.has_acted(self.command.id) {
                    return Err(Ok(Answer::Done));
                }
                let by = UserName::default();
                let sender = Some(Sender { by: &by, at: wall.unix_seconds() });
                let order = Order::new(*verb, self.command.id, sender);
                let goal = changed(goal, order, last + 1, 0);
                let put = Write::put(goal_key(&program, *index), &goal);
                write(Bucket::Goals, put.map(|w| w.guard(&pattern(&program), last)))
            }
        }
    }

    /// A restart as a scheduler would do it that keeps commands in placements.
    fn in_placement(&mut self, core: &dsbus_scheduler::core::Core) -> Result<Op, Answered> {
        let Asked::Act { index, .. } = &self.command.what else { return Err(Ok(Answer::Done)) };
        let name =
            dsbus_schema::ids::InstanceId::new(self.command.program.clone(), index.unwrap_or(0));
        let Some((worker, mut placement, guard)) = adapter::placement_of(core, &name) else {
            return Err(Err(Error::NoResponders));
        };
        placement.wanted.restarts += 1;
        let put = Write::put(instance_key(&worker, &name), &placement);
        write(Bucket::Fleet, put.map(|w| w.guard(&placement_guard(&name), guard)))
    }
}

fn pattern(program: &ProgramName) -> String {
    format!("{program}.*")
}

fn write(bucket: Bucket, write: Result<Write, Error>) -> Result<Op, Answered> {
    match write {
        Ok(write) => Ok(Op::Write { bucket, writes: vec![write] }),
        Err(e) => Err(Err(e)),
    }
}

/// A command in a word or two.
pub(crate) fn shown(command: &Command) -> String {
    match &command.what {
        Asked::Act { verb, index: None } => format!("{} {}", verb.name(), command.program),
        Asked::Act { verb, index: Some(index) } => {
            format!("{} {}:{index}", verb.name(), command.program)
        }
        Asked::Apply(spec) => format!("apply {} ({})", command.program, summary(spec)),
    }
}

fn summary(spec: &dsbus_schema::program::ProgramSpec) -> String {
    let exclusive = if spec.exclusive { ", exclusive" } else { "" };
    format!("{} copies, T {} s{exclusive}", spec.numprocs, spec.touch_seconds())
}
