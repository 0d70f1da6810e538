//! Processes by what the kernel says of them.

pub(crate) mod leftovers;
pub(crate) mod tree;

use dsbus_schema::ids::InstanceId;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Most bytes of a pidfile: a number and white space.
const PIDFILE_BYTES_MAX: u64 = 32;

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot: with the pid it names a process for
/// ever (proc(5)). `None` when there is no such process, or it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    stat(pid).filter(|stat| stat.alive).map(|stat| stat.start_time)
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) alive: bool,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    start_time: u64,
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Stat> {
    // The name, field 2, may hold anything; it ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let zombie = matches!(field(3)?, "Z" | "X");
    // A process whose first thread has ended looks like a zombie while others run.
    let threads: u32 = field(20)?.parse().ok()?;
    Some(Stat {
        alive: !zombie || threads > 1,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
    })
}

/// Whether a process is a child of this one, and so is reaped by it.
pub(crate) fn is_own_child(pid: i32) -> bool {
    parent_of(pid) == Some(nix::unistd::getpid().as_raw())
}

/// The process group of a process.
pub(crate) fn group_of(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.group)
}

/// The number that a file holds, as daemons write their process id. The file may be somebody else's:
/// what is no regular file is not opened for long, and no more is read than a number has.
pub(crate) fn read_pidfile(path: &std::path::Path) -> Option<i32> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = std::fs::File::options().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(PIDFILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// The parent of a process; 0 when it has none that can be seen.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent)
}

/// Every process that can be seen, kernel threads among them.
pub(crate) fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The living processes of a group, as far as they can be seen.
fn living_members(pgid: i32) -> impl Iterator<Item = i32> {
    all().filter(move |pid| stat(*pid).is_some_and(|stat| stat.alive && stat.group == pgid))
}

/// How often an environment is read again that is empty: it is for a moment while a process
/// executes another program.
const ENVIRONMENT_READS_MAX: u32 = 3;

/// A variable in the environment that a process was started with, if that can be read.
pub(crate) fn variable_of(pid: i32, name: &str) -> Option<String> {
    let mut environment = Vec::new();
    for _ in 0..ENVIRONMENT_READS_MAX {
        environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environment.is_empty() {
            break;
        }
    }
    let value = environment.split(|byte| *byte == 0).find_map(|variable| {
        variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    })?;
    String::from_utf8(value).ok()
}

/// Kills what is left of a child: its process group, if the child itself lives, or if the group has
/// a member that was started by that instance. (A child dies with its worker, and leaves those
/// that it started.) Says whether there was anything.
pub fn kill_leftovers(instance: &InstanceId, group: i32, pid: i32, started: u64) -> bool {
    if killpg(Pid::from_raw(group), None) == Err(Errno::ESRCH) {
        return false;
    }
    let name = Some(instance.to_string());
    // One that went to another group says nothing of who has the number of its old one now.
    let leads = |stat: Stat| stat.alive && stat.start_time == started && stat.group == group;
    let lives = stat(pid).is_some_and(leads);
    if !lives && !living_members(group).any(|member| variable_of(member, "DSBUS_INSTANCE") == name)
    {
        return false;
    }
    signal_group(group, libc::SIGKILL);
    true
}

/// Whether no process of the group is left, zombies aside that are not ours to reap.
pub fn group_is_empty(pgid: i32) -> bool {
    match killpg(Pid::from_raw(pgid), None) {
        Err(Errno::ESRCH) => true,
        Ok(()) => living_members(pgid).next().is_none(),
        // It has members that belong to somebody else, and may be hidden.
        Err(_) => false,
    }
}

/// Signals a whole process group; one that is gone needs no signal.
pub fn signal_group(pgid: i32, signal: i32) {
    send(-pgid, signal);
}

/// Signals one process; one that is gone needs no signal.
pub(crate) fn signal_one(pid: i32, signal: i32) {
    send(pid, signal);
}

#[expect(unsafe_code, reason = "nix knows no real-time signals, which a program may ask for")]
fn send(to: i32, signal: i32) {
    // To 0 and -1 would be to ourselves and to everybody.
    if matches!(to, -1..=1) {
        return;
    }
    // SAFETY: kill takes two numbers and touches no memory.
    if unsafe { libc::kill(to, signal) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ESRCH) {
            tracing::warn!("signal {signal} to {to}: {error}");
        }
    }
}

/// SIGKILL to one process.
pub(crate) fn kill_one(pid: i32) {
    // One that is gone needs no signal.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn this_process_has_a_start_time_and_an_impossible_one_has_none() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(me).is_some_and(|t| t > 0));
        assert_eq!(start_time(i32::MAX), None);
        assert!(group_is_empty(i32::MAX));
    }

    #[test]
    fn a_strange_name_is_no_trouble_and_a_zombie_is_not_alive() {
        let line = "42 (a) b) S (c) Z 1 41 40 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 777 0 0";
        assert_eq!(
            parse(line),
            Some(Stat { alive: false, parent: 1, group: 41, session: 40, start_time: 777 })
        );
        let threads = line.replace("20 0 1 0 777", "20 0 2 0 777");
        assert!(parse(&threads).unwrap().alive);
    }

    #[test]
    fn a_group_of_zombies_is_empty() {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").process_group(0).spawn().unwrap();
        let pgid = i32::try_from(child.id()).unwrap();
        assert!(!group_is_empty(pgid));
        assert_eq!(living_members(pgid).collect::<Vec<_>>(), [pgid]);
        signal_group(pgid, 9);
        while !group_is_empty(pgid) {
            std::thread::yield_now();
        }
        assert_eq!(killpg(Pid::from_raw(pgid), None), Ok(()), "the zombie is still there");
        child.wait().unwrap();
    }
}
