//! The children that live, and how they end. A child is known by the number of its start; its
//! process id is another one once it has forked into the background.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::{Exit, Usage};

use crate::cgroup::Cgroup;
use crate::process;
use crate::process::tree::{self, ChildIdentity};
use crate::protocol::Child;

/// How long the oldest process of a daemon must have been the same before it is taken for the main
/// one: a daemon that forks twice has one in between, which ends at once.
const SETTLED: Duration = Duration::from_millis(200);

/// A child.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) child: Child,
    pub(crate) spec: Arc<ProgramSpec>,
    /// By which what it started is recognised.
    pub(crate) mark: String,
    /// What it had started when it was asked to stop, where there is no cgroup: with the time of
    /// their start, so that nobody else is meant who gets the same number.
    pub(crate) seen: Vec<(i32, u64)>,
    /// Sources of its output, and of what it says of itself.
    pub(crate) stdout: Option<u64>,
    pub(crate) stderr: Option<u64>,
    pub(crate) notify: Option<u64>,
    pub(crate) cgroup: Option<Cgroup>,
    /// Where a daemon writes its process id.
    pub(crate) pidfile: Option<PathBuf>,
    /// The file that it executes.
    pub(crate) executable: PathBuf,
    pub(crate) life: Life,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It lives.
    Living,
    /// It lives, and is expected to fork and to end.
    Forking,
    /// Its first process ended; the one that is left is looked for, and was thought to be this
    /// since then.
    Searching(Exit, Usage, Option<(i32, BootTime)>),
    /// It is reaped; what it started may take its time to end by itself.
    Lingering(Exit, Usage),
    /// It is reaped; what it started is being killed.
    Ended(Exit, Usage),
}

/// A daemon whose main process was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) first: i32,
    pub(crate) main: i32,
}

/// All children.
#[derive(Debug, Default)]
pub(crate) struct Children {
    living: BTreeMap<u64, Living>,
    numbers: HashMap<i32, u64>,
    /// Cgroups that could not be removed yet.
    doomed: Vec<Cgroup>,
}

impl Children {
    pub(crate) fn add(&mut self, number: u64, living: Living) {
        self.numbers.insert(living.child.pid, number);
        self.living.insert(number, living);
    }

    pub(crate) fn number(&self, pid: i32) -> Option<u64> {
        self.numbers.get(&pid).copied()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Living> {
        self.living.get(&number)
    }

    pub(crate) fn by_pid(&mut self, pid: i32) -> Option<&mut Living> {
        let number = self.number(pid)?;
        self.living.get_mut(&number)
    }

    /// All that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Living> {
        self.living.values()
    }

