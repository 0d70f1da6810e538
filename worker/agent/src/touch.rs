//! One lease of this worker: the key `<worker>._touch.<seconds>`, renewed while the supervisor
//! lives. Pure: no clock, no bus (DESIGN.md section 5, rules 1 to 3, 13 and 15).
//!
//! Invariants:
//! - At most one touch is in flight, and each expects the greatest sequence that was acknowledged
//!   or delivered. So the entry before an acknowledged touch is known, and with it the moment at
//!   which that entry could have expired.
//! - A touch counts only if no marker can erase it: not that of the entry before it, which could not
//!   expire yet, nor that of the one before that, which had time to arrive.
//! - [`Output::Extend`] never reaches beyond the send time of a touch that counts, plus T, less the
//!   margin; and none is given before the barrier of the last break is passed.

mod rules;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use dsbus_schema::moment::BootTime;

use crate::identity::Identity;

pub use rules::{Omitted, Rules};
pub use words::{Input, Output, Seen};

/// What stands under the key, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// No live key. The marker may itself have `aged` out, of which nobody is told: then there is
    /// nothing at all.
    Nothing { seq: u64, aged: bool },
    /// A touch of ours, or of a dead predecessor in our place. Until `settled`, the marker of what
    /// it replaced may still be on its way, and would erase its successor, too.
    Live { seq: u64, sent: BootTime, attempt: u64, settled: BootTime },
}

impl Stored {
    fn seq(self) -> u64 {
        match self {
            Stored::Nothing { seq, .. } | Stored::Live { seq, .. } => seq,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    attempt: u64,
    sent: BootTime,
    /// What was known to stand there when it was sent.
    known: u64,
    /// What it replaces cannot be expired by a marker that is on its way (rule 13).
    counts: bool,
}

/// After a break no lease is extended until the watch has delivered a touch of ours that was sent
/// after it: then it has delivered every placement change that is older (rule 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// Waits for the acknowledgement of an attempt after this one.
    Unsent {
        after: u64,
    },
    /// Waits until the watch delivers this sequence.
    Undelivered {
        seq: u64,
    },
    Passed,
}

/// A lease.
#[derive(Debug)]
pub struct Lease {
    rules: Rules,
    me: Identity,
    attempts: u64,
    stored: Stored,
    flight: Option<Flight>,
    due: BootTime,
    /// After a refusal: when to try again even if the watch does not say what stands there.
    refused: Option<BootTime>,
    timeouts: u32,
    /// How many of them in a row force a reconnect.
    timeouts_max: u32,
    connected: bool,
    caught_up: bool,
    answered: BootTime,
    last_sent: Option<BootTime>,
    barrier: Barrier,
    delivered: u64,
    counted: Option<BootTime>,
    until: BootTime,
    taken: bool,
    omitted: Omitted,
}

impl Lease {
    /// A lease of `seconds` over a key that holds `seen`, which may be taken. Attempts are numbered
    /// after `attempts`; `answered` is when the supervisor was last known to live.
    pub fn new(
        seconds: u64,
        me: Identity,
        attempts: u64,
        seen: Option<&Seen>,
        answered: BootTime,
        now: BootTime,
    ) -> Lease {
        let stored = match seen {
            None => Stored::Nothing { seq: 0, aged: false },
            Some(Seen { seq, touch: None }) => Stored::Nothing { seq: *seq, aged: false },
            Some(Seen { seq, touch: Some(t) }) => {
                let settled = now + rules::SETTLE;
                Stored::Live { seq: *seq, sent: t.sent, attempt: t.attempt, settled }
            }
        };
        Lease {
            rules: Rules::new(seconds),
            me,
            attempts,
            stored,
            flight: None,
            due: BootTime(0),
            refused: None,
            timeouts: 0,
            timeouts_max: rules::TIMEOUTS_MAX,
            connected: true,
            caught_up: true,
            answered,
            last_sent: None,
            barrier: Barrier::Unsent { after: attempts },
            delivered: 0,
            counted: None,
            until: BootTime(0),
            taken: false,
            omitted: Omitted::default(),
        }
    }

    /// Leaves rules out; only the simulation does that.
    pub(crate) fn omit(&mut self, omitted: Omitted) {
        self.omitted = omitted;
    }

