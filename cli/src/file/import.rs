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
    let mut wrong = ini.add(File { name, directory: directory_of(path, around), text });
    let (included, missing) = include(&ini, around)?;
    for path in included {
        let name = path.display().to_string();
        match super::text_of(&path) {
            Ok(text) => {
                let directory = directory_of(&path, around);
                wrong.extend(ini.add(File { name, directory, text }));
            }
            Err(why) => wrong.push(Diagnostic::whole(&name, why)),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    ini.spread_defaults();
    let mut imported = Convert::all(&ini, around)?;
    imported.notes.splice(0..0, missing);
    Ok(imported)
}

fn directory_of(path: &Path, around: &Surroundings) -> PathBuf {
    let path = around.directory.join(path);
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

/// The files that the first one includes, and patterns that fit none. Those of included ones do not
/// count, as with Supervisor.
fn include(ini: &Ini, around: &Surroundings) -> Result<(Vec<PathBuf>, Vec<Note>), Vec<Diagnostic>> {
    let (mut paths, mut notes) = (Vec::new(), Vec::new());
    let Some(section) = ini.section("include") else { return Ok((paths, notes)) };
    let Some(key) = section.key("files") else {
        let message = "has no files, which an include must have";
        return Err(vec![ini.at(&section.place, message).key("[include]")]);
    };
    let wrong = |why: String| vec![ini.at(&key.place, why).key("[include] files")];
    let here = &ini.files[key.place.0].directory;
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let known = |name: &str| match name {
        "here" => Some(here.display().to_string()),
        "host_node_name" => Some(host.clone()),
        name => around.variable(name.strip_prefix("ENV_")?).map(str::to_owned),
    };
    for pattern in percent::now(&key.value, known).map_err(wrong)?.split_whitespace() {
        let found = matching(pattern, here).map_err(wrong)?;
        if found.is_empty() {
            notes.push(Note {
                place: ini.line(&key.place),
                section: "include".to_owned(),
                key: Some("files".to_owned()),
                why: format!("{pattern} is no file"),
            });
        }
        paths.extend(found);
    }
    Ok((paths, notes))
}
