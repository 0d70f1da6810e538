//! Starting a daemon in the background, and hearing from it until it is ready.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use dsbus_schema::lenient::Span;
use dsbus_supervisor::Itself;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::setsid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Daemon;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Longest message of a daemon that is read.
const MESSAGE_BYTES_MAX: usize = 4096;
/// So much of a log is read when a daemon has ended, in bytes: more than a start writes.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Words of a command line that say what to do, and not what to run.
const ACTS: [&str; 2] = ["start", "restart"];

/// Starts it, and waits until it is ready.
///
/// # Errors
/// When it ends instead, or is not ready in time.
pub(super) fn run(daemon: &Daemon, limit: Span) -> Result<Code, Failure> {
    let what = daemon.what;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("ready");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    // The daemon may be another user by the time that it is ready. All that others could say here is
    // that it is.
    fs::set_permissions(&path, Permissions::from_mode(0o622))?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
    let given: Vec<OsString> = std::env::args_os().collect();
    // As this one was called, and not where a link leads to: that may be turned to the next version.
    let here = std::env::current_dir().unwrap_or_default();
    let itself = Itself::find(&given, &here, false);
    let mut command = Command::new(itself.path);
    let more = more(daemon, given.iter().cloned());
    command.args(words(given.into_iter(), what, &more));
    for variable in dsbus_starter::VARIABLES {
        command.env_remove(variable);
    }
    command.env("NOTIFY_SOCKET", &path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[expect(unsafe_code, reason = "a daemon has a session of its own, which its process begins")]
    // SAFETY: setsid(2) may be called between fork and exec.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(Into::into));
    }
    let before = fs::metadata(&daemon.log).map_or(0, |log| log.len());
    let mut child = command.spawn()?;
    let pid = child.id();
    let mut said = Said::default();
    let ended = wait(&mut child, &socket, &mut said, limit.0)?;
    let see = format!("see {}", daemon.log.display());
    match ended {
        None if said.ready => {
            let status = said.status.map(|status| format!(": it {status}")).unwrap_or_default();
            output::success(format_args!("the {what} runs (pid {pid}){status}"))?;
            Ok(Code::Done)
        }
        None => {
            let status = said.status.map(|status| format!(": it {status}")).unwrap_or_default();
            let why =
                format!("the {what} (pid {pid}) runs, and is not ready after {limit}{status}");
            Err(Failure::new(Code::TimedOut, why).hint(see))
        }
        Some(status) => {
            let code = if status.code() == Some(2) { Code::Usage } else { Code::Failed };
            let why =
                why(said, last_error(&daemon.log, before)).unwrap_or_else(|| status.to_string());
            let failure = Failure::new(code, format!("the {what} does not run: {why}"));
            Err(if daemon.log.exists() { failure.hint(see) } else { failure })
        }
    }
}

/// Why it has ended: what it said of that itself, or else the last error in its log. A worker that stops in
/// order says only how far it is with that.
fn why(said: Said, error: Option<String>) -> Option<String> {
    let last = said.status.filter(|_| said.stopping);
    let (goes, why): (Vec<_>, Vec<_>) =
        last.into_iter().partition(|said| said.starts_with("stops "));
    why.into_iter().chain(error).chain(goes).next()
}

/// The last error in a log, of those that were written after so many bytes.
fn last_error(path: &Path, before: u64) -> Option<String> {
    let mut log = File::open(path).ok()?;
    let len = log.metadata().ok()?.len();
    // One that is shorter was rotated, and is another one.
    let begin = if len < before { 0 } else { before };
    log.seek(SeekFrom::Start(begin.max(len.saturating_sub(LOG_BYTES_MAX)))).ok()?;
    let mut bytes = Vec::new();
    log.take(LOG_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find_map(error).map(str::to_owned)
}

/// What a line of a log says, if that is an error: after the time, the level and the module.
fn error(line: &str) -> Option<&str> {
    let (_, said) = line.split_once(" ERROR ")?;
    Some(said.split_once(": ").map_or(said, |(_, said)| said))
}

/// What its command line has besides: its fleet, too, so that whoever looks at it knows whose it is.
fn more(daemon: &Daemon, mut given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let says = |word: OsString| {
        let word = word.as_encoded_bytes();
        word == b"--fleet" || word.starts_with(b"--fleet=")
    };
    let fleet = daemon.whose.fleet.as_ref().filter(|_| !given.any(says));
    let fleet = fleet.map(|fleet| [OsString::from("--fleet"), fleet.as_str().into()]);
    fleet.into_iter().flatten().chain(daemon.more.iter().cloned()).collect()
}

/// The command line of the daemon: this one, without what is done here.
fn words(given: impl Iterator<Item = OsString>, what: &str, more: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = given.skip(1).collect();
    let pair = |at: &usize| words[*at] == what && ACTS.iter().any(|act| words[*at + 1] == *act);
    let Some(at) = (0..words.len().saturating_sub(1)).find(pair) else { return words };
    words.remove(at + 1);
    if let Some(timeout) = words.iter().position(|word| word == "--timeout") {
        words.drain(timeout..(timeout + 2).min(words.len()));
    }
    words.retain(|word| !word.as_encoded_bytes().starts_with(b"--timeout="));
    let rest = words.split_off(at + 1);
    words.into_iter().chain(more.iter().cloned()).chain(rest).collect()
}

/// What a daemon says of itself.
#[derive(Debug, Default)]
struct Said {
    ready: bool,
    stopping: bool,
    status: Option<String>,
}

impl Said {
    fn hear(&mut self, message: &str) {
        for line in message.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.ready = true,
                Some(("STOPPING", "1")) => self.stopping = true,
                Some(("STATUS", status)) => self.status = Some(status.to_owned()),
                Some(_) | None => {}
            }
        }
    }
}

