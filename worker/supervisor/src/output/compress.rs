//! Rotated files are compressed by a command of the machine's owner, which runs beside: this
//! process has one thread, and no time for it.
//!
//! All renames stay here. The command writes to a file beside the log, and what it wrote takes the
//! place of the rotated file under the number that this has by then.

#![expect(unsafe_code, reason = "pre_exec; its use says why it is sound")]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use dsbus_schema::moment::BootTime;
use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::doomed::Doomed;
use super::rotation;
use crate::files::{open_trusted, regular};
use crate::{clock, process};

/// Most commands at once: logs that rotate together must not take the processors from children.
const RUNNING_MAX: usize = 2;
/// Most logs that wait. One more is compressed after its next rotation.
const WAITING_MAX: usize = 10_000;
/// How long one may take. It has the least priority and a log may have gigabytes, so this is for one
/// that hangs, and would keep its place for ever.
const COMPRESSING_MAX: Duration = Duration::from_secs(3600);
/// Mode bits that the compressed file has of the rotated one: rights, and nothing that would run it
/// as somebody.
const RIGHTS: u32 = 0o777;
/// Niceness of the command: the least priority.
const NICE: i32 = 19;

/// The commands that run, and the logs that wait for one.
#[derive(Debug, Default)]
pub(super) struct Compressors {
    command: Vec<OsString>,
    running: BTreeMap<i32, Running>,
    waiting: VecDeque<PathBuf>,
    doomed: Doomed,
}

/// A command that runs; at most one for each log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    log: PathBuf,
    /// Of the rotated file, whose name changes.
    inode: u64,
    written: Option<SystemTime>,
    temporary: PathBuf,
    /// When it has taken too long; `None` once it is killed.
    until: Option<BootTime>,
}

/// All of them, as they are left at a change of the worker's version: they run on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CompressorsLeft {
    running: BTreeMap<i32, Running>,
    waiting: VecDeque<PathBuf>,
}

impl Compressors {
    pub(super) fn hand_over(&self) -> CompressorsLeft {
        CompressorsLeft { running: self.running.clone(), waiting: self.waiting.clone() }
    }

    pub(super) fn take_over(&mut self, left: CompressorsLeft) {
        (self.running, self.waiting) = (left.running, left.waiting);
    }

    pub(super) fn set_command(&mut self, command: &[OsString]) {
        command.clone_into(&mut self.command);
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.running.keys().copied()
    }

    /// Gives back some room of what was compressed.
    pub(super) fn free_some(&mut self) {
        self.doomed.free_some();
    }

    /// Kills what takes too long; its end is told by [`Compressors::ended`].
    pub(super) fn tend(&mut self, now: BootTime) {
        for (pid, running) in &mut self.running {
            if running.until.is_some_and(|until| now >= until) {
                running.until = None;
                tracing::warn!("{}: its compressor takes too long", running.log.display());
                process::signal_group(*pid, libc::SIGKILL);
            }
        }
    }

    /// When the next one has taken too long.
    pub(super) fn deadline(&self) -> Option<BootTime> {
        self.running.values().filter_map(|running| running.until).min()
    }

