//! Processes of this machine, as /proc shows them.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::now;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    pid: i32,
    parent: i32,
    zombie: bool,
}

fn all() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| seen(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn seen(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have spaces and brackets.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let zombie = matches!(words.next()?, "Z" | "X");
    Some(Seen { pid, parent: words.next()?.parse().ok()?, zombie })
}

/// Whether a process lives; a zombie does not.
pub(crate) fn alive(pid: i32) -> bool {
    seen(pid).is_some_and(|seen| !seen.zombie)
}

/// Its children that live.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    all().into_iter().filter(|p| p.parent == pid && !p.zombie).map(|p| p.pid).collect()
}

/// It and all its descendants, parents first.
pub(crate) fn tree(pid: i32) -> Vec<i32> {
    let all = all();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|p| p.parent == parent && !p.zombie).map(|p| p.pid));
        next += 1;
    }
    found
}

/// Its command line.
pub(crate) fn words(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).map(|w| String::from_utf8_lossy(w).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// All whose environment has this variable, but for this process.
pub(crate) fn marked(variable: &str) -> Vec<i32> {
    let own = Pid::this().as_raw();
    let has = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    };
    all().into_iter().map(|p| p.pid).filter(|pid| *pid != own && has(*pid)).collect()
}

/// Witnesses that live and write into this directory, each with its instance.
pub(crate) fn witnesses(directory: &Path) -> Vec<(i32, String)> {
    let directory = directory.display().to_string();
    let instance = |pid: i32| {
        let words = words(pid);
        let ours = words.first()?.ends_with("chaos-witness") && words.get(1) == Some(&directory);
        ours.then(|| variable(pid, "DSBUS_INSTANCE"))?
    };
    let living = all().into_iter().filter(|p| !p.zombie);
    living.filter_map(|p| Some((p.pid, instance(p.pid)?))).collect()
}

fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&environment).into_owned();
    let found = text.split('\0').find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    found.map(str::to_owned)
}

/// Sends a signal; whether there was somebody to get it.
pub(crate) fn signal(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal) != Err(Errno::ESRCH)
}

/// Waits in a thread of its own until a process has ended; when. `None` when it outlives a minute.
pub(crate) async fn end(pid: i32) -> Option<u64> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    const MINUTE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let waited = tokio::task::spawn_blocking(move || {
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&MINUTE)).ok()?;
        (ended > 0).then(now)
    });
    waited.await.ok()?
}
