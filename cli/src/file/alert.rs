//! An alert file: `[[rule]]` and `[target.NAME]`. Read as program files are: everything that is wrong
//! is told at once, where it stands.

use std::ops::Range;
use std::path::Path;

use dsbus_alert::spec::{self, Around, Place, Section, Spec};
use dsbus_schema::alert::TargetName;
use dsbus_schema::program::Problem;
use serde_json::{Map, Value};
use toml_edit::{ArrayOfTables, Document, Item, Table, TableLike};

use super::diagnostic::{Diagnostic, Source};
use super::keys::{key_span, value_span};
use super::worker::{expanded_text, variables, whole};
use super::{suggest, value};
use crate::config::Surroundings;

/// A file without mistakes.
#[derive(Debug)]
pub(crate) struct AlertFile {
    /// Its rules and targets.
    pub(crate) spec: Spec,
    /// Targets that no rule sends to.
    pub(crate) unused: Vec<TargetName>,
}

/// Reads an alert file, and the secrets and certificates that it names.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read(path: &Path, around: &Surroundings) -> Result<AlertFile, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let path = if path == Path::new("-") { path.to_owned() } else { around.directory.join(path) };
    let text = super::text_of(&path).map_err(|why| vec![Diagnostic::whole(&name, why)])?;
    let here = path.parent().unwrap_or(Path::new("/")).to_owned();
    parse(&Source { name: &name, text: &text }, &here, around)
}

fn parse(
    source: &Source<'_>,
    here: &Path,
    around: &Surroundings,
) -> Result<AlertFile, Vec<Diagnostic>> {
    let document = match Document::parse(source.text) {
        Ok(document) => document,
        Err(e) => return Err(vec![syntax_error(source, &e)]),
    };
    let mut found = Sections::default();
    found.collect(source, document.as_table());
    let known = variables(here, around);
    let path =
        |text: &str| expanded_text(text, &known).map(|text| whole(text.as_ref(), here, around));
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let variable = |name: &str| around.variable(name).map(str::to_owned);
    let around = Around { variable: &variable, path: &path, host };
    let rules: Vec<_> = found.rules.iter().map(|part| part.keys.clone()).collect();
    let targets = found.targets.iter().map(|part| (part.heading.name.clone(), part.keys.clone()));
    let spec::Found { spec, problems, unused } =
        spec::read(&rules, &targets.collect::<Vec<_>>(), &around);
    for (place, problem) in problems {
        let part = match place {
            Place::Rule(number) => found.rules.get(number),
            Place::Target(number) => found.targets.get(number),
        };
        let told = part.map(|part| part.tell(source, &problem));
        found.diagnostics.extend(told.flatten());
    }
    if found.diagnostics.is_empty() && spec.rules.is_empty() {
        let message = "has no rule; one begins with [[rule]]";
        found.diagnostics.push(Diagnostic::whole(source.name, message));
    }
    if found.diagnostics.is_empty() {
        return Ok(AlertFile { spec, unused });
    }
    found.diagnostics.sort_by_key(Diagnostic::position);
    Err(found.diagnostics)
}

/// Which section.
struct Heading {
    /// Of a target.
    name: String,
    /// How it is told which section this is.
    path: String,
    /// Where it begins.
    span: Range<usize>,
}

/// One section.
struct Part<'a> {
    heading: Heading,
    table: &'a dyn TableLike,
    keys: Map<String, Value>,
    /// Keys that were probably meant by those that are not known.
    slips: Vec<String>,
}

impl Part<'_> {
    /// `None` when it is told already: a key is missing because it is misspelt.
    fn tell(&self, source: &Source<'_>, problem: &Problem) -> Option<Diagnostic> {
        let key = &problem.key;
        if !self.keys.contains_key(key) && self.slips.contains(key) {
            return None;
        }
        let item = self.table.get(key).map(|item| value_span(self.table, key, item));
        let Heading { path, span, .. } = &self.heading;
        let span = item.unwrap_or_else(|| span.clone());
        let path = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
        let diagnostic = Diagnostic::at(source, span, problem.message.clone()).key(path);
        Some(diagnostic.hint(problem.hint.clone()))
    }
}

