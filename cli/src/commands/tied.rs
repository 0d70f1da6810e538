//! `dsbus tied --parent PID -- CMD...`: becomes a command that the kernel ends when the process
//! that started it ends, however that ends.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::args::Tied;
use crate::failure::Failure;

/// Becomes the command; returns only when that fails.
pub(super) fn run(args: &Tied) -> Failure {
    if let Err(e) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return Failure::failed(format!("failed to tie to the parent: {e}"));
    }
    // It may have ended before it was tied to.
    if getppid() != Pid::from_raw(args.parent) {
        return Failure::failed("the parent is gone");
    }
    let Some((program, arguments)) = args.command.split_first() else {
        return Failure::usage("there is no command");
    };
    let e = Command::new(program).args(arguments).exec();
    Failure::failed(format!("failed to run {}: {e}", program.display()))
}
