//! Processes by what the kernel says of them.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot: with the pid it names a process for
/// ever (proc(5)). `None` when there is no such process, or it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, may hold anything; it ends at the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Whether no process of the group is left, zombies aside that are not ours to reap.
pub fn group_is_empty(pgid: i32) -> bool {
    killpg(Pid::from_raw(pgid), None) == Err(Errno::ESRCH)
}

/// Signals a whole process group; one that is gone needs no signal.
pub fn signal_group(pgid: i32, signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    match killpg(Pid::from_raw(pgid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => tracing::warn!("signal {signal} to process group {pgid}: {e}"),
    }
}

/// SIGKILL to one process.
pub(crate) fn kill_one(pid: i32) {
    // One that is gone needs no signal.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_start_time_and_an_impossible_one_has_none() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(me).is_some_and(|t| t > 0));
        assert_eq!(start_time(i32::MAX), None);
        assert!(group_is_empty(i32::MAX));
    }
}
