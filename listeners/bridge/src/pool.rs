//! Listeners of one kind, and the events that wait for one of them: what happened in, what to do
//! out. Pure.
//!
//! Invariants, Supervisor's but for the last two:
//! - An event is with one listener at a time, and only with one that waits for it and has lived for
//!   longer than `startsecs`. The first such listener gets the oldest event.
//! - An event that is rejected, or whose listener dies or leaves the protocol, comes again before
//!   all others, with the same numbers, until one accepts it.
//! - A rejected one comes after a pause that grows, and nothing overtakes it meanwhile: a listener
//!   that always fails does not spin.
//! - A listener that left the protocol is ended, and started anew.

mod member;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use dsbus_schema::program::EventName;
use uuid::Uuid;

use crate::frame::Numbers;
use crate::protocol::Word;
use member::{Alive, Member};

pub use member::Ended;
pub use tell::Tell;

/// Since the bridge began.
pub type Time = Duration;

/// Pause after an event was rejected for the first time; it doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause: whoever mends what made the listener fail waits no longer for the proof.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that closed its end of a pipe has this long to end, which is what it mostly does.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Least time between starts of a listener.
const RESTART_MIN: Duration = Duration::from_secs(1);
/// Longest pause before a listener is started again that never accepted anything.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// How a pool is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How many listeners.
    pub size: usize,
    /// How long one must live before it is given anything.
    pub startsecs: Duration,
    /// How long a stop may take: half of it for the answers that are due, half for ending.
    pub stopwaitsecs: Duration,
    /// Start a listener again that ended, or left the protocol; else that is the end.
    pub restart: bool,
}

/// An event on its way.
#[derive(Debug)]
pub struct Parcel<K> {
    key: K,
    /// Its id on the bus.
    pub id: Uuid,
    /// Its numbers for the listener.
    pub numbers: Numbers,
    /// Supervisor's name for it.
    pub name: EventName,
    /// What is said.
    pub payload: String,
    rejected: u64,
    not_before: Time,
}

/// One life of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// Which listener, from 0.
    pub member: usize,
    /// Which life, from 1, over all listeners.
    pub number: u64,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<K> {
    /// Start a listener.
    Start(Run),
    /// Write to it what [`Pool::given`] has.
    Give(Run),
    /// Ask it to end.
    Stop(Run),
    /// Kill it.
    Kill(Run),
    /// An event is done.
    Done(K),
    /// An event goes back to the bus: somebody else may take it.
    Back(K),
    /// Something that people should know.
    Tell(Tell),
    /// A listener that is not started again has ended so.
    Over(Ended),
}

/// When what was due at the stop is due no more.
#[derive(Debug, Clone, Copy)]
struct Stopping {
    answers_until: Time,
    kill_at: Time,
}

/// The pool. `K` is what the driver knows an event by.
#[derive(Debug)]
pub struct Pool<K> {
    rules: Rules,
    members: Vec<Member<K>>,
    queue: VecDeque<Parcel<K>>,
    next_run: u64,
    next_poolserial: u64,
    stopping: Option<Stopping>,
}

impl<K> Pool<K> {
    /// A pool whose listeners are started by the first [`Pool::tick`].
    pub fn new(rules: Rules) -> Pool<K> {
        let members = (0..rules.size).map(|_| Member::new()).collect();
        Pool {
            rules,
            members,
            queue: VecDeque::new(),
            next_run: 1,
            next_poolserial: 0,
            stopping: None,
        }
    }

    /// How many events wait or are with a listener.
    pub fn held(&self) -> usize {
        self.queue.len() + self.members.iter().filter(|member| member.has().is_some()).count()
    }

    /// Whether a listener waits for an event, and there is none.
    pub fn starves(&self, now: Time) -> bool {
        self.queue.is_empty() && self.free(now).is_some()
    }

    /// Whether it was stopped, and no listener is left.
    pub fn is_over(&self) -> bool {
        self.stopping.is_some() && self.members.iter().all(|member| member.alive().is_none())
    }

    /// What that listener has.
    pub fn given(&self, run: Run) -> Option<&Parcel<K>> {
        self.members.get(run.member)?.alive().filter(|alive| alive.run == run)?.has.as_ref()
    }