/// Everything that stands in a file.
#[derive(Default)]
struct Sections<'a> {
    rules: Vec<Part<'a>>,
    targets: Vec<Part<'a>>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Sections<'a> {
    fn collect(&mut self, source: &Source<'_>, top: &'a Table) {
        for (section, item) in top {
            let span = key_span(top, section, item);
            let mut wrong = |message: &str, hint: Option<String>| {
                let diagnostic = Diagnostic::at(source, span.clone(), message);
                self.diagnostics.push(diagnostic.key(section).hint(hint));
            };
            match (section, item) {
                ("rule", Item::ArrayOfTables(rules)) => self.rules(source, rules),
                ("rule", _) => {
                    let hint = "[[rule]], and name = \"...\" below it".to_owned();
                    wrong("a rule begins with two brackets", Some(hint));
                }
                ("target", item) => match item.as_table_like() {
                    Some(targets) => self.targets(source, targets),
                    None => wrong("a target is a section", Some("[target.NAME]".to_owned())),
                },
                (_, item) if item.is_table_like() || item.is_array_of_tables() => {
                    let hint = suggest::hint(section, ["rule", "target"]);
                    let known = "known are [[rule]] and [target.NAME]".to_owned();
                    wrong("unknown section", hint.or(Some(known)));
                }
                (_, _) => {
                    let hint = "keys stand below [[rule]] or [target.NAME]".to_owned();
                    wrong("stands outside of a section", Some(hint));
                }
            }
        }
    }

    fn rules(&mut self, source: &Source<'_>, rules: &'a ArrayOfTables) {
        for (number, table) in rules.iter().enumerate() {
            let name = table.get("name").and_then(Item::as_str);
            let path = match name {
                Some(name) => format!("rule {name:?}"),
                None => format!("rule {}", number + 1),
            };
            let span = table.span().unwrap_or(0..0);
            let heading = Heading { name: String::new(), path, span };
            let part = self.part(source, Some(Section::Rule), heading, table);
            self.rules.push(part);
        }
    }

    fn targets(&mut self, source: &Source<'_>, targets: &'a dyn TableLike) {
        for (name, item) in targets.iter() {
            let (path, header) = (format!("target.{name}"), key_span(targets, name, item));
            let Some(table) = item.as_table_like() else {
                let message = "a target is a section of its own, with a type";
                let diagnostic = Diagnostic::at(source, header, message).key(path);
                self.diagnostics.push(diagnostic.hint(Some("[target.NAME]".to_owned())));
                continue;
            };
            let word = table.get("type").and_then(Item::as_str);
            let section = word.and_then(Section::of_type);
            let heading = Heading { name: name.to_owned(), path, span: header };
            let part = self.part(source, section, heading, table);
            self.targets.push(part);
        }
    }

    /// A section; without one it is not known which keys there may be.
    fn part(
        &mut self,
        source: &Source<'_>,
        section: Option<Section>,
        heading: Heading,
        table: &'a dyn TableLike,
    ) -> Part<'a> {
        let (mut keys, mut slips) = (Map::new(), Vec::new());
        let known = section.map(Section::keys);
        for (key, item) in table.iter() {
            let Some(known) = known.as_ref().filter(|known| !known.contains(key)) else {
                keys.extend(value::json(item).map(|value| (key.to_owned(), value)));
                continue;
            };
            let words = || known.iter().map(String::as_str);
            slips.extend(suggest::nearest(key, words()).map(str::to_owned));
            let hint = suggest::hint(key, words())
                .or_else(|| Some(format!("known are {}", words().collect::<Vec<_>>().join(", "))));
            let diagnostic = Diagnostic::at(source, key_span(table, key, item), "unknown key");
            self.diagnostics.push(diagnostic.key(format!("{}.{key}", heading.path)).hint(hint));
        }
        Part { heading, table, keys, slips }
    }
}

fn syntax_error(source: &Source<'_>, e: &toml_edit::TomlError) -> Diagnostic {
    let span = e.span().unwrap_or(0..0);
    Diagnostic::at(source, span, format!("not valid TOML: {}", e.message().trim()))
}

#[cfg(test)]
mod tests;
