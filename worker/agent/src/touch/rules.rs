//! The times of a lease (DESIGN.md section 5, rules 1 and 13).

use std::time::Duration;

use dsbus_supervisor::protocol::AGENT_PINGS;

/// After a failure, the next attempt follows within this time and [`RETRY_SPREAD`].
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);
/// Retries of many workers are spread over this time.
const RETRY_SPREAD: u64 = 100;
/// Longest time from a touch's sending to its acknowledgement for it to count: an expiry marker
/// that is on its way for longer than this was never measured.
pub(super) const FLIGHT_MAX: Duration = Duration::from_secs(1);
/// How long an expiry marker may follow what was stored after it was decided upon. Measured: 3 ms.
pub(super) const SETTLE: Duration = Duration::from_millis(100);
/// How long the watch may take to say what stands there after a refusal, before the refused touch
/// is tried again.
pub(super) const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// So many time-outs in a row, and another server is tried.
pub(super) const TIMEOUTS_MAX: u32 = 2;
/// While no touch is acknowledged, each further server gets twice as many time-outs, up to this: where
/// it is the worker's own link that is slow, all that a new connection has to say first makes it slower.
pub(super) const TIMEOUTS_LIMIT: u32 = 16;

/// How long to wait after attempt number `attempt` failed. Spread by the number, so that nothing
/// random is needed.
pub(super) fn retry_delay(attempt: u64) -> Duration {
    RETRY_MIN + Duration::from_millis(attempt.wrapping_mul(61) % (RETRY_SPREAD + 1))
}

/// The times that follow from T.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    seconds: u64,
}

impl Rules {
    /// Of a lease of `seconds`.
    pub fn new(seconds: u64) -> Rules {
        Rules { seconds }
    }

    /// T.
    pub fn ttl(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How long after a touch the next one is sent; also how long the supervisor may be silent.
    pub fn renew(self) -> Duration {
        self.ttl() / 3
    }

    /// How long an answer is waited for.
    pub fn patience(self) -> Duration {
        Duration::from_millis(500).min(self.ttl() / 6)
    }

    /// How long children may live after the sending of a touch that counts.
    pub fn life(self) -> Duration {
        self.ttl().saturating_sub(Duration::from_millis(250).max(self.ttl() / 10))
    }

    /// How often the supervisor is asked whether it lives: at least twice before each touch.
    pub fn ping(self) -> Duration {
        (self.ttl() / 6).clamp(Duration::from_millis(100), AGENT_PINGS)
    }
}

/// Rules that the simulation leaves out, to show that each is needed. A worker leaves out none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct Omitted {
    /// Rule 1: a touch that failed is not tried again before the next one is due.
    pub retries: bool,
    /// Rule 2: an own attempt that is found stored is not adopted.
    pub adoption: bool,
    /// Rule 3: it touches although its supervisor does not answer.
    pub supervisor: bool,
    /// Rule 13: every acknowledged touch counts.
    pub counting: bool,
    /// Rule 13: a lease is counted from the acknowledgement, and without a margin.
    pub margin: bool,
    /// Rule 15: a lease is extended before everything older was delivered.
    pub barrier: bool,
}
