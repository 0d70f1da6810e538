//! Capture mode: what stands between two marks becomes an event instead of a part of the log.

use std::collections::VecDeque;
use std::mem;

use serde::{Deserialize, Serialize};

const BEGIN: &[u8] = b"<!--XSUPERVISOR:BEGIN-->";
const END: &[u8] = b"<!--XSUPERVISOR:END-->";

/// A piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// It goes to the log.
    Log(Vec<u8>),
    /// It stood between the marks.
    Between(Vec<u8>),
}

/// Where between the marks the output is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Capture {
    bytes_max: usize,
    /// How much of the next mark was met: only that is held back.
    met: usize,
    /// After BEGIN: what was captured; the oldest is dropped.
    #[serde(with = "crate::handover::bytes::maybe", default)]
    between: Option<VecDeque<u8>>,
}

impl Capture {
    pub(super) fn new(bytes_max: usize) -> Capture {
        Capture { bytes_max, met: 0, between: None }
    }

    pub(super) fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.drop_oldest();
    }

    /// Takes output apart.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let (mut pieces, mut log) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let mark = if self.between.is_some() { END } else { BEGIN };
            if *first == mark[self.met] {
                self.met += 1;
                rest = &rest[1..];
            } else {
                // A mark holds its first byte only once: what was met begins no other one.
                let met = mem::take(&mut self.met);
                self.keep(&mark[..met], &mut log);
                let plain = rest.iter().position(|b| *b == mark[0]).unwrap_or(rest.len());
                self.keep(&rest[..plain], &mut log);
                rest = &rest[plain..];
            }
            if self.met == mark.len() {
                self.met = 0;
                if !log.is_empty() {
                    pieces.push(Piece::Log(mem::take(&mut log)));
                }
                match self.between.take() {
                    Some(captured) => pieces.push(Piece::Between(captured.into())),
                    None => self.between = Some(VecDeque::new()),
                }
            }
        }
        if !log.is_empty() {
            pieces.push(Piece::Log(log));
        }
        pieces
    }

    /// Nothing comes any more: what is held back belongs to the log. So does what was captured and
    /// has no END, which Supervisor loses.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mark = if self.between.is_some() { END } else { BEGIN };
        let mut left: Vec<u8> = self.between.take().unwrap_or_default().into();
        left.extend_from_slice(&mark[..mem::take(&mut self.met)]);
        left
    }

    fn keep(&mut self, bytes: &[u8], log: &mut Vec<u8>) {
        match &mut self.between {
            Some(captured) => captured.extend(bytes),
            None => log.extend_from_slice(bytes),
        }
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        if let Some(captured) = &mut self.between {
            let surplus = captured.len().saturating_sub(self.bytes_max);
            captured.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was logged, and what was captured.
    fn heard(chunks: &[&[u8]], bytes_max: usize) -> (String, Vec<String>) {
        let (mut log, mut events) = (Vec::new(), Vec::new());
        let mut capture = Capture::new(bytes_max);
        for piece in chunks.iter().flat_map(|chunk| capture.hear(chunk)) {
            match piece {
                Piece::Log(bytes) => log.extend(bytes),
                Piece::Between(bytes) => events.push(String::from_utf8(bytes).unwrap()),
            }
        }
        log.extend(capture.end());
        assert_eq!(capture.end(), b"", "it is told once");
        (String::from_utf8(log).unwrap(), events)
    }

    #[test]
    fn marks_are_found_wherever_the_output_is_cut() {
        let (b, e) = ("<!--XSUPERVISOR:BEGIN-->", "<!--XSUPERVISOR:END-->");
        for (said, log, events) in [
            (String::new(), "", vec![]),
            ("hello\n".into(), "hello\n", vec![]),
            (format!("a{b}one{e}z{b}two{e}\n"), "az\n", vec!["one", "two"]),
            (format!("{b}{e}"), "", vec![""]),
            (format!("<<!--X<!--{b}<<!--XSUP{e}<"), "<<!--X<!--<", vec!["<<!--XSUP"]),
            (format!("{e}{b}{b}{e}"), "<!--XSUPERVISOR:END-->", vec![b]),
            (format!("x{b}no end <!--XSUPER"), "xno end <!--XSUPER", vec![]),
            ("short <!--XSUPERVISOR:BEG".into(), "short <!--XSUPERVISOR:BEG", vec![]),
        ] {
            let bytes = said.as_bytes();
            let wanted = (log.to_owned(), events.into_iter().map(str::to_owned).collect());
            for cut in 0..=bytes.len() {
                let (one, two) = bytes.split_at(cut);
                assert_eq!(heard(&[one, two], 100), wanted, "{said:?} cut at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(heard(&single, 100), wanted, "{said:?}");
        }
    }

    #[test]
    fn the_oldest_is_dropped() {
        let said = "<!--XSUPERVISOR:BEGIN-->0123456789<!--XSUPERVISOR:END-->";
        assert_eq!(heard(&[said.as_bytes()], 4).1, ["6789"]);
        let single: Vec<&[u8]> = said.as_bytes().chunks(1).collect();
        assert_eq!(heard(&single, 4).1, ["6789"]);
    }

    #[test]
    fn events_stand_where_they_were_said() {
        let said = b"a<!--XSUPERVISOR:BEGIN-->b<!--XSUPERVISOR:END-->c";
        let pieces = Capture::new(9).hear(said);
        let log = |text: &str| Piece::Log(text.into());
        assert_eq!(pieces, [log("a"), Piece::Between("b".into()), log("c")]);
    }
}
