//! The edge of an agent: what its loop does with a bus, a socket and a clock, done with simulated
//! ones. What decides is the agent's own: [`BusSide`], [`Publisher`], [`Pings`], [`Deadlines`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_agent::bus_side::{BusSide, Deed};
use dsbus_agent::deadlines::Deadlines;
use dsbus_agent::{LIVE_MAX, identity::Identity, pings::Pings, publish::Publisher, touch::Rules};
use dsbus_client::{Error, Write};
use dsbus_schema::call::Pong;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, touch_key, worker_keys};
use dsbus_supervisor::protocol::{Hello, ToAgent, ToSupervisor};

use crate::dice::MS;
use crate::errands::Errand;
use crate::event::{Answer, Answered, Event, Op, Run, Tick, Who};
use crate::planted::{self, Planted};
use crate::scheduler::seq;
use crate::world::World;

/// How long whoever holds the name may take to answer.
const ASK_MAX: Duration = Duration::from_millis(500);
/// SIGKILL.
const KILL: i32 = 9;

/// What a call of an agent is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pending {
    Touch { seconds: u64, attempt: u64 },
    Ask,
    Errand(u64),
}

/// An agent.
#[derive(Debug)]
pub(crate) struct Agent {
    side: BusSide,
    pub(crate) publisher: Publisher,
    pings: Pings,
    deadlines: Deadlines,
    children: BTreeSet<i32>,
    pong: Pong,
    /// When the supervisor last answered.
    answered: BootTime,
    serves: bool,
    /// It had a connection.
    online: bool,
    leaving: bool,
    done: u64,
    pub(crate) calls: BTreeMap<u64, Pending>,
    pub(crate) errands: BTreeMap<u64, Errand>,
    /// The supervisor of this agent.
    parent: Run,
    say_at: u64,
    timer: u64,
}

impl Agent {
    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    pub(crate) fn side(&mut self) -> &mut BusSide {
        &mut self.side
    }

    /// Whether nothing waits to be done.
    pub(crate) fn idle(&self) -> bool {
        self.errands.is_empty() && self.publisher.idle()
    }
}

impl World {
    /// The supervisor said hello.
    fn agent_begins(&mut self, n: usize, run: Run, hello: Hello) {
        let now = self.clock(run.who);
        let me = Identity {
            machine: format!("m{n}"),
            boot: self.machines[n].boot,
            directory: hello.directory.clone(),
            host: format!("h{n}"),
            incarnation: hello.incarnation,
            began: now,
        };
        let mut deadlines = Deadlines::default();
        for child in &hello.children {
            child.lease.iter().for_each(|seconds| deadlines.add(*seconds, child.pid));
        }
        hello.leases.iter().for_each(|&(seconds, until)| deadlines.extend(seconds, until));
        let parent = Who::Supervisor(n);
        let parent = Run { who: parent, number: self.procs.get(&parent).map_or(0, |p| p.run) };
        self.agents[n] = Some(Agent {
            pong: me.pong(hello.supervisor_pid),
            publisher: Publisher::new(
                FleetName::default(),
                hello.worker.clone(),
                hello.incarnation,
            ),
            children: hello.children.iter().map(|child| child.pid).collect(),
            side: BusSide::new(hello, me, now).without(planted::touch(self.setup.planted)),
            pings: Pings::default(),
            deadlines,
            answered: now,
            serves: false,
            online: false,
            leaving: false,
            done: 0,
            calls: BTreeMap::new(),
            errands: BTreeMap::new(),
            parent,
            say_at: 0,
            timer: 0,
        });
        // A cut that healed while it began may have connected it already, when nobody was told.
        self.drop_link(run);
        let pause = self.dice.ms(1, 30);
        self.reconnect(run, pause);
    }

    /// Something happens to an agent.
    pub(crate) fn wake_agent(&mut self, n: usize, event: Event) {
        let Some(run) = event.to() else { return };
        let now = self.clock(run.who);
        if let Event::Said { message, .. } = event {
            match *message {
                ToAgent::Hello(hello) => self.agent_begins(n, run, hello),
                message => self.agent_told(n, message, now),
            }
            return self.agent_loop(n, run);
        }
        let Some(a) = &self.agents[n] else { return };
        if let Event::Timer { tick: Tick::Loop, number, .. } = event
            && number != a.timer
        {
            return;
        }
        match event {
            Event::LinkUp(_) => self.agent_linked(n, now),
            Event::LinkDown(_) => {
                if let Some(a) = self.agents[n].as_mut().filter(|a| a.online) {
                    a.side.connection(false, now);
                }
            }
            Event::Answered { token, result, .. } => self.agent_answered(n, run, token, result),
            Event::Deliver { watch, generation, item, .. } => {
                if self.delivered(watch, generation, &item)
                    && let Some(a) = &mut self.agents[n]
                {
                    a.side.watched(item, now);
                }
            }
            Event::Asked { from, token, .. } => self.agent_asked(n, run, from, token),
            Event::Timer { tick: Tick::Again(errand), .. } => self.errand_step(n, run, errand),
            Event::SupervisorGone { .. } => return self.agent_ends(n),
            _ => {}
        }
        self.agent_loop(n, run);
    }

