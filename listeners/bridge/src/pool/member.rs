//! One listener of a pool, over its lives.

use std::fmt;
use std::time::Duration;

use super::{Effect, Parcel, RESTART_MAX, RESTART_MIN, Run, Time};
use crate::protocol::Protocol;

/// How a listener ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended, because it had left the protocol.
    LeftProtocol,
    /// It never began.
    NotStarted(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "ended with exit code {code}"),
            Ended::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Ended::LeftProtocol => f.write_str("left the protocol of event listeners"),
            Ended::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// One listener.
#[derive(Debug)]
pub(super) struct Member<K> {
    /// Lives in a row that accepted nothing.
    fails: u32,
    life: Life<K>,
}

#[derive(Debug)]
enum Life<K> {
    /// `None` when it is not started again.
    Down {
        again_at: Option<Time>,
    },
    Alive(Alive<K>),
}

/// A listener that lives.
#[derive(Debug)]
pub(super) struct Alive<K> {
    pub(super) run: Run,
    pub(super) since: Time,
    pub(super) protocol: Protocol,
    /// The event that it is to answer.
    pub(super) has: Option<Parcel<K>>,
    /// It said READY once.
    pub(super) spoke: bool,
    /// It accepted something.
    pub(super) worked: bool,
    /// It left the protocol.
    pub(super) left: bool,
    /// It closed an end of a pipe.
    pub(super) closed_at: Option<Time>,
    /// It was asked to end, and is killed then.
    pub(super) kill_at: Option<Time>,
}

impl<K> Member<K> {
    pub(super) fn new() -> Member<K> {
        Member { fails: 0, life: Life::Down { again_at: Some(Time::ZERO) } }
    }

    pub(super) fn alive(&self) -> Option<&Alive<K>> {
        match &self.life {
            Life::Alive(alive) => Some(alive),
            Life::Down { .. } => None,
        }
    }

    pub(super) fn alive_mut(&mut self) -> Option<&mut Alive<K>> {
        match &mut self.life {
            Life::Alive(alive) => Some(alive),
            Life::Down { .. } => None,
        }
    }

    pub(super) fn has(&self) -> Option<&Parcel<K>> {
        self.alive().and_then(|alive| alive.has.as_ref())
    }

    pub(super) fn starts_at(&self) -> Option<Time> {
        match self.life {
            Life::Down { again_at } => again_at,
            Life::Alive(_) => None,
        }
    }

    /// Begins a life, if it is time for one.
    pub(super) fn start(&mut self, run: Run, now: Time) -> bool {
        let due = self.starts_at().is_some_and(|at| now >= at);
        if due {
            self.life = Life::Alive(Alive {
                run,
                since: now,
                protocol: Protocol::default(),
                has: None,
                spoke: false,
                worked: false,
                left: false,
                closed_at: None,
                kill_at: None,
            });
        }
        due
    }

    /// Ends that life, and says how it stood.
    pub(super) fn end(&mut self, run: Run, restart: bool, now: Time) -> Option<Alive<K>> {
        self.alive().filter(|alive| alive.run == run)?;
        let Life::Alive(alive) = std::mem::replace(&mut self.life, Life::Down { again_at: None })
        else {
            return None;
        };
        self.fails = if alive.worked { 0 } else { self.fails.saturating_add(1) };
        if restart {
            let earliest = alive.since + RESTART_MIN;
            let again_at = match self.fails.checked_sub(1) {
                None => earliest.max(now),
                Some(doublings) => earliest.max(now + pause(doublings)),
            };
            self.life = Life::Down { again_at: Some(again_at) };
        }
        Some(alive)
    }
}

impl<K> Alive<K> {
    /// Whether it can be given an event.
    pub(super) fn waits(&self) -> bool {
        self.protocol.is_ready() && self.kill_at.is_none() && self.closed_at.is_none()
    }

    /// It answers nothing any more; what it has is somebody else's.
    pub(super) fn close(&mut self, now: Time) -> Option<Parcel<K>> {
        self.protocol.close();
        self.closed_at.get_or_insert(now);
        self.has.take()
    }

    /// Asks it to end.
    pub(super) fn leave(&mut self, kill_at: Time, out: &mut Vec<Effect<K>>) {
        self.kill_at = Some(kill_at);
        out.push(Effect::Stop(self.run));
    }

    /// When time alone makes a difference.
    pub(super) fn deadline(&self) -> Option<Time> {
        let closed = self.closed_at.filter(|_| !self.left && self.kill_at.is_none());
        let closed = closed.map(|at| at + super::ENDS_WITHIN);
        closed.into_iter().chain(self.kill_at).min()
    }
}

fn pause(doublings: u32) -> Duration {
    (RESTART_MIN * 2_u32.pow(doublings.min(10))).min(RESTART_MAX)
}