    /// Whether nothing that this listener says means anything any more.
    pub fn is_deaf(&self, run: Run) -> bool {
        let alive = self.members.get(run.member).and_then(Member::alive);
        alive.is_none_or(|alive| alive.run != run || alive.protocol.is_unknown())
    }

    /// A new event.
    pub fn offer(
        &mut self,
        key: K,
        (id, serial): (Uuid, u64),
        (name, payload): (EventName, String),
        now: Time,
        out: &mut Vec<Effect<K>>,
    ) {
        if self.stopping.is_some() {
            return out.push(Effect::Back(key));
        }
        let poolserial = self.next_poolserial;
        self.next_poolserial += 1;
        let numbers = Numbers { serial, poolserial };
        let parcel =
            Parcel { key, id, numbers, name, payload, rejected: 0, not_before: Time::ZERO };
        self.queue.push_back(parcel);
        self.dispatch(now, out);
    }

    /// A listener could not be started.
    pub fn not_started(&mut self, run: Run, why: &str, now: Time, out: &mut Vec<Effect<K>>) {
        let ended = Ended::NotStarted(why.to_owned());
        self.ended(run, ended, now, out);
    }

    /// A listener said something.
    pub fn heard(&mut self, run: Run, bytes: &[u8], now: Time, out: &mut Vec<Effect<K>>) {
        let Some(alive) = self.alive(run) else { return };
        let mut words = Vec::new();
        alive.protocol.hear(bytes, |word| words.push(word));
        for word in words {
            self.word(run, word, now, out);
        }
        self.dispatch(now, out);
    }

    /// A listener does not read what is written to it. Somebody else gets it, at once.
    pub fn broken(&mut self, run: Run, now: Time, out: &mut Vec<Effect<K>>) {
        let Some(alive) = self.alive(run) else { return };
        let had = alive.close(now);
        self.again(had, out);
        self.dispatch(now, out);
    }

    /// A listener closed its standard output: what it has it cannot answer.
    pub fn silent(&mut self, run: Run, now: Time) {
        if let Some(alive) = self.alive(run) {
            alive.closed_at.get_or_insert(now);
        }
    }

    /// A listener has ended.
    pub fn ended(&mut self, run: Run, how: Ended, now: Time, out: &mut Vec<Effect<K>>) {
        let stopping = self.stopping.is_some();
        let restart = self.rules.restart && !stopping;
        let Some(member) = self.members.get_mut(run.member) else { return };
        let Some(alive) = member.end(run, restart, now) else { return };
        let tell = tell::ended(&alive, &how, stopping);
        out.extend(tell.map(Effect::Tell));
        let left = alive.left;
        self.again(alive.has, out);
        if !restart && !stopping {
            out.push(Effect::Over(if left { Ended::LeftProtocol } else { how }));
        }
        self.dispatch(now, out);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect<K>>) {
        for at in 0..self.members.len() {
            let run = Run { member: at, number: self.next_run };
            if self.stopping.is_none() && self.members[at].start(run, now) {
                self.next_run += 1;
                out.push(Effect::Start(run));
            }
            let Some(alive) = self.members[at].alive_mut() else { continue };
            let run = alive.run;
            if alive.closed_at.is_some_and(|at| now >= at + ENDS_WITHIN) && !alive.left {
                self.word(run, Word::Left(crate::protocol::Departure::Closed), now, out);
            }
            let answers = self.stopping.is_some_and(|stop| now >= stop.answers_until);
            let Some(alive) = self.members[at].alive_mut() else { continue };
            if alive.kill_at.is_none() && answers {
                let stop = self.stopping.map_or(now, |stop| stop.kill_at);
                alive.leave(stop, out);
            }
            if alive.kill_at.is_some_and(|at| now >= at) {
                // Asked again and again, until it is gone.
                alive.kill_at = Some(now + ENDS_WITHIN);
                out.push(Effect::Kill(run));
            }
        }
        self.dispatch(now, out);
    }

    /// Takes no more events; those that wait go back, and the listeners end when they have answered.
    /// A second time, they are killed.
    pub fn stop(&mut self, now: Time, out: &mut Vec<Effect<K>>) {
        if self.stopping.is_some() {
            for alive in self.members.iter_mut().filter_map(Member::alive_mut) {
                alive.kill_at = Some(now);
            }
            return self.tick(now, out);
        }
        let wait = self.rules.stopwaitsecs;
        let stopping = Stopping { answers_until: now + wait / 2, kill_at: now + wait };
        self.stopping = Some(stopping);
        out.extend(self.queue.drain(..).map(|parcel| Effect::Back(parcel.key)));
        for alive in self.members.iter_mut().filter_map(Member::alive_mut) {
            if alive.has.is_none() && alive.kill_at.is_none() {
                alive.leave(stopping.kill_at, out);
            }
        }
    }

