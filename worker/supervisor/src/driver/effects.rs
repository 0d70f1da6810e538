//! Doing what the table wants done.

use std::collections::VecDeque;
use std::sync::Arc;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Probe, ProgramSpec};
use dsbus_schema::state::Exit;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Driver, Source, TURN};
use crate::clock::{self, Now};
use crate::errands::{Errand, Kin, Purpose};
use crate::instance::{Effect, HookId, HookOutcome, Input, Instance, Question};
use crate::marks;
use crate::output::Plan;
use crate::poller::Ready;
use crate::process;
use crate::protocol::{Asked, Child, ProcessEvent, Reported, ToAgent};
use crate::table::Effects;

/// A command that is to run beside a child.
#[derive(Debug, Clone, Copy)]
struct Beside<'a> {
    name: &'a InstanceId,
    spec: &'a Arc<ProgramSpec>,
    purpose: Purpose,
    until: BootTime,
}

/// What a hook finds in its environment: which one it is, which child it is about, and how that
/// ended.
fn facts_for_a_hook(id: HookId, exit: Option<Exit>) -> Vec<(&'static str, String)> {
    let (code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
    let fact = |name, value: Option<i32>| value.map(|value| (name, value.to_string()));
    let facts = [
        fact("DSBUS_PID", id.pid),
        fact("DSBUS_EXIT_CODE", code),
        fact("DSBUS_EXIT_SIGNAL", signal),
    ];
    facts.into_iter().flatten().chain([("DSBUS_HOOK", id.point.to_string())]).collect()
}

/// A child that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    name: InstanceId,
    #[serde(with = "crate::handover::specs")]
    spec: Arc<ProgramSpec>,
    epoch: Epoch,
}

impl Driver {
    /// Does what the table wants done, and what comes of it. Children are started when their turn
    /// comes: see [`Driver::start_children`].
    pub(super) fn perform(&mut self, effects: Effects, now: Now) {
        let mut left = VecDeque::from(effects);
        while let Some((name, effect)) = left.pop_front() {
            if let Some(input) = self.do_one(&name, effect, now) {
                left.extend(self.table.handle(&name, input, now));
            }
        }
    }

    /// Starts the children that were asked for, for one turn: a thousand of them may be asked for
    /// by one lease, and none may keep a deadline from being kept.
    pub(super) fn start_children(&mut self) {
        if !self.wanted.is_empty() {
            // Starting takes longer than telling the agent what went before, such as the end of the
            // last child (measured: 1 ms and 0.05 ms).
            self.tell_agent();
        }
        let begin = clock::now();
        let mut now = begin;
        while now.boot.since(begin.boot) < TURN
            && let Some(Wanted { name, spec, epoch }) = self.wanted.pop_front()
        {
            let wanted = |i: &Instance| i.still_wants(&spec, epoch, now.boot);
            let wanted = self.table.get(&name).is_some_and(wanted);
            if wanted && self.secrets.awaited(&spec) {
                self.held.push(Wanted { name, spec, epoch });
                continue;
            }
            let input = if wanted { self.spawn(&name, &spec, epoch) } else { Input::NotSpawned };
            let effects = self.table.handle(&name, input, clock::now());
            now = clock::now();
            self.perform(effects, now);
        }
    }

    /// Does one thing; what it is answered with, if that is known at once.
    fn do_one(&mut self, name: &InstanceId, effect: Effect, now: Now) -> Option<Input> {
        match effect {
            Effect::Spawn { spec, epoch } => {
                self.wanted.push_back(Wanted { name: name.clone(), spec, epoch });
            }
            Effect::Signal { pid, signal, group } => {
                let others = self.others();
                self.children.signal(name, pid, signal.number(), group, &others);
            }
            Effect::Kill { pid } => {
                let others = self.others();
                self.children.kill(name, pid, &others, now.boot);
            }
            Effect::Hook { id, hook, spec, exit } => {
                let until = now.boot + hook.timeout.0;
                let beside = Beside { name, spec: &spec, purpose: Purpose::Hook(id), until };
                let run = hook
                    .argv()
                    .and_then(|argv| self.run_errand(&beside, &argv, &facts_for_a_hook(id, exit)));
                let failed = |why| HookOutcome::Failed { why, exit: None };
                return run.err().map(|why| Input::HookEnded { hook: id, outcome: failed(why) });
            }
            Effect::KillHook { id } => self.errands.kill_hook(name, id, now.boot),
            Effect::Ask { pid, question, probe, spec } => {
                let until = now.boot + probe.timeout.0;
                let purpose = Purpose::Question { pid, question };
                let beside = Beside { name, spec: &spec, purpose, until };
                let why = self.ask(&beside, pid, question, &probe).err()?;
                return Some(Input::Probed { pid, question, trouble: Some(why) });
            }
            Effect::Change { pid, spec } => self.change(pid, &spec, now),
            Effect::Report { mut status, fact } => {
                let event = fact.map(|fact| {
                    let id = Uuid::now_v7();
                    status.event = Some(id);
                    Box::new(ProcessEvent { id, time: now.wall, fact: *fact })
                });
                self.report(Reported::Instance { name: name.clone(), status, event });
            }
            Effect::Notice(fact) => self.tell_notice(*fact, now),
            Effect::Gone { epoch } => {
                self.sockets.release(name);
                self.mark(name, marks::over, epoch);
                if self.forgotten.remove(name) == Some(epoch) {
                    self.forget(name);
                }
                self.forget_secrets();
                self.report(Reported::Gone { name: name.clone(), epoch });
            }
            Effect::Worker { change, reason } => self.worker_event(change, Some(reason)),
            Effect::EndWorker { code, reason } => {
                self.end_asked.get_or_insert((code, reason));
            }
        }
        None
    }

