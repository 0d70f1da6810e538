//! One file into programs and diagnostics.

use std::collections::BTreeMap;
use std::ops::Range;

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Problem, ProgramSpec};
use serde_json::{Map, Value};
use toml_edit::{Document, Item, TableLike};

use super::diagnostic::{Diagnostic, Source};
use super::import::{Declared, Imported};
use super::{Programs, suggest, value};

/// What a section declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// A program.
    Program,
    /// A program too, with the keys of [`LISTENER`] beside the others, and a priority of its own.
    EventListener,
}

/// The key of a program whose table stands open in a section of an event listener.
const LISTENER: &str = "eventlistener";
/// Event listeners are started first, and stopped last, as Supervisor's are.
const LISTENER_PRIORITY: i32 = -1;

impl Section {
    const ALL: [Section; 2] = [Section::Program, Section::EventListener];

    /// What stands before the point in its header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Program => "program",
            Section::EventListener => LISTENER,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Section::Program => "a program",
            Section::EventListener => "an event listener",
        }
    }

    fn parse(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Every key that it may have.
    fn keys(self) -> Vec<String> {
        let mut keys = ProgramSpec::keys().to_vec();
        if self == Section::EventListener {
            keys.retain(|key| key != LISTENER);
            keys.extend(ProgramSpec::keys_inside(LISTENER));
        }
        keys
    }

    /// Its keys as those of a program.
    pub(super) fn as_program(self, mut keys: Map<String, Value>) -> Map<String, Value> {
        if self == Section::EventListener {
            let open = ProgramSpec::keys_inside(LISTENER);
            let inside = open.into_iter().filter_map(|key| keys.remove_entry(&key)).collect();
            keys.insert(LISTENER.to_owned(), Value::Object(inside));
            keys.entry("priority").or_insert_with(|| LISTENER_PRIORITY.into());
        }
        keys
    }

    /// Everything that is wrong with its keys.
    pub(super) fn problems(self, keys: &Map<String, Value>) -> Vec<Problem> {
        let read = |keys: Map<String, Value>| {
            let found = ProgramSpec::read(&self.as_program(keys)).err().unwrap_or_default();
            found.into_iter().map(|problem| self.own(problem))
        };
        let mut found: Vec<Problem> = read(keys.clone()).collect();
        // Of a table the first slip is told, and these look like keys of their own.
        for key in self.keys().into_iter().filter(|key| !ProgramSpec::keys().contains(key)) {
            let Some(value) = keys.get(&key) else { continue };
            let alone = read(Map::from_iter([(key.clone(), value.clone())]));
            let known = |problem: &Problem| found.iter().any(|told| told.key == problem.key);
            let new: Vec<Problem> = alone.filter(|p| p.key == key && !known(p)).collect();
            found.extend(new);
        }
        found
    }

    /// A problem of the program as one of this section.
    fn own(self, mut problem: Problem) -> Problem {
        if self == Section::EventListener
            && problem.key == LISTENER
            && let Some((inside, message)) = problem.message.split_once(": ")
        {
            (problem.key, problem.message) = (inside.to_owned(), message.to_owned());
        }
        problem
    }
}

/// What all files together hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Programs that could be read.
    pub(super) programs: Programs,
    /// What could not.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Where each program was declared first: file and line.
    declared: BTreeMap<ProgramName, String>,
}

impl Found {
    /// Reads one file.
    pub(super) fn add(&mut self, source: &Source<'_>) {
        let document = match Document::parse(source.text) {
            Ok(document) => document,
            Err(e) => return self.diagnostics.push(syntax_error(source, &e)),
        };
        let before = (self.programs.len(), self.diagnostics.len());
        let top = document.as_table();
        for (section, item) in top {
            let span = key_span(top, section, item);
            match (item.as_table_like(), Section::parse(section)) {
                (Some(programs), Some(section)) => self.add_programs(source, section, programs),
                (Some(_), None) => self.diagnostics.push(
                    Diagnostic::at(source, span, "unknown section")
                        .key(section)
                        .hint(section_hint(section)),
                ),
                (None, _) => self.diagnostics.push(
                    Diagnostic::at(source, span, "stands outside of a section").key(section).hint(
                        Some("declare programs as [program.NAME], and their keys below".to_owned()),
                    ),
                ),
            }
        }
        if before == (self.programs.len(), self.diagnostics.len()) {
            let message = "declares no program; one begins with [program.NAME]";
            self.diagnostics.push(Diagnostic::whole(source.name, message));
        }
        // Sections come by name, and are told as they stand in the file.
        self.diagnostics[before.1..].sort_by_key(Diagnostic::position);
    }

    /// Takes what was made of a configuration of Supervisor.
    pub(super) fn adopt(&mut self, imported: &Imported) {
        for Declared { section, name, keys, place } in &imported.programs {
            if let Some(first) = self.declared.get(name) {
                let message = format!("{name} is declared twice, first in {first}");
                self.diagnostics.push(Diagnostic::whole(place, message));
                continue;
            }
            self.declared.insert(name.clone(), place.clone());
            self.programs.insert(name.clone(), section.as_program(keys.clone()));
        }
    }

