//! Files of sections and keys, read as Python's `RawConfigParser` reads them for Supervisor: `;` and
//! `#` begin a comment after a blank, even between quotes; indented lines go on with the value above;
//! sections and keys that come twice are merged, and the last one wins.

use std::ops::Range;
use std::path::PathBuf;

use super::super::diagnostic::{Diagnostic, Source};

const COMMENTS: [char; 2] = [';', '#'];
/// A section whose keys all others have, too.
const DEFAULT: &str = "DEFAULT";

/// A file that was read.
#[derive(Debug)]
pub(super) struct File {
    /// How it is told which one this is.
    pub(super) name: String,
    /// Where it lies: `%(here)s`.
    pub(super) directory: PathBuf,
    /// What stands in it.
    pub(super) text: String,
}

/// Where something stands: a file by number, and its bytes.
pub(super) type Place = (usize, Range<usize>);

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// In lower case.
    pub(super) name: String,
    /// Its lines, joined.
    pub(super) value: String,
    /// Where it stands last.
    pub(super) place: Place,
    /// It stands in `[DEFAULT]`, and not in the section itself.
    pub(super) default: bool,
}

/// A section, of all files together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// What stands between the brackets.
    pub(super) name: String,
    /// Where it begins first.
    pub(super) place: Place,
    /// Its keys, in the order of their first lines.
    pub(super) keys: Vec<Key>,
}

impl Section {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn set(&mut self, key: Key) {
        match self.keys.iter_mut().find(|known| known.name == key.name) {
            Some(known) => *known = key,
            None => self.keys.push(key),
        }
    }
}

/// Everything that stands in some files.
#[derive(Debug, Default)]
pub(super) struct Ini {
    /// The files.
    pub(super) files: Vec<File>,
    /// The sections, in the order in which they begin.
    pub(super) sections: Vec<Section>,
}

impl Ini {
    /// The section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A diagnostic about a place.
    pub(super) fn at(&self, (file, span): &Place, message: impl Into<String>) -> Diagnostic {
        let File { name, text, .. } = &self.files[*file];
        Diagnostic::at(&Source { name, text }, span.clone(), message)
    }

    /// `file:line`
    pub(super) fn line(&self, (file, span): &Place) -> String {
        let File { name, text, .. } = &self.files[*file];
        format!("{name}:{}", Source { name, text }.place(span.clone()).line)
    }

    /// Reads one more file; gives all that is wrong with it.
    pub(super) fn add(&mut self, file: File) -> Vec<Diagnostic> {
        let number = self.files.len();
        self.files.push(file);
        let (sections, wrong) = parse(&self.files[number].text, number);
        for section in sections {
            match self.sections.iter_mut().find(|known| known.name == section.name) {
                Some(known) => section.keys.into_iter().for_each(|key| known.set(key)),
                None => self.sections.push(section),
            }
        }
        wrong.into_iter().map(|(span, message)| self.at(&(number, span), message)).collect()
    }

    /// Gives every section the keys of `[DEFAULT]` that it does not have.
    pub(super) fn spread_defaults(&mut self) {
        let Some(at) = self.sections.iter().position(|section| section.name == DEFAULT) else {
            return;
        };
        let defaults = self.sections.remove(at).keys;
        for section in &mut self.sections {
            let missing = defaults.iter().filter(|key| section.key(&key.name).is_none());
            let missing: Vec<Key> =
                missing.map(|key| Key { default: true, ..key.clone() }).collect();
            section.keys.extend(missing);
        }
    }
}

type Wrong = (Range<usize>, String);

fn parse(text: &str, file: usize) -> (Vec<Section>, Vec<Wrong>) {
    let (mut sections, mut wrong) = (Vec::<Section>::new(), Vec::new());
    let mut current: Option<usize> = None;
    // The key that an indented line goes on with, and how far it is indented itself.
    let (mut open, mut indent) = (None::<usize>, 0);
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let start = begin;
        begin += line.len();
        let line = if start == 0 { line.trim_start_matches('\u{feff}') } else { line };
        let (value, commented) = without_comment(line);
        let value = value.trim();
        let this = current.map(|at: usize| &mut sections[at]);
        if value.is_empty() {
            if let (Some(section), Some(key), false) = (this, open, commented) {
                section.keys[key].value.push('\n');
            }
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        let (first, last) = (start + depth, start + depth + value.len());
        let span = first..last;
        if let (Some(at), Some(key)) = (current, open)
            && depth > indent
        {
            let text = &mut sections[at].keys[key].value;
            text.push('\n');
            text.push_str(value);
            continue;
        }
        indent = depth;
        if let Some(name) = value.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
            (current, open) = (Some(section(&mut sections, name.0, (file, span))), None);
            continue;
        }
        let Some(at) = current else {
            wrong.push((span, "stands before the first [section]".to_owned()));
            continue;
        };
        let Some((name, text)) = value.split_once(['=', ':']) else {
            wrong.push((span, "is neither [section] nor key = value".to_owned()));
            continue;
        };
        let name = name.trim_end().to_lowercase();
        if name.is_empty() {
            wrong.push((span, "has no key before its sign".to_owned()));
            continue;
        }
        let section = &mut sections[at];
        let (value, place) = (text.trim().to_owned(), (file, span));
        section.set(Key { name: name.clone(), value, place, default: false });
        open = section.keys.iter().position(|key| key.name == name);
    }
    for key in sections.iter_mut().flat_map(|section| &mut section.keys) {
        key.value.truncate(key.value.trim_end().len());
    }
    (sections, wrong)
}

