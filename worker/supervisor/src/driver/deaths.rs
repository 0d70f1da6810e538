//! Children and their helpers that end.

use dsbus_schema::state::{Exit, Usage};

use super::{Driver, TURN};
use crate::children::{Found, Life, Living};
use crate::clock::{self, Now};
use crate::errands::Errand;
use crate::instance::{End, Input, Word};
use crate::notify::Message;
use crate::protocol::ToAgent;
use crate::spawn::{self, Reaped};

/// Children that are told of before one looks at the clock: each may be started again at once.
const BURIED_AT_ONCE: usize = 4;

impl Driver {
    /// Reaps whatever ended.
    pub(super) fn reap(&mut self) {
        let now = clock::now();
        while let Some(Reaped { pid, exit, usage }) = spawn::reap() {
            if self.children.reaped(pid, exit, usage, now.boot) {
                continue;
            }
            if let Some(mut errand) = self.errands.reaped(pid) {
                self.end_kin(pid, &mut errand, now);
                self.errand_ended(pid, &errand, exit, now);
            } else if self.agent.pid() == Some(pid) {
                self.bury_agent(pid, now);
            } else if !self.trial_ended(pid, exit) {
                let well = exit.code == Some(0);
                // What is none of ours was an orphan of a child.
                self.streams.outputs.compressor_ended(pid, well);
            }
        }
    }

    /// What a command has started ends with it.
    fn end_kin(&mut self, pid: i32, errand: &mut Errand, now: Now) {
        if let Some(cgroup) = errand.kin.cgroup.take() {
            if cgroup.populated() {
                cgroup.kill();
            }
            self.children.remove_cgroup(cgroup, now.boot);
        } else {
            let others = self.others();
            self.children.kill_kin(pid, &errand.kin.mark, &others);
        }
    }

    /// A command beside a child has ended, or is given up.
    pub(super) fn errand_ended(&mut self, pid: i32, errand: &Errand, exit: Exit, now: Now) {
        self.agent.send(&ToAgent::ChildGone { pid });
        let (line, told) = self.streams.close(errand.output);
        self.sources.remove(&errand.output);
        self.tell_output(told, now);
        let effects = self.table.handle(&errand.name, errand.outcome(exit, line), now);
        self.perform(effects, now);
    }

    /// Kills commands that take too long, and gives up those that do not even die of that.
    pub(super) fn tend_errands(&mut self, now: Now) {
        for (pid, errand) in self.errands.tend(now.boot) {
            tracing::error!("{}: process {pid} does not die of SIGKILL", errand.name);
            self.errand_ended(pid, &errand, Exit::signal(libc::SIGKILL), now);
        }
    }

    /// Tells the table of children that are gone, for one turn.
    pub(super) fn bury(&mut self, now: Now) {
        if self.children.deadline(now.boot).is_none() {
            return;
        }
        let others = self.others();
        for (name, pid) in self.children.immortal(now.boot) {
            self.tell_immortal(&name, pid, now);
        }
        while clock::now().boot.since(now.boot) < TURN {
            let gone = self.children.gone(&others, BURIED_AT_ONCE, now.boot);
            if gone.is_empty() {
                return;
            }
            for living in gone {
                self.bury_one(living, clock::now());
            }
        }
    }

    fn bury_one(&mut self, living: Living, now: Now) {
        let pid = living.child.pid;
        let (exit, usage) = match living.life {
            Life::Ended(exit, usage)
            | Life::Lingering(exit, usage)
            | Life::Searching(exit, usage, _) => (exit, usage),
            Life::Living | Life::Forking => (Exit::code(0), Usage::default()),
        };
        self.agent.send(&ToAgent::ChildGone { pid });
        let mut last_line = None;
        for source in [living.stdout, living.stderr].into_iter().flatten() {
            let (line, told) = self.streams.close(source);
            self.sources.remove(&source);
            last_line = line;
            self.tell_output(told, now);
        }
        living.notify.and_then(|source| self.sources.remove(&source));
        let oom = living.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills() > 0);
        let usage = living.cgroup.as_ref().map_or(usage, |cgroup| cgroup.usage(usage));
        if let Some(cgroup) = living.cgroup {
            self.children.remove_cgroup(cgroup, now.boot);
        }
        self.binaries.forget(pid);
        self.errands.forget_child(pid, now.boot);
        self.questions.forget_child(pid);
        let end = End { pid, exit, usage: Some(usage), stderr_line: last_line, oom };
        let effects = self.table.handle(&living.child.name, Input::Ended(end), now);
        self.perform(effects, now);
    }

    /// Daemons whose first process has ended go on as what it left.
    pub(super) fn adopt_daemons(&mut self, now: Now) {
        let others = self.others();
        for Found { number, first, main } in self.children.search(&others, now.boot) {
            self.adopted(number, first, main, now);
        }
    }

    fn adopted(&mut self, number: u64, first: i32, main: i32, now: Now) {
        let Some(living) = self.children.get(number) else { return };
        self.agent.send(&ToAgent::ChildGone { pid: first });
        self.agent.send(&ToAgent::Child(living.child.clone()));
        for source in [living.stdout, living.stderr].into_iter().flatten() {
            self.streams.rename(source, main);
        }
        let name = living.child.name.clone();
        self.questions.rename_child(&name, first, main);
        self.errands.rename_child(&name, first, main);
        self.binaries.forget(first);
        self.watch_binary(main);
        let effects = self.table.handle(&name, Input::Adopted { pid: first, main }, now);
        self.perform(effects, now);
    }

    /// A child said something of itself.
    pub(super) fn heed_notices(&mut self, number: u64, said: Vec<Message>, now: Now) {
        for message in said {
            let Some(living) = self.children.get(number) else { return };
            let (name, pid) = (living.child.name.clone(), living.child.pid);
            let word = match message {
                Message::Ready => Word::Ready,
                Message::Watchdog => Word::Alive,
                Message::WatchdogTrigger => Word::Unwell,
                Message::Status(text) => Word::Status(text),
                // A stop or a reload that it begins itself changes nothing of what is wanted; and
                // the main process of a daemon is looked for, and not believed.
                Message::Stopping | Message::Reloading | Message::MainPid(_) => continue,
            };
            let effects = self.table.handle(&name, Input::Notified { pid, word }, now);
            self.perform(effects, now);
        }
    }
}
