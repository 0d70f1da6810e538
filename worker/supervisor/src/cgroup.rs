//! A cgroup (version 2) for each child: it holds all that a child ever starts, however that hides,
//! and keeps the limits of all of them together.

mod place;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{Incarnation, InstanceId};
use dsbus_schema::program::Limits;
use dsbus_schema::state::Usage;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

use crate::process;

pub(crate) use place::{CgroupRoot, place};

/// Length of the period in which `cpu.max` counts, in microseconds; the kernel's own default.
const CPU_PERIOD_US: u32 = 100_000;
/// The least that the kernel takes as a share of one period.
const CPU_QUOTA_US_MIN: f64 = 1000.0;
/// Longest file of a cgroup that is read at once; `memory.events` has some ten short lines.
const FILE_BYTES_MAX: usize = 1024;
/// Digits of the run in the name of a cgroup.
const RUN_DIGITS: usize = 12;
/// How often the processes of a cgroup without `cgroup.kill` (a kernel before 5.14) are listed and
/// killed in one go; what forks faster than that is killed at the next go.
const KILL_ROUNDS_MAX: u32 = 5;

/// The cgroup of one child. It is not removed when this is dropped: see [`Cgroup::remove`].
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    directory: File,
}

impl Cgroup {
    /// Makes the cgroup of the `number`th start of a run of this worker. Its name is that of no
    /// other run: an agent of an earlier one that was frozen, and thaws, kills by name.
    ///
    /// # Errors
    /// A sentence that says which limit cannot be kept, and why.
    pub(crate) fn make(
        root: &CgroupRoot,
        name: &InstanceId,
        run: Incarnation,
        number: u64,
        limits: &Limits,
    ) -> Result<Cgroup, String> {
        let run = run.0.simple().to_string();
        // The end is random; the beginning is a time.
        let run = &run[run.len() - RUN_DIGITS..];
        let path = root.path.join(format!("{}.{}.{run}.{number}", name.program, name.index));
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(format!("cannot make the cgroup {}: {e}", path.display())),
        }
        let made = limit(root, &path, limits).and_then(|()| {
            let opened = File::open(&path);
            let directory = opened.map_err(|e| format!("cannot open {}: {e}", path.display()))?;
            Ok(Cgroup { path: path.clone(), directory })
        });
        if made.is_err() {
            // It is empty; one that stays does no harm, and is swept at the next start.
            let _ = fs::remove_dir(&path);
        }
        made
    }

    /// One that was made before.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn reopen(path: &Path) -> io::Result<Cgroup> {
        Ok(Cgroup { path: path.to_owned(), directory: File::open(path)? })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory, for `CLONE_INTO_CGROUP`.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Whether a process lives in it, or in one below it.
    pub(crate) fn populated(&self) -> bool {
        match self.read("cgroup.events") {
            Ok(text) => value_of(&text, "populated") != Some(0),
            // The cgroup was removed under our hands, which is possible only when it was empty.
            Err(Errno::ENODEV | Errno::ENOENT) => false,
            Err(_) => true,
        }
    }

    /// How often the kernel killed one of its processes because memory ran out.
    pub(crate) fn oom_kills(&self) -> u64 {
        value_of(&self.read("memory.events").unwrap_or_default(), "oom_kill").unwrap_or(0)
    }

    /// What its processes used, of which the kernel told `reaped` by the first of them. Where memory
    /// is counted, all of them count together (`memory.peak`, from 5.19 on).
    pub(crate) fn usage(&self, reaped: Usage) -> Usage {
        let peak = self.read("memory.peak").ok().and_then(|text| text.trim().parse().ok());
        Usage { memory_peak: peak.unwrap_or(0).max(reaped.memory_peak), ..reaped }
    }

    /// Sends SIGKILL to everything in it, at once where the kernel can do that.
    pub(crate) fn kill(&self) {
        let done = self.open("cgroup.kill", OFlag::O_WRONLY).and_then(|f| write(&f, b"1"));
        if done.is_err() {
            kill_all(&self.path);
        }
    }

    fn open(&self, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        openat(&self.directory, name, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// The text of one of its short files.
    fn read(&self, name: &str) -> nix::Result<String> {
        let mut text = [0; FILE_BYTES_MAX];
        let count = read(self.open(name, OFlag::O_RDONLY)?, &mut text)?;
        Ok(String::from_utf8_lossy(&text[..count]).into_owned())
    }

    /// The processes in it.
    pub(crate) fn members(&self) -> Vec<i32> {
        members(&self.path)
    }

    /// Removes it, with all below it.
    ///
    /// # Errors
    /// When a process lives in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_all(&self.path)
    }
}

fn limit(root: &CgroupRoot, path: &Path, limits: &Limits) -> Result<(), String> {
    let missing = |key: &str, controller: &str| {
        Err(format!(
            "limits.{key} cannot be kept: this worker has no {controller} controller of cgroup \
             version 2; its log says why"
        ))
    };
    let set = |key: &str, file: &str, value: String| {
        fs::write(path.join(file), &value)
            .map_err(|e| format!("limits.{key} cannot be set: writing {value} to {file}: {e}"))
    };
    if let Some(memory) = limits.memory {
        if !root.memory {
            return missing("memory", "memory");
        }
        set("memory", "memory.max", memory.0.to_string())?;
        // Without it the child would go on in swap; a kernel without swap has no such file.
        if path.join("memory.swap.max").exists() {
            set("memory", "memory.swap.max", "0".to_owned())?;
        }
        // Half of a child's processes is no child.
        set("memory", "memory.oom.group", "1".to_owned())?;
    }
    if let Some(cpu) = limits.cpu {
        if !root.cpu {
            return missing("cpu", "cpu");
        }
        let quota = (cpu * f64::from(CPU_PERIOD_US)).max(CPU_QUOTA_US_MIN);
        set("cpu", "cpu.max", format!("{quota:.0} {CPU_PERIOD_US}"))?;
    }
    if let Some(pids) = limits.pids {
        if !root.pids {
            return missing("pids", "pids");
        }
        set("pids", "pids.max", pids.to_string())?;
    }
    Ok(())
}

/// The number behind a name in a file of `name number` lines.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn kill_all(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for _ in 0..KILL_ROUNDS_MAX {
        let members = members(path);
        if members.is_empty() {
            return;
        }
        members.into_iter().for_each(process::kill_one);
    }
}

fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path())
}

fn members(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let mut members: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
    for inner in below(path) {
        members.extend(self::members(&inner));
    }
    members
}

fn remove_all(path: &Path) -> io::Result<()> {
    for inner in below(path) {
        remove_all(&inner)?;
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
