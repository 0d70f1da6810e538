//! The children that live, and how they end. A child is known by the number of its start; its
//! process id is another one once it has forked into the background.

mod handover;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::{Exit, Usage};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::process;
use crate::process::tree::{self, ChildIdentity};
use crate::protocol::Child;
use crate::stdin::Stdin;

pub(crate) use handover::{ChildrenLeft, reopened};

/// How long the oldest process of a daemon must have been the same before it is taken for the main
/// one, or nothing of it have been seen before it has ended: a daemon that forks twice has one in
/// between, which ends at once, and a look at processes that fork may miss one.
const SETTLED: Duration = Duration::from_millis(200);
/// Stands for a daemon of which nothing can be seen.
const NOBODY: i32 = 0;
/// How often one looks at what is left of a child that has ended; mostly the death of its last
/// process is told earlier.
const LINGER_LOOK: Duration = Duration::from_millis(20);
/// How long what a child started may take to die of SIGKILL before that is told.
const DEATH_MAX: Duration = Duration::from_secs(5);
/// Between two tries to remove a cgroup that could not be removed: the kernel lets go of it a moment
/// after its last process.
const DOOMED_LOOK: Duration = Duration::from_secs(1);

/// A child.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) child: Child,
    pub(crate) spec: Arc<ProgramSpec>,
    /// By which what it started is recognised.
    pub(crate) mark: String,
    /// Its process group: its own pid, until it forks into the background.
    pub(crate) group: i32,
    /// What it had started when it was asked to stop, where there is no cgroup: with the time of
    /// their start, so that nobody else is meant who gets the same number.
    pub(crate) seen: Vec<(i32, u64)>,
    /// The writing end of its standard input, where it has one.
    pub(crate) stdin: Option<Stdin>,
    /// Sources of its output, and of what it says of itself.
    pub(crate) stdout: Option<u64>,
    pub(crate) stderr: Option<u64>,
    pub(crate) notify: Option<u64>,
    pub(crate) cgroup: Option<Cgroup>,
    /// Where a daemon writes its process id.
    pub(crate) pidfile: Option<PathBuf>,
    /// The file that it executes.
    pub(crate) executable: PathBuf,
    /// Its whole group was asked to stop.
    pub(crate) group_asked: bool,
    pub(crate) life: Life,
    /// Since when all of it is to be dead; `None` once it was told that something does not die.
    pub(crate) condemned: Option<BootTime>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Life {
    /// It lives.
    Living,
    /// It lives, and is expected to fork and to end.
    Forking,
    /// Its first process ended; the one that is left is looked for, and was thought to be this
    /// since then.
    Searching(Exit, Usage, Option<(i32, BootTime)>),
    /// It is reaped; what it started was asked to stop with it, and may take its time.
    Lingering(Exit, Usage),
    /// It is reaped; what it started is being killed.
    Ended(Exit, Usage),
}

impl Life {
    fn is_reaped(self) -> bool {
        match self {
            Life::Living | Life::Forking => false,
            Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => true,
        }
    }
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
    /// Those that are not reaped, by process id: a number that is reaped may be given to another.
    numbers: HashMap<i32, u64>,
    /// Cgroups that could not be removed yet, and when that is tried again.
    doomed: Vec<Cgroup>,
    doomed_at: BootTime,
}

impl Children {
    pub(crate) fn add(&mut self, number: u64, living: Living) {
        self.numbers.insert(living.child.pid, number);
        self.living.insert(number, living);
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Living> {
        self.living.get(&number)
    }

    /// A child that is not reaped.
    pub(crate) fn by_pid(&mut self, pid: i32) -> Option<&mut Living> {
        self.living.get_mut(self.numbers.get(&pid)?)
    }

    /// The child of an instance, reaped or not.
    fn of(&mut self, name: &InstanceId, pid: i32) -> Option<&mut Living> {
        let number = self.numbers.get(&pid).copied();
        if let Some(number) = number.filter(|n| self.is_of(*n, name)) {
            return self.living.get_mut(&number);
        }
        let reaped = |l: &&mut Living| l.child.pid == pid && l.child.name == *name;
        self.living.values_mut().filter(|l| l.life.is_reaped()).find(reaped)
    }

    fn is_of(&self, number: u64, name: &InstanceId) -> bool {
        self.living.get(&number).is_some_and(|living| living.child.name == *name)
    }

    /// All that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Living> {
        self.living.values()
    }