    /// Removes the directory of an instance that is not here any more.
    fn forget(&self, name: &InstanceId) {
        if let Err(e) = self.home.forget(name) {
            tracing::warn!("the directory of {name} cannot be removed: {e}");
        }
    }

    /// Asks a child; a command is run here, and the network is the agent's.
    fn ask(
        &mut self,
        beside: &Beside<'_>,
        pid: i32,
        question: Question,
        probe: &Probe,
    ) -> Result<(), String> {
        let Beside { name, spec, .. } = *beside;
        let network = match (&probe.http, &probe.tcp) {
            (Some(address), _) => Some(Asked::Http(self.expanded(name, spec, address)?)),
            (None, Some(address)) => Some(Asked::Tcp(self.expanded(name, spec, address)?)),
            (None, None) => None,
        };
        if let Some(ask) = network {
            let said = self.questions.add(name.clone(), pid, question, ask, probe);
            self.agent.send(&said);
            return Ok(());
        }
        let command = probe.exec.as_ref().ok_or("there is no question")?;
        self.run_errand(beside, &command.argv(false)?, &[])
    }

    /// Runs a command beside a child.
    fn run_errand(
        &mut self,
        beside: &Beside<'_>,
        argv: &[String],
        extra: &[(&str, String)],
    ) -> Result<(), String> {
        let Beside { name, spec, purpose, until } = *beside;
        let helper = self.start_helper(name, spec, argv, extra)?;
        let (pid, pipe) = (helper.pid, helper.output);
        if spec.exclusive {
            // The agent must not let it outlive the lease, either.
            let start_time = process::start_time(pid).unwrap_or(0);
            let epoch = self.table.get(name).map_or(Epoch(0), Instance::epoch);
            let (name, lease) = (name.clone(), Some(spec.touch_seconds()));
            let cgroup = helper.cgroup.as_ref().map(|cgroup| cgroup.path().display().to_string());
            let child = Child { name, epoch, pid, start_time, lease, group: None, cgroup };
            self.agent.send(&ToAgent::Child(child));
        }
        let output = self.source(Source::Output);
        let plan = match purpose {
            // What it says goes where the child's words go.
            Purpose::Hook(_) => self.plan(name, spec, Channel::Stdout),
            Purpose::Question { .. } => Plan::default(),
        };
        let speaker = self.speaker(name, pid, Channel::Stdout);
        self.streams.open(&self.poller, output, pipe, plan, speaker);
        let kin = Kin { cgroup: helper.cgroup, mark: helper.mark };
        self.errands.add(pid, Errand::new(name.clone(), purpose, until, output, kin));
        Ok(())
    }

    /// Keys that act from outside changed.
    fn change(&mut self, pid: i32, spec: &Arc<ProgramSpec>, now: Now) {
        let Some(living) = self.children.by_pid(pid) else { return };
        living.spec = Arc::clone(spec);
        let name = living.child.name.clone();
        let sources = [(living.stdout, Channel::Stdout), (living.stderr, Channel::Stderr)];
        for (source, channel) in sources {
            if let Some(number) = source {
                let plan = self.plan(&name, spec, channel);
                self.link(&name, spec, channel, &plan);
                let told = self.streams.change(number, plan);
                self.tell_output(told, now);
            }
        }
        self.watch_binary(pid);
    }

    /// Watches the executable of a child, where that is wanted.
    pub(super) fn watch_binary(&mut self, pid: i32) {
        let Some(living) = self.children.by_pid(pid) else { return };
        self.binaries.forget(pid);
        if !living.spec.restart_when_binary_changed {
            return;
        }
        if let Err(why) = self.binaries.watch(pid, &living.executable) {
            tracing::warn!("{}: {why}", living.child.name);
        }
        self.hear_binaries();
    }

    pub(super) fn hear_binaries(&mut self) {
        if self.binaries_source.is_none() && self.binaries.fd().is_some() {
            let number = self.source(Source::Binaries);
            self.binaries_source = Some(number);
            if let Some(Err(e)) =
                self.binaries.fd().map(|fd| self.poller.add(Ready::Source(number), fd))
            {
                tracing::error!("cannot watch executables: {e}");
            }
        }
    }

    /// Restarts children whose executable changed.
    pub(super) fn restart_changed(&mut self, now: Now) {
        for pid in self.binaries.due(now.boot) {
            let Some(name) = self.children.by_pid(pid).map(|living| living.child.name.clone())
            else {
                continue;
            };
            let effects = self.table.handle(&name, Input::BinaryChanged, now);
            self.perform(effects, now);
        }
    }
}