    fn agent_linked(&mut self, n: usize, now: BootTime) {
        let Some(a) = &mut self.agents[n] else { return };
        if std::mem::replace(&mut a.online, true) {
            a.publisher.write_again();
            a.side.connection(true, now);
        } else {
            a.side.learn();
        }
    }

    fn agent_told(&mut self, n: usize, message: ToAgent, now: BootTime) {
        let Some(a) = &mut self.agents[n] else { return };
        match message {
            ToAgent::Child(child) => {
                a.side.handed(child.name.clone());
                a.children.insert(child.pid);
                child.lease.iter().for_each(|seconds| a.deadlines.add(*seconds, child.pid));
            }
            ToAgent::ChildGone { pid } => {
                a.children.remove(&pid);
                a.deadlines.gone(pid);
            }
            ToAgent::Report(report) => a.publisher.push(report),
            ToAgent::Pong { number } => {
                if let Some(at) = a.pings.answered(number) {
                    a.answered = a.answered.max(at);
                    a.side.supervisor_answered(at, now);
                }
            }
            ToAgent::Ping { number } => self.agent_says(n, ToSupervisor::Pong { number }),
            ToAgent::Held { name, placement } => a.side.held(name, *placement),
            ToAgent::LetGo { name, placement } => a.side.let_go(name, *placement),
            ToAgent::Stands { name, status } => a.publisher.stands(name, status),
            ToAgent::Stopping { reason } => a.side.stopping(&reason),
            ToAgent::Bye => a.leaving = true,
            ToAgent::Described { labels, capacity, policy } => {
                a.side.described(labels, capacity, policy);
            }
            ToAgent::Hello(_)
            | ToAgent::Probe { .. }
            | ToAgent::Secret { .. }
            | ToAgent::Cleared { .. }
            | ToAgent::Handed { .. }
            | ToAgent::Drain => {}
        }
    }

    fn agent_asked(&mut self, n: usize, run: Run, from: Run, token: u64) {
        let now = self.clock(run.who);
        let Some(a) = &mut self.agents[n] else { return };
        let omitted = self.setup.planted == Some(Planted::SilentSupervisor);
        if now.since(a.answered) <= LIVE_MAX || omitted {
            a.side.hurry(now);
            let pong = Ok(Answer::Pong(Box::new(a.pong.clone())));
            self.reply(run, from, token, pong);
        }
    }

    fn agent_answered(&mut self, n: usize, run: Run, token: u64, result: Answered) {
        let now = self.clock(run.who);
        let Some(a) = &mut self.agents[n] else { return };
        match a.calls.remove(&token) {
            None => {}
            Some(Pending::Touch { seconds, attempt }) => {
                a.side.touched(seconds, attempt, seq(result), now);
            }
            Some(Pending::Ask) => match result {
                Ok(Answer::Pong(pong)) => a.side.asked(Some(&pong), now),
                Err(Error::Timeout | Error::NoResponders) => a.side.asked(None, now),
                _ => {
                    let number = self.tokens + 1;
                    self.tokens += 1;
                    self.begin_errand(n, run, number, Errand::Ask);
                }
            },
            Some(Pending::Errand(number)) => self.errand_answered(n, run, number, result),
        }
    }

    /// One turn of the loop.
    pub(crate) fn agent_loop(&mut self, n: usize, run: Run) {
        let now = self.clock(run.who);
        let Some(a) = &mut self.agents[n] else { return };
        if self.setup.planted != Some(Planted::OneEnforcer) {
            for (pid, _) in a.deadlines.late(now) {
                self.note(|| format!("w{}: the agent kills {pid}", n + 1));
                self.signal(n, pid, KILL, true);
            }
        }
        let due = |a: &mut Agent| a.pings.due(a.side.ping_interval(), now);
        if let Some(number) = self.agents[n].as_mut().and_then(due) {
            self.agent_says(n, ToSupervisor::Ping { number });
        }
        let Some(a) = &mut self.agents[n] else { return };
        a.side.tick(true, now);
        self.carry_out(n, run);
        self.agent_publishes(n, run);
        let Some(a) = &mut self.agents[n] else { return };
        let through = a.publisher.through();
        if through > a.done {
            a.done = through;
            self.agent_says(n, ToSupervisor::Done { through });
        }
        let Some(a) = &mut self.agents[n] else { return };
        if a.leaving && a.publisher.idle() {
            a.leaving = false;
            self.agent_says(n, ToSupervisor::Finished);
        }
        self.arm_agent(n, run, now);
    }