    /// When time alone makes a difference.
    pub fn wake_at(&self, now: Time) -> Option<Time> {
        let starts = self.members.iter().filter_map(Member::starts_at);
        let starts = starts.filter(|_| self.stopping.is_none());
        let alive = || self.members.iter().filter_map(Member::alive);
        let ends = alive().filter_map(Alive::deadline);
        let stop = self.stopping.map(|stop| stop.answers_until);
        let stop = stop.filter(|_| alive().any(|alive| alive.kill_at.is_none()));
        let ripe = alive().filter(|alive| alive.waits()).map(|alive| self.ripe_at(alive));
        let next = self.queue.front().and_then(|parcel| {
            let free = ripe.min()?;
            Some(free.max(parcel.not_before))
        });
        let next = next.filter(|at| *at > now && self.stopping.is_none());
        starts.chain(ends).chain(stop).chain(next).min()
    }

    fn alive(&mut self, run: Run) -> Option<&mut Alive<K>> {
        self.members.get_mut(run.member)?.alive_mut().filter(|alive| alive.run == run)
    }

    /// When that listener has lived for longer than `startsecs`.
    fn ripe_at(&self, alive: &Alive<K>) -> Time {
        match self.rules.startsecs {
            Duration::ZERO => alive.since,
            startsecs => alive.since + startsecs + Duration::from_millis(1),
        }
    }

    fn free(&self, now: Time) -> Option<usize> {
        self.members.iter().position(|member| {
            member.alive().is_some_and(|alive| alive.waits() && now >= self.ripe_at(alive))
        })
    }

    fn dispatch(&mut self, now: Time, out: &mut Vec<Effect<K>>) {
        while self.stopping.is_none()
            && self.queue.front().is_some_and(|parcel| parcel.not_before <= now)
            && let Some(at) = self.free(now)
            && let Some(alive) = self.members[at].alive_mut()
        {
            alive.protocol.give();
            alive.has = self.queue.pop_front();
            out.push(Effect::Give(alive.run));
        }
    }

    fn word(&mut self, run: Run, word: Word, now: Time, out: &mut Vec<Effect<K>>) {
        let stop = self.stopping.map(|stop| stop.kill_at);
        let wait = self.rules.stopwaitsecs;
        let Some(alive) = self.alive(run) else { return };
        match word {
            Word::Ready => alive.spoke = true,
            Word::Accepted => {
                alive.worked = true;
                let Some(parcel) = alive.has.take() else { return };
                out.extend(tell::accepted(&parcel).map(Effect::Tell));
                out.push(Effect::Done(parcel.key));
            }
            Word::Rejected(said) => {
                let Some(mut parcel) = alive.has.take() else { return };
                parcel.rejected += 1;
                parcel.not_before = now + pause(parcel.rejected);
                out.extend(tell::rejected(&parcel, &said).map(Effect::Tell));
                self.again(Some(parcel), out);
            }
            Word::Left(how) => {
                alive.left = true;
                let had = alive.close(now);
                out.push(Effect::Tell(tell::left(run, had.as_ref(), &how)));
                if alive.kill_at.is_none() {
                    alive.leave(now + wait, out);
                }
                return self.again(had, out);
            }
        }
        if let (Some(kill_at), Some(alive)) = (stop, self.alive(run))
            && alive.kill_at.is_none()
            && alive.has.is_none()
        {
            alive.leave(kill_at, out);
        }
    }

    /// What is not accepted comes before everything else, or goes back.
    fn again(&mut self, parcel: Option<Parcel<K>>, out: &mut Vec<Effect<K>>) {
        match parcel {
            Some(parcel) if self.stopping.is_some() => out.push(Effect::Back(parcel.key)),
            Some(parcel) => self.queue.push_front(parcel),
            None => {}
        }
    }
}

/// How long a rejected event waits.
fn pause(rejected: u64) -> Duration {
    let doublings = u32::try_from(rejected.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX)
}
