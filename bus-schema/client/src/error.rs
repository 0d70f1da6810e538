//! What can go wrong on the bus, as callers must tell it apart.

use std::fmt::Display;

use dsbus_schema::program::Problem;

/// Why a call failed. Only [`Error::LostRace`], [`Error::Denied`], [`Error::Disconnected`] and
/// [`Error::Refused`] say that nothing was written; after [`Error::Timeout`] it may have been.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Somebody else wrote first; `current` is the sequence of what stands there, where NATS says.
    #[error("somebody else wrote first{}", .current.map(|n| format!(" (sequence {n})")).unwrap_or_default())]
    LostRace {
        /// Sequence of the last entry, where NATS says it: on three nodes it mostly does not.
        current: Option<u64>,
    },
    /// No answer in time. What was asked may have been done.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection; nothing was sent.
    #[error("not connected to NATS")]
    Disconnected,
    /// Nobody listens there: a worker that is gone, a stream without a leader, or no `JetStream`.
    #[error("nobody answers there")]
    NoResponders,
    /// No scheduler runs in this fleet.
    #[error("no scheduler answers")]
    NoScheduler,
    /// No NATS server could be reached.
    #[error("no NATS server at {url}: {why}")]
    NoBus {
        /// Where it was looked for; without passwords.
        url: String,
        /// What happened.
        why: String,
    },
    /// The buckets of this fleet do not exist yet.
    #[error("this fleet has no buckets yet: no scheduler or worker was ever started")]
    NotProvisioned,
    /// The server lacks what dsbus needs.
    #[error("nats-server is {version}; dsbus needs {} or newer", oldest())]
    ServerTooOld {
        /// Its version.
        version: String,
    },
    /// The connection's permissions forbid it.
    #[error("denied by the permissions on NATS: {what}")]
    Denied {
        /// What was forbidden.
        what: String,
    },
    /// Whoever was asked said no.
    #[error("{text}")]
    Refused {
        /// One of [`dsbus_schema::command::code`].
        code: u16,
        /// Why.
        text: String,
        /// What is wrong with single keys of what was sent.
        problems: Vec<Problem>,
    },
    /// `JetStream` refused, for a reason that has no name here.
    #[error("JetStream refused: {text} ({code})")]
    Api {
        /// Its `err_code`.
        code: u64,
        /// Its description.
        text: String,
    },
    /// Something could not be read or written as what it must be.
    #[error("{what}: {why}")]
    Malformed {
        /// A key, subject or stream.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

fn oldest() -> String {
    let (major, minor) = dsbus_schema::version::NATS_SERVER_MIN;
    format!("{major}.{minor}")
}

impl Error {
    pub(crate) fn malformed(what: impl Into<String>, why: impl Display) -> Error {
        Error::Malformed { what: what.into(), why: format!("{why}") }
    }
}
