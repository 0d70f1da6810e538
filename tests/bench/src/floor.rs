//! What the machine itself can do: a bare loop of `posix_spawn`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::Outcome;

/// Starts one command, again and again.
#[derive(Debug)]
pub(crate) struct Floor {
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Floor {
    pub(crate) fn new(command: &[String]) -> Outcome<Floor> {
        let argv = command.iter().map(|word| CString::new(word.as_str()));
        let environment = std::env::vars_os()
            .map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()));
        Ok(Floor {
            argv: argv.collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }

    /// Returns when the child has left `exec` behind.
    pub(crate) fn spawn(&self) -> Outcome<Pid> {
        let actions = PosixSpawnFileActions::init()?;
        let attributes = PosixSpawnAttr::init()?;
        let path = self.argv[0].as_c_str();
        Ok(posix_spawn(path, &actions, &attributes, &self.argv, &self.environment)?)
    }
}

/// Ends a child of this process.
pub(crate) fn end(pid: Pid) -> Outcome<()> {
    kill(pid, Signal::SIGKILL)?;
    waitpid(pid, None)?;
    Ok(())
}

/// kill -9 of somebody else's child.
pub(crate) fn shoot(pid: i32) -> Outcome<()> {
    Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
}

/// Stops somebody else's process where it is; its connections stay open and silent.
pub(crate) fn freeze(pid: i32) -> Outcome<()> {
    Ok(kill(Pid::from_raw(pid), Signal::SIGSTOP)?)
}
