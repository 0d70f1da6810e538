//! The second enforcer: kills the exclusive children that outlive their deadline while the
//! supervisor is frozen, and every child when the supervisor is dead (DESIGN.md section 5, rule
//! 14, and section 6). It holds a pidfd of each child, so that it never kills somebody else who
//! got the same number.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::process::{kill_leftovers, start_time};
use dsbus_supervisor::protocol::Child;
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};

use crate::deadlines::Deadlines;

#[derive(Debug)]
struct Guard {
    child: Child,
    /// `None` when it was gone already as it was told of.
    pidfd: Option<OwnedFd>,
    /// `cgroup.kill` of its very cgroup: the next worker in this place makes others of the same
    /// names, and this process may be frozen until then.
    cgroup: Option<File>,
}

/// The children, and the deadlines that this agent and those before it gave.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    supervisor: i32,
    children: HashMap<i32, Guard>,
    deadlines: Deadlines,
}

impl Guards {
    /// Over the children of this supervisor, the parent of this process.
    pub(crate) fn new(supervisor: i32) -> Guards {
        Guards { supervisor, ..Guards::default() }
    }

    /// Watches over a child.
    pub(crate) fn add(&mut self, child: Child) {
        let (pid, pidfd) = (child.pid, open(&child));
        let cgroup = child.cgroup.as_deref().and_then(|path| self.open_cgroup(path));
        self.gone(pid);
        if let Some(seconds) = child.lease {
            self.deadlines.add(seconds, pid);
        }
        self.children.insert(pid, Guard { child, pidfd, cgroup });
    }

    /// Process ids of the children, by instance.
    pub(crate) fn pids(&self) -> HashMap<&InstanceId, i32> {
        self.children.values().map(|guard| (&guard.child.name, guard.child.pid)).collect()
    }

    /// Opens `cgroup.kill` of the cgroup that is there now. It is that of the child only if the
    /// supervisor still lives after that: until it is dead no other worker makes any.
    fn open_cgroup(&self, path: &str) -> Option<File> {
        let file = File::options().write(true).open(Path::new(path).join("cgroup.kill")).ok()?;
        (getppid().map_or(0, Pid::as_raw_pid) == self.supervisor).then_some(file)
    }

    /// The supervisor says that it is dead, and its group empty.
    pub(crate) fn gone(&mut self, pid: i32) {
        self.children.remove(&pid);
        self.deadlines.gone(pid);
    }

    /// Children of this lease may live until then.
    pub(crate) fn extend(&mut self, seconds: u64, until: BootTime) {
        self.deadlines.extend(seconds, until);
    }

    /// When the next child is to be killed.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.deadlines.next()
    }

    /// Kills what has outlived its deadline.
    pub(crate) fn enforce(&mut self, now: BootTime) {
        let late = self.deadlines.late(now);
        for guard in late.iter().filter_map(|(pid, _)| self.children.get(pid)) {
            kill(guard);
        }
        // Whoever reads the log may be as frozen as the supervisor: all are dead before it is told.
        for (pid, _) in late.iter().filter(|(_, first)| *first) {
            let name = self.children.get(pid).map(|guard| &guard.child.name);
            let name = name.map(ToString::to_string).unwrap_or_default();
            tracing::warn!(name, pid, "its deadline passed and it still lives: killed");
        }
    }

    /// Kills every child, with its group: the supervisor is dead.
    pub(crate) fn kill_all(&mut self) {
        // To find what a dead child left, every process of the machine is looked at: last.
        let (living, dead): (Vec<_>, Vec<_>) =
            self.children.values().partition(|guard| lives(&guard.child));
        living.into_iter().chain(dead).for_each(kill);
    }

    /// The instances whose children live.
    pub(crate) fn names(&self) -> impl Iterator<Item = &InstanceId> {
        self.children.values().map(|guard| &guard.child.name)
    }

    /// How many children live.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }
}

/// Opens the very process that is meant: checked after opening, when the number can no longer
/// pass to another.
fn open(child: &Child) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(child.pid)?, PidfdFlags::empty()).ok()?;
    lives(child).then_some(fd)
}

fn lives(child: &Child) -> bool {
    start_time(child.pid) == Some(child.start_time)
}

