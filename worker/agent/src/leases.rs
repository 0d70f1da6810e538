//! All leases of this worker, by their seconds. Pure, as [`Lease`] is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::PRESENCE_SECONDS;

use crate::identity::Identity;
use crate::touch::{Input, Lease, Omitted, Output, Rules, Seen};

/// What is to be done about which lease.
pub type Outputs = Vec<(u64, Output)>;

/// The leases.
#[derive(Debug)]
pub struct Leases {
    me: Identity,
    held: BTreeMap<u64, Lease>,
    /// The greatest attempt of a lease that was given up. An agent's attempts begin where no
    /// earlier agent of the incarnation can have come.
    attempts: u64,
    answered: BootTime,
    connected: bool,
    omitted: Omitted,
}

impl Leases {
    /// None yet, of the agent `generation` of an incarnation.
    pub fn new(me: Identity, generation: u64, now: BootTime) -> Leases {
        Leases {
            me,
            held: BTreeMap::new(),
            attempts: generation << 32,
            answered: now,
            connected: true,
            omitted: Omitted::default(),
        }
    }

    /// Leaves rules out of the leases to come; only the simulation does that.
    pub(crate) fn omit(&mut self, omitted: Omitted) {
        self.omitted = omitted;
    }

    /// Holds exactly these leases from now on. One that is no longer needed is left to expire.
    #[must_use]
    pub fn hold(
        &mut self,
        classes: &BTreeSet<u64>,
        touches: &BTreeMap<u64, Seen>,
        now: BootTime,
    ) -> Outputs {
        let attempts = &mut self.attempts;
        self.held.retain(|seconds, lease| {
            *attempts = (*attempts).max(lease.attempts());
            classes.contains(seconds)
        });
        let mut out = Vec::new();
        for &seconds in classes {
            if self.held.contains_key(&seconds) {
                continue;
            }
            let (me, seen) = (self.me.clone(), touches.get(&seconds));
            let mut lease = Lease::new(seconds, me, self.attempts, seen, self.answered, now);
            lease.omit(self.omitted);
            let first = if self.connected { Input::Tick } else { Input::Disconnected };
            out.extend(lease.handle(first, now).into_iter().map(|output| (seconds, output)));
            self.held.insert(seconds, lease);
        }
        out
    }

    /// Gives all of them up.
    pub fn drop_all(&mut self) {
        self.held.clear();
    }

    /// Tells one lease.
    #[must_use]
    pub fn tell(&mut self, seconds: u64, input: Input, now: BootTime) -> Outputs {
        let Some(lease) = self.held.get_mut(&seconds) else { return Vec::new() };
        lease.handle(input, now).into_iter().map(|output| (seconds, output)).collect()
    }

    /// Tells all leases.
    #[must_use]
    pub fn tell_all(&mut self, input: &Input, now: BootTime) -> Outputs {
        match input {
            Input::SupervisorAnswered(at) => self.answered = self.answered.max(*at),
            Input::Reconnected => self.connected = true,
            Input::Disconnected => self.connected = false,
            _ => {}
        }
        let told = self.held.iter_mut().flat_map(|(&seconds, lease)| {
            lease.handle(input.clone(), now).into_iter().map(move |output| (seconds, output))
        });
        told.collect()
    }

    /// Whether all leases are held, and everything older than them was delivered.
    pub fn passed(&self) -> bool {
        !self.held.is_empty() && self.held.values().all(Lease::passed)
    }

    /// How often the supervisor is asked whether it lives.
    pub fn ping(&self) -> Duration {
        let shortest = self.held.keys().next().copied().unwrap_or(PRESENCE_SECONDS);
        Rules::new(shortest).ping()
    }

    /// When time alone makes a difference.
    pub fn deadline(&self, now: BootTime) -> Option<BootTime> {
        self.held.values().filter_map(|lease| lease.deadline(now)).min()
    }
}
