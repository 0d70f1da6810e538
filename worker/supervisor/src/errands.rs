//! Processes that run for a moment beside a child: hooks, and questions that are commands. Each has
//! a limit of time.

use std::collections::BTreeMap;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::HookPoint;
use dsbus_schema::state::Exit;

use crate::instance::{HookOutcome, Input, Question};
use crate::process;

/// What a process runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A hook.
    Hook(HookPoint),
    /// A question of a child.
    Question {
        /// The child.
        pid: i32,
        question: Question,
    },
}

/// Why one was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    TooLate,
    NotWanted,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) name: InstanceId,
    pub(crate) purpose: Purpose,
    pub(crate) until: BootTime,
    /// Source of its output.
    pub(crate) output: u64,
    fate: Option<Fate>,
}

/// All of them, by process id.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    running: BTreeMap<i32, Errand>,
}

impl Errand {
    pub(crate) fn new(name: InstanceId, purpose: Purpose, until: BootTime, output: u64) -> Errand {
        Errand { name, purpose, until, output, fate: None }
    }

    /// What the instance is told of its end. `line` is the last that it said.
    pub(crate) fn outcome(&self, exit: Exit, line: Option<String>) -> Input {
        let line = line.map(|line| format!(" ({line})")).unwrap_or_default();
        let well = exit.code == Some(0) && self.fate.is_none();
        match self.purpose {
            Purpose::Hook(point) => {
                let outcome = match self.fate {
                    _ if well => HookOutcome::Done,
                    Some(Fate::TooLate) => HookOutcome::TimedOut,
                    Some(Fate::NotWanted) => HookOutcome::Failed {
                        why: "it was no longer wanted, and killed".to_owned(),
                        exit: Some(exit),
                    },
                    None => HookOutcome::Failed { why: format!("{exit}{line}"), exit: Some(exit) },
                };
                Input::HookEnded { point, outcome }
            }
            Purpose::Question { pid, question } => {
                let trouble = match self.fate {
                    _ if well => None,
                    Some(_) => Some("no answer in time".to_owned()),
                    None => Some(format!("{exit}{line}")),
                };
                Input::Probed { pid, question, trouble }
            }
        }
    }
}

impl Errands {
    pub(crate) fn add(&mut self, pid: i32, errand: Errand) {
        self.running.insert(pid, errand);
    }

    /// A process was reaped. What it started goes with it.
    pub(crate) fn reaped(&mut self, pid: i32) -> Option<Errand> {
        let errand = self.running.remove(&pid)?;
        process::signal_group(pid, libc::SIGKILL);
        Some(errand)
    }

    /// Kills what takes too long.
    pub(crate) fn tend(&mut self, now: BootTime) {
        for (pid, errand) in &mut self.running {
            if errand.fate.is_none() && now >= errand.until {
                errand.fate = Some(Fate::TooLate);
                process::signal_group(*pid, libc::SIGKILL);
            }
        }
    }

    /// Kills a hook of an instance.
    pub(crate) fn kill_hook(&mut self, name: &InstanceId, point: HookPoint) {
        self.kill(|errand| errand.name == *name && errand.purpose == Purpose::Hook(point));
    }

    /// Kills the questions of a child that is gone.
    pub(crate) fn forget_child(&mut self, child: i32) {
        self.kill(|e| matches!(e.purpose, Purpose::Question { pid, .. } if pid == child));
    }

    /// Kills all that run.
    pub(crate) fn kill_all(&mut self) {
        self.kill(|_| true);
    }

    fn kill(&mut self, which: impl Fn(&Errand) -> bool) {
        for (pid, errand) in self.running.iter_mut().filter(|(_, errand)| which(errand)) {
            errand.fate.get_or_insert(Fate::NotWanted);
            process::signal_group(*pid, libc::SIGKILL);
        }
    }

    /// When the next one has taken too long.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        let unkilled = self.running.values().filter(|errand| errand.fate.is_none());
        unkilled.map(|errand| errand.until).min()
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.running.keys().copied()
    }
}
