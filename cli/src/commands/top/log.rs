//! What an instance prints, as much of it as one scrolls through. Pure.

use std::collections::VecDeque;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;

/// Lines that are kept.
const LINES_MAX: usize = 2_000;
/// Longest line that is kept, in bytes; the rest of it is left out.
const LINE_BYTES_MAX: usize = 4_096;
/// What stands for a tab.
const TAB: &str = "    ";

/// The log of an instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) name: InstanceId,
    pub(super) channel: Channel,
    pub(super) lines: VecDeque<String>,
    /// The last one has not ended.
    open: bool,
    /// Lines between the last one and the last one that is seen; 0 goes on with what comes.
    pub(super) back: usize,
}

impl Log {
    pub(super) fn new(name: InstanceId, channel: Channel) -> Log {
        Log { name, channel, lines: VecDeque::new(), open: false, back: 0 }
    }

    /// Takes what was printed. Escape sequences are no business of ours.
    pub(super) fn add(&mut self, output: &[u8]) {
        let text = String::from_utf8_lossy(output);
        let text = anstream::adapter::strip_str(&text).to_string();
        for part in text.split_inclusive('\n') {
            if !self.open {
                self.push(String::new());
            }
            self.open = !part.ends_with('\n');
            let Some(line) = self.lines.back_mut() else { continue };
            for c in part.chars() {
                if line.len() >= LINE_BYTES_MAX {
                    break;
                }
                match c {
                    '\t' => line.push_str(TAB),
                    c if c.is_control() => {}
                    c => line.push(c),
                }
            }
        }
    }

    /// Says something about it.
    pub(super) fn note(&mut self, text: &str) {
        self.open = false;
        self.push(format!("-- {text} --"));
    }

    /// Scrolls; up is back in time. `height` is what is seen of it.
    pub(super) fn scroll(&mut self, lines: isize, height: usize) {
        let most = self.lines.len().saturating_sub(height);
        self.back = self.back.saturating_add_signed(lines).min(most);
    }

    fn push(&mut self, line: String) {
        self.lines.push_back(line);
        if self.back > 0 {
            // What is seen stays where it is.
            self.back += 1;
        }
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
            self.back = self.back.min(self.lines.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::ids::ProgramName;

    fn log() -> Log {
        Log::new(InstanceId::new(ProgramName::parse("web").unwrap(), 0), Channel::Stdout)
    }

    #[test]
    fn output_becomes_lines_that_do_not_act_on_the_terminal() {
        let mut log = log();
        log.add(b"one\ntw");
        log.add(b"o\x1b[31m red\x1b[0m\x07\tx\n\nend");
        log.note("it moved");
        log.add(b"next");
        assert_eq!(log.lines, ["one", "two red    x", "", "end", "-- it moved --", "next"]);
    }

    #[test]
    fn it_is_no_longer_than_one_scrolls_through() {
        let mut log = log();
        for n in 0..LINES_MAX + 10 {
            log.add(format!("{n}\n").as_bytes());
        }
        assert_eq!((log.lines.len(), &*log.lines[0]), (LINES_MAX, "10"));
        log.add(&vec![b'x'; 3 * LINE_BYTES_MAX]);
        assert_eq!(log.lines.back().unwrap().len(), LINE_BYTES_MAX);
    }

    #[test]
    fn what_is_read_stays_where_it_is() {
        let mut log = log();
        log.add(b"1\n2\n3\n4\n5\n");
        log.scroll(2, 3);
        assert_eq!(log.back, 2);
        log.add(b"6\n");
        assert_eq!(log.back, 3);
        log.scroll(-10, 3);
        assert_eq!(log.back, 0);
        log.scroll(10, 3);
        assert_eq!(log.back, 3);
    }
}