fn kill(guard: &Guard) {
    let Child { name, pid, group, start_time, .. } = &guard.child;
    if let Some(mut cgroup) = guard.cgroup.as_ref() {
        // It takes along what has left the process group. Where it is gone, so are all in it.
        let _ = cgroup.write_all(b"1");
    }
    kill_leftovers(name, group.unwrap_or(*pid), *pid, *start_time);
    if let Some(fd) = &guard.pidfd {
        // It may be gone already.
        let _ = pidfd_send_signal(fd, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child as Process, Command};

    use dsbus_schema::ids::Epoch;

    use super::*;

    fn at(ms: u64) -> BootTime {
        BootTime(ms * 1_000_000)
    }

    fn sleeper() -> Process {
        Command::new("sleep").arg("1000").process_group(0).spawn().unwrap()
    }

    fn told(process: &Process, lease: Option<u64>) -> Child {
        let pid = i32::try_from(process.id()).unwrap();
        let start_time = start_time(pid).unwrap();
        Child {
            name: "web:0".parse().unwrap(),
            epoch: Epoch(1),
            pid,
            start_time,
            lease,
            cgroup: None,
            group: None,
        }
    }

    fn end(process: &mut Process) -> Option<i32> {
        process.wait().unwrap().signal()
    }

    #[test]
    fn a_child_is_killed_after_its_deadline_and_not_before() {
        let (mut exclusive, mut other, mut free) = (sleeper(), sleeper(), sleeper());
        let mut guards = Guards::default();
        guards.add(told(&exclusive, Some(5)));
        guards.add(told(&other, Some(15)));
        guards.add(told(&free, None));
        assert_eq!(guards.deadline(), None, "no lease was ever given");
        guards.extend(5, at(1000));
        guards.extend(5, at(900));
        guards.extend(15, at(9000));
        assert_eq!(guards.deadline(), Some(at(1020)));
        guards.enforce(at(1019));
        assert!(exclusive.try_wait().unwrap().is_none());
        guards.enforce(at(1020));
        assert_eq!(end(&mut exclusive), Some(9));
        assert_eq!(guards.deadline(), Some(at(1120)), "until the supervisor says it is gone");
        guards.gone(i32::try_from(exclusive.id()).unwrap());
        assert_eq!(guards.deadline(), Some(at(9020)));
        guards.kill_all();
        assert_eq!((end(&mut other), end(&mut free)), (Some(9), Some(9)));
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut process = sleeper();
        let mut guards = Guards::default();
        guards.add(Child { start_time: 1, ..told(&process, None) });
        guards.kill_all();
        assert!(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn one_that_leads_no_group_is_killed_with_the_group_it_is_in() {
        let (mut leader, mut guards) = (sleeper(), Guards::default());
        let group = i32::try_from(leader.id()).unwrap();
        let mut member = Command::new("sleep").arg("1000").process_group(group).spawn().unwrap();
        guards.add(Child { group: Some(group), ..told(&member, None) });
        guards.kill_all();
        assert_eq!((end(&mut leader), end(&mut member)), (Some(9), Some(9)));
    }

    #[test]
    fn the_cgroup_is_that_of_the_time_when_the_child_was_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let kill = directory.path().join("cgroup.kill");
        let mut process = sleeper();
        let child = Child {
            cgroup: Some(directory.path().to_str().unwrap().to_owned()),
            ..told(&process, None)
        };
        let parent = getppid().map_or(0, Pid::as_raw_pid);
        let written = |supervisor: i32, child: &Child| {
            std::fs::write(&kill, "").unwrap();
            let mut guards = Guards::new(supervisor);
            guards.add(child.clone());
            // Another worker makes it anew.
            let old = directory.path().join("old");
            std::fs::rename(&kill, &old).unwrap();
            std::fs::write(&kill, "").unwrap();
            guards.kill_all();
            [old, kill.clone()].map(|path| std::fs::read_to_string(path).unwrap())
        };
        assert_eq!(written(parent, &child), ["1", ""]);
        assert_eq!(written(parent + 1, &child), ["", ""], "nobody knows whose it is");
        end(&mut process);
    }
}