    fn add_programs(&mut self, source: &Source<'_>, section: Section, programs: &dyn TableLike) {
        for (text, item) in programs.iter() {
            let path = format!("{}.{text}", section.name());
            let span = key_span(programs, text, item);
            let wrong = |message: String| Diagnostic::at(source, span.clone(), message).key(&path);
            let Some(table) = item.as_table_like() else {
                let (what, name) = (section.what(), section.name());
                let message = format!("{what} is a table of keys, [{name}.NAME]");
                self.diagnostics.push(wrong(message));
                continue;
            };
            let name = match ProgramName::parse(text) {
                Ok(name) => Some(name),
                Err(e) => {
                    self.diagnostics.push(wrong(e.to_string()));
                    None
                }
            };
            let keys = self.read_program(source, (section, &path), table, &span);
            let Some(name) = name else { continue };
            let here = format!("{}:{}", source.name, source.place(span.clone()).line);
            if let Some(first) = self.declared.get(&name) {
                self.diagnostics.push(wrong(format!("is declared twice, first in {first}")));
                continue;
            }
            self.declared.insert(name.clone(), here);
            self.programs.insert(name, keys);
        }
    }

    fn read_program(
        &mut self,
        source: &Source<'_>,
        (section, path): (Section, &str),
        table: &dyn TableLike,
        header: &Range<usize>,
    ) -> Map<String, Value> {
        let known = section.keys();
        let mut keys = Map::new();
        let (mut found, mut slips) = (Vec::new(), Vec::new());
        for (key, item) in table.iter() {
            if known.iter().any(|k| k == key) {
                keys.extend(value::json(item).map(|value| (key.to_owned(), value)));
                continue;
            }
            slips.extend(suggest::nearest(key, known.iter().map(String::as_str)));
            let hint = suggest::hint(key, known.iter().map(String::as_str));
            let diagnostic = Diagnostic::at(source, key_span(table, key, item), "unknown key");
            found.push(diagnostic.key(format!("{path}.{key}")).hint(hint));
        }
        for (key, inside) in ProgramSpec::strange_inside(&keys) {
            let inner = table.get(&key).and_then(Item::as_table_like);
            let item = inner.and_then(|inner| Some((inner, inner.get(&inside)?)));
            let span =
                item.map_or_else(|| header.clone(), |(inner, item)| key_span(inner, &inside, item));
            let known = ProgramSpec::keys_inside(&key);
            let hint = suggest::hint(&inside, known.iter().map(String::as_str))
                .or_else(|| Some(format!("known are {}", known.join(", "))));
            let diagnostic = Diagnostic::at(source, span, "unknown key");
            found.push(diagnostic.key(format!("{path}.{key}.{inside}")).hint(hint));
        }
        let problems = section.problems(&keys);
        // A key that is missing because it is misspelt is told once.
        let told = |key: &str| !keys.contains_key(key) && slips.contains(&key);
        for problem in problems.into_iter().filter(|problem| !told(&problem.key)) {
            let span = problem_span(table, &problem).unwrap_or_else(|| header.clone());
            let diagnostic = Diagnostic::at(source, span, problem.message)
                .key(format!("{path}.{}", problem.key))
                .hint(problem.hint);
            found.push(diagnostic);
        }
        self.diagnostics.extend(found);
        section.as_program(keys)
    }
}

/// Where the value stands that a problem is about; in a table, the one that its message begins with.
fn problem_span(table: &dyn TableLike, problem: &Problem) -> Option<Range<usize>> {
    let item = table.get(&problem.key)?;
    let inside = problem.message.split_once(": ").and_then(|(inside, _)| {
        let inner = item.as_table_like()?;
        Some(value_span(inner, inside, inner.get(inside)?))
    });
    Some(inside.unwrap_or_else(|| value_span(table, &problem.key, item)))
}

fn syntax_error(source: &Source<'_>, e: &toml_edit::TomlError) -> Diagnostic {
    let span = e.span().unwrap_or(0..0);
    let place = source.place(span.clone());
    let line = source.text.lines().nth(place.line - 1).unwrap_or_default().trim_start();
    if let Some((section, name, first)) = twice(source.text, place.line) {
        let message = format!("is declared twice, first in {}:{first}", source.name);
        return Diagnostic::at(source, span, message).key(format!("{}.{name}", section.name()));
    }
    // What a person writes who comes from Supervisor.
    let hint = Section::ALL
        .into_iter()
        .map(Section::name)
        .find(|section| line.starts_with(&format!("[{section}:")))
        .map(|section| format!("in TOML a section is written [{section}.NAME]"));
    Diagnostic::at(source, span, format!("not valid TOML: {}", e.message().trim())).hint(hint)
}

/// The program whose section begins in this line, and the line where an earlier one of it begins.
fn twice(text: &str, line: usize) -> Option<(Section, &str, usize)> {
    let mut before = text.lines().take(line).map(program_of).collect::<Vec<_>>();
    let (section, name) = before.pop()??;
    let first = before.iter().position(|earlier| *earlier == Some((section, name)))?;
    Some((section, name, first + 1))
}

/// The name in a line `[program.NAME]`.
fn program_of(line: &str) -> Option<(Section, &str)> {
    let (section, name) = line.trim().strip_prefix('[')?.split_once(']')?.0.split_once('.')?;
    Some((Section::parse(section.trim())?, name.trim().trim_matches('"')))
}

fn section_hint(section: &str) -> Option<String> {
    suggest::hint(section, Section::ALL.map(Section::name))
        .or_else(|| Some("declare programs as [program.NAME]".to_owned()))
}

/// Where a key stands.
pub(super) fn key_span(table: &dyn TableLike, key: &str, item: &Item) -> Range<usize> {
    table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span()).unwrap_or(0..0)
}

/// Where the value of a key stands; the key, where the value is a section of its own.
pub(super) fn value_span(table: &dyn TableLike, key: &str, item: &Item) -> Range<usize> {
    match item {
        Item::Value(value) => value.span().unwrap_or_else(|| key_span(table, key, item)),
        _ => key_span(table, key, item),
    }
}
