//! Files into sections, and what is wrong with them as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dsbus_schema::ids::ProgramName;
use serde_json::Value;
use toml_edit::{Document, Item, Table, TableLike};

use super::diagnostic::{Diagnostic, Source};
use super::import::{self, Declared, Imported, Note};
use super::keys::{self, Keys, Place, given, key_span, value_span};
use super::section::Section;
use super::{Programs, include, suggest};
use crate::config::Surroundings;

/// What all programs of a file have, and of those that it includes.
pub(super) const DEFAULTS: &str = "defaults";
/// What programs have that extend it; it is none itself.
pub(super) const TEMPLATE: &str = "template";
/// The key of a program that names what it extends.
pub(super) const EXTENDS: &str = "extends";
/// The key of a file that names others.
const INCLUDE: &str = "include";
/// What a file lacks that is applied for nothing.
const NOTHING: &str = "declares no program; one begins with [program.NAME]";
/// How deep files may include files.
const INCLUDE_DEPTH_MAX: usize = 16;

/// A file that was read.
#[derive(Debug)]
struct File {
    name: String,
    text: String,
}

/// A section of a file.
#[derive(Debug)]
pub(super) struct Block {
    /// `None` for a template.
    pub(super) section: Option<Section>,
    /// Its name.
    pub(super) name: String,
    /// `program.web`
    pub(super) path: String,
    /// Where its header stands.
    pub(super) header: Place,
    /// Its own keys.
    pub(super) keys: Keys,
    /// What it extends.
    pub(super) extends: Option<(String, Place)>,
    /// Keys that were probably meant by those that are not known.
    pub(super) slips: Vec<String>,
    /// Which defaults it has, by number.
    pub(super) defaults: Option<usize>,
}

/// What all files together hold.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    around: &'a Surroundings,
    files: Vec<File>,
    /// Files that are not included once more.
    seen: BTreeSet<PathBuf>,
    /// Sections of programs, event listeners and templates.
    pub(super) blocks: Vec<Block>,
    /// What `[defaults]` say, with those of the files around them.
    pub(super) defaults: Vec<Keys>,
    /// Programs of configurations of Supervisor.
    pub(super) programs: Programs,
    /// What is wrong, each with the number of its file.
    diagnostics: Vec<(usize, Diagnostic)>,
    pub(super) notes: Vec<Note>,
    /// Where each program was declared first: file and line.
    declared: BTreeMap<ProgramName, String>,
}

