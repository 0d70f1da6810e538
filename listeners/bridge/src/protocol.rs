//! What a listener says on its standard output, as Supervisor understands it (its manual, "Event
//! Listeners", and dispatchers.py): bytes in, words out. Pure.
//!
//! ```text
//!               READY\n              an event is given
//! Acknowledged ---------> Ready ------------------------> Busy
//!       ^                                                  | RESULT <length>\n<content>
//!       +--------------------------------------------------+
//! ```
//! Everything else takes it out of the protocol, for good: nothing that it says afterwards means
//! anything.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::fmt;

/// What says that a listener waits for an event.
const READY: &[u8] = b"READY\n";
/// How the answer to an event begins. The byte after it separates; Supervisor does not look at it.
const RESULT: &[u8] = b"RESULT";
/// The content of an answer that accepts an event.
const OK: &[u8] = b"OK";
/// Longest first line of an answer: `RESULT`, and a number of any length that makes sense.
const LINE_BYTES_MAX: usize = 256;
/// Most bytes of an answer. Supervisor has no limit, and waits for ever for what a slip of the
/// listener promised.
const RESULT_BYTES_MAX: usize = 1 << 20;
/// How much is shown of what a listener said.
const SHOWN_BYTES_MAX: usize = 80;

/// A step of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It waits for an event.
    Ready,
    /// It is done with its event.
    Accepted,
    /// It wants its event to come again; this is what it said.
    Rejected(String),
    /// It left the protocol.
    Left(Departure),
}

/// How a listener left the protocol; what it said is cut to what can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// It said this where `READY` belongs.
    NotReady(String),
    /// It said this while it had no event to answer.
    Unasked(String),
    /// It answered by this line, which is no `RESULT <length>`.
    NoResult(String),
    /// It began an answer of so many bytes.
    TooLong(usize),
    /// It closed its standard input or output, and goes on.
    Closed,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Departure::NotReady(said) => {
                write!(
                    f,
                    "it said {said} on standard output, where READY and an end of line belong"
                )
            }
            Departure::Unasked(said) => {
                write!(f, "it said {said} on standard output while it had no event")
            }
            Departure::NoResult(said) => {
                write!(f, "it answered {said}, where RESULT, a length and an end of line belong")
            }
            Departure::TooLong(bytes) => {
                write!(
                    f,
                    "it announced an answer of {bytes} bytes; at most {RESULT_BYTES_MAX} are read"
                )
            }
            Departure::Closed => f.write_str("it closed its standard input or output"),
        }
    }
}

/// Where a listener stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protocol(Phase);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// So many bytes of `READY\n` came.
    Acknowledged {
        matched: usize,
    },
    Ready,
    /// The first line of the answer, as far as it came.
    Busy {
        line: Vec<u8>,
    },
    /// The content of the answer, as far as it is shown.
    Answering {
        content: Vec<u8>,
        length: usize,
        left: usize,
    },
    Unknown,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Acknowledged { matched: 0 }
    }
}

impl Protocol {
    /// Whether it waits for an event.
    pub fn is_ready(&self) -> bool {
        self.0 == Phase::Ready
    }

    /// Whether it left the protocol.
    pub fn is_unknown(&self) -> bool {
        self.0 == Phase::Unknown
    }

    /// An event is on its way to it. Only for one that is ready.
    pub fn give(&mut self) {
        self.0 = Phase::Busy { line: Vec::new() };
    }

    /// It cannot go on.
    pub fn close(&mut self) {
        self.0 = Phase::Unknown;
    }

    /// Takes what it said; tells every step that this makes.
    pub fn hear(&mut self, mut said: &[u8], mut each: impl FnMut(Word)) {
        while !said.is_empty() {
            let word;
            (word, said) = self.step(said);
            word.into_iter().for_each(&mut each);
        }
    }

