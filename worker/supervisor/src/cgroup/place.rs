//! Where the cgroups of children are made: below the worker's own cgroup, or where its owner says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{FleetName, WorkerName};
use nix::poll::{PollTimeout, poll};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::config::CgroupChoice;

/// Controllers that limits need.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// Longest chain of parents that is followed; a loop of pids cannot be, but /proc is read while it
/// changes.
const ANCESTORS_MAX: u32 = 64;
/// How often one looks whether killed leftovers are gone, a millisecond apart. A process that is in
/// the middle of a system call that cannot be broken off may take longer, and is left.
const SWEEP_LOOKS_MAX: u32 = 2000;

/// The directory that holds the cgroups of all children of this worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CgroupRoot {
    pub(crate) path: PathBuf,
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
    pub(crate) pids: bool,
}

impl CgroupRoot {
    /// Removes it at the end of a run, with all that is left in it. What does not die stays, and is
    /// swept at the next start.
    pub(crate) fn remove(&self) {
        sweep(&self.path);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Finds and makes the place; kills and removes what an earlier run of this worker left in it.
/// Gives also what is wrong, for the log: with no place, or with one that lacks controllers.
pub(crate) fn place(
    choice: &CgroupChoice,
    fleet: &FleetName,
    worker: &WorkerName,
    home: &Path,
) -> (Option<CgroupRoot>, Option<String>) {
    let base = match choice {
        CgroupChoice::None => return (None, None),
        CgroupChoice::Auto => own(),
        CgroupChoice::Path(path) => Ok(path.clone()),
    };
    match base.and_then(|base| make(&base, &name(fleet, worker, home))) {
        Ok((root, trouble)) => (Some(root), trouble),
        Err(why) => (None, Some(format!("children get no cgroups: {why}"))),
    }
}

/// Two workers of one name may share a machine in different fleets or directories, and would kill
/// each other's children if they shared a cgroup.
fn name(fleet: &FleetName, worker: &WorkerName, home: &Path) -> String {
    // FNV-1a: the same in every version of this program, which has to find what it left.
    let bytes = home.as_os_str().as_encoded_bytes();
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("dsbus-{fleet}-{worker}-{hash:08x}")
}

/// This process's own cgroup of version 2.
fn own() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("reading {path}: {e}"));
    let (mounts, cgroups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    own_of(&mounts, &cgroups).ok_or_else(|| {
        "cgroup version 2 is not mounted, or this process's cgroup is outside of it".to_owned()
    })
}

fn own_of(mounts: &str, cgroups: &str) -> Option<PathBuf> {
    let own = Path::new(cgroups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then_some(())?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        Some(Path::new(point).join(own.strip_prefix(root).ok()?))
    })
}