    /// Whether none lives.
    pub(crate) fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// Signals a child, or all of its group; of a daemon that is not found yet, all that is left.
    /// One that is reaped hears nothing.
    pub(crate) fn signal(
        &mut self,
        name: &InstanceId,
        pid: i32,
        signal: i32,
        group: bool,
        others: &[i32],
    ) {
        let uncaged = self.of(name, pid).is_some_and(|living| living.cgroup.is_none());
        let known = if uncaged { self.known(others) } else { HashSet::new() };
        let Some(living) = self.of(name, pid) else { return };
        if uncaged {
            let members = tree::members(&living.identity(), &known).into_iter();
            living.seen = members.filter_map(|p| Some((p, process::start_time(p)?))).collect();
        }
        living.group_asked |= group;
        if let Life::Searching(..) = living.life {
            // Which of them is the daemon is not known: it is asked with all the others.
            living.members(&known).into_iter().for_each(|left| process::signal_one(left, signal));
        } else if !living.life.is_reaped() {
            if group {
                process::signal_group(living.group, signal);
            } else {
                process::signal_one(pid, signal);
            }
        } else if group && !process::group_is_empty(living.group) {
            // The number of a group that has members is given to nobody else.
            process::signal_group(living.group, signal);
        }
    }

    /// SIGKILL to everything of a child.
    pub(crate) fn kill(&mut self, name: &InstanceId, pid: i32, others: &[i32], now: BootTime) {
        let known = self.known(others);
        if let Some(living) = self.of(name, pid) {
            living.kill(&known, now);
        }
    }

    /// The same for all of them.
    pub(crate) fn kill_all(&mut self, others: &[i32], now: BootTime) {
        let known = self.known(others);
        self.living.values_mut().for_each(|living| living.kill(&known, now));
    }

    /// SIGKILL to what a process that was no child has left.
    pub(crate) fn kill_kin(&mut self, pid: i32, mark: &str, others: &[i32]) {
        let known = self.known(others);
        tree::kill(&ChildIdentity { pid, mark: mark.to_owned() }, &known);
    }

    /// A process was reaped; says whether it was a child.
    pub(crate) fn reaped(&mut self, pid: i32, exit: Exit, usage: Usage, now: BootTime) -> bool {
        let Some(number) = self.numbers.remove(&pid) else {
            // Perhaps what was thought to be a daemon: then that is how the daemon ended.
            for living in self.living.values_mut() {
                if let Life::Searching(_, _, Some((thought, _))) = living.life
                    && thought == pid
                {
                    living.life = Life::Searching(exit, usage, None);
                }
            }
            return false;
        };
        let Some(living) = self.living.get_mut(&number) else { return false };
        match living.life {
            Life::Forking if exit.code == Some(0) => {
                living.life = Life::Searching(exit, usage, None);
            }
            // Whoever asked the group to stop waits for all of it.
            Life::Living | Life::Forking if living.group_asked => {
                living.life = Life::Lingering(exit, usage);
            }
            Life::Living | Life::Forking => living.end(exit, usage, now),
            Life::Searching(..) | Life::Lingering(..) | Life::Ended(..) => {}
        }
        true
    }

