//! Processes by what the kernel says of them.

pub(crate) mod leftovers;
pub(crate) mod tree;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dsbus_schema::ids::InstanceId;
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::files::open_regular;

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

/// Longest beginning of `/proc/<pid>/stat` up to field 22: a name of at most 64 bytes, and numbers
/// of at most 20 digits.
const STAT_BYTES_MAX: usize = 512;

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let mut bytes = [0; STAT_BYTES_MAX];
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    // The kernel gives all of it at once, or as much as there is room for.
    let count = file.read(&mut bytes).ok()?;
    parse(&bytes[..count])
}

fn parse(stat: &[u8]) -> Option<Stat> {
    // The name, field 2, may hold anything; it ends at the last parenthesis.
    let behind = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[behind..]).ok()?.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let mut id = || fields.next()?.parse().ok();
    let (parent, group, session) = (id()?, id()?, id()?);
    // A process whose first thread has ended looks like a zombie while others run. This is field
    // 20, behind field 6; the start time is field 22.
    let threads: u32 = fields.nth(20 - 7)?.parse().ok()?;
    let start_time = fields.nth(22 - 21)?.parse().ok()?;
    Some(Stat { alive: !zombie || threads > 1, parent, group, session, start_time })
}

/// Longest file that is read as a process id: more than any number has, with blanks around it.
const PIDFILE_BYTES_MAX: u64 = 32;

/// The process id in a file that a child wrote; `None` when there is none, or no such file. It is
/// read without waiting, whatever the child put there.
pub(crate) fn read_pidfile(path: &Path) -> Option<i32> {
    let mut text = String::new();
    open_regular(path).ok()?.take(PIDFILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Whether a process is a child of this one, and so is reaped by it.
pub(crate) fn is_own_child(pid: i32) -> bool {
    parent_of(pid) == Some(nix::unistd::getpid().as_raw())
}

/// The process group of a process.
pub(crate) fn group_of(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.group)
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

/// How often an environment is read that is empty because the process is executing another program
/// just now, a millisecond apart. Without a wait between them three reads were not enough on a busy
/// machine, where such a process may be put off in the middle.
const ENVIRONMENT_READS_MAX: u32 = 20;

/// After so many looks that saw no execve(2), an environment that is empty is so for good.
const CALM_LOOKS: u32 = 2;

/// A variable in the environment that a process was started with, if that can be read.
pub(crate) fn variable_of(pid: i32, name: &str) -> Option<String> {
    let mut environment = Vec::new();
    // It may have begun, or be done, since the other file was read.
    let mut calm = 0;
    for _ in 0..ENVIRONMENT_READS_MAX {
        environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environment.is_empty() || calm == CALM_LOOKS {
            break;
        }
        if is_executing(pid) {
            let _ = poll(&mut [], PollTimeout::from(1_u8));
        } else {
            calm += 1;
        }
    }
    let value = environment.split(|byte| *byte == 0).find_map(|variable| {
        variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    })?;
    String::from_utf8(value).ok()
}

/// Whether a process has no environment yet: in the middle of execve(2) the address where it ends,
/// field 51 of `/proc/<pid>/stat`, is 0 (proc(5)).
fn is_executing(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, behind)) = text.rsplit_once(')') else { return false };
    let mut fields = behind.split_ascii_whitespace();
    let gone = matches!(fields.next(), Some("Z" | "X"));
    !gone && fields.nth(51 - 4) == Some("0")
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
            parse(line.as_bytes()),
            Some(Stat { alive: false, parent: 1, group: 41, session: 40, start_time: 777 })
        );
        let threads = line.replace("20 0 1 0 777", "20 0 2 0 777");
        assert!(parse(threads.as_bytes()).unwrap().alive);
    }

    #[test]
    fn a_pidfile_is_a_short_regular_file_with_a_number() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pid");
        for (text, pid) in
            [("42\n", Some(42)), (" 7 ", Some(7)), ("-1", None), ("0", None), ("x", None)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_pidfile(&path), pid, "{text:?}");
        }
        std::fs::write(&path, format!("{}7", " ".repeat(100))).unwrap();
        assert_eq!(read_pidfile(&path), None);
        let fifo = home.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!((read_pidfile(&fifo), read_pidfile(home.path())), (None, None));
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
