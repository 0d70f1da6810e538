//! Starting processes: the one place of the worker with unsafe code, because what runs between
//! fork and exec cannot be checked by the compiler.

#![expect(unsafe_code, reason = "pre_exec, close_range and prctl; each use says why it is sound")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::Exit;

/// Descriptor under which the agent finds its socket.
pub const AGENT_FD: RawFd = 3;

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) stdout: PipeReader,
    /// `None` when it goes where standard output goes.
    pub(crate) stderr: Option<PipeReader>,
}

/// Marks every inherited descriptor so that no child gets it.
pub(crate) fn keep_descriptors_private() {
    // SAFETY: the call only sets flags on descriptors, and CLOEXEC changes nothing for this
    // process. It fails on kernels before 5.11, where children inherit as they always did.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Makes orphans of this process's descendants its own children, so that they can be reaped.
pub(crate) fn adopt_orphans() {
    // SAFETY: a prctl that sets one attribute of this process and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Reaps one process that has ended, if there is one. nix cannot: it loses a process that was
/// ended by a real-time signal.
pub(crate) fn reap() -> Option<(i32, Exit)> {
    let mut status = 0;
    // SAFETY: `status` is a place for one integer, and nothing else is written.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let exit = if libc::WIFSIGNALED(status) {
        Exit::signal(libc::WTERMSIG(status))
    } else {
        Exit::code(libc::WEXITSTATUS(status))
    };
    (pid > 0).then_some((pid, exit))
}

/// Starts a child: a session and process group of its own, killed when this process dies, with
/// nothing of this process but its environment.
///
/// # Errors
/// Why it could not be started, for people.
pub(crate) fn child(
    spec: &ProgramSpec,
    home: &Path,
    identity: &BTreeMap<&'static str, String>,
) -> Result<Spawned, String> {
    let argv = spec.argv()?;
    let directory = spec.directory.as_ref().map_or_else(|| home.to_owned(), PathBuf::from);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(&directory).stdin(Stdio::null());
    for (key, _) in std::env::vars_os() {
        if inherited_no_further(&key) {
            command.env_remove(key);
        }
    }
    command.envs(&spec.environment).envs(identity);
    let pipes = || -> io::Result<_> {
        let (stdout, out) = io::pipe()?;
        let (stderr, err) = if spec.redirect_stderr {
            (None, out.try_clone()?)
        } else {
            let (stderr, err) = io::pipe()?;
            (Some(stderr), err)
        };
        Ok((stdout, out, stderr, err))
    };
    let (stdout, out, stderr, err) = pipes().map_err(|e| format!("no pipe for its output: {e}"))?;
    command.stdout(out).stderr(err);
    let parent = nix::unistd::getpid().as_raw();
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is
    // allocated.
    unsafe {
        command.pre_exec(move || {
            reset_signals()?;
            libc::setsid();
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // The parent may have died before the line above.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    let child = command.spawn().map_err(|e| explain(&e, &argv[0], &directory))?;
    let pid = i32::try_from(child.id()).map_err(|e| e.to_string())?;
    Ok(Spawned { pid, stdout, stderr })
}

/// Nothing ignored, nothing blocked: the supervisor blocks the signals that it reads from its
/// signalfd, and the standard library lets a child inherit the mask. A child that keeps it cannot
/// be asked to stop.
fn reset_signals() -> io::Result<()> {
    for number in 1..=64 {
        // SAFETY: SIG_DFL is valid for every number; those that cannot be set are refused.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: the set is written before it is read, and the old mask is not asked for.
    let done = unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What belongs to this process and not to its children.
fn inherited_no_further(key: &OsString) -> bool {
    let key = key.to_string_lossy();
    key.starts_with("DSBUS_") || key == "NOTIFY_SOCKET"
}

fn explain(error: &io::Error, program: &str, directory: &Path) -> String {
    if !directory.is_dir() {
        return format!("directory {} does not exist", directory.display());
    }
    match error.raw_os_error() {
        Some(libc::ENOENT) => format!("no such file or directory: {program}"),
        Some(libc::EACCES) => format!("permission denied: {program}"),
        Some(libc::ENOEXEC) => {
            format!("{program} is no program: it has no #! line and no format the kernel knows")
        }
        Some(libc::EAGAIN) => {
            "the machine or this user may have no more processes (fork: EAGAIN)".to_owned()
        }
        _ => format!("{program}: {error}"),
    }
}

/// Starts the agent, with its end of the socket as descriptor [`AGENT_FD`]. It outlives this
/// process by the moment that it needs to kill what is left.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn agent(argv: &[OsString], socket: &OwnedFd) -> io::Result<i32> {
    let Some((program, words)) = argv.split_first() else {
        return Err(io::Error::other("the agent has no command"));
    };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).process_group(0);
    let socket = socket.as_raw_fd();
    // SAFETY: dup2 and fcntl are async-signal-safe; dup2 leaves the copy open over exec, unless
    // both numbers are one, where the flag is cleared by hand.
    unsafe {
        command.pre_exec(move || {
            reset_signals()?;
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
