//! How a report stands in a file: a head of fixed length, then the line that tells the agent.
//!
//! Whatever a crash, a full disk or a bad sector leaves of a file, every record in it that is whole
//! is found again, and nothing that is not whole is taken for one.

use dsbus_schema::event::Fact;
use serde::{Deserialize, Serialize};

use crate::protocol::{LINE_BYTES_MAX, Reported};

/// Bytes of a head: mark, checksum of all that follows, bytes of the line, kind, ordinal, number,
/// milliseconds. All numbers are little-endian.
pub(super) const HEAD_BYTES: usize = 40;
/// Begins a record. Its first byte is in no UTF-8 text, so a line holds none; its last one is the
/// version of this form.
const MARK: [u8; 4] = [0xF5, b'd', b'R', 1];

/// What a report tells, as far as that matters when some must be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// No event: how an instance stands, or that it is gone.
    Silent,
    /// A change of state.
    Process,
    /// A fact about an instance beside its state.
    Notice,
    /// A fact about the worker.
    Worker,
    /// What a child said.
    Output,
    /// Nobody knows: it could not be read back.
    Unreadable,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] =
        [Kind::Silent, Kind::Process, Kind::Notice, Kind::Worker, Kind::Output, Kind::Unreadable];

    /// The kind of event, as it is told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Silent => "silent",
            Kind::Process => "process",
            Kind::Notice => "notice",
            Kind::Worker => "worker",
            Kind::Output => "output",
            Kind::Unreadable => "unreadable",
        }
    }

    /// Of a report, and when that happened, in milliseconds since 1970.
    pub(super) fn of(what: &Reported) -> (Kind, i64) {
        let millis = |time: &dsbus_schema::moment::Timestamp| {
            i64::try_from(time.unix_nanos() / 1_000_000).unwrap_or(i64::MAX)
        };
        match what {
            Reported::Instance { event: Some(event), .. } => (Kind::Process, millis(&event.time)),
            Reported::Instance { event: None, status, .. } => (Kind::Silent, millis(&status.since)),
            Reported::Gone { .. } => (Kind::Silent, 0),
            Reported::Worker { time, .. } => (Kind::Worker, millis(time)),
            Reported::Event { time, fact, .. } => {
                let kind = if matches!(**fact, Fact::Output(_)) {
                    Kind::Output
                } else if matches!(**fact, Fact::Process(_)) {
                    Kind::Process
                } else {
                    Kind::Notice
                };
                (kind, millis(time))
            }
        }
    }
}

/// What stands before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its place in its lane: one that is missing there was lost.
    pub(super) ordinal: u64,
    /// Number of the report.
    pub(super) number: u64,
    /// When it happened, in milliseconds since 1970.
    pub(super) millis: i64,
    pub(super) kind: Kind,
    /// Bytes of the line.
    pub(super) bytes: u32,
}

impl Head {
    /// Bytes of the whole record.
    pub(super) fn size(&self) -> usize {
        HEAD_BYTES + self.bytes as usize
    }
}

/// Adds a record.
pub(super) fn encode(head: &Head, line: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.bytes.to_le_bytes());
    out.extend_from_slice(&[head.kind as u8, 0, 0, 0]);
    out.extend_from_slice(&head.ordinal.to_le_bytes());
    out.extend_from_slice(&head.number.to_le_bytes());
    out.extend_from_slice(&head.millis.to_le_bytes());
    out.extend_from_slice(line);
    let sum = crc32fast::hash(&out[begin + 8..]);
    out[begin + 4..begin + 8].copy_from_slice(&sum.to_le_bytes());
}

/// The record that begins here, if a whole one does.
pub(super) fn decode(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    if head[..4] != MARK {
        return None;
    }
    let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let eight = |at: usize| (u64::from(four(at + 4)) << 32) | u64::from(four(at));
    let count = four(8);
    let length = usize::try_from(count).ok().filter(|length| *length <= LINE_BYTES_MAX)?;
    let line = rest.get(..length)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[8..]);
    sum.update(line);
    if sum.finalize() != four(4) {
        return None;
    }
    let kind = *Kind::ALL.get(usize::from(head[12]))?;
    let (ordinal, number, millis) = (eight(16), eight(24), eight(32).cast_signed());
    Some((Head { ordinal, number, millis, kind, bytes: count }, line))
}

/// All whole records in these bytes, with their places.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = (usize, Head, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            if let Some((head, line)) = decode(rest) {
                let begin = at;
                at += HEAD_BYTES + line.len();
                return Some((begin, head, line));
            }
            // What is broken here says nothing of its own length: the next mark counts.
            let next = rest.get(1..)?.windows(MARK.len()).position(|four| four == MARK)?;
            at += 1 + next;
        }
    })
}
