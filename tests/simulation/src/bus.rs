//! The way to the bus and back: connections to NATS nodes, and what happens to messages on them.

use std::time::Duration;

use dsbus_client::Error;

use crate::agent::Agent;
use crate::dice::MS;
use crate::event::{Answered, Call, Event, Op, Run, Who};
use crate::world::World;

/// A client whose machine is cut off notices after so long (its pings stay unanswered).
const NOTICE_MS: (u64, u64) = (2_000, 4_000);

/// A NATS server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    /// How far its wall clock is off, in nanoseconds.
    pub(crate) skew: i128,
}

/// A process's connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) node: Option<usize>,
    /// Messages of one connection do not overtake each other.
    forward: u64,
    /// Nor do those that a watch delivers.
    delivery: u64,
    /// Nothing passes before this.
    pub(crate) stalled_until: u64,
    attempt: u64,
}

impl Link {
    /// When something arrives on it that would at the earliest arrive `at`.
    fn arrival(&mut self, at: u64, event: &Event) -> u64 {
        let mut at = at.max(self.stalled_until);
        if matches!(event, Event::Deliver { .. }) {
            at = at.max(self.delivery);
            self.delivery = at;
        }
        at
    }
}

/// A machine's network.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Nothing leaves.
    pub(crate) cut_out: bool,
    /// Nothing arrives.
    pub(crate) cut_in: bool,
    /// What waits for the end of a cut.
    held: Vec<Event>,
}

impl World {
    /// Which machine's network a process uses.
    pub(crate) fn host(&self, who: Who) -> usize {
        let (workers, schedulers) = (self.setup.workers, self.setup.schedulers);
        match who {
            Who::Agent(n) | Who::Supervisor(n) => n,
            Who::Scheduler(n) => workers + n,
            Who::Client(n) => workers + schedulers + n,
        }
    }

    /// How long a message takes.
    pub(crate) fn way(&mut self) -> u64 {
        if self.quiet {
            return self.dice.range(MS / 10, 2 * MS);
        }
        match self.dice.range(0, 399) {
            0 => self.dice.ms(100, 250),
            1..=9 => self.dice.ms(5, 100),
            _ => self.dice.range(MS / 10, 2 * MS),
        }
    }

    /// Asks the bus something; the answer comes as [`Event::Answered`] with the token.
    pub(crate) fn call(&mut self, from: Run, op: Op, patience: Duration) -> u64 {
        self.tokens += 1;
        let token = self.tokens;
        let now = self.agenda.now();
        let Some(process) = self.procs.get_mut(&from.who) else { return token };
        if process.link.node.is_none() {
            let result = Err(Error::Disconnected);
            self.agenda.at(now, Event::Answered { to: from, token, result });
            return token;
        }
        let late = now + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.agenda.at(late, Event::Answered { to: from, token, result: Err(Error::Timeout) });
        let way = self.way();
        let host = self.host(from.who);
        let Some(process) = self.procs.get_mut(&from.who) else { return token };
        let link = &mut process.link;
        let arrival = (now + way).max(link.forward).max(link.stalled_until);
        link.forward = arrival;
        let arrives = Event::Arrive(Box::new(Call { from, token, op }));
        if self.nets[host].cut_out {
            self.nets[host].held.push(arrives);
        } else {
            self.agenda.at(arrival, arrives);
        }
        token
    }

    /// Answers a call.
    pub(crate) fn answer(&mut self, to: Run, token: u64, result: Answered) {
        if !self.quiet && self.dice.one_in(600) {
            return;
        }
        let way = self.way();
        self.carry(to, way, Event::Answered { to, token, result });
    }

    /// Carries something from the bus to a process.
    pub(crate) fn carry(&mut self, to: Run, way: u64, event: Event) {
        let (now, host) = (self.agenda.now(), self.host(to.who));
        if self.nets[host].cut_in {
            return self.nets[host].held.push(event);
        }
        let Some(process) = self.procs.get_mut(&to.who) else { return };
        let at = process.link.arrival(now + way, &event);
        self.agenda.at(at, event);
    }

    /// Cuts a machine off, or heals it.
    pub(crate) fn cut(&mut self, host: usize, out: bool, inward: bool) {
        let net = &mut self.nets[host];
        (net.cut_out, net.cut_in) = (out, inward);
        let mut held = std::mem::take(&mut net.held);
        // All of it in order: a connection delivers so.
        let at = self.agenda.now() + self.way();
        let now = self.agenda.now();
        for event in held.drain(..) {
            let outward = matches!(event, Event::Arrive(_));
            if (outward && out) || (!outward && inward) {
                self.nets[host].held.push(event);
            } else {
                let link = event.to().and_then(|to| self.procs.get_mut(&to.who));
                let at = link.map_or(at, |process| process.link.arrival(at, &event));
                self.agenda.at(at, event);
            }
        }
        let here: Vec<Run> = self.runs_on(host);
        for run in here {
            if out || inward {
                let notice = self.dice.ms(NOTICE_MS.0, NOTICE_MS.1);
                self.agenda.at(now + notice, Event::LinkDown(run));
            } else {
                self.reconnect(run, 0);
            }
        }
    }