    /// Children that are reaped and of which nothing is left, so many at most; each is told once.
    /// `others` are processes of this worker that are not children.
    pub(crate) fn gone(&mut self, others: &[i32], most: usize, now: BootTime) -> Vec<Living> {
        let mut empty = Vec::new();
        let mut hunted = Vec::new();
        for (number, living) in &mut self.living {
            if let Life::Lingering(exit, usage) = living.life
                && process::group_is_empty(living.group)
            {
                living.end(exit, usage, now);
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
        empty.into_iter().take(most).filter_map(|number| self.living.remove(&number)).collect()
    }

    /// Children that were to be dead long ago, and something of which lives; each is told once.
    pub(crate) fn immortal(&mut self, now: BootTime) -> Vec<(InstanceId, i32)> {
        let mut found = Vec::new();
        for living in self.living.values_mut() {
            if living.condemned.is_some_and(|at| now.since(at) > DEATH_MAX) {
                living.condemned = None;
                found.push((living.child.name.clone(), living.child.pid));
            }
        }
        found
    }

    /// The cgroup of a child that is gone is removed when one looks next: its successor does not
    /// wait for that.
    pub(crate) fn remove_cgroup(&mut self, cgroup: Cgroup, now: BootTime) {
        self.doomed.push(cgroup);
        self.doomed_at = now;
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
            let first = living.child.pid;
            if living.search(&known, now) {
                found.push(Found { number: *number, first, main: living.child.pid });
            }
        }
        self.numbers.extend(found.iter().map(|found| (found.main, found.number)));
        found
    }

    /// When one looks again at what is left of those that are reaped.
    pub(crate) fn deadline(&self, now: BootTime) -> Option<BootTime> {
        let linger = self.living.values().any(|living| living.life.is_reaped());
        let doomed = (!self.doomed.is_empty()).then_some(self.doomed_at);
        linger.then(|| now + LINGER_LOOK).into_iter().chain(doomed).min()
    }

    /// Removes cgroups, as far as they can be removed.
    pub(crate) fn tend(&mut self, now: BootTime) {
        if !self.doomed.is_empty() && now >= self.doomed_at {
            self.doomed.retain(|cgroup| cgroup.remove().is_err());
            self.doomed_at = now + DOOMED_LOOK;
        }
    }

    fn known(&self, others: &[i32]) -> HashSet<i32> {
        self.numbers.keys().chain(others).copied().collect()
    }
}

impl Living {
    /// Kills what was seen of it and lives still, and forgets the rest.
    fn kill_seen(&mut self) {
        self.seen.retain(|(pid, start_time)| process::start_time(*pid) == Some(*start_time));
        self.seen.iter().for_each(|(pid, _)| process::kill_one(*pid));
    }

    /// From now on all of it is to be dead.
    fn end(&mut self, exit: Exit, usage: Usage, now: BootTime) {
        self.life = Life::Ended(exit, usage);
        self.condemned = Some(now);
    }

    fn kill(&mut self, known: &HashSet<i32>, now: BootTime) {
        if let Life::Lingering(exit, usage) | Life::Searching(exit, usage, _) = self.life {
            self.end(exit, usage, now);
        }
        if let Some(cgroup) = &self.cgroup {
            return cgroup.kill();
        }
        if !self.life.is_reaped() {
            process::signal_group(self.group, libc::SIGKILL);
        }
        tree::kill(&self.identity(), known);
    }

    /// Looks for the main process of a daemon; says whether it was found.
    fn search(&mut self, known: &HashSet<i32>, now: BootTime) -> bool {
        let Life::Searching(exit, usage, thought) = self.life else { return false };
        let members = self.members(known);
        let candidate = main_process(self.pidfile.as_deref(), &members);
        let guess = candidate.map_or(NOBODY, |(pid, _)| pid);
        let since = thought.filter(|(same, _)| *same == guess).map_or(now, |(_, since)| since);
        let settled = now.since(since) >= SETTLED;
        match candidate {
            Some((main, start_time)) if settled || self.pidfile.is_some() => {
                (self.child.pid, self.child.start_time) = (main, start_time);
                self.group = process::group_of(main).unwrap_or(main);
                self.child.group = Some(self.group);
                self.life = Life::Living;
            }
            None if members.is_empty() && settled => self.end(exit, usage, now),
            _ => self.life = Life::Searching(exit, usage, Some((guess, since))),
        }
        self.life == Life::Living
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
fn main_process(pidfile: Option<&Path>, members: &[i32]) -> Option<(i32, u64)> {
    let ours = |pid: &i32| process::is_own_child(*pid);
    let known = |pid: i32| Some((pid, process::start_time(pid)?));
    if let Some(path) = pidfile {
        let named = process::read_pidfile(path)?;
        return members.contains(&named).then_some(named).filter(ours).and_then(known);
    }
    let mut orphans: Vec<_> = members.iter().copied().filter(ours).filter_map(known).collect();
    orphans.sort_by_key(|(pid, start_time)| (*start_time, *pid));
    orphans.first().copied()
}