    /// Whether none lives.
    pub(crate) fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// Process ids that are not reaped yet.
    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.living.values().filter_map(|living| match living.life {
            Life::Living | Life::Forking => Some(living.child.pid),
            Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => None,
        })
    }

    /// Signals a child, or all of its group.
    pub(crate) fn signal(&mut self, pid: i32, signal: i32, group: bool, others: &[i32]) {
        let uncaged = self.by_pid(pid).is_some_and(|living| living.cgroup.is_none());
        let known = if uncaged { self.known(others) } else { HashSet::new() };
        let Some(living) = self.by_pid(pid) else { return };
        if uncaged {
            let members = tree::members(&living.identity(), &known).into_iter();
            living.seen = members.filter_map(|p| Some((p, process::start_time(p)?))).collect();
        }
        match living.life {
            _ if group => process::signal_group(pid, signal),
            Life::Living | Life::Forking => process::signal_one(pid, signal),
            Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => {}
        }
    }

    /// SIGKILL to everything of a child.
    pub(crate) fn kill(&mut self, pid: i32, others: &[i32]) {
        let known = self.known(others);
        let Some(living) = self.by_pid(pid) else { return };
        if let Life::Lingering(exit, usage) | Life::Searching(exit, usage, _) = living.life {
            living.life = Life::Ended(exit, usage);
        }
        match &living.cgroup {
            Some(cgroup) => cgroup.kill(),
            None => {
                process::signal_group(pid, libc::SIGKILL);
                tree::kill(&living.identity(), &known);
            }
        }
    }

    /// A process was reaped; says whether it was a child.
    pub(crate) fn reaped(&mut self, pid: i32, exit: Exit, usage: Usage) -> bool {
        let Some(living) = self.by_pid(pid) else { return false };
        living.life = match living.life {
            Life::Forking if exit.code == Some(0) => Life::Searching(exit, usage, None),
            // Whoever asked the group to stop waits for all of it.
            Life::Living if living.spec.stopasgroup => Life::Lingering(exit, usage),
            Life::Living | Life::Forking => Life::Ended(exit, usage),
            // Reaped already: the number belongs to somebody else now.
            Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => return false,
        };
        true
    }

    /// Children that are reaped and of which nothing is left, so many at most; each is told once.
    /// `others` are processes of this worker that are not children.
    pub(crate) fn gone(&mut self, others: &[i32], most: usize) -> Vec<(u64, Living)> {
        self.doomed.retain(|cgroup| cgroup.remove().is_err());
        let mut empty = Vec::new();
        let mut hunted = Vec::new();
        for (number, living) in &mut self.living {
            if let Life::Lingering(exit, usage) = living.life
                && process::group_is_empty(living.child.pid)
            {
                living.life = Life::Ended(exit, usage);
            }
            match (&living.life, &living.cgroup) {
                (Life::Living | Life::Forking | Life::Searching(..) | Life::Lingering(..), _) => {}
                (Life::Ended(..), Some(cgroup)) if cgroup.populated() => cgroup.kill(),
                (Life::Ended(..), Some(_)) => empty.push(*number),
                (Life::Ended(..), None) => {
                    living.kill_seen();
                    hunted.push((*number, living.identity()));
                }
            }
        }
        if !hunted.is_empty() {
            let known = self.known(others);
            let identities: Vec<_> = hunted.iter().map(|(_, identity)| identity.clone()).collect();
            let left = tree::kill_all(&identities, &known);
            let none = hunted.iter().zip(left).filter(|(_, left)| *left == 0);
            let none = none.map(|((number, _), _)| *number);
            let dead = |number: &u64| self.living.get(number).is_none_or(|l| l.seen.is_empty());
            empty.extend(none.filter(dead));
        }
        empty.into_iter().take(most).filter_map(|number| self.remove(number)).collect()
    }

    fn remove(&mut self, number: u64) -> Option<(u64, Living)> {
        let living = self.living.remove(&number)?;
        if self.numbers.get(&living.child.pid) == Some(&number) {
            self.numbers.remove(&living.child.pid);
        }
        Some((number, living))
    }

    /// The cgroup of a child that is gone.
    pub(crate) fn remove_cgroup(&mut self, cgroup: Cgroup) {
        if cgroup.remove().is_err() {
            self.doomed.push(cgroup);
        }
    }

    /// Looks for the main processes of daemons; each is told once. One that left nothing has ended.
    pub(crate) fn search(&mut self, others: &[i32], now: BootTime) -> Vec<Found> {
        let searching = |living: &Living| matches!(living.life, Life::Searching(..));
        if !self.living.values().any(searching) {
            return Vec::new();
        }
        let known = self.known(others);
        let mut found = Vec::new();
        for (number, living) in &mut self.living {
            let Life::Searching(exit, usage, thought) = living.life else { continue };
            let members = living.members(&known);
            let candidate = main_process(living.pidfile.as_ref(), &members);
            let since = match (candidate, thought) {
                (Some((pid, _)), Some((same, since))) if pid == same => since,
                _ => now,
            };
            let sure = living.pidfile.is_some() || now.since(since) >= SETTLED;
            living.life = match candidate {
                Some((main, start_time)) if sure => {
                    let first = living.child.pid;
                    (living.child.pid, living.child.start_time) = (main, start_time);
                    found.push(Found { number: *number, first, main });
                    Life::Living
                }
                Some((pid, _)) => Life::Searching(exit, usage, Some((pid, since))),
                None if members.is_empty() => Life::Ended(exit, usage),
                None => Life::Searching(exit, usage, None),
            };
        }
        for Found { number, first, main } in &found {
            self.numbers.remove(first);
            self.numbers.insert(*main, *number);
        }
        found
    }

    /// Whether one is reaped, and something of it still lives or is looked for.
    pub(crate) fn some_linger(&self) -> bool {
        !self.doomed.is_empty()
            || self.living.values().any(|living| match living.life {
                Life::Living | Life::Forking => false,
                Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => true,
            })
    }

    fn known(&self, others: &[i32]) -> HashSet<i32> {
        self.pids().chain(others.iter().copied()).collect()
    }
}

impl Living {
    /// Kills what was seen of it and lives still, and forgets the rest.
    fn kill_seen(&mut self) {
        self.seen.retain(|(pid, start_time)| process::start_time(*pid) == Some(*start_time));
        self.seen.iter().for_each(|(pid, _)| process::kill_one(*pid));
    }

    fn identity(&self) -> ChildIdentity {
        ChildIdentity { pid: self.child.pid, mark: self.mark.clone() }
    }

    /// The processes that are left of a daemon whose first process has ended.
    fn members(&self, known: &HashSet<i32>) -> Vec<i32> {
        match &self.cgroup {
            Some(cgroup) => cgroup.members(),
            None => tree::members(&self.identity(), known),
        }
    }
}

/// Of the processes that a daemon left: the one that its pidfile names, or else the oldest. It must
/// be ours to reap.
fn main_process(pidfile: Option<&PathBuf>, members: &[i32]) -> Option<(i32, u64)> {
    let ours = |pid: &i32| process::is_own_child(*pid);
    let known = |pid: i32| Some((pid, process::start_time(pid)?));
    match pidfile {
        Some(path) => {
            let named: i32 = process::read_pidfile(path)?;
            members.contains(&named).then_some(named).filter(ours).and_then(known)
        }
        None => {
            let mut orphans: Vec<_> =
                members.iter().copied().filter(ours).filter_map(known).collect();
            orphans.sort_by_key(|(pid, start_time)| (*start_time, *pid));
            orphans.first().copied()
        }
    }
}