    /// The living processes of a machine that have a connection of their own.
    pub(crate) fn runs_on(&self, host: usize) -> Vec<Run> {
        let connects = |who: &Who| !matches!(who, Who::Supervisor(_));
        let living = self.procs.iter().filter(|(who, p)| p.alive && connects(who));
        let here = living.filter(|(who, _)| self.host(**who) == host);
        here.map(|(who, process)| Run { who: *who, number: process.run }).collect()
    }

    /// A client notices that its server or its network is gone.
    pub(crate) fn link_down(&mut self, run: Run, lost: Option<usize>) {
        let host = self.host(run.who);
        let cut = self.nets[host].cut_in || self.nets[host].cut_out;
        let Some(process) = self.procs.get_mut(&run.who) else { return };
        let gone = match lost {
            Some(node) => process.link.node == Some(node),
            None => cut && process.link.node.is_some(),
        };
        if !gone || process.run != run.number {
            return;
        }
        self.drop_link(run);
        self.tell_link(run, false);
        let pause = self.dice.ms(2, 300);
        self.reconnect(run, pause);
    }

    /// Forgets the connection: what was on its way back is lost.
    pub(crate) fn drop_link(&mut self, run: Run) {
        let host = self.host(run.who);
        if let Some(process) = self.procs.get_mut(&run.who) {
            process.link.node = None;
            process.link.forward = 0;
            process.link.delivery = 0;
            process.link.stalled_until = 0;
        }
        self.nets[host].held.retain(|event| event.to() != Some(run));
        self.stop_watches(run);
    }

    /// Tries to connect after a pause.
    pub(crate) fn reconnect(&mut self, run: Run, pause: u64) {
        let Some(process) = self.procs.get_mut(&run.who) else { return };
        process.link.attempt += 1;
        let event = Event::Connect { to: run, attempt: process.link.attempt };
        self.agenda.at(self.agenda.now() + pause, event);
    }

    /// Tries to connect.
    pub(crate) fn connect(&mut self, run: Run, attempt: u64) {
        let host = self.host(run.who);
        let cut = self.nets[host].cut_in || self.nets[host].cut_out;
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        let node = self.dice.pick(&up).filter(|_| !cut);
        let pause = self.dice.ms(50, 350);
        let Some(process) = self.procs.get_mut(&run.who) else { return };
        let current = process.alive && process.run == run.number && process.link.attempt == attempt;
        if !current || process.link.node.is_some() {
            return;
        }
        if node.is_none() || process.frozen {
            return self.reconnect(run, pause);
        }
        process.link.node = node;
        self.note(|| format!("{:?} connected", run.who));
        let way = self.way();
        self.agenda.at(self.agenda.now() + way, Event::LinkUp(run));
        self.restart_watches(run);
    }

    /// Leaves the server for another one.
    pub(crate) fn force_reconnect(&mut self, run: Run) {
        self.drop_link(run);
        self.tell_link(run, false);
        let pause = self.dice.ms(1, 20);
        self.reconnect(run, pause);
    }

    /// A node dies: its clients notice at once, and its streams have no leader.
    pub(crate) fn node_down(&mut self, node: usize) {
        self.nodes[node].up = false;
        if self.nodes.iter().all(|node| !node.up) {
            self.witness.bus_away = (self.agenda.now(), u64::MAX);
        }
        let with_link = self.procs.iter().filter(|(_, p)| p.alive && p.link.node == Some(node));
        let runs: Vec<Run> = with_link.map(|(who, p)| Run { who: *who, number: p.run }).collect();
        for run in runs {
            self.link_down(run, Some(node));
        }
        for stream in 0..self.streams.len() {
            if self.streams[stream].leader == Some(node) {
                self.lose_leader(stream);
            }
        }
    }

    /// A request has reached the bus.
    pub(crate) fn arrive(&mut self, call: Call) {
        let Call { from, token, op } = call;
        match op {
            Op::Ping(machine) => self.ask_worker(machine, from, token),
            Op::Command(command) => self.deliver_command(from, token, &command),
            Op::Write { .. }
            | Op::Get { .. }
            | Op::Publish(_)
            | Op::LastEvent { .. }
            | Op::IsTold(_) => {
                self.ask_stream(from, token, op);
            }
        }
    }

    fn ask_worker(&mut self, machine: usize, from: Run, token: u64) {
        let who = Who::Agent(machine);
        let serves = self.agents[machine].as_ref().is_some_and(Agent::serves);
        let to = self.procs.get(&who).filter(|p| p.alive && p.link.node.is_some() && serves);
        let Some(to) = to.map(|p| Run { who, number: p.run }) else {
            return self.answer(from, token, Err(Error::NoResponders));
        };
        let way = self.way();
        self.carry(to, way, Event::Asked { to, from, token });
    }
}