    /// This log was rotated: its rotated files are compressed, one after the other.
    pub(super) fn want(&mut self, log: &Path) {
        let new = !self.waiting.iter().any(|waiting| waiting == log);
        if new && !self.command.is_empty() && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(log.to_owned());
        }
        self.start_some();
    }

    /// A process ended, by itself with code 0 or not. Says whether it was one of these.
    pub(super) fn ended(&mut self, pid: i32, well: bool) -> bool {
        let Some(done) = self.running.remove(&pid) else { return false };
        match finish(&done, well, &mut self.doomed) {
            // Older ones that are not compressed yet come next.
            Ok(()) => self.want(&done.log),
            Err(e) => {
                tracing::warn!("{} is not compressed: {e}", done.log.display());
                // It is gone already, or is in nobody's way until the next one.
                let _ = fs::remove_file(&done.temporary);
                self.start_some();
            }
        }
        true
    }

    fn start_some(&mut self) {
        while self.running.len() < RUNNING_MAX {
            let busy = |log: &PathBuf| self.running.values().any(|running| running.log == *log);
            let Some(next) = self.waiting.iter().position(|log| !busy(log)) else { return };
            let Some(log) = self.waiting.remove(next) else { return };
            match self.start(&log) {
                Ok(Some((pid, running))) => {
                    self.running.insert(pid, running);
                }
                Ok(None) => {}
                Err(e) => tracing::warn!("{} is not compressed: {e}", log.display()),
            }
        }
    }

    fn start(&self, log: &Path) -> io::Result<Option<(i32, Running)>> {
        let Some((program, words)) = self.command.split_first() else { return Ok(None) };
        let Some(rotated) = rotation::next_to_compress(log) else { return Ok(None) };
        let input = regular(open_trusted(&rotated, File::options().read(true))?)?;
        let metadata = input.metadata()?;
        let temporary = rotation::with_suffix(log, ".compressing");
        // Not truncated: a command of an earlier worker may still write to that file.
        let _ = fs::remove_file(&temporary);
        let output = File::create_new(&temporary)?;
        output.set_permissions(fs::Permissions::from_mode(metadata.mode() & RIGHTS))?;
        let mut command = Command::new(program);
        command.args(words).stdin(input).stdout(output).stderr(Stdio::null()).process_group(0);
        let parent = nix::unistd::getpid();
        // SAFETY: only async-signal-safe calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                for number in 1..=64 {
                    libc::signal(number, libc::SIG_DFL);
                }
                SigSet::empty().thread_set_mask()?;
                // It serves us only, and may be unkind to nobody.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
                if nix::unistd::getppid() == parent {
                    Ok(())
                } else {
                    Err(nix::Error::ESRCH.into())
                }
            });
        }
        let spawned = command.spawn();
        if spawned.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let pid = i32::try_from(spawned?.id()).map_err(io::Error::other)?;
        let (inode, written) = (metadata.ino(), metadata.modified().ok());
        let until = Some(clock::now().boot + COMPRESSING_MAX);
        Ok(Some((pid, Running { log: log.to_owned(), inode, written, temporary, until })))
    }
}

