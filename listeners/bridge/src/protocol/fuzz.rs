//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use std::mem::discriminant;

use super::{Departure, Protocol, Word};

/// Longest input.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Where this byte stands an event is given to a listener that is ready.
const GIVE: u8 = 0xff;
/// Most bytes that a person is shown of what a listener said: escaped, all of them.
const TOLD_BYTES_MAX: usize = 1024;

/// Hears a listener. The first byte says into pieces of which size it is cut.
///
/// # Panics
/// When it matters where it is cut, more is answered than was asked, or anything is heard of one that
/// left.
pub fn listener(data: &[u8]) {
    let Some((size, said)) = data.split_first().filter(|_| data.len() <= INPUT_BYTES_MAX) else {
        return;
    };
    let (whole, given) = hear(said, INPUT_BYTES_MAX);
    let (pieces, _) = hear(said, usize::from(*size).max(1));
    assert_eq!(whole.len(), pieces.len(), "{whole:?} or {pieces:?}");
    for (one, other) in whole.iter().zip(&pieces) {
        match (one, other) {
            // How much of what was said is shown is a matter of how it came.
            (Word::Left(one), Word::Left(other)) => {
                assert_eq!(discriminant(one), discriminant(other), "{one} or {other}");
            }
            (one, other) => assert_eq!(one, other),
        }
    }
    let answers = |word: &&Word| matches!(word, Word::Accepted | Word::Rejected(_));
    assert!(whole.iter().filter(answers).count() <= given, "{whole:?} to {given} events");
    let left = whole.iter().position(|word| matches!(word, Word::Left(_)));
    assert!(left.is_none_or(|at| at + 1 == whole.len()), "{whole:?}");
    for word in &whole {
        let told = match word {
            Word::Ready | Word::Accepted => continue,
            Word::Rejected(said) => said.clone(),
            Word::Left(how) => how.to_string(),
        };
        assert!(!told.is_empty() && told.len() <= TOLD_BYTES_MAX, "{told}");
        assert!(!told.contains(char::is_control), "{told:?}");
    }
    let unknown = whole.last().is_some_and(|word| matches!(word, Word::Left(_)));
    assert!(!unknown || !whole.contains(&Word::Left(Departure::Closed)), "nobody closed it");
}

/// What it says, and how many events it was given.
fn hear(said: &[u8], size: usize) -> (Vec<Word>, usize) {
    let (mut protocol, mut words, mut given) = (Protocol::default(), Vec::new(), 0);
    for part in said.split(|byte| *byte == GIVE) {
        if protocol.is_ready() {
            protocol.give();
            given += 1;
        }
        for piece in part.chunks(size) {
            protocol.hear(piece, |word| words.push(word));
        }
    }
    (words, given)
}

#[cfg(test)]
mod tests {
    #[test]
    fn listeners() {
        dsbus_harness::corpus("listener", super::listener);
    }
}
