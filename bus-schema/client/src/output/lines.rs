//! Output of several instances on one terminal: whole lines, each under the name of its instance.
//! Pure.

/// Longest line that is kept until it ends; a longer one is shown as several.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The output of one instance, on its way.
#[derive(Debug)]
pub struct Lines {
    /// What stands before each line; `None` when there is one instance only, whose output is shown
    /// as it is.
    prefix: Option<Vec<u8>>,
    /// The begin of a line whose end is still to come.
    begun: Vec<u8>,
    /// The end of what was shown of one instance is no end of a line.
    in_a_line: bool,
    /// Nothing was to follow.
    ended: bool,
}

impl Lines {
    /// With this before each line, where several instances are shown.
    pub fn new(prefix: Option<Vec<u8>>) -> Lines {
        Lines { prefix, begun: Vec::new(), in_a_line: false, ended: false }
    }

    /// What can be shown now.
    pub fn add(&mut self, output: Vec<u8>) -> Vec<u8> {
        let Some(prefix) = &self.prefix else {
            let Some(last) = output.last() else { return output };
            let apart = std::mem::replace(&mut self.in_a_line, *last != b'\n') && self.ended;
            self.ended = false;
            return if apart { [b"\n", &*output].concat() } else { output };
        };
        let mut shown = Vec::with_capacity(output.len() + output.len() / 4);
        for line in output.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(line);
            let ended = self.begun.ends_with(b"\n");
            if ended || self.begun.len() >= LINE_BYTES_MAX {
                shown.extend_from_slice(prefix);
                shown.append(&mut self.begun);
                if !ended {
                    shown.push(b'\n');
                }
            }
        }
        shown
    }

    /// Nothing follows: what was begun is a line. Of one instance it becomes one only if something
    /// comes after all, which is no part of it.
    pub fn end(&mut self) -> Vec<u8> {
        self.ended = true;
        if self.begun.is_empty() { Vec::new() } else { self.add(b"\n".to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_is_shown_as_it_is() {
        let mut lines = Lines::new(None);
        assert_eq!(lines.add(b"a\xff\nb".to_vec()), b"a\xff\nb");
        assert_eq!(lines.add(b"c".to_vec()), b"c");
        assert_eq!(lines.end(), b"");
        assert_eq!(lines.add(Vec::new()), b"");
        assert_eq!(lines.add(b"another\n".to_vec()), b"\nanother\n", "from another worker");
        assert_eq!((lines.end(), lines.add(b"d".to_vec())), (Vec::new(), b"d".to_vec()));
    }

    #[test]
    fn several_are_shown_line_by_line() {
        let mut lines = Lines::new(Some(b"web:0 | ".to_vec()));
        for (output, shown) in [
            (&b"a\nb\nc"[..], &b"web:0 | a\nweb:0 | b\n"[..]),
            (b"", b""),
            (b"d\xff", b""),
            (b"\n\n", b"web:0 | cd\xff\nweb:0 | \n"),
            (b"e", b""),
        ] {
            assert_eq!(lines.add(output.to_vec()), shown);
        }
        assert_eq!((lines.end(), lines.end()), (b"web:0 | e\n".to_vec(), Vec::new()));
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut lines = Lines::new(Some(b"> ".to_vec()));
        let mut shown = Vec::new();
        for _ in 0..5 * LINE_BYTES_MAX / 1000 {
            shown.extend(lines.add(vec![b'x'; 1000]));
            assert!(lines.begun.len() <= LINE_BYTES_MAX);
        }
        let count = shown.split(|byte| *byte == b'\n').count();
        assert!(count > 4 && count < 7, "{count}");
    }
}
