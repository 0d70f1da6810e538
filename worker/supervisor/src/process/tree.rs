//! All that a child started, where it has no cgroup: its process group and session, what descends
//! from it, and what descended from it once. A process whose parent ends becomes a child of the
//! worker, which is the subreaper of all that it ever started; so whatever hides from its parent
//! (double fork, setsid) is found among the worker's own children, and none of it can end unseen.

use std::collections::{HashMap, HashSet};
use std::fs;

use crate::process::{self, Stat};

/// The variable by which a process is known to belong to one start of one instance; its value is
/// unique to that.
pub(crate) const MARK: &str = "DSBUS_CHILD";

/// How often the list of this process's own children is read in one look, when some of them end
/// meanwhile; the next look sees the rest.
const LISTINGS_MAX: u32 = 8;

/// A child, as what it started is told from what others started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildIdentity {
    pub(crate) pid: i32,
    /// The value of [`MARK`] in its environment.
    pub(crate) mark: String,
}

/// Sends SIGKILL once to everything that is found of a child. Returns how many of it live still,
/// as far as can be seen: to be called again, until that is 0, when something was reaped or a
/// moment has passed.
///
/// `known` are all children that are not reaped yet, hooks and the agent among them; it holds
/// `child.pid` as long as that is not reaped.
pub(crate) fn kill(child: &ChildIdentity, known: &HashSet<i32>) -> usize {
    let found = Look::new(known).find(child, known);
    for pid in &found {
        process::kill_one(*pid);
    }
    found.len()
}

/// The same for many at once, which looks only once.
pub(crate) fn kill_all(children: &[ChildIdentity], known: &HashSet<i32>) -> Vec<usize> {
    if children.is_empty() {
        return Vec::new();
    }
    let look = Look::new(known);
    let found: Vec<_> = children.iter().map(|child| look.find(child, known)).collect();
    for pid in found.iter().flatten() {
        process::kill_one(*pid);
    }
    found.iter().map(HashSet::len).collect()
}

/// The processes of a child that live, and itself until it is reaped.
pub(crate) fn members(child: &ChildIdentity, known: &HashSet<i32>) -> Vec<i32> {
    Look::new(known).find(child, known).into_iter().collect()
}

/// One look at the processes that are there. Each is read once, however many children are asked
/// for.
#[derive(Debug, Default)]
struct Look {
    /// Children of this process that are not known to it, and live: those with a mark.
    marked: HashMap<String, Vec<i32>>,
    /// Those without one, by their group and their session. A number that was given to another
    /// child since is no sign of this one, so these signs are for them only.
    near: HashMap<i32, Vec<i32>>,
    /// Children by their parent, where that had to be found by reading all of /proc.
    families: Option<HashMap<i32, Vec<i32>>>,
}

impl Look {
    fn new(known: &HashSet<i32>) -> Look {
        let seen = |pid: i32| Some((pid, process::stat(pid).filter(|stat| stat.alive)?));
        let mut look = Look::default();
        if look.add_orphans(known) {
            return look;
        }
        // A kernel without CONFIG_PROC_CHILDREN. Those that are known are not looked at, which is
        // most of them where many instances run.
        let me = nix::unistd::getpid().as_raw();
        for _ in 0..LISTINGS_MAX {
            look = Look::default();
            let mut families = HashMap::<i32, Vec<i32>>::new();
            let mut living = HashSet::from([0]);
            for (pid, stat) in process::all().filter(|pid| !known.contains(pid)).filter_map(seen) {
                living.insert(pid);
                if stat.parent == me {
                    look.add_orphan(pid, stat);
                } else {
                    families.entry(stat.parent).or_default().push(pid);
                }
            }
            // Whose parent ended meanwhile is somebody else's child by now, and perhaps ours.
            let settled = families.keys().all(|pid| living.contains(pid) || known.contains(pid));
            look.families = Some(families);
            if settled {
                break;
            }
        }
        look
    }

    /// Reads what has become this process's own; false where the kernel does not tell. One that ended
    /// since it was listed has left its children here, so that the list is read again then.
    fn add_orphans(&mut self, known: &HashSet<i32>) -> bool {
        let mut listed = HashSet::new();
        for _ in 0..LISTINGS_MAX {
            let Some(own) = own_children() else { return false };
            let mut one_ended = false;
            for pid in own.into_iter().filter(|pid| !known.contains(pid)) {
                if listed.insert(pid) {
                    match process::stat(pid).filter(|stat| stat.alive) {
                        Some(stat) => self.add_orphan(pid, stat),
                        None => one_ended = true,
                    }
                }
            }
            if !one_ended {
                break;
            }
        }
        true
    }

    fn add_orphan(&mut self, pid: i32, stat: Stat) {
        match process::variable_of(pid, MARK) {
            Some(mark) => self.marked.entry(mark).or_default().push(pid),
            None => {
                self.near.entry(stat.group).or_default().push(pid);
                if stat.session != stat.group {
                    self.near.entry(stat.session).or_default().push(pid);
                }
            }
        }
    }

    /// The processes of a child that live, or are not reaped.
    fn find(&self, child: &ChildIdentity, known: &HashSet<i32>) -> HashSet<i32> {
        let orphans = [self.marked.get(&child.mark), self.near.get(&child.pid)];
        let mut found: HashSet<i32> = orphans.into_iter().flatten().flatten().copied().collect();
        // Until it is reaped: what it leaves when it ends may come here behind our back.
        if known.contains(&child.pid) {
            found.insert(child.pid);
        }
        let mut unseen: Vec<i32> = found.iter().copied().collect();
        while let Some(pid) = unseen.pop() {
            for below in self.children_of(pid) {
                if !known.contains(&below) && found.insert(below) {
                    unseen.push(below);
                }
            }
        }
        found
    }

    fn children_of(&self, pid: i32) -> Vec<i32> {
        match &self.families {
            Some(families) => families.get(&pid).cloned().unwrap_or_default(),
            None => children_by_kernel(pid).unwrap_or_default(),
        }
    }
}

fn own_children() -> Option<Vec<i32>> {
    children_by_kernel(nix::unistd::getpid().as_raw())
}

/// The children of all threads of a process, zombies among them; `None` when the kernel does not
/// tell.
fn children_by_kernel(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(thread.path().join("children")).ok()?;
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(children)
}
