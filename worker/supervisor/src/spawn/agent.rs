//! The agent: the worker's other side, started as a process of its own.

use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::inside;
use crate::config::AgentCommand;
use crate::handover::Itself;

/// Descriptor under which the agent finds its socket.
pub const AGENT_FD: RawFd = 3;

/// Starts the agent, with its end of the socket as descriptor [`AGENT_FD`]. It outlives this
/// process by the moment that it needs to kill what is left. It logs to `stderr`, or to where this
/// process does.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn agent(
    agent: &AgentCommand,
    socket: &OwnedFd,
    stderr: Option<PipeWriter>,
) -> io::Result<i32> {
    let Some((program, words)) = agent.argv.split_first() else {
        return Err(io::Error::other("the agent has no command"));
    };
    // What lies at its path by now may be the next version, which is not this one's other side.
    let executable = if agent.is_itself { Itself::running(program) } else { program };
    let mut command = Command::new(executable);
    command.arg0(program);
    command.args(words).envs(agent.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).process_group(0);
    // The supervisor speaks for the worker.
    for variable in dsbus_starter::VARIABLES {
        command.env_remove(variable);
    }
    if let Some(stderr) = stderr {
        command.stderr(stderr);
    }
    let socket = socket.as_raw_fd();
    // SAFETY: dup2 and fcntl are async-signal-safe; dup2 leaves the copy open over exec, unless
    // both numbers are one, where the flag is cleared by hand.
    unsafe {
        command.pre_exec(move || {
            if !inside::reset_signals() {
                return Err(io::Error::last_os_error());
            }
            let done = if socket == AGENT_FD {
                libc::fcntl(AGENT_FD, libc::F_SETFD, 0)
            } else {
                libc::dup2(socket, AGENT_FD)
            };
            if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}