    fn arm_agent(&mut self, n: usize, run: Run, now: BootTime) {
        let Some(a) = &mut self.agents[n] else { return };
        let next = [a.deadlines.next(), a.side.deadline(now), Some(a.pings.deadline())];
        let next = next.into_iter().flatten().min().unwrap_or(now);
        let soon = self.agenda.now() + MS;
        let at = self.machines[n].moment(next).max(soon);
        if at != a.timer {
            a.timer = at;
            self.agenda.at(at, Event::Timer { to: run, tick: Tick::Loop, number: at });
        }
    }

    /// Does what the bus side wants done.
    fn carry_out(&mut self, n: usize, run: Run) {
        while let Some(deed) = self.agents[n].as_mut().and_then(|a| a.side.next_deed()) {
            self.deed(n, run, deed);
        }
    }

    fn deed(&mut self, n: usize, run: Run, deed: Deed) {
        self.note(|| format!("w{}: {}", n + 1, short(&deed)));
        let worker = self.worker(n);
        let number = self.tokens + 1;
        match deed {
            Deed::Watch => self.watch(run, Bucket::Fleet, &worker_keys(&worker)),
            Deed::Ask => {
                let token = self.call(run, Op::Ping(n), ASK_MAX);
                self.pend(n, token, Pending::Ask);
            }
            Deed::LookUp(names) => {
                self.tokens += 1;
                self.begin_errand(n, run, number, Errand::look_up(names));
            }
            Deed::Serve => {
                if let Some(a) = &mut self.agents[n] {
                    a.serves = true;
                }
            }
            Deed::Touch { seconds, touch, expect } => {
                let Ok(write) = Write::put(touch_key(&worker, seconds), &touch) else { return };
                let mut write = write.expect(expect);
                if self.setup.planted != Some(Planted::NoTtl) {
                    write = write.ttl(seconds);
                }
                let op = Op::Write { bucket: Bucket::Fleet, writes: vec![write] };
                let token = self.call(run, op, Rules::new(seconds).patience());
                self.pend(n, token, Pending::Touch { seconds, attempt: touch.attempt });
            }
            Deed::Say(message) => self.agent_says(n, message),
            Deed::Extend { seconds, until } => {
                let moment = self.machines[n].moment(until);
                self.witness_promise(&worker, seconds, moment);
                self.note(|| {
                    format!("w{}: lease of {seconds} s until {:.4}", n + 1, crate::seconds(moment))
                });
                if let Some(a) = &mut self.agents[n] {
                    a.deadlines.extend(seconds, until);
                }
                self.agent_says(n, ToSupervisor::Lease { seconds, until });
            }
            Deed::Record => {
                self.tokens += 1;
                self.begin_errand(n, run, number, Errand::Record);
            }
            Deed::Tell(fact) => self.agent_tells(n, run, fact),
            Deed::Reconnect => self.force_reconnect(run),
            Deed::WriteAgain { .. } => {
                self.agents[n].iter_mut().for_each(|a| a.publisher.write_again());
            }
            Deed::StopStatuses => {
                self.agents[n].iter_mut().for_each(|a| a.publisher.stop_statuses());
            }
            Deed::Bar(word) => {
                self.agents[n].iter_mut().for_each(|a| a.serves = false);
                self.drop_watches(run);
                self.agent_says(n, word);
            }
        }
    }

    pub(crate) fn pend(&mut self, n: usize, token: u64, pending: Pending) {
        if let Some(a) = &mut self.agents[n] {
            a.calls.insert(token, pending);
        }
    }

    /// The agent says something to its supervisor, over the socket.
    pub(crate) fn agent_says(&mut self, n: usize, message: ToSupervisor) {
        let way = self.dice.range(MS / 50, MS / 2);
        let now = self.agenda.now();
        let from =
            Run { who: Who::Agent(n), number: self.procs.get(&Who::Agent(n)).map_or(0, |p| p.run) };
        let Some(a) = &mut self.agents[n] else { return };
        a.say_at = a.say_at.max(now + way);
        let (to, at) = (a.parent, a.say_at);
        self.agenda.at(at, Event::Heard { to, from, message: Box::new(message) });
    }

    /// The supervisor is dead: everything that it started is killed, and the agent ends.
    fn agent_ends(&mut self, n: usize) {
        let parent = self.agents[n].as_ref().map(|a| a.parent);
        let mine = |kid: &crate::machine::Kid| Some(kid.parent) == parent;
        let pids: Vec<i32> =
            self.machines[n].kids.iter().filter(|(_, k)| mine(k)).map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.signal(n, pid, KILL, true);
        }
        self.kill_process(Who::Agent(n));
    }
}

fn short(deed: &Deed) -> String {
    match deed {
        Deed::Touch { seconds, touch, expect } => {
            format!("touches {seconds} s, attempt {}, expects {expect}", touch.attempt)
        }
        Deed::Say(message) => format!("says {message:?}").chars().take(60).collect(),
        deed => format!("{deed:?}").chars().take(60).collect(),
    }
}
