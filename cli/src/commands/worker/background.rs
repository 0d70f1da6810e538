//! `nodaemon = false`: a second process runs the worker, and the one in the terminal returns when
//! that one runs, or says why it does not.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Between two looks whether the worker runs.
const LOOK_MILLIS: u16 = 20;
/// So often it is looked: a minute. It may have to end what an earlier worker left behind.
const LOOKS_MAX: usize = 3000;

/// Which process this is now.
#[derive(Debug)]
pub(super) enum Side {
    /// The one that was started; the other one runs.
    Terminal(Code),
    /// The one that is to run the worker.
    Background(Starter),
}

/// The process in the terminal, which waits to hear what is wrong.
#[derive(Debug)]
pub(super) struct Starter(PipeWriter);

impl Starter {
    /// Tells why the worker does not run.
    pub(super) fn tell(&mut self, failure: &Failure) {
        let hint = failure.hint.as_deref().unwrap_or_default();
        let told = [failure.code.number().to_string().as_str(), &failure.message, hint].join("\0");
        // It has gone when the worker ran for a while.
        let _ = self.0.write_all(told.as_bytes());
    }
}

/// Becomes two processes. Nothing was opened before, and no thread runs.
///
/// # Errors
/// When the worker does not run.
pub(super) fn enter(directory: &Path) -> Result<Side, Failure> {
    let lock = Lock::of(directory);
    let before = lock.look();
    let (mine, theirs) = std::io::pipe()?;
    #[expect(
        unsafe_code,
        reason = "a process that goes on in the background is a fork of this one"
    )]
    // SAFETY: this process has one thread, so that no lock can stay held in the new one.
    let forked = unsafe { fork() };
    match forked.map_err(std::io::Error::from)? {
        ForkResult::Parent { child } => {
            drop(theirs);
            wait(child, mine, &lock, before.as_ref()).map(Side::Terminal)
        }
        ForkResult::Child => {
            drop(mine);
            let mut starter = Starter(theirs);
            match detach(&starter) {
                Ok(()) => Ok(Side::Background(starter)),
                Err(e) => {
                    let failure = Failure::failed(format!("failed to go to the background: {e}"));
                    starter.tell(&failure);
                    Err(Failure::told(failure.code))
                }
            }
        }
    }
}

fn detach(starter: &Starter) -> std::io::Result<()> {
    setsid()?;
    // Whoever started it may wait for the end of a pipe that it was given.
    let open = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Whole before one is closed: reading it takes a descriptor, too.
    let numbers: Vec<RawFd> = numbers.collect();
    for fd in numbers.into_iter().filter(|fd| *fd > 2 && *fd != starter.0.as_raw_fd()) {
        // That descriptor is closed by now, and is one of the numbers.
        let _ = nix::unistd::close(fd);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    // It holds no file system; `directory` in the worker's file is another one.
    std::env::set_current_dir("/")
}

/// The lock in a state directory: a worker that runs has written its process id there.
#[derive(Debug)]
struct Lock(PathBuf);

impl Lock {
    fn of(directory: &Path) -> Lock {
        Lock(directory.join("lock"))
    }

    /// Who wrote it, and when: an earlier worker may have had the same number.
    fn look(&self) -> Option<(i32, SystemTime)> {
        let pid = fs::read_to_string(&self.0).ok()?.trim().parse().ok()?;
        Some((pid, fs::metadata(&self.0).ok()?.modified().ok()?))
    }
}

fn wait(
    child: Pid,
    mut told: PipeReader,
    lock: &Lock,
    before: Option<&(i32, SystemTime)>,
) -> Result<Code, Failure> {
    for _ in 0..LOOKS_MAX {
        let mut waiting = [PollFd::new(told.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut waiting, PollTimeout::from(LOOK_MILLIS)).unwrap_or(0);
        if ready > 0 {
            let mut text = String::new();
            told.read_to_string(&mut text)?;
            return Err(why(&text, child));
        }
        let now = lock.look();
        if now.as_ref() != before && now.is_some_and(|(pid, _)| pid == child.as_raw()) {
            output::note(format_args!("the worker runs (pid {child})"));
            return Ok(Code::Done);
        }
    }
    Err(Failure::new(Code::TimedOut, format!("the worker (pid {child}) does not come up")))
}

/// What the other process told before it ended; when it told nothing, how it ended.
fn why(text: &str, child: Pid) -> Failure {
    let mut parts = text.split('\0');
    if let (Some(code), Some(message), Some(hint)) = (parts.next(), parts.next(), parts.next()) {
        let code = if code == "2" { Code::Usage } else { Code::Failed };
        let failure = Failure::new(code, message);
        return if hint.is_empty() { failure } else { failure.hint(hint) };
    }
    let how = match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) => format!("exit code {code}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => signal.as_str().to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(e) => e.desc().to_owned(),
    };
    Failure::failed(format!("the worker ended right after its start: {how}"))
}