/// Where a file is read from.
#[derive(Debug, Clone, Copy)]
struct From<'a> {
    here: &'a Path,
    defaults: Option<usize>,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Of no file yet.
    pub(super) fn new(around: &'a Surroundings) -> Reader<'a> {
        Reader {
            around,
            files: Vec::new(),
            seen: BTreeSet::new(),
            blocks: Vec::new(),
            defaults: Vec::new(),
            programs: Programs::new(),
            diagnostics: Vec::new(),
            notes: Vec::new(),
            declared: BTreeMap::new(),
        }
    }

    /// Reads a file, and all that it includes.
    pub(super) fn open(&mut self, path: &Path) {
        self.seen.extend(path.canonicalize().ok());
        self.read(path, None, 0);
    }

    /// Everything that is wrong, in the order of the files.
    pub(super) fn diagnostics(&mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.diagnostics);
        found.sort_by_key(|(file, diagnostic)| (*file, diagnostic.position()));
        found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }

    /// That no program is declared, told of the first file.
    pub(super) fn nothing(&self) -> Option<Diagnostic> {
        self.files.first().map(|file| Diagnostic::whole(&file.name, NOTHING))
    }

    /// Something is wrong at a place; it is told once.
    pub(super) fn wrong(
        &mut self,
        place: &Place,
        key: impl Into<String>,
        (message, hint): (impl Into<String>, Option<String>),
    ) {
        let File { name, text } = &self.files[place.0];
        let source = Source { name, text };
        let told = Diagnostic::at(&source, place.1.clone(), message).key(key).hint(hint);
        if !self.diagnostics.iter().any(|(_, known)| *known == told) {
            self.diagnostics.push((place.0, told));
        }
    }

    /// A program is declared here; false when it is already, which is told.
    pub(super) fn declare(&mut self, name: &ProgramName, place: &Place, path: &str) -> bool {
        let File { name: file, text } = &self.files[place.0];
        let line = Source { name: file, text }.place(place.1.clone()).line;
        let here = format!("{file}:{line}");
        if let Some(first) = self.declared.get(name) {
            let message = format!("is declared twice, first in {first}");
            self.wrong(place, path, (message, None));
            return false;
        }
        self.declared.insert(name.clone(), here);
        true
    }

    fn read(&mut self, path: &Path, defaults: Option<usize>, depth: usize) {
        let (name, number) = (path.display().to_string(), self.files.len());
        let whole = |why: String| (number, Diagnostic::whole(&name, why));
        let text = match super::text_of(path) {
            Ok(text) => text,
            Err(why) => return self.diagnostics.push(whole(why)),
        };
        self.files.push(File { name: name.clone(), text: text.clone() });
        if import::is_one(&text) {
            match import::parse(path, text, self.around) {
                Ok(imported) => self.adopt(imported),
                Err(wrong) => {
                    self.diagnostics.extend(wrong.into_iter().map(|wrong| (number, wrong)));
                }
            }
            return;
        }
        let told = self.diagnostics.len();
        let before = (self.blocks.len(), self.programs.len());
        match Document::parse(text.as_str()) {
            Ok(document) => {
                let here = self.around.directory.join(path);
                let here = here.parent().unwrap_or(Path::new("/"));
                self.document(document.as_table(), number, From { here, defaults, depth });
            }
            Err(e) => {
                let source = Source { name: &name, text: &text };
                self.diagnostics.push((number, syntax_error(&source, &e)));
            }
        }
        let nothing = before == (self.blocks.len(), self.programs.len());
        if depth == 0 && nothing && told == self.diagnostics.len() {
            self.diagnostics.push(whole(NOTHING.to_owned()));
        }
    }

    /// Takes what was made of a configuration of Supervisor.
    fn adopt(&mut self, imported: Imported) {
        let file = self.files.len() - 1;
        for Declared { section, name, keys, place } in imported.programs {
            if let Some(first) = self.declared.get(&name) {
                let message = format!("{name} is declared twice, first in {first}");
                self.diagnostics.push((file, Diagnostic::whole(&place, message)));
                continue;
            }
            self.declared.insert(name.clone(), place);
            self.programs.insert(name, section.as_program(keys));
        }
        self.notes.extend(imported.notes);
    }

    fn document(&mut self, top: &Table, file: usize, from: From<'_>) {
        let defaults = match top.get(DEFAULTS).and_then(Item::as_table_like) {
            Some(table) => {
                let span = top.get(DEFAULTS).and_then(Item::span).unwrap_or(0..0);
                let block = self.block((None, "", DEFAULTS), table, (file, span), from);
                let mut keys = block.keys;
                if let Some(around) = from.defaults {
                    keys::inherit(&mut keys, &self.defaults[around], |_| true);
                }
                self.defaults.push(keys);
                Some(self.defaults.len() - 1)
            }
            None => from.defaults,
        };
        let from = From { defaults, ..from };
        for (section, item) in top {
            let span = key_span(top, section, item);
            match (item.as_table_like(), section) {
                (Some(_), DEFAULTS) => {}
                (None, INCLUDE) => {
                    let place = (file, value_span(top, section, item));
                    self.include(item, &place, from);
                }
                (Some(blocks), TEMPLATE) => self.add_blocks(None, blocks, file, from),
                (Some(blocks), _) if Section::parse(section).is_some() => {
                    self.add_blocks(Section::parse(section), blocks, file, from);
                }
                (Some(_), _) => {
                    let told = ("unknown section", section_hint(section));
                    self.wrong(&(file, span), section, told);
                }
                (None, _) => {
                    let hint = match section {
                        DEFAULTS | TEMPLATE => format!("{section} is a section: [{section}]"),
                        _ => "declare programs as [program.NAME], and their keys below".to_owned(),
                    };
                    self.wrong(&(file, span), section, ("stands outside of a section", Some(hint)));
                }
            }
        }
    }

    fn include(&mut self, item: &Item, place: &Place, from: From<'_>) {
        let patterns: Option<Vec<&str>> = match item {
            Item::Value(toml_edit::Value::Array(items)) => {
                items.iter().map(toml_edit::Value::as_str).collect()
            }
            item => item.as_str().map(|pattern| vec![pattern]),
        };
        let Some(patterns) = patterns else {
            let message = "is a list of files, such as [\"conf.d/*.toml\"]";
            return self.wrong(place, INCLUDE, (message, None));
        };
        if from.depth >= INCLUDE_DEPTH_MAX {
            let message = format!("is more than {INCLUDE_DEPTH_MAX} files deep");
            return self.wrong(place, INCLUDE, (message, None));
        }
        for pattern in patterns {
            let found = match include::matching(pattern, from.here) {
                Ok(found) => found,
                Err(why) => {
                    self.wrong(place, INCLUDE, (why, None));
                    continue;
                }
            };
            // A directory of files may be empty; a file that is named is meant.
            if found.is_empty() && !pattern.contains(['*', '?', '[']) {
                self.wrong(place, INCLUDE, (format!("{pattern:?} is no file"), None));
            }
            for path in found {
                if path.canonicalize().is_ok_and(|path| self.seen.insert(path)) {
                    self.read(&path, from.defaults, from.depth + 1);
                }
            }
        }
    }

    fn add_blocks(
        &mut self,
        section: Option<Section>,
        blocks: &dyn TableLike,
        file: usize,
        from: From<'_>,
    ) {
        let word = section.map_or(TEMPLATE, Section::name);
        for (name, item) in blocks.iter() {
            let path = format!("{word}.{name}");
            let header = (file, key_span(blocks, name, item));
            let Some(table) = item.as_table_like() else {
                let what = section.map_or("a template", Section::what);
                let message = format!("{what} is a table of keys, [{word}.NAME]");
                self.wrong(&header, path, (message, None));
                continue;
            };
            let block = self.block((section, name, &path), table, header, from);
            self.blocks.push(block);
        }
    }

    fn block(
        &mut self,
        (section, name, path): (Option<Section>, &str, &str),
        table: &dyn TableLike,
        header: Place,
        from: From<'_>,
    ) -> Block {
        let (file, known) = (header.0, known_keys(section));
        let mut block = Block {
            section,
            name: name.to_owned(),
            path: path.to_owned(),
            header,
            keys: Keys::new(),
            extends: None,
            slips: Vec::new(),
            defaults: from.defaults,
        };
        for (key, item) in table.iter() {
            let found = given((table, path), (key, item), (file, from.here));
            if key == EXTENDS && path != DEFAULTS {
                match found.as_ref().map(|found| (&found.value, &found.at)) {
                    Some((Value::String(base), at)) => {
                        block.extends = Some((base.clone(), at.clone()));
                    }
                    _ => {
                        let at = (file, value_span(table, key, item));
                        let message = "is the name of a program or a template";
                        self.wrong(&at, format!("{path}.{EXTENDS}"), (message, None));
                    }
                }
                continue;
            }
            if known.contains(key) {
                block.keys.extend(found.map(|found| (key.to_owned(), found)));
                continue;
            }
            let words = || known.iter().map(String::as_str).chain([EXTENDS]);
            block.slips.extend(suggest::nearest(key, words()).map(str::to_owned));
            let place = (file, key_span(table, key, item));
            let told = ("unknown key", suggest::hint(key, words()));
            self.wrong(&place, format!("{path}.{key}"), told);
        }
        block
    }
}

/// The keys that a section may have; a template those of all.
fn known_keys(section: Option<Section>) -> BTreeSet<String> {
    match section {
        Some(section) => section.keys().into_iter().collect(),
        None => Section::ALL.into_iter().flat_map(Section::keys).collect(),
    }
}

fn syntax_error(source: &Source<'_>, e: &toml_edit::TomlError) -> Diagnostic {
    let span = e.span().unwrap_or(0..0);
    let place = source.place(span.clone());
    if let Some((section, name, first)) = twice(source.text, place.line) {
        let message = format!("is declared twice, first in {}:{first}", source.name);
        return Diagnostic::at(source, span, message).key(format!("{}.{name}", section.name()));
    }
    Diagnostic::at(source, span, format!("not valid TOML: {}", e.message().trim()))
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
    let known = Section::ALL.map(Section::name).into_iter().chain([DEFAULTS, TEMPLATE]);
    suggest::hint(section, known).or_else(|| Some("declare programs as [program.NAME]".to_owned()))
}
