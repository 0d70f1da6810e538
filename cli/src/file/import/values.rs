//! Values of keys, with what is known when a file is read put in.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::convert::{Convert, tame};
use super::ini::{Key, Section};
use super::keys::{self, Kind};
use super::{pairs, percent};

/// A section that becomes a declaration.
pub(super) struct One<'a> {
    pub(super) section: &'a Section,
    /// Its name as it stands in the file.
    pub(super) text: &'a str,
    pub(super) keys: Map<String, Value>,
    pub(super) variables: BTreeMap<String, String>,
}

impl Convert<'_> {
    /// The program's own variables, which its other keys may name.
    pub(super) fn own_variables(&mut self, one: &mut One<'_>) {
        let Some(key) = one.section.key("environment") else { return };
        let found = pairs::read(&self.with_here(key)).unwrap_or_default();
        for (name, value) in found {
            let known = |name: &str| self.known(name, None, one.text, one.text);
            if let Ok(value) = percent::now(&value, known) {
                one.variables.insert(name, value);
            }
        }
    }

    pub(super) fn value(
        &mut self,
        one: &One<'_>,
        kind: Kind,
        key: &Key,
    ) -> Result<Option<Value>, String> {
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
