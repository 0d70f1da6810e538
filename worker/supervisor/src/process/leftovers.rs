//! What an earlier run of this worker left behind, when it died and its children did not die with
//! it: they have another user, changed their rights, or are not its direct children.

use nix::poll::{PollTimeout, poll};

use super::tree::MARK;

/// How often one looks whether they are gone, a few milliseconds apart: ten seconds. A process that
/// is in the middle of a system call that cannot be broken off may take longer, and is reported.
const LOOKS_MAX: u32 = 2000;
/// Between two looks, in milliseconds.
const LOOK_MS: u8 = 5;

/// The value of [`MARK`] for one start: the run of the worker, and a number of its own.
pub(crate) fn mark(run: &str, number: u64) -> String {
    format!("{run}.{number}")
}

/// Sends SIGKILL to every process that was started by that run of this worker, wherever it went
/// since. Returns those that live still. It reads all of /proc, and is for the start of a worker;
/// other workers on this machine have other runs, and are not touched.
pub(crate) fn kill(run: &str) -> Vec<i32> {
    let of_run = |pid: &i32| {
        let mark = super::variable_of(*pid, MARK);
        mark.is_some_and(|mark| mark.strip_prefix(run).is_some_and(|rest| rest.starts_with('.')))
    };
    let alive = |pid: &i32| super::stat(*pid).is_some_and(|stat| stat.alive);
    let left: Vec<i32> = super::all().filter(of_run).filter(alive).collect();
    for pid in &left {
        super::kill_one(*pid);
    }
    left
}

/// The same until nothing is left. Returns how many there were.
///
/// # Errors
/// Those that do not die.
pub(crate) fn sweep(run: &str) -> Result<usize, Vec<i32>> {
    if run.is_empty() {
        return Ok(0);
    }
    let first = kill(run);
    let mut left = first.clone();
    for _ in 0..LOOKS_MAX {
        if left.is_empty() {
            return Ok(first.len());
        }
        // Nothing to wait for but time: these are not our children.
        let _ = poll(&mut [], PollTimeout::from(LOOK_MS));
        left = kill(run);
    }
    Err(left)
}
