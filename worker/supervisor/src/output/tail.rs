//! The end of what was said, for reports of failures.

use dsbus_schema::status::STDERR_LINE_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Bytes that are kept: the last line of a report may be followed by blank ones.
pub(super) const TAIL_BYTES: usize = 2 * STDERR_LINE_BYTES_MAX;

/// The last bytes that went through.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tail(#[serde(with = "crate::handover::bytes")] Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..surplus);
    }

    /// Whether the next byte goes on with a line.
    pub(super) fn in_a_line(&self) -> bool {
        self.0.last().is_some_and(|byte| *byte != b'\n')
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The last line that is not empty, of at most [`STDERR_LINE_BYTES_MAX`] bytes.
pub(super) fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let cut = line.len().saturating_sub(STDERR_LINE_BYTES_MAX);
    let start = (cut..=line.len()).find(|at| line.is_char_boundary(*at))?;
    Some(line[start..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_short_and_not_empty() {
        let mut tail = Tail::default();
        assert_eq!((last_line(tail.bytes()), tail.in_a_line()), (None, false));
        tail.push(b"first\nsecond \xff\n\n  \n");
        assert_eq!(last_line(tail.bytes()).as_deref(), Some("second \u{fffd}"));
        assert!(!tail.in_a_line());
        tail.push("ä".repeat(5000).as_bytes());
        assert!(last_line(tail.bytes()).is_some_and(|line| line.len() <= STDERR_LINE_BYTES_MAX));
        assert!(tail.in_a_line() && tail.bytes().len() == TAIL_BYTES);
    }
}
