//! The agent: started, spoken with, and replaced when it dies or does not answer.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::output::LogFile;
use crate::process;
use crate::protocol::{LINE_BYTES_MAX, ToAgent, ToSupervisor};
use crate::spawn;

/// An agent that says nothing for this long is asked whether it lives.
const QUIET: Duration = Duration::from_millis(500);
/// One that does not answer for this long is replaced.
const ANSWER_MAX: Duration = Duration::from_secs(1);
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

/// The link to the agent.
#[derive(Debug)]
pub(crate) struct AgentLink {
    argv: Vec<OsString>,
    /// Where its words go; without it, it has the worker's standard error.
    log: Option<Arc<Mutex<LogFile>>>,
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
    received: Vec<u8>,
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
    pub(crate) fn new(argv: Vec<OsString>, log: Option<Arc<Mutex<LogFile>>>) -> AgentLink {
        AgentLink { argv, log, generation: 0, agent: None, pause: PAUSE_MIN, start_at: BootTime(0) }
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
        let (Some(agent), Some(log)) = (&mut self.agent, &self.log) else { return };
        let Some(words) = &mut agent.words else { return };
        let mut chunk = [0; WORDS_AT_ONCE];
        match words.read(&mut chunk) {
            Ok(0) => agent.words = None,
            Ok(n) => log.lock().unwrap_or_else(PoisonError::into_inner).write(&chunk[..n]),
            // There is nothing to read, or nothing that can be read.
            Err(_) => {}
        }
    }

    /// Whether bytes wait to be written.
    pub(crate) fn has_unsent(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| !agent.unsent.is_empty())
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
                    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                    (Some(reader), Some(writer))
                }
                None => (None, None),
            };
            Ok((spawn::agent(&self.argv, &theirs, stderr)?, ours, words))
        });
        match started {
            Ok((pid, socket, words)) => {
                self.generation += 1;
                self.agent = Some(Agent {
                    pid,
                    socket,
                    words,
                    started: now,
                    heard: now,
                    spoken: false,
                    asked: None,
                    unsent: VecDeque::new(),
                    received: Vec::new(),
                });
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
        self.pass_on_words();
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

    /// Says something, now or when the agent reads again.
    pub(crate) fn send(&mut self, message: &ToAgent) {
        self.send_line(&message.line());
    }

    /// Says a line that is made already.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        let Some(agent) = &mut self.agent else { return };
        agent.unsent.extend(line);
        self.flush();
    }

    /// Writes what waits, as far as the agent reads.
    pub(crate) fn flush(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        while !agent.unsent.is_empty() {
            let (front, _) = agent.unsent.as_slices();
            match agent.socket.write(front) {
                Ok(n) => {
                    agent.unsent.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A broken socket is noticed where it is read.
                Err(_) => return,
            }
        }
    }

    /// What the agent said. `None` when its socket is closed, or it talks nonsense.
    pub(crate) fn receive(&mut self, now: BootTime) -> Option<Vec<ToSupervisor>> {
        let Some(agent) = &mut self.agent else { return Some(Vec::new()) };
        let mut chunk = vec![0; 64 * 1024];
        let mut open = true;
        loop {
            match agent.socket.read(&mut chunk) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(n) => agent.received.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    open = false;
                    break;
                }
            }
        }
        let mut said = Vec::new();
        let mut begin = 0;
        while let Some(length) = agent.received[begin..].iter().position(|b| *b == b'\n') {
            match serde_json::from_slice(&agent.received[begin..begin + length]) {
                Ok(message) => said.push(message),
                Err(e) => {
                    tracing::error!("the agent said what cannot be read: {e}");
                    open = false;
                }
            }
            begin += length + 1;
        }
        agent.received.drain(..begin);
        if !said.is_empty() {
            agent.heard = now;
            agent.spoken = true;
            agent.asked = None;
        }
        if agent.received.len() > HEARD_LINE_BYTES_MAX {
            tracing::error!("the agent said a line longer than {HEARD_LINE_BYTES_MAX} bytes");
            open = false;
        }
        (open || !said.is_empty()).then_some(said)
    }
}
