//! The process of a listener: its birth, its pipes, its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::pool::{Ended, Run};

/// Bytes that are read at once. An answer has a dozen.
const CHUNK: usize = 4 * 1024;
/// How long one looks for the next word of a listener before one sleeps: one that answers at once is
/// heard sooner than a core that sleeps is woken.
const AWAKE: Duration = Duration::from_micros(50);
/// Most that is still read of one that has ended: what a pipe holds.
const LAST_WORDS_MAX: usize = 64 * 1024;
/// Signals that may wait until a process is seen to; more say nothing more.
const SIGNALS_MAX: usize = 8;

/// What to run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The words to execute; at least one.
    pub argv: Vec<OsString>,
    /// Variables of a listener, by its number in the pool, beside those of the bridge; `None` takes
    /// one away.
    pub environment: Vec<BTreeMap<String, Option<OsString>>>,
}

/// What happened to a process.
#[derive(Debug)]
pub(crate) enum Note {
    /// It said something.
    Said(Run, Vec<u8>),
    /// It closed its standard output.
    Silent(Run),
    /// It does not read its standard input.
    Broken(Run),
    /// It has ended.
    Ended(Run, Ended),
}

/// A process that was started. What happens to it comes as [`Note`]s.
#[derive(Debug)]
pub(crate) struct Process {
    run: Run,
    stdin: Arc<pipe::Sender>,
    signals: mpsc::Sender<Send>,
    notes: mpsc::Sender<Note>,
    /// Nothing that it says is read any more.
    ignored: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Send {
    /// To the process.
    One(Signal),
    /// To everything in its process group.
    All(Signal),
}

impl Process {
    /// Starts a listener, in a process group of its own: a Ctrl-C in the terminal is the bridge's
    /// to handle.
    pub(crate) fn start(
        program: &Program,
        run: Run,
        notes: &mpsc::Sender<Note>,
    ) -> io::Result<Process> {
        let (word, arguments) = program.argv.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut command = Command::new(word);
        command.args(arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in program.environment.get(run.member).into_iter().flatten() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let stdin = Arc::new(pipe::Sender::from_owned_fd(stdin.into_owned_fd()?)?);
        let stdout = pipe::Receiver::from_owned_fd(stdout.into_owned_fd()?)?;
        let (signals, wanted) = mpsc::channel(SIGNALS_MAX);
        let ignored = Arc::new(AtomicBool::new(false));
        let watcher =
            Watcher { run, child, stdout, notes: notes.clone(), ignored: Arc::clone(&ignored) };
        tokio::spawn(watcher.watch(wanted));
        Ok(Process { run, stdin, signals, notes: notes.clone(), ignored })
    }

    /// Reads nothing more of what it says, but for what is on its way. Its pipe stays open, so that
    /// it can end in its own way; one that floods it waits there.
    pub(crate) fn ignore(&self) {
        self.ignored.store(true, Ordering::Relaxed);
    }

    /// Writes an event; in the background what does not fit into the pipe.
    pub(crate) fn write(&self, frame: &[u8]) {
        let rest = match self.stdin.try_write(frame) {
            Ok(written) if written == frame.len() => return,
            Ok(written) => &frame[written..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => frame,
            Err(_) => &[],
        };
        let (stdin, notes, run) = (Arc::clone(&self.stdin), self.notes.clone(), self.run);
        let rest = rest.to_vec();
        tokio::spawn(async move {
            if rest.is_empty() || write_all(&stdin, &rest).await.is_err() {
                // Without a bridge there is nobody to tell.
                let _ = notes.send(Note::Broken(run)).await;
            }
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(Send::One(signal));
    }

    /// Kills it, and what it has started in its process group.
    pub(crate) fn kill(&self) {
        let _ = self.signals.try_send(Send::All(Signal::SIGKILL));
    }
}

async fn write_all(stdin: &pipe::Sender, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stdin.writable().await?;
        match stdin.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Sees to one process until it has ended.
struct Watcher {
    run: Run,
    child: Child,
    stdout: pipe::Receiver,
    notes: mpsc::Sender<Note>,
    ignored: Arc<AtomicBool>,
}

impl Watcher {
    async fn watch(mut self, mut signals: mpsc::Receiver<Send>) {
        let mut chunk = [0; CHUNK];
        let (mut speaks, mut heeded) = (true, true);
        let mut awake_until = Instant::now();
        let status = loop {
            speaks &= !self.ignored.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                // First, since the output of one that floods it is never read to its end.
                send = signals.recv(), if heeded => match send {
                    Some(send) => self.send(&send),
                    // The bridge is done with it.
                    None => heeded = false,
                },
                readable = self.stdout.readable(), if speaks => {
                    speaks = readable.is_ok() && self.pass_on(&mut chunk).await;
                    awake_until = Instant::now() + AWAKE;
                    if !speaks && self.tell(Note::Silent(self.run)).await.is_err() {
                        break None;
                    }
                }
                status = self.child.wait() => break status.ok(),
                () = yield_now(), if speaks && Instant::now() < awake_until => {}
            }
        };
        // What it said last was said before it ended.
        let mut read = 0;
        while speaks && read < LAST_WORDS_MAX {
            match self.stdout.try_read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    read += n;
                    if self.tell(Note::Said(self.run, chunk[..n].to_vec())).await.is_err() {
                        break;
                    }
                }
            }
        }
        let ended = status.map_or(Ended::Code(-1), ended);
        let _ = self.tell(Note::Ended(self.run, ended)).await;
    }

    /// Passes on what is there; says whether more may come.
    async fn pass_on(&self, chunk: &mut [u8]) -> bool {
        match self.stdout.try_read(chunk) {
            Ok(0) => false,
            Ok(n) => self.tell(Note::Said(self.run, chunk[..n].to_vec())).await.is_ok(),
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        }
    }

    async fn tell(&self, note: Note) -> Result<(), ()> {
        self.notes.send(note).await.map_err(|_| ())
    }

    fn send(&self, send: &Send) {
        // One that was reaped has no id any more, so nobody else is hit.
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        let pid = Pid::from_raw(pid);
        // It may have ended in this moment.
        let _ = match send {
            Send::One(signal) => signal::kill(pid, *signal),
            Send::All(signal) => signal::killpg(pid, *signal),
        };
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Code(-1),
    }
}