/// The number of a section that begins, perhaps once more.
fn section(sections: &mut Vec<Section>, name: &str, place: Place) -> usize {
    sections.iter().position(|known| known.name == name).unwrap_or_else(|| {
        sections.push(Section { name: name.to_owned(), place, keys: Vec::new() });
        sections.len() - 1
    })
}

/// The line up to its comment, and whether it has one. Of signs that come more than once, Python
/// looks at all first ones, then at all second ones, and so on, until one is a comment.
fn without_comment(line: &str) -> (&str, bool) {
    if line.trim_start().starts_with(COMMENTS) {
        return ("", true);
    }
    let mut left: Vec<(char, usize)> = COMMENTS.map(|sign| (sign, 0)).to_vec();
    while !left.is_empty() {
        let mut found = None::<usize>;
        left.retain_mut(|(sign, from)| {
            let Some(at) = line[*from..].find(*sign).map(|at| at + *from) else { return false };
            *from = at + 1;
            if line[..at].ends_with(char::is_whitespace) {
                found = Some(found.map_or(at, |found| found.min(at)));
            }
            true
        });
        if let Some(at) = found {
            return (&line[..at], true);
        }
    }
    (line, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(String, String)>;

    fn read(text: &str) -> (Vec<(String, Pairs)>, Vec<String>) {
        let (sections, wrong) = parse(text, 0);
        let keys = |section: Section| {
            section.keys.into_iter().map(|key| (key.name, key.value)).collect::<Vec<_>>()
        };
        let sections = sections.into_iter().map(|section| (section.name.clone(), keys(section)));
        (sections.collect(), wrong.into_iter().map(|(_, message)| message).collect())
    }

    fn one(text: &str) -> String {
        let (sections, wrong) = read(&format!("[s]\nk={text}\n"));
        assert_eq!(wrong, Vec::<String>::new(), "{text}");
        sections[0].1[0].1.clone()
    }

    #[test]
    fn comments_need_a_blank_before_them() {
        assert_eq!(one("a;b#c"), "a;b#c");
        assert_eq!(one("a ; b"), "a");
        assert_eq!(one("a\t# b"), "a");
        assert_eq!(one("bash -c 'a ; b'"), "bash -c 'a", "even between quotes");
        assert_eq!(one("a#b # c ; d"), "a#b # c", "as Python does it");
    }

    #[test]
    fn indented_lines_go_on() {
        assert_eq!(one("a\n  b\n\tc\n"), "a\nb\nc");
        assert_eq!(one("a\n\n  b"), "a\n\nb", "over an empty line");
        assert_eq!(one("a\n; said\n  b"), "a\nb", "over a comment");
        assert_eq!(one("\n  A=\"1\",\n  B=\"2\""), "\nA=\"1\",\nB=\"2\"");
        let (sections, _) = read("[s]\n  a=1\n  b=2\n");
        assert_eq!(sections[0].1.len(), 2, "as deep as the key before it");
    }

    #[test]
    fn sections_and_keys_are_merged() {
        let (sections, wrong) = read("[a]\nX=1\ny:2\n[b]\n[a]\nx = 3\nz=a=b\n");
        assert_eq!(wrong, Vec::<String>::new());
        let pairs = [("x", "3"), ("y", "2"), ("z", "a=b")];
        let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        assert_eq!(sections, [("a".to_owned(), pairs), ("b".to_owned(), vec![])]);
    }

    #[test]
    fn what_is_no_key_is_told() {
        let (_, wrong) = read("x=1\n[a]\nnothing\n=2\n");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }
}
