//! The second enforcer: kills the exclusive children that outlive their deadline while the
//! supervisor is frozen, and every child when the supervisor is dead (DESIGN.md section 5, rule
//! 14, and section 6). It holds a pidfd of each child, so that it never kills somebody else who
//! got the same number.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_supervisor::process::{kill_leftovers, start_time};
use dsbus_supervisor::protocol::Child;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

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
    kills: u32,
}

/// The children, and the deadlines that this agent and those before it gave.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    children: HashMap<i32, Guard>,
    leases: BTreeMap<u64, BootTime>,
}

impl Guards {
    /// Watches over a child.
    pub(crate) fn add(&mut self, child: Child) {
        let pidfd = open(&child);
        self.children.insert(child.pid, Guard { child, pidfd, kills: 0 });
    }

    /// The supervisor says that it is dead, and its group empty.
    pub(crate) fn gone(&mut self, pid: i32) {
        self.children.remove(&pid);
    }

    /// Children of this lease may live until then.
    pub(crate) fn extend(&mut self, seconds: u64, until: BootTime) {
        let known = self.leases.entry(seconds).or_default();
        *known = until.max(*known);
    }

    fn due(&self, guard: &Guard) -> Option<BootTime> {
        let until = *self.leases.get(&guard.child.lease?)?;
        (guard.kills < KILLS_MAX).then_some(until + AFTER + AGAIN * guard.kills)
    }

    /// When the next child is to be killed.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.children.values().filter_map(|guard| self.due(guard)).min()
    }

    /// Kills what has outlived its deadline.
    pub(crate) fn enforce(&mut self, now: BootTime) {
        let late = self.children.values().filter(|g| self.due(g).is_some_and(|due| due <= now));
        let late: Vec<i32> = late.map(|guard| guard.child.pid).collect();
        for pid in late {
            if let Some(guard) = self.children.get_mut(&pid) {
                if guard.kills == 0 {
                    let name = &guard.child.name;
                    tracing::warn!(%name, pid, "its deadline passed and it still lives: killed");
                }
                guard.kills += 1;
                kill(guard);
            }
        }
    }

    /// Kills every child, with its group: the supervisor is dead.
    pub(crate) fn kill_all(&mut self) {
        for guard in self.children.values() {
            kill(guard);
        }
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
    (start_time(child.pid) == Some(child.start_time)).then_some(fd)
}

fn kill(guard: &Guard) {
    let Child { name, pid, start_time, cgroup, .. } = &guard.child;
    if let Some(cgroup) = cgroup {
        // It takes along what has left the process group. Where it is gone, so are all in it.
        let _ = std::fs::write(Path::new(cgroup).join("cgroup.kill"), "1");
    }
    kill_leftovers(name, *pid, *start_time);
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
}