/// Puts the compressed file into the place of the rotated one.
fn finish(done: &Running, well: bool, doomed: &mut Doomed) -> io::Result<()> {
    if !well {
        return Err(io::Error::other("the command failed"));
    }
    let Some(number) = rotation::number_of(&done.log, done.inode) else {
        // Cleared, or rotated away.
        return fs::remove_file(&done.temporary);
    };
    let temporary = regular(open_trusted(&done.temporary, File::options().write(true))?)?;
    if let Some(written) = done.written {
        // Its age is that of what is in it.
        temporary.set_modified(written)?;
    }
    fs::rename(&done.temporary, rotation::packed(&done.log, number))?;
    doomed.remove(&rotation::plain(&done.log, number))
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;

    fn compressors(command: &[&str]) -> Compressors {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        Compressors { command, ..Compressors::default() }
    }

    /// Waits for the command that runs, and tells that it ended.
    fn wait(compressors: &mut Compressors) {
        let pid = compressors.pids().next().unwrap();
        let status = waitpid(Pid::from_raw(pid), None).unwrap();
        assert!(compressors.ended(pid, matches!(status, WaitStatus::Exited(_, 0))));
        assert!(!compressors.ended(pid, true), "it was one of ours only once");
    }

    fn unpacked(path: &Path) -> String {
        let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn logs(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let log = directory.path().join("a");
        (directory, log)
    }

    #[test]
    fn what_was_rotated_is_compressed_under_the_number_that_it_has_by_then() {
        let (directory, log) = logs(&["a", "a.1", "a.2"]);
        let mut gzip = compressors(&["gzip", "-c"]);
        gzip.want(&log);
        gzip.want(&log);
        assert_eq!(gzip.pids().count(), 1, "one for each log");
        let old = fs::metadata(rotation::plain(&log, 1)).unwrap().modified().unwrap();
        rotation::shift(&log, 9, &mut Doomed::default()).unwrap();
        wait(&mut gzip);
        assert_eq!(unpacked(&rotation::packed(&log, 2)), "a.1");
        assert_eq!(fs::metadata(rotation::packed(&log, 2)).unwrap().modified().unwrap(), old);
        wait(&mut gzip);
        wait(&mut gzip);
        assert_eq!(names(directory.path()), ["a.1.gz", "a.2.gz", "a.3.gz"]);
        assert_eq!(unpacked(&rotation::packed(&log, 1)), "a");
        assert_eq!((gzip.pids().count(), gzip.waiting.len()), (0, 0));
    }

    #[test]
    fn what_was_cleared_meanwhile_stays_away() {
        let (directory, log) = logs(&["a", "a.1"]);
        let mut gzip = compressors(&["gzip", "-c"]);
        gzip.want(&log);
        rotation::clear(&log, &mut Doomed::default()).unwrap();
        wait(&mut gzip);
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_command_that_fails_takes_nothing_away() {
        for command in [&["sh", "-c", "echo half; exit 1"][..], &["/no/such/command"], &[]] {
            let (directory, log) = logs(&["a", "a.1", "a.2"]);
            let mut bad = compressors(command);
            bad.want(&log);
            if bad.pids().next().is_some() {
                wait(&mut bad);
            }
            assert_eq!(bad.pids().next(), None, "it is not tried again before a rotation");
            assert_eq!(names(directory.path()), ["a", "a.1", "a.2"]);
        }
    }

    #[test]
    fn only_so_many_run_and_the_others_wait() {
        let logs: Vec<_> = (0..4).map(|_| logs(&["a", "a.1"])).collect();
        let mut gzip = compressors(&["gzip", "-c"]);
        for (_, log) in &logs {
            gzip.want(log);
        }
        assert_eq!((gzip.pids().count(), gzip.waiting.len()), (RUNNING_MAX, 2));
        for _ in 0..4 {
            wait(&mut gzip);
        }
        assert!(logs.iter().all(|(_, log)| rotation::packed(log, 1).exists()));
    }

    #[test]
    fn one_that_hangs_is_killed_and_gives_its_place_back() {
        let (directory, log) = logs(&["a", "a.1"]);
        let mut hanging = compressors(&["sh", "-c", "sleep 1000 & wait"]);
        hanging.want(&log);
        let until = hanging.deadline().unwrap();
        hanging.tend(clock::now().boot);
        assert_eq!(hanging.deadline(), Some(until));
        hanging.tend(until);
        assert_eq!(hanging.deadline(), None);
        wait(&mut hanging);
        assert_eq!(hanging.pids().count(), 0);
        assert_eq!(names(directory.path()), ["a", "a.1"]);
    }

    #[test]
    fn neither_links_nor_rights_of_others_are_taken_over() {
        let (directory, log) = logs(&["a", "a.1", "secret"]);
        fs::rename(directory.path().join("a.1"), directory.path().join("a.2")).unwrap();
        let link = directory.path().join("a.1");
        std::os::unix::fs::symlink(directory.path().join("secret"), &link).unwrap();
        let setid = fs::Permissions::from_mode(0o6755);
        fs::set_permissions(directory.path().join("a.2"), setid).unwrap();
        let mut gzip = compressors(&["gzip", "-c"]);
        gzip.want(&log);
        wait(&mut gzip);
        assert_eq!(names(directory.path()), ["a", "a.1", "a.2.gz", "secret"]);
        let mode = fs::metadata(rotation::packed(&log, 2)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn it_runs_apart_with_low_priority_and_no_signal_blocked() {
        let (_directory, log) = logs(&["a", "a.1"]);
        let text = "nice; grep SigBlk /proc/self/status; ps -o pgid= -p $$; echo $$";
        let mut shell = compressors(&["sh", "-c", text]);
        shell.want(&log);
        wait(&mut shell);
        let said = fs::read_to_string(rotation::packed(&log, 1)).unwrap();
        let words: Vec<_> = said.split_whitespace().collect();
        assert_eq!((words[0], words[2]), ("19", "0000000000000000"), "{said}");
        assert_eq!(words[3], words[4], "{said}");
    }
}
