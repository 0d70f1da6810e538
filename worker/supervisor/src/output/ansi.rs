//! Terminal escapes are left out of what is logged, also those that are cut by the end of a read.

use anstyle_parse::state::{Action, State, state_change};
use serde::{Deserialize, Serialize};

/// Longest sequence; one that does not end is output that only looks like an escape.
const ESCAPE_BYTES_MAX: u32 = 4096;

/// Where in a sequence the output is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Strip {
    #[serde(with = "number")]
    state: State,
    /// Bytes of the sequence so far.
    length: u32,
}

/// A state, by its number.
mod number {
    use anstyle_parse::state::State;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(state: &State, to: S) -> Result<S::Ok, S::Error> {
        (*state as u8).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<State, D::Error> {
        let number = u8::deserialize(from)?;
        // A number that is not known belongs to a sequence that is not known, either.
        Ok(State::try_from(number).unwrap_or_default())
    }
}

impl Strip {
    /// What is left without escapes. All other bytes stay as they are, text or not.
    pub(super) fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.state == State::Ground {
                // The table knows 8-bit controls, too, which are parts of characters in UTF-8: in
                // the open only ESC begins anything.
                let plain = rest.iter().position(|byte| *byte == 0x1b).unwrap_or(rest.len());
                kept.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                if let [_, after @ ..] = rest {
                    (self.state, self.length, rest) = (State::Escape, 1, after);
                }
            } else {
                if self.step(rest[0]) {
                    kept.push(rest[0]);
                }
                rest = &rest[1..];
            }
        }
        kept
    }

    /// Whether this byte, met inside of a sequence, is none of it.
    fn step(&mut self, byte: u8) -> bool {
        self.length += 1;
        let text = matches!(
            self.state,
            State::OscString | State::SosPmApcString | State::DcsPassthrough | State::DcsIgnore
        );
        // No sequence takes the end of a line, or more, into nothing; and none but the strings
        // holds a byte that is not ASCII.
        let broken = byte == b'\n' || self.length > ESCAPE_BYTES_MAX || (byte >= 0x80 && !text);
        if broken {
            self.state = State::Ground;
            return true;
        }
        if byte >= 0x80 {
            // A part of a character, not the 8-bit end of a string.
            return false;
        }
        let (next, action) = state_change(self.state, byte);
        // `Anywhere` is no change.
        if next != State::Anywhere {
            self.state = next;
            self.length = if byte == 0x1b { 1 } else { self.length };
        }
        // Controls such as a tab act in the middle of a sequence, as a terminal would.
        action == Action::Execute && !matches!(byte, 0x18 | 0x1a)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[(&str, &str)] = &[
        ("plain äöü €\t\r\n", "plain äöü €\t\r\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;200mx\x1b[my", "xy"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://a/\u{9c}ü\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Bcharset\x1b=\x1b7", "charset"),
        ("\x1bPq#0;1\x1b\\after", "after"),
        ("\x1b_apc\x1b\\a\x1b^pm\x1b\\b", "ab"),
        ("\x1b[?25l\x1b[2Kgone", "gone"),
        ("\x1b[3\t1mtab", "\ttab"),
        ("\x1b\x1b[31mtwice", "twice"),
        ("\x1b[3\x18kept", "kept"),
        ("\x1bänd", "änd"),
        ("\x1b[12ü", "ü"),
        ("\x1b]never ends\nnext line", "\nnext line"),
        ("at the end\x1b[3", "at the end"),
    ];

    #[test]
    fn escapes_go_and_text_stays_however_it_is_cut() {
        for (said, left) in TABLE {
            assert_eq!(Strip::default().strip(said.as_bytes()), left.as_bytes(), "{said:?}");
            for cut in 0..=said.len() {
                let (mut strip, (a, b)) = (Strip::default(), said.as_bytes().split_at(cut));
                let kept = [strip.strip(a), strip.strip(b)].concat();
                assert_eq!(kept, left.as_bytes(), "{said:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != 0x1b).collect();
        assert_eq!(Strip::default().strip(&bytes), bytes);
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_where_output_is_cut(
            bytes in vec(prop_oneof![Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), any::<u8>()], 0..60),
            cut in 0..60usize,
        ) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut strip = Strip::default();
            let pieces = [strip.strip(a), strip.strip(b)].concat();
            prop_assert_eq!(pieces, Strip::default().strip(&bytes));
        }
    }

    #[test]
    fn what_only_looks_like_an_escape_does_not_take_everything_along() {
        let kept = Strip::default().strip(&[b"\x1b]".as_slice(), &[b'x'; 10_000]].concat());
        assert!(kept.len() > 5000);
    }
}
