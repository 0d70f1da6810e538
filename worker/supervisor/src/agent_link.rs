//! The agent: started, spoken with, and replaced when it dies or does not answer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::config::{AgentCommand, Echo};
use crate::output::LogFile;
use crate::process;
use crate::protocol::{AGENT_PINGS, LINE_BYTES_MAX, ToAgent, ToSupervisor};
use crate::spawn;
pub(crate) use handover::AgentLeft;

/// An agent that says nothing for this long is asked whether it lives. One that lives speaks first:
/// it pings at least every [`AGENT_PINGS`].
const QUIET: Duration = AGENT_PINGS.saturating_add(Duration::from_millis(100));
/// One that does not answer for this long is replaced: it has said nothing for a second and a half
/// then, and a lease of three seconds still outlives the change.
const ANSWER_MAX: Duration = Duration::from_millis(600);
/// A new one may take this long to say its first word.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
/// Pauses between starts of agents that die young.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// One that lived for this long did not die young.
const YOUNG: Duration = Duration::from_secs(10);
/// Longest line of an agent: a sync holds all placements of the worker, not one.
const HEARD_LINE_BYTES_MAX: usize = 64 * LINE_BYTES_MAX;
/// Most bytes that wait for an agent that reads slowly; then it counts as hung. Everything that
/// must reach it is kept elsewhere and said again to the next one.
const UNSENT_BYTES_MAX: usize = 96 << 20;
/// Bytes of its log that are read at once; it says a line now and then.
const WORDS_AT_ONCE: usize = 8 * 1024;
/// Most bytes of its log that are read when it is dead: more than a pipe holds by default, and no
/// more than that from one that goes on to write until it is killed.
const LAST_WORDS_MAX: usize = 128 * 1024;
/// Room that is kept for what is said and heard; what a burst needed beyond it is given back.
const ROOM_KEPT: usize = 64 * 1024;
/// Most that is heard before the loop looks at something else: more than a socket holds, so that
/// nothing of a dead agent is left.
const HEARD_AT_ONCE: usize = 1 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// The link to the agent.
#[derive(Debug)]
pub(crate) struct AgentLink {
    command: AgentCommand,
    /// Where its words go; without it, it has the worker's standard error.
    log: Option<Arc<Mutex<LogFile>>>,
    /// And where they go besides.
    echo: Option<Echo>,
    generation: u64,
    agent: Option<Agent>,
    pause: Duration,
    start_at: BootTime,
}

#[derive(Debug)]
struct Agent {
    pid: i32,
    socket: UnixStream,
    words: Option<PipeReader>,
    started: BootTime,
    heard: BootTime,
    spoken: bool,
    asked: Option<BootTime>,
    unsent: VecDeque<u8>,
    /// Whether the loop was told last to wait until the agent reads.
    awaited: bool,
    received: Received,
}

/// What came, up to where a line is still to end.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// So many of them hold no end of a line.
    scanned: usize,
}

impl Received {
    /// Takes the lines that are whole.
    fn lines(&mut self, mut each: impl FnMut(&[u8])) {
        let mut begin = 0;
        let ends = |byte: &u8| *byte == b'\n';
        while let Some(more) = self.bytes[self.scanned..].iter().position(ends) {
            let end = self.scanned + more;
            each(&self.bytes[begin..end]);
            begin = end + 1;
            self.scanned = begin;
        }
        self.bytes.drain(..begin);
        self.scanned = self.bytes.len();
        if self.bytes.is_empty() {
            self.bytes.shrink_to(ROOM_KEPT);
        }
    }
}

impl Agent {
    fn new(pid: i32, socket: UnixStream, now: BootTime) -> Agent {
        Agent {
            pid,
            socket,
            words: None,
            started: now,
            heard: now,
            spoken: false,
            asked: None,
            unsent: VecDeque::new(),
            awaited: false,
            received: Received::default(),
        }
    }
}

/// What became of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new one runs; say hello.
    Started,
    /// Nothing.
    None,
}

impl AgentLink {
    pub(crate) fn new(
        command: AgentCommand,
        log: Option<Arc<Mutex<LogFile>>>,
        echo: Option<Echo>,
    ) -> AgentLink {
        let start_at = BootTime(0);
        AgentLink { command, log, echo, generation: 0, agent: None, pause: PAUSE_MIN, start_at }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        self.agent.as_ref().map(|agent| agent.pid)
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.agent.as_ref().map(|agent| agent.socket.as_fd())
    }