    /// One step at most, and what is left.
    fn step<'a>(&mut self, said: &'a [u8]) -> (Option<Word>, &'a [u8]) {
        match &mut self.0 {
            Phase::Unknown => (None, &[]),
            Phase::Ready => self.leave(Departure::Unasked(shown(said))),
            Phase::Acknowledged { matched } => {
                let same = READY[*matched..].iter().zip(said).take_while(|(a, b)| a == b).count();
                let (begun, rest) = (&READY[..*matched], &said[same..]);
                *matched += same;
                if *matched == READY.len() {
                    self.0 = Phase::Ready;
                    (Some(Word::Ready), rest)
                } else if rest.is_empty() {
                    (None, rest)
                } else {
                    let all = [begun, said].concat();
                    self.leave(Departure::NotReady(shown(&all)))
                }
            }
            Phase::Busy { line } => {
                let end = said.iter().position(|byte| *byte == b'\n');
                line.extend_from_slice(&said[..end.unwrap_or(said.len())]);
                match (end, length(line)) {
                    (_, _) if line.len() > LINE_BYTES_MAX => self.no_result(),
                    // What cannot become an answer any more is told before its line ends.
                    (None, _) if line.iter().zip(RESULT).any(|(a, b)| a != b) => self.no_result(),
                    (None, _) => (None, &[]),
                    (Some(_), None) => self.no_result(),
                    (Some(_), Some(length)) if length > RESULT_BYTES_MAX => {
                        self.leave(Departure::TooLong(length))
                    }
                    (Some(end), Some(length)) => {
                        let content = Vec::new();
                        self.0 = Phase::Answering { content, length, left: length };
                        (self.answered(), &said[end + 1..])
                    }
                }
            }
            Phase::Answering { content, left, .. } => {
                let (part, rest) = said.split_at(said.len().min(*left));
                *left -= part.len();
                let room = SHOWN_BYTES_MAX.saturating_sub(content.len());
                content.extend_from_slice(&part[..part.len().min(room)]);
                (self.answered(), rest)
            }
        }
    }

    /// The verdict, when the whole answer is there.
    fn answered(&mut self) -> Option<Word> {
        let Phase::Answering { content, length, left: 0 } = &self.0 else { return None };
        let accepted = *length == OK.len() && content == OK;
        let word = if accepted { Word::Accepted } else { Word::Rejected(shown(content)) };
        self.0 = Phase::default();
        Some(word)
    }

    fn no_result<'a>(&mut self) -> (Option<Word>, &'a [u8]) {
        let Phase::Busy { line } = &self.0 else { return (None, &[]) };
        let said = shown(line);
        self.leave(Departure::NoResult(said))
    }

    fn leave<'a>(&mut self, how: Departure) -> (Option<Word>, &'a [u8]) {
        self.0 = Phase::Unknown;
        (Some(Word::Left(how)), &[])
    }
}

/// The length in a line `RESULT <length>`. As in Supervisor, one byte separates, whichever it is,
/// and blanks around the number and a plus before it are allowed.
fn length(line: &[u8]) -> Option<usize> {
    let number = line.strip_prefix(RESULT)?.get(1..)?;
    std::str::from_utf8(number).ok()?.trim().parse().ok()
}

fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let more = if cut.len() < bytes.len() { "..." } else { "" };
    format!("{:?}{more}", String::from_utf8_lossy(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Departure::{NoResult, NotReady, TooLong, Unasked};
    use Word::{Accepted, Left, Ready, Rejected};

    /// What comes of these reads; before the one that begins with `>` an event is given.
    fn heard(reads: &[&str]) -> Vec<Word> {
        let (mut protocol, mut words) = (Protocol::default(), Vec::new());
        for read in reads {
            let read = match read.strip_prefix('>') {
                Some(read) => {
                    assert!(protocol.is_ready(), "an event is given only to one that is ready");
                    protocol.give();
                    read
                }
                None => read,
            };
            protocol.hear(read.as_bytes(), |word| words.push(word));
        }
        assert_eq!(protocol.is_unknown(), words.iter().any(|word| matches!(word, Left(_))));
        words
    }

    fn quoted(text: &str) -> String {
        format!("{text:?}")
    }

    #[test]
    fn every_row_of_the_protocol() {
        for (reads, words) in [
            (&["READY\n"][..], vec![Ready]),
            (&["RE", "", "ADY", "\n"], vec![Ready]),
            (&["READY\n", ">RESULT 2\nOK"], vec![Ready, Accepted]),
            (&["READY\n", ">RESULT 2\nOKREADY\n"], vec![Ready, Accepted, Ready]),
            (
                &["READY\n", ">RES", "ULT 2", "\n", "O", "KREA", "DY\n"],
                vec![Ready, Accepted, Ready],
            ),
            (
                &["READY\n", ">RESULT 2\nOKREADY\n", ">RESULT 2\nOK"],
                vec![Ready, Accepted, Ready, Accepted],
            ),
            (&["READY\n", ">RESULT 4\nFAIL"], vec![Ready, Rejected(quoted("FAIL"))]),
            (&["READY\n", ">RESULT 4\nFAILREADY\n"], vec![Ready, Rejected(quoted("FAIL")), Ready]),
            // Whatever is not OK rejects.
            (&["READY\n", ">RESULT 2\nok"], vec![Ready, Rejected(quoted("ok"))]),
            (&["READY\n", ">RESULT 3\nOK\n"], vec![Ready, Rejected(quoted("OK\n"))]),
            (&["READY\n", ">RESULT 0\n"], vec![Ready, Rejected(quoted(""))]),
            (&["READY\n", ">RESULT 0\nREADY\n"], vec![Ready, Rejected(quoted("")), Ready]),
            // As lenient with the line as Supervisor.
            (&["READY\n", ">RESULT:+2 \nOK"], vec![Ready, Accepted]),
        ] {
            assert_eq!(heard(reads), words, "{reads:?}");
        }
    }

    #[test]
    fn every_way_out_of_the_protocol() {
        let not_ready = |said: &str| Left(NotReady(quoted(said)));
        let no_result = |said: &str| Left(NoResult(quoted(said)));
        for (reads, words) in [
            // Output before READY, also a part of it that cannot become READY any more.
            (&["hello\n"][..], vec![not_ready("hello\n")]),
            (&["R", "x"], vec![not_ready("Rx")]),
            (&["READY \n"], vec![not_ready("READY \n")]),
            (&["READY\r\n"], vec![not_ready("READY\r\n")]),
            // Bytes of one that is ready: also of the same read, and a second READY.
            (&["READY\n", "x"], vec![Ready, Left(Unasked(quoted("x")))]),
            (&["READY\nREADY\n"], vec![Ready, Left(Unasked(quoted("READY\n")))]),
            (&["READY\nRESULT 2\nOK"], vec![Ready, Left(Unasked(quoted("RESULT 2\nOK")))]),
            // No result.
            (&["READY\n", ">OK\n"], vec![Ready, no_result("OK")]),
            (&["READY\n", ">working"], vec![Ready, no_result("working")]),
            (&["READY\n", ">RESULT\n"], vec![Ready, no_result("RESULT")]),
            (&["READY\n", ">RESULT two\nOK"], vec![Ready, no_result("RESULT two")]),
            (&["READY\n", ">RESULT -1\n"], vec![Ready, no_result("RESULT -1")]),
            (&["READY\n", ">READY\n"], vec![Ready, no_result("READY")]),
            (&["READY\n", ">RESULT 9999999\n"], vec![Ready, Left(TooLong(9_999_999))]),
            // An answer that is longer than its length: it counts, and what follows does not.
            (&["READY\n", ">RESULT 2\nOKAY\n"], vec![Ready, Accepted, not_ready("AY\n")]),
            (&["READY\n", ">RESULT 2\nOK\nREADY\n"], vec![Ready, Accepted, not_ready("\nREADY\n")]),
            // One that is shorter takes what follows.
            (
                &["READY\n", ">RESULT 3\nOK", "READY\n"],
                vec![Ready, Rejected(quoted("OKR")), not_ready("EADY\n")],
            ),
            // Nothing is heard after it.
            (&["x\n", "READY\n", "READY\n"], vec![not_ready("x\n")]),
        ] {
            assert_eq!(heard(reads), words, "{reads:?}");
        }
    }

    #[test]
    fn what_is_long_is_limited() {
        let line = format!(">RESULT {}", " ".repeat(LINE_BYTES_MAX));
        let words = heard(&["READY\n", &line]);
        assert!(matches!(&words[1], Left(NoResult(said)) if said.ends_with("...")), "{words:?}");
        let answer = format!(">RESULT 5000\n{}", "OK".repeat(2500));
        let words = heard(&["READY\n", &answer, "READY\n"]);
        assert!(matches!(&words[1..], [Rejected(said), Ready] if said.len() < 100), "{words:?}");
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut() {
        let all = "READY\n>RESULT 2\nOKREADY\n>RESULT 4\nFAILREADY\n>RESULT 2\nOKAY";
        let whole: Vec<&str> = all.split_inclusive("READY\n").collect();
        let single: Vec<String> = all
            .replace('>', "")
            .char_indices()
            .map(|(at, byte)| {
                if all.replace('>', "")[..at].ends_with("READY\n") {
                    format!(">{byte}")
                } else {
                    byte.to_string()
                }
            })
            .collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        let last = |words: Vec<Word>| words[..words.len() - 1].to_vec();
        assert_eq!(last(heard(&whole)), last(heard(&single)));
    }
}