/// Until it is ready, has ended, or the time is over.
fn wait(
    child: &mut Child,
    socket: &UnixDatagram,
    said: &mut Said,
    limit: Duration,
) -> Result<Option<ExitStatus>, Failure> {
    let until = now()? + limit;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::failed("the new process has no id"))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from)?;
    loop {
        let ended = child.try_wait()?;
        let mut message = [0; MESSAGE_BYTES_MAX];
        while let Ok(n) = socket.recv(&mut message) {
            said.hear(&String::from_utf8_lossy(&message[..n]));
        }
        let left = until.saturating_sub(now()?);
        if ended.is_some() || (said.ready && !said.stopping) || left.is_zero() {
            return Ok(ended);
        }
        let mut waiting =
            [socket.as_fd(), process.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        // A moment more, so that it is not asked again for a part of a millisecond.
        let left = left + Duration::from_millis(1);
        poll(&mut waiting, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
            .map_err(std::io::Error::from)?;
    }
}

pub(super) fn now() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(std::io::Error::from)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_has_the_command_line_without_what_is_done_with_it() {
        let more = [OsString::from("--nodaemon")];
        let of = |line: &str| {
            let words = words(line.split(' ').map(OsString::from), "worker", &more);
            words.join(" ".as_ref()).into_string().unwrap()
        };
        for (line, daemon) in [
            ("dsbus worker start", "worker --nodaemon"),
            ("dsbus worker restart --timeout 5s --name w", "worker --nodaemon --name w"),
            (
                "dsbus --nats x worker start --timeout=5s --dir d",
                "--nats x worker --nodaemon --dir d",
            ),
            ("dsbus --as worker worker start -c start", "--as worker worker --nodaemon -c start"),
        ] {
            assert_eq!(of(line), daemon, "{line}");
        }
    }

    #[test]
    fn why_it_ended_is_what_it_said_or_what_it_logged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let old = "T ERROR a::b: of the run before\n";
        fs::write(&path, format!("{old}T  INFO a::b: x\nT ERROR a::b: w1 lives: elsewhere\n"))
            .unwrap();
        let before = old.len() as u64;
        assert_eq!(last_error(&path, before).as_deref(), Some("w1 lives: elsewhere"));
        let said =
            |status: &str| Said { stopping: true, status: Some(status.into()), ready: false };
        let logged = || Some("logged".to_owned());
        assert_eq!(why(said("stops 0 children"), logged()).as_deref(), Some("logged"));
        assert_eq!(why(said("stops 0 children"), None).as_deref(), Some("stops 0 children"));
        assert_eq!(why(said("no such file"), logged()).as_deref(), Some("no such file"));
        assert_eq!(why(Said::default(), None), None);
        // It was rotated meanwhile.
        fs::write(&path, "T ERROR a: new\n").unwrap();
        assert_eq!(last_error(&path, 1000).as_deref(), Some("new"));
    }

    #[test]
    fn the_last_thing_that_it_says_counts() {
        let mut said = Said::default();
        said.hear("STATUS=waits\n");
        assert!(!said.ready);
        said.hear("READY=1\nSTATUS=works = well\nX=1\n");
        assert!(said.ready && !said.stopping);
        assert_eq!(said.status.as_deref(), Some("works = well"));
    }
}
