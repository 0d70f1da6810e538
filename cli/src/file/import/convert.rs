//! Sections as declarations.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use dsbus_schema::ids::ProgramName;
use serde_json::{Map, Value};

use super::super::diagnostic::Diagnostic;
use super::super::section::Section as Kept;
use super::super::suggest;
use super::groups::Group;
use super::ini::{Ini, Key, Place, Section};
use super::keys::{self, Kind, Sort};
use super::{Declared, Imported, Note, pairs, percent};
use crate::config::Surroundings;

/// Order in which a program starts unless it says so.
const PRIORITY: i64 = 999;

/// What is being made of the sections.
pub(super) struct Convert<'a> {
    pub(super) ini: &'a Ini,
    around: &'a Surroundings,
    host: String,
    /// Variables that `[supervisord]` sets.
    variables: BTreeMap<String, String>,
    pub(super) groups: BTreeMap<String, Group>,
    programs: Vec<Declared>,
    worker: Vec<(String, Value)>,
    notes: Vec<Note>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'a> Convert<'a> {
    /// Makes declarations of all sections.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn all(ini: &'a Ini, around: &'a Surroundings) -> Result<Imported, Vec<Diagnostic>> {
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
        let parsed = match ProgramName::parse(&name) {
            Ok(parsed) => parsed,
            Err(e) => return self.wrong(section, None, e.to_string()),
        };
        if name != text {
            let why = format!("is named {name}: a name has letters, digits, _ and -");
            self.note(&section.name, None, &section.place, why);
        }
        if let Some(first) = self.programs.iter().find(|known| known.name == parsed) {
            let message = format!("{name} is declared twice, first in {}", first.place);
            return self.wrong(section, None, message);
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
        let place = self.ini.line(&section.place);
        self.programs.push(Declared { section: kept, name: parsed, keys: one.keys, place });
    }

    /// What is wrong with the declaration as a whole.
    fn judge(&mut self, one: &One<'_>, kept: Kept) {
        for problem in kept.problems(&one.keys) {
            let key = one.section.key(&problem.key);
            let message = match key {
                Some(_) => problem.message,
                None if problem.key == "command" => "has no command".to_owned(),
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

    /// The program's own variables, which its other keys may name.
    fn own_variables(&mut self, one: &mut One<'_>) {
        let Some(key) = one.section.key("environment") else { return };
        let found = pairs::read(&self.with_here(key)).unwrap_or_default();
        for (name, value) in found {
            let known = |name: &str| self.known(name, None, one.text, one.text);
            if let Ok(value) = percent::now(&value, known) {
                one.variables.insert(name, value);
            }
        }
    }

    fn value(&mut self, one: &One<'_>, kind: Kind, key: &Key) -> Result<Option<Value>, String> {
        let group = self.groups.get(one.text).map_or(one.text, |group| group.text.as_str());
        let group = group.to_owned();
        let text = self.with_here(key);
        let now = |text: &str| {
            percent::now(text, |name| self.known(name, Some(&one.variables), one.text, &group))
        };
        // A name that was changed still makes paths and names as before.
        let renamed = tame(one.text) != one.text;
        let regrouped = match self.groups.get(one.text) {
            Some(group) => group.text != group.name.as_str(),
            None => renamed,
        };
        let later = |text: &str| {
            percent::later(text, |name| match name {
                "program_name" => renamed.then(|| one.text.to_owned()),
                "group_name" => regrouped.then(|| group.clone()),
                _ => None,
            })
        };
        Ok(Some(match kind {
            Kind::Nothing { but, why } => {
                if !but(&text) {
                    self.note(&one.section.name, Some(&key.name), &key.place, why);
                }
                return Ok(None);
            }
            // Lines stay lines: between quotes they are a part of a word.
            Kind::Later => later(&text)?.into(),
            Kind::Path => self.whole(&later(&text)?, one, key).into(),
            Kind::Log => match text.to_lowercase().as_str() {
                "auto" => return Ok(None),
                "none" | "off" => "NONE".into(),
                "syslog" => "syslog".into(),
                _ => self.whole(&later(&text)?, one, key).into(),
            },
            Kind::Pairs => {
                let mut found = Vec::new();
                for (name, value) in pairs::read(&text)? {
                    found.push((name, later(&value)?));
                }
                keys::table(found)
            }
            Kind::Url if text.eq_ignore_ascii_case("auto") => return Ok(None),
            Kind::Url => later(&text)?.into(),
            Kind::Now
            | Kind::Number
            | Kind::Size
            | Kind::Truth
            | Kind::Restart
            | Kind::Codes
            | Kind::Words => keys::value(kind, &now(&text)?)?,
        }))
    }

    /// A path from the root. Supervisor takes others from where it was started, which no file says.
    fn whole(&mut self, path: &str, one: &One<'_>, key: &Key) -> String {
        if path.starts_with('/') || path.starts_with("%(") {
            return path.to_owned();
        }
        if let Some(rest) = path.strip_prefix("~/").or((path == "~").then_some(""))
            && let Some(home) = self.around.variable("HOME")
        {
            return Path::new(home).join(rest).display().to_string();
        }
        let directory = self.ini.section("supervisord").and_then(|section| {
            let key = section.key("directory")?;
            Some(PathBuf::from(self.with_here(key)))
        });
        let base = directory.unwrap_or_else(|| self.ini.files[key.place.0].directory.clone());
        let mut whole = PathBuf::new();
        for part in base.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(whole.pop()),
                part => whole.push(part),
            }
        }
        let why = format!(
            "{path} is taken from {}; Supervisor takes it from where it was started",
            base.display()
        );
        self.note(&one.section.name, Some(&key.name), &key.place, why);
        whole.display().to_string()
    }

    /// The value, with the directory of its file.
    pub(super) fn with_here(&self, key: &Key) -> String {
        let here = self.ini.files[key.place.0].directory.display().to_string();
        key.value.replace("%(here)s", &here)
    }

    /// What a name stands for when a file is read.
    pub(super) fn known(
        &self,
        name: &str,
        own: Option<&BTreeMap<String, String>>,
        program: &str,
        group: &str,
    ) -> Option<String> {
        match name {
            "host_node_name" => Some(self.host.clone()),
            "program_name" if !program.is_empty() => Some(program.to_owned()),
            "group_name" if !group.is_empty() => Some(group.to_owned()),
            _ => {
                let name = name.strip_prefix("ENV_")?;
                let set = own.and_then(|own| own.get(name)).or_else(|| self.variables.get(name));
                set.cloned().or_else(|| self.around.variable(name).map(str::to_owned))
            }
        }
    }
}

/// A section that becomes a declaration.
struct One<'a> {
    section: &'a Section,
    /// Its name as it stands in the file.
    text: &'a str,
    keys: Map<String, Value>,
    variables: BTreeMap<String, String>,
}

/// A name as it may be here.
pub(super) fn tame(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    name.trim_start_matches('_').to_owned()
}