fn make(base: &Path, name: &str) -> Result<(CgroupRoot, Option<String>), String> {
    let shown = base.display();
    let kind = statfs(base).map_err(|e| format!("{shown}: {}", e.desc()))?.filesystem_type();
    if kind != CGROUP2_SUPER_MAGIC {
        return Err(format!("{shown} is no directory of a cgroup version 2 file system"));
    }
    let path = base.join(name);
    match fs::create_dir(&path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => sweep(&path),
        Err(e) => return Err(format!("cannot make {}: {e}", path.display())),
    }
    let trouble = enable(base).err();
    // Its own children can have only what it has itself.
    let _ = switch_on(&path);
    let on = fs::read_to_string(path.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |controller: &str| on.split_whitespace().any(|name| name == controller);
    let root = CgroupRoot { memory: has("memory"), cpu: has("cpu"), pids: has("pids"), path };
    Ok((root, trouble))
}

/// Gives the controllers of `base` to those below it.
fn enable(base: &Path) -> Result<(), String> {
    if switch_on(base).is_ok() {
        return Ok(());
    }
    // "No internal processes": a cgroup other than the root that has processes of its own cannot
    // give memory or pids to those below it, so the worker moves into one below, too.
    move_aside(base)?;
    switch_on(base).map_err(|e| format!("no limits: controllers of {}: {e}", base.display()))
}

/// Switches on what is there to be switched on.
fn switch_on(path: &Path) -> io::Result<()> {
    let there = fs::read_to_string(path.join("cgroup.controllers"))?;
    let on = fs::read_to_string(path.join("cgroup.subtree_control"))?;
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    for controller in CONTROLLERS {
        if has(&there, controller) && !has(&on, controller) {
            fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// Moves this process, and those that started it, out of the way. Others are not ours to move.
fn move_aside(base: &Path) -> Result<(), String> {
    let text = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
    let members: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
    let family = family();
    if let Some(stranger) = members.iter().find(|pid| !family.contains(pid)) {
        return Err(format!(
            "no limits: process {stranger} is in {} besides this worker, which can have no \
             controllers below it then; give the worker a cgroup of its own (systemd: Delegate=yes)",
            base.display()
        ));
    }
    let aside = base.join("worker");
    let failed = |e: io::Error| format!("no limits: moving into {}: {e}", aside.display());
    if !aside.is_dir() {
        fs::create_dir(&aside).map_err(failed)?;
    }
    for pid in members {
        fs::write(aside.join("cgroup.procs"), pid.to_string()).map_err(failed)?;
    }
    Ok(())
}

/// This process and its ancestors.
fn family() -> Vec<i32> {
    let mut family = vec![nix::unistd::getpid().as_raw()];
    let mut next = nix::unistd::getppid().as_raw();
    for _ in 0..ANCESTORS_MAX {
        if next <= 0 {
            break;
        }
        family.push(next);
        let Some(parent) = crate::process::parent_of(next) else { break };
        next = parent;
    }
    family
}

/// Ends what an earlier run left; the directory itself stays, and is used again.
fn sweep(path: &Path) {
    let left: Vec<PathBuf> = super::below(path).collect();
    for cgroup in &left {
        super::kill_all(cgroup);
    }
    for cgroup in left {
        let mut looks = 0;
        while super::remove_all(&cgroup).is_err() && looks < SWEEP_LOOKS_MAX {
            looks += 1;
            super::kill_all(&cgroup);
            // Nothing to wait for but time: these are not our children.
            let _ = poll(&mut [], PollTimeout::from(1_u8));
        }
        if looks == SWEEP_LOOKS_MAX {
            tracing::error!("processes left in {} do not die", cgroup.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let bound = "41 31 0:38 /docker/x /sys/fs/cgroup rw shared:9 - cgroup2 cgroup rw\n";
        for (mount, own, found) in [
            (unified, "1:cpu:/x\n0::/\n", Some("/sys/fs/cgroup/unified")),
            (unified, "0::/a.slice/b.service\n", Some("/sys/fs/cgroup/unified/a.slice/b.service")),
            (bound, "0::/docker/x/y\n", Some("/sys/fs/cgroup/y")),
            (bound, "0::/elsewhere\n", None),
            ("", "0::/\n", None),
            (unified, "1:cpu:/\n", None),
        ] {
            let got = own_of(&format!("{mounts}{mount}"), own);
            let same = got.as_deref().map(|path| path.components().collect::<PathBuf>());
            assert_eq!(same, found.map(PathBuf::from), "{mount}{own}");
        }
    }

    #[test]
    fn workers_of_one_name_are_kept_apart() {
        let (fleet, worker) = ("f".parse().unwrap(), "w".parse().unwrap());
        let one = name(&fleet, &worker, Path::new("/var/lib/a"));
        assert_ne!(one, name(&fleet, &worker, Path::new("/var/lib/b")));
        assert_eq!(one, name(&fleet, &worker, Path::new("/var/lib/a")));
    }

    #[test]
    fn a_place_that_is_no_cgroup_is_told() {
        let choice = CgroupChoice::Path("/tmp".into());
        let (fleet, worker) = ("f".parse().unwrap(), "w".parse().unwrap());
        let (root, why) = place(&choice, &fleet, &worker, Path::new("/x"));
        assert!(root.is_none() && why.is_some_and(|why| why.contains("/tmp is no directory of")));
    }
}