    /// Where it logs to, if that is to be read.
    pub(crate) fn words(&self) -> Option<BorrowedFd<'_>> {
        self.agent.as_ref().and_then(|agent| agent.words.as_ref()).map(AsFd::as_fd)
    }

    /// Writes what it logs into the worker's log.
    pub(crate) fn pass_on_words(&mut self) {
        self.pass_on_some();
    }

    /// Says how many bytes were passed on.
    fn pass_on_some(&mut self) -> usize {
        let (Some(agent), Some(log)) = (&mut self.agent, &self.log) else { return 0 };
        let Some(words) = &mut agent.words else { return 0 };
        let mut chunk = [0; WORDS_AT_ONCE];
        match words.read(&mut chunk) {
            Ok(0) => agent.words = None,
            Ok(n) => {
                log.lock().unwrap_or_else(PoisonError::into_inner).write(&chunk[..n]);
                if let Some(echo) = &mut self.echo {
                    echo.say(&chunk[..n]);
                }
                return n;
            }
            // There is nothing to read, or nothing that can be read.
            Err(_) => {}
        }
        0
    }

    fn pass_on_last_words(&mut self) {
        let mut passed = 0;
        while passed < LAST_WORDS_MAX {
            match self.pass_on_some() {
                0 => return,
                more => passed += more,
            }
        }
    }

    /// Whether to wait, from now on, until the agent reads; `None` when that is as it was.
    pub(crate) fn awaits_reading(&mut self) -> Option<bool> {
        let agent = self.agent.as_mut()?;
        let awaits = !agent.unsent.is_empty();
        (std::mem::replace(&mut agent.awaited, awaits) != awaits).then_some(awaits)
    }

    /// Starts an agent when there is none, and replaces one that is silent.
    pub(crate) fn tend(&mut self, now: BootTime) -> Change {
        if let Some(agent) = &mut self.agent {
            let silent = match agent.asked {
                Some(asked) => now.since(asked) >= ANSWER_MAX,
                None if !agent.spoken => now.since(agent.started) >= FIRST_WORD_MAX,
                None => false,
            };
            if silent || agent.unsent.len() > UNSENT_BYTES_MAX {
                tracing::warn!("the agent (pid {}) does not answer; replacing it", agent.pid);
                self.lost(now);
            } else if agent.spoken && agent.asked.is_none() && now.since(agent.heard) >= QUIET {
                agent.asked = Some(now);
                self.send(&ToAgent::Ping { number: now.0 });
            }
        }
        if self.agent.is_none() && now >= self.start_at {
            return self.start(now);
        }
        Change::None
    }

    fn start(&mut self, now: BootTime) -> Change {
        let started = UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_nonblocking(true)?;
            let theirs = OwnedFd::from(theirs);
            let (words, stderr) = match &self.log {
                Some(_) => {
                    let (reader, writer) = io::pipe()?;
                    // Nor does the agent ever wait for this process, which may be frozen.
                    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                    (Some(reader), Some(writer))
                }
                None => (None, None),
            };
            Ok((spawn::agent(&self.command, &theirs, stderr)?, ours, words))
        });
        match started {
            Ok((pid, socket, words)) => {
                self.generation += 1;
                self.agent = Some(Agent { words, ..Agent::new(pid, socket, now) });
                Change::Started
            }
            Err(e) => {
                tracing::error!("the agent could not be started: {e}");
                self.start_at = now + PAUSE_MAX;
                Change::None
            }
        }
    }

    /// The agent is dead, or as good as: kill it. The next one is started at once, unless this one
    /// died young.
    pub(crate) fn lost(&mut self, now: BootTime) {
        self.pass_on_last_words();
        let Some(agent) = self.agent.take() else { return };
        process::kill_one(agent.pid);
        if now.since(agent.started) < YOUNG {
            self.start_at = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        } else {
            self.start_at = now;
            self.pause = PAUSE_MIN;
        }
    }

    /// This process was not running for a while: nobody could have answered it.
    pub(crate) fn forgive(&mut self, now: BootTime) {
        if let Some(agent) = &mut self.agent {
            agent.asked = agent.asked.map(|_| now);
            agent.started = agent.started.max(now);
        }
    }

    /// When [`AgentLink::tend`] has something to do.
    pub(crate) fn deadline(&self) -> BootTime {
        match &self.agent {
            None => self.start_at,
            Some(agent) => match agent.asked {
                Some(asked) => asked + ANSWER_MAX,
                None if !agent.spoken => agent.started + FIRST_WORD_MAX,
                None => agent.heard + QUIET,
            },
        }
    }

    /// Says something at the next [`AgentLink::flush`].
    pub(crate) fn send(&mut self, message: &ToAgent) {
        self.send_line(&message.line());
    }

    /// Says a line that is made already.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        if let Some(agent) = &mut self.agent {
            agent.unsent.extend(line);
        }
    }

    /// How many bytes wait for the agent to read; `None` when there is no agent.
    pub(crate) fn unsent(&self) -> Option<usize> {
        self.agent.as_ref().map(|agent| agent.unsent.len())
    }

    /// Writes what waits, as far as the agent reads: once for all that one turn of the loop said.
    pub(crate) fn flush(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        while !agent.unsent.is_empty() {
            let (front, back) = agent.unsent.as_slices();
            match agent.socket.write_vectored(&[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(n) => {
                    agent.unsent.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A broken socket is noticed where it is read.
                Err(_) => return,
            }
        }
        agent.unsent.shrink_to(ROOM_KEPT);
    }

    /// What the agent said. `None` when its socket is closed, or it talks nonsense.
    pub(crate) fn receive(&mut self, now: BootTime) -> Option<Vec<ToSupervisor>> {
        let Some(agent) = &mut self.agent else { return Some(Vec::new()) };
        let (mut chunk, mut read, mut open) = (vec![0; CHUNK], 0, true);
        while read < HEARD_AT_ONCE {
            match agent.socket.read(&mut chunk) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(n) => {
                    agent.received.bytes.extend_from_slice(&chunk[..n]);
                    read += n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    open = false;
                    break;
                }
            }
        }
        let mut said = Vec::new();
        agent.received.lines(|line| match serde_json::from_slice(line) {
            Ok(message) => said.push(message),
            Err(e) => {
                tracing::error!("the agent said what cannot be read: {e}");
                open = false;
            }
        });
        if !said.is_empty() {
            agent.heard = now;
            agent.spoken = true;
            agent.asked = None;
        }
        if agent.received.bytes.len() > HEARD_LINE_BYTES_MAX {
            tracing::error!("the agent said a line longer than {HEARD_LINE_BYTES_MAX} bytes");
            open = false;
        }
        (open || !said.is_empty()).then_some(said)
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handover;
#[cfg(test)]
mod tests;
