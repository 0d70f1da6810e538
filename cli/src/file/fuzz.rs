//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::ProgramSpec;
use serde_json::{Map, Value};
use toml_edit::{Document, Item};

use super::{Diagnostic, Programs, as_toml, import, read_all};
use crate::config::Surroundings;

/// Longest input: some of what is told of a file looks at all of it, for each that is told.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Begins the next file, whose name is in the same line.
const NEXT_FILE: &str = "%%% ";
/// Names that it may have.
const NAMES: [&str; 3] = ["b.toml", "c.toml", "d.conf"];

/// Reads declarations in TOML, out of files that include each other.
///
/// # Panics
/// When what is accepted cannot be run, or changes by being written and read; and when what is refused
/// does not say why.
pub(crate) fn programs(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Some(files) = Files::new("a.toml", text) else { return };
    match read_all(&[files.path("a.toml")], &files.around()) {
        Ok((programs, _)) => {
            assert!(!programs.is_empty(), "accepted without a program");
            same_when_written(&specs(&programs), &files);
        }
        Err(wrong) => refused(&wrong, data),
    }
}

/// Reads a configuration of Supervisor.
///
/// # Panics
/// When what is made of it is not what `dsbus import` writes, or what is refused does not say why.
pub(crate) fn supervisord(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Some(files) = Files::new("a.conf", text) else { return };
    match import::read(&files.path("a.conf"), &files.around()) {
        Ok(imported) => {
            let programs = imported.programs.iter().map(|declared| {
                let keys = declared.section.as_program(declared.keys.clone());
                (declared.name.clone(), keys)
            });
            let programs = specs(&programs.collect());
            for note in &imported.notes {
                assert!(note.to_string().contains("a.conf"), "{note} is nowhere");
            }
            if !programs.is_empty() {
                assert_eq!(files.read_again(&imported.text()), programs);
                same_when_written(&programs, &files);
            }
        }
        Err(wrong) => refused(&wrong, data),
    }
}

type Specs = BTreeMap<ProgramName, ProgramSpec>;

fn specs(programs: &Programs) -> Specs {
    let read = |keys: &Map<String, Value>| match ProgramSpec::read(keys) {
        Ok(spec) => spec,
        Err(problems) => panic!("{keys:?} is accepted, and not read: {problems:?}"),
    };
    programs.iter().map(|(name, keys)| (name.clone(), read(keys))).collect()
}

fn same_when_written(programs: &Specs, files: &Files) {
    assert_eq!(files.read_again(&as_toml(programs)), *programs);
}

fn refused(wrong: &[Diagnostic], data: &[u8]) {
    assert!(!wrong.is_empty(), "refused for nothing");
    let mut bytes = 0;
    for one in wrong {
        let (line, shown) = (one.one_line(), one.to_string());
        assert!(!one.file().is_empty() && line.len() > one.file().len() + 2, "{line:?}");
        let speaks = |c: char| c.is_control() && c != '\t';
        assert!(!line.contains(speaks), "{line:?} speaks to the terminal");
        bytes += line.len().max(shown.len());
    }
    // Each shows its line; a file of one line has that as often as it is wrong.
    assert!(bytes <= (data.len() + 2048) * (data.len() + 16) * 8, "{bytes} bytes are told");
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|text| text.len() <= INPUT_BYTES_MAX)
}

/// Files in a directory of their own.
struct Files(tempfile::TempDir);

impl Files {
    /// Writes them; `None` for those that name files elsewhere: these are not this input's.
    fn new(first: &str, text: &str) -> Option<Files> {
        let mut parts = text.split(NEXT_FILE);
        let mut files = vec![(first, parts.next()?)];
        for part in parts {
            let (name, text) = part.split_once('\n')?;
            files.push((NAMES.into_iter().find(|known| *known == name)?, text));
        }
        if files.iter().any(|(_, text)| leaves(text)) {
            return None;
        }
        let directory = tempfile::tempdir().ok()?;
        for (name, text) in files {
            fs::write(directory.path().join(name), text).ok()?;
        }
        Some(Files(directory))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn around(&self) -> Surroundings {
        Surroundings { directory: self.0.path().to_owned(), ..Surroundings::default() }
    }

    fn read_again(&self, text: &str) -> Specs {
        let path = self.path("again.toml");
        if let Err(e) = fs::write(&path, text) {
            panic!("{e}");
        }
        match read_all(&[path], &self.around()) {
            Ok((programs, _)) => specs(&programs),
            Err(wrong) => panic!("{text}\nis written, and refused: {}", wrong[0].one_line()),
        }
    }
}

/// Whether a file may include one of another directory.
fn leaves(text: &str) -> bool {
    let elsewhere = |pattern: &str| pattern.contains("..") || pattern.contains(['/', '%']);
    let of = |item: &Item| {
        item.as_array().map_or_else(
            || item.as_str().is_some_and(elsewhere),
            |items| items.iter().any(|item| item.as_str().is_none_or(elsewhere)),
        )
    };
    let toml = Document::parse(text);
    let included = toml.is_ok_and(|toml| toml.as_table().get("include").is_some_and(of));
    included || (text.to_lowercase().contains("[include") && elsewhere(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations() {
        dsbus_harness::corpus("programs", programs);
    }

    #[test]
    fn configurations_of_supervisor() {
        dsbus_harness::corpus("supervisord", supervisord);
    }

    #[test]
    fn nothing_else_of_this_machine_is_read() {
        for text in
            ["include = \"/etc/*\"", "\"\\u0069nclude\" = [\"a\", \"../x\"]", "[INCLUDE]\nfiles=/x"]
        {
            assert!(leaves(text), "{text}");
        }
        assert!(!leaves("include = [\"b.toml\"]\n[program.a]\ncommand = \"/bin/a\""));
    }
}
