//! May this worker take its name? Pure (DESIGN.md section 5, rule 2): decided from the live touches
//! that the watch found under the name, and from whether somebody answers there.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::call::Pong;
use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::Touch;

use crate::identity::Identity;
use crate::touch::Seen;

/// How long to wait between two asks while waiting for somebody else's lease to expire.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait between two asks of somebody in our own place, who ought to be dead.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How long somebody in our own place may go on answering: the agent of a supervisor that was
/// killed needs a moment to die.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Take the name; live keys that are left are ours or a dead predecessor's.
    Granted,
    /// Nothing yet.
    Wait,
    /// Ping whoever lives under this name, and tell the answer.
    Ask,
    /// Another worker holds the name.
    Taken {
        /// Who, for people.
        by: String,
    },
}

/// A name that is being claimed.
#[derive(Debug)]
pub struct Takeover {
    me: Identity,
    held: BTreeMap<u64, (u64, Touch)>,
    asking: bool,
    ask_at: BootTime,
    answered_first: Option<BootTime>,
    silent: bool,
    taken: Option<String>,
}

impl Takeover {
    /// A claim, with the touches that the watch found.
    pub fn new(me: Identity, touches: &BTreeMap<u64, Seen>) -> Takeover {
        let held = touches.iter().filter_map(|(seconds, seen)| {
            Some((*seconds, (seen.seq, seen.touch.clone().filter(|t| !me.mine(t))?)))
        });
        let held = held.collect();
        Takeover {
            me,
            held,
            asking: false,
            ask_at: BootTime(0),
            answered_first: None,
            silent: false,
            taken: None,
        }
    }

    /// Who holds the name, as far as is known; for people.
    pub fn holder(&self) -> Option<String> {
        let foreign = self.held.values().find(|(_, touch)| !self.me.same_place(touch));
        foreign.map(|(_, touch)| holder(touch))
    }

    /// When time alone makes a difference.
    pub fn deadline(&self) -> Option<BootTime> {
        (!self.asking && !self.held.is_empty()).then_some(self.ask_at)
    }

    /// The watch delivered a touch, or the end of one.
    #[must_use]
    pub fn seen(&mut self, seconds: u64, seen: Seen, now: BootTime) -> Verdict {
        match seen.touch {
            Some(touch) if !self.me.mine(&touch) => {
                let news = self.held.get(&seconds).is_none_or(|(seq, _)| seen.seq > *seq);
                if news && self.me.same_place(&touch) {
                    self.silent = false;
                } else if news {
                    self.taken = Some(holder(&touch));
                }
                self.held.insert(seconds, (seen.seq, touch));
            }
            Some(_) | None => {
                self.held.remove(&seconds);
            }
        }
        self.decide(now)
    }

    /// The ping was answered, or nobody answered it.
    #[must_use]
    pub fn answered(&mut self, pong: Option<&Pong>, now: BootTime) -> Verdict {
        self.asking = false;
        match pong.filter(|pong| pong.incarnation != self.me.incarnation) {
            None => {
                self.silent = true;
                self.answered_first = None;
                self.ask_at = now + ASK_INTERVAL;
            }
            Some(pong) => {
                let first = *self.answered_first.get_or_insert(now);
                if !self.me.same_place_as(pong) || now.since(first) >= LAST_WORDS_MAX {
                    let Pong { supervisor_pid, host, directory, .. } = pong;
                    self.taken =
                        Some(format!("pid {supervisor_pid} on {host}, directory {directory}"));
                }
                self.ask_at = now + ASK_AGAIN;
            }
        }
        self.decide(now)
    }

    /// Decides by what is known now.
    #[must_use]
    pub fn decide(&mut self, now: BootTime) -> Verdict {
        if let Some(by) = self.taken.clone() {
            return Verdict::Taken { by };
        }
        let foreign = self.held.values().any(|(_, touch)| !self.me.same_place(touch));
        if self.held.is_empty() || (!foreign && self.silent) {
            return Verdict::Granted;
        }
        if self.asking || now < self.ask_at {
            return Verdict::Wait;
        }
        self.asking = true;
        Verdict::Ask
    }
}

/// Who sent a touch, for people.
pub fn holder(touch: &Touch) -> String {
    format!("a worker on {}, directory {}", touch.host, touch.directory)
}