    /// How many attempts were made, counting on from where it was told to.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Whether the lease is held and everything that is older than it was delivered.
    pub fn passed(&self) -> bool {
        match self.barrier {
            Barrier::Passed => true,
            Barrier::Undelivered { .. } => self.omitted.barrier,
            Barrier::Unsent { .. } => false,
        }
    }

    /// When time alone makes a difference.
    pub fn deadline(&self, now: BootTime) -> Option<BootTime> {
        let blocked = !self.may_send() || self.supervisor_is_silent(now);
        (!blocked).then_some(self.refused.unwrap_or(self.due))
    }

    /// Takes what happened; says what to do, in this order.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: BootTime) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => {}
            Input::Hurry => {
                if self.last_sent.is_none_or(|last| now.since(last) >= rules::RETRY_MIN) {
                    self.due = now;
                }
            }
            Input::Acked { attempt, seq } => {
                if let Some(flight) = self.land(attempt) {
                    self.acked(flight, seq, now);
                }
            }
            Input::LostRace { attempt } => {
                if let Some(flight) = self.land(attempt) {
                    self.refused(flight, now);
                }
            }
            Input::Failed { attempt } => {
                if self.land(attempt).is_some() {
                    self.timeouts = 0;
                    self.due = now + self.retry_delay(attempt);
                }
            }
            Input::TimedOut { attempt } => {
                if let Some(flight) = self.land(attempt) {
                    self.timed_out(flight, now, &mut out);
                }
            }
            Input::Seen(seen) => self.seen(seen, now, &mut out),
            Input::SupervisorAnswered(at) => self.answered = self.answered.max(at),
            Input::Disconnected => self.connected = false,
            Input::Reconnected => {
                self.connected = true;
                self.timeouts = 0;
                self.due = now;
                self.break_barrier();
            }
            Input::Reset => {
                self.caught_up = false;
                self.stored = Stored::Nothing { seq: 0, aged: false };
                self.delivered = 0;
                self.flight = None;
                self.refused = None;
                self.break_barrier();
            }
            Input::CaughtUp => {
                self.caught_up = true;
                self.due = now;
            }
        }
        out.extend(self.extend());
        out.extend(self.send(now));
        out
    }

    fn retry_delay(&self, attempt: u64) -> Duration {
        if self.omitted.retries { self.rules.renew() } else { rules::retry_delay(attempt) }
    }

    fn land(&mut self, attempt: u64) -> Option<Flight> {
        self.flight.take_if(|flight| flight.attempt == attempt)
    }

    fn acked(&mut self, flight: Flight, seq: u64, now: BootTime) {
        self.timeouts = 0;
        self.timeouts_max = rules::TIMEOUTS_MAX;
        self.due = flight.sent + self.rules.renew();
        if seq < self.stored.seq() {
            // Something newer was delivered already: a marker that was on its way, most likely.
            self.due = now;
            return;
        }
        let Flight { attempt, sent, .. } = flight;
        let quick = now.since(sent) <= rules::FLIGHT_MAX;
        if (flight.counts && quick) || self.omitted.counting {
            self.counted = Some(if self.omitted.margin { now } else { sent });
            self.stored = Stored::Live { seq, sent, attempt, settled: BootTime(0) };
        } else {
            let settled = now + rules::SETTLE;
            self.due = settled;
            self.stored = Stored::Live { seq, sent, attempt, settled };
        }
        if let Barrier::Unsent { after } = self.barrier
            && attempt > after
        {
            self.barrier = Barrier::Undelivered { seq };
            self.check_barrier();
        }
    }

    fn refused(&mut self, flight: Flight, now: BootTime) {
        self.timeouts = 0;
        self.break_barrier();
        if self.stored.seq() > flight.known {
            self.due = self.settled(now);
        } else {
            self.refused = Some(now + rules::REFUSED_WAIT);
        }
    }

    fn timed_out(&mut self, flight: Flight, now: BootTime, out: &mut Vec<Output>) {
        if let Stored::Live { seq, attempt, .. } = self.stored
            && attempt == flight.attempt
        {
            // Only the answer was lost: the watch has delivered the touch itself.
            return self.acked(flight, seq, now);
        }
        self.due = now + self.retry_delay(flight.attempt);
        self.timeouts += 1;
        if self.timeouts >= self.timeouts_max {
            self.timeouts = 0;
            self.timeouts_max = (self.timeouts_max * 2).min(rules::TIMEOUTS_LIMIT);
            out.push(Output::ForceReconnect);
        }
    }

    fn seen(&mut self, seen: Seen, now: BootTime, out: &mut Vec<Output>) {
        let Seen { seq, touch } = seen;
        let mine = touch.as_ref().is_some_and(|touch| self.me.mine(touch));
        if mine {
            self.delivered = self.delivered.max(seq);
            self.check_barrier();
        }
        if seq < self.stored.seq() || self.taken {
            return;
        }
        let Some(touch) = touch else { return self.gone(seq, now, out) };
        if mine && self.omitted.adoption {
            return;
        } else if mine {
            // Adopted below, if it is news.
        } else if self.me.same_place(&touch) && touch.sent < self.me.began {
            // The late write of a predecessor, who is dead: we hold the directory's lock.
            self.break_barrier();
        } else {
            self.taken = true;
            out.push(Output::NameTaken { touch });
            return;
        }
        if seq > self.stored.seq() {
            let settled = now + rules::SETTLE;
            self.stored = Stored::Live { seq, sent: touch.sent, attempt: touch.attempt, settled };
            if self.refused.take().is_some() {
                self.due = settled;
            }
        }
    }

    fn gone(&mut self, seq: u64, now: BootTime, out: &mut Vec<Output>) {
        if let Stored::Live { .. } = self.stored {
            self.break_barrier();
            out.push(Output::Expired);
        }
        self.stored = Stored::Nothing { seq, aged: false };
        self.refused = None;
        self.due = now;
    }

    /// When the next touch counts again after what stands there was found out.
    fn settled(&self, now: BootTime) -> BootTime {
        match self.stored {
            Stored::Nothing { .. } => now,
            Stored::Live { settled, .. } => settled.max(now),
        }
    }

    fn break_barrier(&mut self) {
        self.barrier = Barrier::Unsent { after: self.attempts };
        self.counted = None;
    }

    fn check_barrier(&mut self) {
        if let Barrier::Undelivered { seq } = self.barrier
            && self.delivered >= seq
        {
            self.barrier = Barrier::Passed;
        }
    }

    fn extend(&mut self) -> Option<Output> {
        let life = if self.omitted.margin { self.rules.ttl() } else { self.rules.life() };
        let until = self.counted? + life;
        if !self.passed() || until <= self.until || self.taken {
            return None;
        }
        self.until = until;
        Some(Output::Extend { until })
    }

    fn may_send(&self) -> bool {
        !self.taken && self.connected && self.caught_up && self.flight.is_none()
    }

    fn supervisor_is_silent(&self, now: BootTime) -> bool {
        !self.omitted.supervisor && now.since(self.answered) > self.rules.renew()
    }

    fn send(&mut self, now: BootTime) -> Option<Output> {
        if !self.may_send() || self.supervisor_is_silent(now) {
            return None;
        }
        match self.refused {
            Some(until) if now < until => return None,
            Some(_) => {
                // The watch knows of nothing newer. A wrong guess is refused again.
                self.refused = None;
                self.stored = match self.stored {
                    Stored::Nothing { seq, aged } => Stored::Nothing { seq, aged: !aged },
                    // Somebody has emptied the bucket, of which nobody is told.
                    Stored::Live { seq, .. } => Stored::Nothing { seq, aged: true },
                };
            }
            None if now < self.due => return None,
            None => {}
        }
        self.attempts += 1;
        let (expect, counts) = match self.stored {
            Stored::Nothing { seq, aged } => (if aged { 0 } else { seq }, true),
            Stored::Live { seq, sent, settled, .. } => {
                (seq, now >= settled && now + rules::FLIGHT_MAX < sent + self.rules.ttl())
            }
        };
        let (attempt, known) = (self.attempts, self.stored.seq());
        self.flight = Some(Flight { attempt, sent: now, known, counts });
        self.last_sent = Some(now);
        Some(Output::Send { attempt, sent: now, expect })
    }
}
