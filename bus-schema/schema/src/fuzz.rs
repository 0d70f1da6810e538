//! What fuzzing feeds: a function for each kind of input from outside, which asserts more than that
//! nothing panics. The tests run them on the kept corpus, `fuzz/corpus/`; `./run fuzz` looks for more.

mod filter;
mod message;
mod words;

pub use filter::filter;
pub use message::message;
pub use words::words;

/// Longest input: all parsers see longer ones, and none looks at the length of a whole input, but to
/// refuse it. Whatever grows faster than its input shows below this.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// The text of an input; `None` for what no parser is given.
pub fn text(data: &[u8]) -> Option<&str> {
    if data.len() > INPUT_BYTES_MAX {
        return None;
    }
    std::str::from_utf8(data).ok()
}

/// Asserts that a refusal says something, and does not make a book of its input.
///
/// # Panics
/// When it does.
pub fn refused(why: &str, input: &[u8]) {
    assert!(!why.trim().is_empty(), "refused without a word");
    // Quoted text is escaped, and a list of what is known stands beside it.
    assert!(why.len() <= 16 * input.len() + 16 * 1024, "{} bytes of {why:.200}", why.len());
}

#[cfg(test)]
mod tests {
    use dsbus_harness::corpus;

    #[test]
    fn messages() {
        corpus("message", super::message);
    }

    #[test]
    fn words() {
        corpus("words", super::words);
    }

    #[test]
    fn filters() {
        corpus("filter", super::filter);
    }
}
