//! The second enforcer: kills the exclusive children that outlive their deadline while the
//! supervisor is frozen, and every child when the supervisor is dead (DESIGN.md section 5, rule
//! 14, and section 6). It holds a pidfd of each child, so that it never kills somebody else who
//! got the same number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::process::{kill_leftovers, start_time};
use dsbus_supervisor::protocol::Child;
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};

/// The supervisor kills at the deadline; whatever lives so much later is killed here.
const AFTER: Duration = Duration::from_millis(20);
/// Until the supervisor says that the child is gone, its group is killed again: a child may have
/// forked meanwhile.
const AGAIN: Duration = Duration::from_millis(100);
/// So often.
const KILLS_MAX: u32 = 10;

#[derive(Debug)]
struct Guard {
    child: Child,
    /// `None` when it was gone already as it was told of.
    pidfd: Option<OwnedFd>,
    /// `cgroup.kill` of its very cgroup: the next worker in this place makes others of the same
    /// names, and this process may be frozen until then.
    cgroup: Option<File>,
}

/// The children that live by one lease.
#[derive(Debug, Default)]
struct Class {
    until: Option<BootTime>,
    children: BTreeSet<i32>,
    /// How often those were killed that should be dead.
    kills: BTreeMap<i32, u32>,
}

impl Class {
    fn due(&self, kills: u32) -> Option<BootTime> {
        (kills < KILLS_MAX).then_some(self.until? + AFTER + AGAIN * kills)
    }

    fn deadline(&self) -> Option<BootTime> {
        let first = if self.children.is_empty() { None } else { self.due(0) };
        let again = self.kills.values().filter_map(|kills| self.due(*kills)).min();
        first.into_iter().chain(again).min()
    }

    /// Takes the children that are to be killed now, and says which are for the first time.
    fn late(&mut self, now: BootTime) -> Vec<(i32, bool)> {
        let mut late = Vec::new();
        let again = self.kills.iter().filter(|(_, n)| self.due(**n).is_some_and(|due| due <= now));
        late.extend(again.map(|(pid, _)| (*pid, false)));
        if self.due(0).is_some_and(|due| due <= now) {
            late.extend(std::mem::take(&mut self.children).into_iter().map(|pid| (pid, true)));
        }
        for (pid, _) in &late {
            *self.kills.entry(*pid).or_default() += 1;
        }
        late
    }
}

/// The children, and the deadlines that this agent and those before it gave.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    supervisor: i32,
    children: HashMap<i32, Guard>,
    /// By seconds of the lease.
    classes: BTreeMap<u64, Class>,
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
            self.classes.entry(seconds).or_default().children.insert(pid);
        }
        self.children.insert(pid, Guard { child, pidfd, cgroup });
    }

    /// Opens `cgroup.kill` of the cgroup that is there now. It is that of the child only if the
    /// supervisor still lives after that: until it is dead no other worker makes any.
    fn open_cgroup(&self, path: &str) -> Option<File> {
        let file = File::options().write(true).open(Path::new(path).join("cgroup.kill")).ok()?;
        (getppid().map_or(0, Pid::as_raw_pid) == self.supervisor).then_some(file)
    }

    /// The supervisor says that it is dead, and its group empty.
    pub(crate) fn gone(&mut self, pid: i32) {
        let lease = self.children.remove(&pid).and_then(|guard| guard.child.lease);
        if let Some(class) = lease.and_then(|seconds| self.classes.get_mut(&seconds)) {
            class.children.remove(&pid);
            class.kills.remove(&pid);
        }
    }

    /// Children of this lease may live until then.
    pub(crate) fn extend(&mut self, seconds: u64, until: BootTime) {
        let known = &mut self.classes.entry(seconds).or_default().until;
        *known = (*known).max(Some(until));
    }

    /// When the next child is to be killed.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.classes.values().filter_map(Class::deadline).min()
    }

    /// Kills what has outlived its deadline.
    pub(crate) fn enforce(&mut self, now: BootTime) {
        let late: Vec<_> = self.classes.values_mut().flat_map(|class| class.late(now)).collect();
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

    #[test]
    fn a_child_is_killed_again_until_it_is_gone_but_not_for_ever() {
        let mut class = Class { until: Some(at(1000)), ..Class::default() };
        class.children.insert(7);
        assert_eq!(class.late(at(1019)), []);
        assert_eq!(class.late(at(1020)), [(7, true)]);
        for kills in 1..u64::from(KILLS_MAX) {
            let due = at(1020 + 100 * kills);
            assert_eq!(class.deadline(), Some(due));
            assert_eq!(class.late(due), [(7, false)]);
        }
        assert_eq!(class.deadline(), None);
    }
}
