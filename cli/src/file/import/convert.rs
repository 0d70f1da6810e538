//! Sections as declarations.

use std::collections::BTreeMap;

use dsbus_schema::ids::ProgramName;
use serde_json::{Map, Value};

use super::super::diagnostic::Diagnostic;
use super::super::section::Section as Kept;
use super::super::suggest;
use super::groups::Group;
use super::ini::{Ini, Key, Place, Section};
use super::keys::{self, Kind, Sort};
use super::values::One;
use super::{Declared, Imported, Note, pairs, percent};
use crate::config::Surroundings;

/// Order in which a program starts unless it says so.
const PRIORITY: i64 = 999;

/// What is being made of the sections.
pub(super) struct Convert<'a> {
    pub(super) ini: &'a Ini,
    pub(super) around: &'a Surroundings,
    pub(super) host: String,
    /// Variables that `[supervisord]` sets.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) groups: BTreeMap<String, Group>,
    programs: Vec<Declared>,
    worker: Vec<(String, Value)>,
    notes: Vec<Note>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Something of the files could not be read: what seems to be missing may stand there.
    partial: bool,
}

impl<'a> Convert<'a> {
    /// Makes declarations of all sections; `partial` where not all of the files could be read.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn all(
        ini: &'a Ini,
        around: &'a Surroundings,
        partial: bool,
    ) -> Result<Imported, Vec<Diagnostic>> {
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let mut this = Convert {
            ini,
            around,
            host,
            variables: BTreeMap::new(),
            groups: BTreeMap::new(),
            programs: Vec::new(),
            worker: Vec::new(),
            notes: Vec::new(),
            diagnostics: Vec::new(),
            partial,
        };
        if let Some(section) = ini.section("supervisord") {
            this.supervisord(section);
        }
        this.find_groups();
        for section in &ini.sections {
            match Sort::of(&section.name) {
                Some((sort, name)) => this.program(section, sort, name),
                None => this.other(section),
            }
        }
        if !this.diagnostics.is_empty() {
            return Err(this.diagnostics);
        }
        let name = ini.files.first().map(|file| file.name.clone()).unwrap_or_default();
        Ok(Imported { name, programs: this.programs, worker: this.worker, notes: this.notes })
    }

    pub(super) fn note(
        &mut self,
        section: &str,
        key: Option<&str>,
        place: &Place,
        why: impl Into<String>,
    ) {
        let (section, key) = (section.to_owned(), key.map(str::to_owned));
        self.notes.push(Note { place: self.ini.line(place), section, key, why: why.into() });
    }

    /// A key that Supervisor leaves out without a word.
    pub(super) fn strange(&mut self, section: &Section, key: &Key, hint: Option<String>) {
        if !key.default {
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            let why = format!("Supervisor does not know this key{hint}");
            self.note(&section.name, Some(&key.name), &key.place, why);
        }
    }

    pub(super) fn wrong(
        &mut self,
        section: &Section,
        key: Option<&Key>,
        message: impl Into<String>,
    ) {
        let place = key.map_or(&section.place, |key| &key.place);
        let path = match key {
            Some(key) => format!("[{}] {}", section.name, key.name),
            None => format!("[{}]", section.name),
        };
        self.diagnostics.push(self.ini.at(place, message).key(path));
    }

    /// Something that must be there, and is not.
    pub(super) fn missing(
        &mut self,
        section: &Section,
        key: Option<&Key>,
        message: impl Into<String>,
    ) {
        if !self.partial {
            self.wrong(section, key, message);
        }
    }

    /// What `[supervisord]` says of its children is said of each, and the rest is a worker's.
    fn supervisord(&mut self, section: &'a Section) {
        for key in &section.keys {
            if !keys::WORKER.contains(&key.name.as_str()) {
                let hint = suggest::hint(&key.name, keys::WORKER.iter().copied());
                self.strange(section, key, hint);
                continue;
            }
            match self.worker_value(key) {
                Ok(value) => self.worker.push((key.name.clone(), value)),
                Err(message) => self.wrong(section, Some(key), message),
            }
        }
    }

    fn worker_value(&mut self, key: &Key) -> Result<Value, String> {
        let known = |name: &str| self.known(name, None, "", "");
        let value = self.with_here(key);
        Ok(match key.name.as_str() {
            "environment" => {
                let mut found = Vec::new();
                for (name, value) in pairs::read(&value)? {
                    found.push((name, percent::now(&value, known)?));
                }
                self.variables.extend(found.iter().cloned());
                keys::table(found)
            }
            "logfile_backups" | "minfds" | "minprocs" => {
                keys::value(Kind::Number, &percent::now(&value, known)?)?
            }
            "logfile_maxbytes" => keys::value(Kind::Size, &percent::now(&value, known)?)?,
            "nodaemon" | "silent" | "nocleanup" | "strip_ansi" => {
                keys::value(Kind::Truth, &percent::now(&value, known)?)?
            }
            _ => percent::now(&value, known)?.into(),
        })
    }

    fn other(&mut self, section: &Section) {
        let sort = section.name.split(':').next().unwrap_or_default();
        let why = match sort {
            "supervisord" | "group" | "include" => return,
            "unix_http_server" | "inet_http_server" => {
                "people and tools speak to a fleet over its bus, not to a worker"
            }
            "supervisorctl" => "dsbus speaks to the bus: --nats, or NATS_URL",
            "rpcinterface" | "ctlplugin" => "plugins in Python are not run",
            _ => "Supervisor does not know this section",
        };
        self.note(&section.name, None, &section.place, why);
    }

    fn program(&mut self, section: &'a Section, sort: Sort, text: &str) {
        let name = tame(text);
        // With a wrong name, too, its keys are looked at.
        let mut parsed = ProgramName::parse(&name).ok();
        if let Err(e) = ProgramName::parse(&name) {
            self.wrong(section, None, e.to_string());
        } else if name != text {
            let why = format!("is named {name}: a name has letters, digits, _ and -");
            self.note(&section.name, None, &section.place, why);
        }
        if let Some(first) = self.programs.iter().find(|known| Some(&known.name) == parsed.as_ref())
        {
            let message = format!("{name} is declared twice, first in {}", first.place);
            self.wrong(section, None, message);
            parsed = None;
        }
        let mut one = One { section, text, keys: Map::new(), variables: BTreeMap::new() };
        self.own_variables(&mut one);
        for key in &section.keys {
            let Some(kind) = sort.kind(&key.name) else {
                let hint = suggest::hint(&key.name, sort.keys());
                self.strange(section, key, hint);
                continue;
            };
            match self.value(&one, kind, key) {
                Ok(Some(value)) => drop(one.keys.insert(key.name.clone(), value)),
                Ok(None) => {}
                Err(message) => self.wrong(section, Some(key), message),
            }
        }
        if name != text {
            let own = || Value::from(text.replace("%(", "%%("));
            one.keys.entry("process_name").or_insert_with(own);
        }
        self.inherit(&mut one);
        one.keys.extend(sort.unsaid());
        let kept = match sort {
            Sort::Listener => Kept::EventListener,
            Sort::Program | Sort::Fcgi => Kept::Program,
        };
        if one.keys.get("numprocs").and_then(Value::as_i64) == Some(0) {
            let key = section.key("numprocs").map_or(&section.place, |key| &key.place);
            let why = "no copy of it runs, and it is left out";
            return self.note(&section.name, Some("numprocs"), key, why);
        }
        self.judge(&one, kept);
        if let Some(name) = parsed {
            let place = self.ini.line(&section.place);
            self.programs.push(Declared { section: kept, name, keys: one.keys, place });
        }
    }

    /// What is wrong with the declaration as a whole.
    fn judge(&mut self, one: &One<'_>, kept: Kept) {
        for problem in kept.problems(&one.keys) {
            let key = one.section.key(&problem.key);
            let message = match key {
                Some(_) => problem.message,
                None if problem.key == "command" => {
                    self.missing(one.section, None, "has no command");
                    continue;
                }
                None => format!("{}: {}", problem.key, problem.message),
            };
            // A value that could not be read is missing here, and told already.
            if key.is_some_and(|key| !one.keys.contains_key(&key.name)) {
                continue;
            }
            self.wrong(one.section, key, message);
            if let Some(told) = self.diagnostics.pop() {
                self.diagnostics.push(told.hint(problem.hint));
            }
        }
    }

    /// What it has of its group, and of `[supervisord]`.
    fn inherit(&mut self, one: &mut One<'_>) {
        if let Some(group) = self.groups.get(one.text) {
            let (name, priority, place) = (group.name.clone(), group.priority, group.place.clone());
            one.keys.insert("group".to_owned(), name.as_str().into());
            match (priority, one.keys.get("priority").and_then(Value::as_i64)) {
                (Some(group), None | Some(PRIORITY)) => {
                    one.keys.insert("priority".to_owned(), group.into());
                }
                (Some(group), Some(own)) if group != own => {
                    let why = format!(
                        "{} keeps its own priority {own}: programs are ordered by that alone",
                        one.text
                    );
                    self.note(&format!("group:{name}"), Some("priority"), &place, why);
                }
                _ => {}
            }
        }
        if !self.variables.is_empty() {
            let own = one.keys.get("environment").and_then(Value::as_object).cloned();
            let mut all = Map::new();
            for (key, value) in &self.variables {
                all.insert(key.clone(), value.replace("%(", "%%(").into());
            }
            all.extend(own.unwrap_or_default());
            one.keys.insert("environment".to_owned(), Value::Object(all));
        }
        for key in ["umask", "strip_ansi"] {
            let worker = self.worker.iter().find(|(known, _)| known == key);
            if let Some((_, value)) = worker.filter(|_| !one.keys.contains_key(key)) {
                one.keys.insert(key.to_owned(), value.clone());
            }
        }
    }
}

/// A name as it may be here.
pub(super) fn tame(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    name.trim_start_matches('_').to_owned()
}
