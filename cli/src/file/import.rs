//! A configuration of Supervisor as declarations: `supervisord.conf`, and what it includes. What it
//! says keeps its meaning, or is named among the [`Note`]s.

mod convert;
mod groups;
mod ini;
mod keys;
mod pairs;
mod percent;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::ProgramName;
use serde_json::{Map, Value};

use self::convert::Convert;
use self::ini::{File, Ini};
pub(super) use self::keys::{INHERITED, STDIN, rank};
use super::diagnostic::Diagnostic;
use super::include::matching;
use super::render;
use super::section::Section;
use crate::config::Surroundings;

/// What was made of a configuration.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The file it begins with.
    pub(super) name: String,
    /// In the order of the files.
    pub(super) programs: Vec<Declared>,
    /// Settings of the worker.
    pub(super) worker: Vec<(String, Value)>,
    /// What is not as it was.
    pub(crate) notes: Vec<Note>,
}

/// A declaration.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) section: Section,
    pub(super) name: ProgramName,
    pub(super) keys: Map<String, Value>,
    /// `file:line`
    pub(super) place: String,
}

/// Something that has no meaning here, or another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// `file:line`
    place: String,
    section: String,
    key: Option<String>,
    why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}]", self.place, self.section)?;
        if let Some(key) = &self.key {
            write!(f, " {key}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Imported {
    /// As the text of a TOML file.
    pub(crate) fn text(&self) -> String {
        render::imported(self)
    }
}

/// Whether a text is a configuration of Supervisor, rather than TOML, by its first sections.
pub(super) fn is_one(text: &str) -> bool {
    const SECTIONS: [&str; 6] = [
        "program:",
        "group:",
        "eventlistener:",
        "fcgi-program:",
        "supervisord]",
        "unix_http_server]",
    ];
    let mut lines = text.lines().filter_map(|line| line.trim_start().strip_prefix('['));
    lines.any(|line| SECTIONS.iter().any(|section| line.starts_with(section)))
}

/// Reads a configuration; `-` is standard input.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read(path: &Path, around: &Surroundings) -> Result<Imported, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = super::text_of(path).map_err(|why| vec![Diagnostic::whole(&name, why)])?;
    parse(path, text, around)
}

/// Reads the text of a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn parse(
    path: &Path,
    text: String,
    around: &Surroundings,
) -> Result<Imported, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let mut ini = Ini::default();
    let mut wrong =
        ini.add(File { name: name.clone(), directory: directory_of(path, around), text });
    let mut names = vec![name];
    let Included { paths, notes: missing, wrong: strange } = include(&ini, around);
    wrong.extend(strange);
    for path in paths {
        let name = path.display().to_string();
        names.push(name.clone());
        match super::text_of(&path) {
            Ok(text) => {
                let directory = directory_of(&path, around);
                wrong.extend(ini.add(File { name, directory, text }));
            }
            Err(why) => wrong.push(Diagnostic::whole(&name, why)),
        }
    }
    ini.spread_defaults();
    match Convert::all(&ini, around, !wrong.is_empty()) {
        Ok(mut imported) if wrong.is_empty() => {
            imported.notes.splice(0..0, missing);
            return Ok(imported);
        }
        Ok(_) => {}
        Err(more) => wrong.extend(more),
    }
    // As a person reads them, whatever was looked at first.
    wrong.sort_by_cached_key(|one| {
        (names.iter().position(|name| *name == one.file()), one.position())
    });
    Err(wrong)
}

fn directory_of(path: &Path, around: &Surroundings) -> PathBuf {
    let path = around.directory.join(path);
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

/// What the first file includes.
#[derive(Default)]
struct Included {
    paths: Vec<PathBuf>,
    /// Patterns that fit no file.
    notes: Vec<Note>,
    wrong: Vec<Diagnostic>,
}

/// Looks for the files that the first one includes. Those of included ones do not count, as with
/// Supervisor.
fn include(ini: &Ini, around: &Surroundings) -> Included {
    let mut included = Included::default();
    let Some(section) = ini.section("include") else { return included };
    let Some(key) = section.key("files") else {
        let message = "has no files, which an include must have";
        included.wrong.push(ini.at(&section.place, message).key("[include]"));
        return included;
    };
    let wrong = |why: String| ini.at(&key.place, why).key("[include] files");
    let here = &ini.files[key.place.0].directory;
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let known = |name: &str| match name {
        "here" => Some(here.display().to_string()),
        "host_node_name" => Some(host.clone()),
        name => around.variable(name.strip_prefix("ENV_")?).map(str::to_owned),
    };
    let patterns = match percent::now(&key.value, known) {
        Ok(patterns) => patterns,
        Err(why) => {
            included.wrong.push(wrong(why));
            return included;
        }
    };
    for pattern in patterns.split_whitespace() {
        match matching(pattern, here) {
            Ok(found) if found.is_empty() => included.notes.push(Note {
                place: ini.line(&key.place),
                section: "include".to_owned(),
                key: Some("files".to_owned()),
                why: format!("{pattern} is no file"),
            }),
            Ok(found) => included.paths.extend(found),
            Err(why) => included.wrong.push(wrong(why)),
        }
    }
    included
}
