//! `dsbus agent`: the bus side of a worker. Only its supervisor starts it.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::args;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;

/// Runs an agent until its supervisor is gone.
///
/// # Errors
/// When the descriptor is no open one, or the agent cannot go on.
pub(super) fn run(config: &Config, args: &args::Agent) -> Result<Code, Failure> {
    let socket = inherited(args.fd)?;
    let connect = config.connect("dsbus agent", true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signers = args.signers.clone();
    let config = dsbus_agent::Config { connect, socket, signers };
    let ended = runtime.block_on(dsbus_agent::run(config));
    // A file system that does not answer must not keep the agent alive.
    runtime.shutdown_background();
    ended.map(|()| Code::Done).map_err(|e| {
        // Whoever reads standard error may be frozen; only the log does not wait for that.
        tracing::error!("the agent ends: {e}");
        Failure::told(Code::Failed)
    })
}

/// Takes over the socket that the supervisor left open for this process.
#[expect(unsafe_code, reason = "a descriptor that was inherited has only its number")]
fn inherited(fd: i32) -> Result<OwnedFd, Failure> {
    let open = std::path::Path::new("/proc/self/fd").join(fd.to_string()).exists();
    if fd <= 2 || !open {
        return Err(Failure::usage(format!("file descriptor {fd} is not the supervisor's socket")));
    }
    // SAFETY: the descriptor is open, is none of the standard three, and nothing else in this
    // process knows its number: this runs once, before anything else was opened.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
