//! Processes that run for a moment beside a child: hooks, and questions that are commands. Each has
//! a limit of time.

mod handover;

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::state::Exit;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::instance::{HookId, HookOutcome, Input, Question};
use crate::process;

pub(crate) use handover::ErrandLeft;

/// How long one may take to die of SIGKILL: longer than that takes only a process in the hands of the
/// kernel, and an instance does not wait for it.
const DEATH_MAX: Duration = Duration::from_secs(5);

/// What a process runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A hook.
    Hook(HookId),
    /// A question of a child.
    Question {
        /// The child.
        pid: i32,
        question: Question,
    },
}

/// Why one was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fate {
    TooLate,
    NotWanted,
}

/// How what a process started is found.
#[derive(Debug)]
pub(crate) struct Kin {
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) mark: String,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) kin: Kin,
    pub(crate) name: InstanceId,
    pub(crate) purpose: Purpose,
    pub(crate) until: BootTime,
    /// Source of its output.
    pub(crate) output: u64,
    fate: Option<Fate>,
    /// Once it was killed: when it is given up.
    gone_by: Option<BootTime>,
}

/// All of them, by process id.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    running: BTreeMap<i32, Errand>,
}

impl Errand {
    pub(crate) fn new(
        name: InstanceId,
        purpose: Purpose,
        until: BootTime,
        output: u64,
        kin: Kin,
    ) -> Errand {
        Errand { kin, name, purpose, until, output, fate: None, gone_by: None }
    }

    fn die(&mut self, pid: i32, fate: Fate, now: BootTime) {
        self.fate.get_or_insert(fate);
        self.gone_by.get_or_insert(now + DEATH_MAX);
        process::signal_group(pid, libc::SIGKILL);
    }

    /// What the instance is told of its end. `line` is the last that it said.
    pub(crate) fn outcome(&self, exit: Exit, line: Option<String>) -> Input {
        let line = line.map(|line| format!(" ({line})")).unwrap_or_default();
        let well = exit.code == Some(0) && self.fate.is_none();
        match self.purpose {
            Purpose::Hook(hook) => {
                let outcome = match self.fate {
                    _ if well => HookOutcome::Done,
                    Some(Fate::TooLate) => HookOutcome::TimedOut,
                    Some(Fate::NotWanted) => HookOutcome::Failed {
                        why: "it was no longer wanted, and killed".to_owned(),
                        exit: Some(exit),
                    },
                    None => HookOutcome::Failed { why: format!("{exit}{line}"), exit: Some(exit) },
                };
                Input::HookEnded { hook, outcome }
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

    /// A process was reaped.
    pub(crate) fn reaped(&mut self, pid: i32) -> Option<Errand> {
        self.running.remove(&pid)
    }

    /// Kills what takes too long; gives what was killed and is not reaped for as long as that may
    /// take. It is no errand any longer, and reaped as a stranger.
    pub(crate) fn tend(&mut self, now: BootTime) -> Vec<(i32, Errand)> {
        for (pid, errand) in &mut self.running {
            if errand.fate.is_none() && now >= errand.until {
                errand.die(*pid, Fate::TooLate, now);
            }
        }
        let late = |_: &i32, errand: &mut Errand| errand.gone_by.is_some_and(|at| now >= at);
        self.running.extract_if(.., late).collect()
    }

    /// Kills a hook of an instance.
    pub(crate) fn kill_hook(&mut self, name: &InstanceId, id: HookId, now: BootTime) {
        self.kill(now, |errand| errand.name == *name && errand.purpose == Purpose::Hook(id));
    }

    /// A child of this instance is known by another number now.
    pub(crate) fn rename_child(&mut self, name: &InstanceId, first: i32, main: i32) {
        for errand in self.running.values_mut().filter(|errand| errand.name == *name) {
            match &mut errand.purpose {
                Purpose::Hook(HookId { pid: Some(pid), .. }) | Purpose::Question { pid, .. }
                    if *pid == first =>
                {
                    *pid = main;
                }
                Purpose::Hook(_) | Purpose::Question { .. } => {}
            }
        }
    }

    /// Kills the questions of a child that is gone.
    pub(crate) fn forget_child(&mut self, child: i32, now: BootTime) {
        self.kill(now, |e| matches!(e.purpose, Purpose::Question { pid, .. } if pid == child));
    }

    /// Kills all that run.
    pub(crate) fn kill_all(&mut self, now: BootTime) {
        self.kill(now, |_| true);
    }

    fn kill(&mut self, now: BootTime, which: impl Fn(&Errand) -> bool) {
        for (pid, errand) in self.running.iter_mut().filter(|(_, errand)| which(errand)) {
            errand.die(*pid, Fate::NotWanted, now);
        }
    }

    /// When the next one has taken too long, to run or to die.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.running.values().map(|errand| errand.gone_by.unwrap_or(errand.until)).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.running.keys().copied()
    }
}
