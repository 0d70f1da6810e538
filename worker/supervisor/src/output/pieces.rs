//! Output as events: in pieces that one event holds, and that break no character.

use std::mem;

use dsbus_schema::event::OUTPUT_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// The beginning of a character whose end was not read yet waits for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Pieces(#[serde(with = "crate::handover::bytes")] Vec<u8>);

impl Pieces {
    /// The events that this makes.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut all = mem::take(&mut self.0);
        all.extend_from_slice(bytes);
        self.0 = all.split_off(all.len() - incomplete(&all));
        if all.is_empty() { Vec::new() } else { cut(&all) }
    }

    /// What waits.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let left = mem::take(&mut self.0);
        (!left.is_empty()).then_some(left)
    }
}

/// As many pieces as it takes, at least one.
pub(super) fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while rest.len() > OUTPUT_BYTES_MAX {
        let end = OUTPUT_BYTES_MAX - incomplete(&rest[..OUTPUT_BYTES_MAX]);
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    pieces.push(rest.to_owned());
    pieces
}

/// How many bytes at the end begin a character that is not complete: at most 3.
fn incomplete(bytes: &[u8]) -> usize {
    let most = bytes.len().min(3);
    let begins = |back: &usize| bytes[bytes.len() - back] >= 0xC0;
    let unfinished = |back: &usize| {
        let tail = &bytes[bytes.len() - back..];
        std::str::from_utf8(tail).is_err_and(|e| e.error_len().is_none())
    };
    (1..=most).find(begins).filter(unfinished).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_broken() {
        let text = "aä€😀z".repeat(40_000);
        for step in [1, 2, 3, 7, 50_000, text.len()] {
            let mut pieces = Pieces::default();
            let mut all = String::new();
            for chunk in text.as_bytes().chunks(step) {
                for piece in pieces.hear(chunk) {
                    assert!(!piece.is_empty() && piece.len() <= OUTPUT_BYTES_MAX);
                    all += std::str::from_utf8(&piece).unwrap();
                }
            }
            assert!(all == text && pieces.end().is_none());
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_through() {
        let bytes: Vec<u8> = (0..=255).collect();
        for step in [1, 3, 256] {
            let mut pieces = Pieces::default();
            let mut all: Vec<u8> =
                bytes.chunks(step).flat_map(|c| pieces.hear(c)).flatten().collect();
            all.extend(pieces.end().unwrap_or_default());
            assert_eq!(all, bytes);
        }
        let mut pieces = Pieces::default();
        assert_eq!(pieces.hear(b"a\xe2\x82"), [b"a"]);
        assert_eq!(pieces.end().as_deref(), Some(b"\xe2\x82".as_slice()));
        assert_eq!(pieces.end(), None);
    }
}
