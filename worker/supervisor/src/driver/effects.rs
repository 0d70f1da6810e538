//! Doing what the table wants done.

use std::collections::VecDeque;
use std::sync::Arc;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Probe, ProgramSpec};
use uuid::Uuid;

use super::{Driver, Source};
use crate::clock::Now;
use crate::errands::{Errand, Purpose};
use crate::instance::{Effect, HookOutcome, Input, Question};
use crate::poller::Ready;
use crate::protocol::{Asked, ProcessEvent, Reported};
use crate::table::Effects;

impl Driver {
    /// Does what the table wants done, and what comes of it.
    pub(super) fn perform(&mut self, effects: Effects, now: Now) {
        let mut left = VecDeque::from(effects);
        while let Some((name, effect)) = left.pop_front() {
            if let Some(input) = self.do_one(&name, effect, now) {
                left.extend(self.table.handle(&name, input, now));
            }
        }
    }

    /// Does one thing; what it is answered with, if that is known at once.
    fn do_one(&mut self, name: &InstanceId, effect: Effect, now: Now) -> Option<Input> {
        match effect {
            Effect::Spawn { spec, epoch } => return Some(self.spawn(name, &spec, epoch)),
            Effect::Signal { pid, signal, group } => {
                self.children.signal(pid, signal.number(), group);
            }
            Effect::Kill { pid } => {
                let others = self.others();
                self.children.kill(pid, &others);
            }
            Effect::Hook { point, hook, spec, pid, exit } => {
                let argv = hook.argv();
                let mut extra = vec![("DSBUS_HOOK", point.to_string())];
                extra.extend(pid.map(|pid| ("DSBUS_PID", pid.to_string())));
                let (code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
                extra.extend(code.map(|code| ("DSBUS_EXIT_CODE", code.to_string())));
                extra.extend(signal.map(|signal| ("DSBUS_EXIT_SIGNAL", signal.to_string())));
                let until = now.boot + hook.timeout.0;
                let purpose = Purpose::Hook(point);
                let why = argv
                    .and_then(|argv| self.run_errand(name, &spec, purpose, &argv, &extra, until));
                let failed = |why| HookOutcome::Failed { why, exit: None };
                return why.err().map(|why| Input::HookEnded { point, outcome: failed(why) });
            }
            Effect::KillHook { point } => self.errands.kill_hook(name, point),
            Effect::Ask { pid, question, probe, spec } => {
                return self.ask(name, pid, question, &probe, &spec, now);
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
                self.report(Reported::Gone { name: name.clone(), epoch });
            }
            Effect::Worker { change, reason } => self.worker_event(change, Some(reason)),
            Effect::EndWorker { code, reason } => {
                self.end_asked.get_or_insert((code, reason));
            }
        }
        None
    }

    /// Asks a child; a command is run here, and the network is the agent's.
    fn ask(
        &mut self,
        name: &InstanceId,
        pid: i32,
        question: Question,
        probe: &Probe,
        spec: &Arc<ProgramSpec>,
        now: Now,
    ) -> Option<Input> {
        let failed = |why| Some(Input::Probed { pid, question, trouble: Some(why) });
        let network = match (&probe.http, &probe.tcp) {
            (Some(address), _) => Some((address, Asked::Http as fn(String) -> Asked)),
            (None, Some(address)) => Some((address, Asked::Tcp as fn(String) -> Asked)),
            (None, None) => None,
        };
        if let Some((address, ask)) = network {
            return match self.expanded(name, spec, address) {
                Ok(address) => {
                    let said = self.questions.add(name.clone(), pid, question, ask(address), probe);
                    self.agent.send(&said);
                    None
                }
                Err(why) => failed(why),
            };
        }
        let argv = probe.exec.as_ref().map(|command| command.argv(false))?;
        let purpose = Purpose::Question { pid, question };
        let until = now.boot + probe.timeout.0;
        let run = argv.and_then(|argv| self.run_errand(name, spec, purpose, &argv, &[], until));
        run.err().and_then(failed)
    }

    /// Runs a command beside a child.
    fn run_errand(
        &mut self,
        name: &InstanceId,
        spec: &Arc<ProgramSpec>,
        purpose: Purpose,
        argv: &[String],
        extra: &[(&str, String)],
        until: BootTime,
    ) -> Result<(), String> {
        let (pid, pipe) = self.start_helper(name, spec, argv, extra)?;
        let output = self.source(Source::Output);
        let plan = match purpose {
            // What it says goes where the child's words go.
            Purpose::Hook(_) => self.plan(name, spec, Channel::Stdout),
            Purpose::Question { .. } => crate::output::Plan::default(),
        };
        let speaker = self.speaker(name, pid, Channel::Stdout);
        self.streams.open(&self.poller, output, pipe, plan, speaker);
        self.errands.add(pid, Errand::new(name.clone(), purpose, until, output));
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
