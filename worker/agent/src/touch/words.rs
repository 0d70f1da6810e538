//! What a lease is told, and what it says.

use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::Touch;

/// What the bus has under a key, as the watch delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its sequence; 0 when there never was an entry.
    pub seq: u64,
    /// The touch; `None` when there is no live key: the marker of an expiry, a tombstone, nothing.
    pub touch: Option<Touch>,
}

/// What happens to a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Somebody asks whether we live: touch at once.
    Hurry,
    /// The server stored the attempt under `seq`.
    Acked {
        /// Which.
        attempt: u64,
        /// Where.
        seq: u64,
    },
    /// The server refused the attempt: something else stands there than was expected.
    LostRace {
        /// Which.
        attempt: u64,
    },
    /// The attempt failed, and was not stored.
    Failed {
        /// Which.
        attempt: u64,
    },
    /// Nobody knows whether the attempt was stored.
    TimedOut {
        /// Which.
        attempt: u64,
    },
    /// The watch delivered an entry of this key.
    Seen(Seen),
    /// The supervisor answered a ping that was sent at this moment.
    SupervisorAnswered(BootTime),
    /// The connection is gone.
    Disconnected,
    /// There is a connection again.
    Reconnected,
    /// The watch begins anew: what it delivered so far is void.
    Reset,
    /// The watch has delivered all that there is.
    CaughtUp,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a touch, and wait for the answer no longer than [`super::Rules::patience`].
    Send {
        /// Number of the attempt.
        attempt: u64,
        /// When it counts as sent: now.
        sent: BootTime,
        /// The sequence that must stand there.
        expect: u64,
    },
    /// Children of this lease may live until then.
    Extend {
        /// Until when.
        until: BootTime,
    },
    /// This server does not answer: go to another one.
    ForceReconnect,
    /// Another worker holds this name.
    NameTaken {
        /// Its touch.
        touch: Touch,
    },
    /// The lease ran out before it was renewed. A new one is taken at once.
    Expired,
}
