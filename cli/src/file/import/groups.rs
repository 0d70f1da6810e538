//! `[group:NAME]`: which programs are in which group.

use std::collections::BTreeSet;

use dsbus_schema::ids::ProgramName;

use super::super::suggest;
use super::convert::{Convert, tame};
use super::ini::{Key, Place, Section};
use super::keys::{self, Sort};
use super::percent;

/// A group of several programs.
pub(super) struct Group {
    /// As it stands in the file.
    pub(super) text: String,
    /// As it is here.
    pub(super) name: ProgramName,
    /// Order of its members.
    pub(super) priority: Option<i64>,
    /// Where it begins.
    pub(super) place: Place,
}

impl<'a> Convert<'a> {
    /// Finds out which program is in which group.
    pub(super) fn find_groups(&mut self) {
        let mut groups = Vec::new();
        for section in &self.ini.sections {
            let Some(name) = section.name.strip_prefix("group:").map(str::trim) else { continue };
            groups.push((section, name));
        }
        let programs: BTreeSet<String> = self
            .ini
            .sections
            .iter()
            .filter_map(|section| Sort::of(&section.name).map(|(_, name)| tame(name)))
            .collect();
        for (section, text) in groups {
            for key in &section.keys {
                if !["programs", "priority"].contains(&key.name.as_str()) {
                    self.strange(section, key, suggest::hint(&key.name, ["programs", "priority"]));
                }
            }
            let mut name = tame(text);
            if programs.contains(&name) {
                name.push_str("-group");
            }
            let group = ProgramName::parse(&name).ok();
            if group.is_none() {
                self.wrong(section, None, format!("{name:?} can be no name of a group"));
            } else if name != text {
                let why = format!("is named {name}: programs and groups share their names");
                self.note(&section.name, None, &section.place, why);
            }
            let priority = section.key("priority").map(|key| (key, self.number(key, text)));
            let priority = match priority {
                Some((key, Err(message))) => {
                    self.wrong(section, Some(key), message);
                    None
                }
                Some((_, Ok(number))) => Some(number),
                None => None,
            };
            self.members(section, (text, group.as_ref()), priority);
        }
    }

    fn number(&self, key: &Key, group: &str) -> Result<i64, String> {
        let known = |name: &str| self.known(name, None, "", group);
        keys::number(&percent::now(&self.with_here(key), known)?)
    }

    /// Notes which programs are in the group.
    fn members(
        &mut self,
        section: &'a Section,
        (text, group): (&str, Option<&ProgramName>),
        priority: Option<i64>,
    ) {
        let Some(key) = section.key("programs") else {
            return self.missing(section, None, "has no programs");
        };
        for name in key.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let sections = || self.ini.sections.iter().filter_map(|known| Sort::of(&known.name));
            if !sections().any(|(sort, known)| known == name && sort != Sort::Listener) {
                let message = format!("there is no [program:{name}]");
                self.missing(section, Some(key), message);
                continue;
            }
            let Some(group) = group else { continue };
            if let Some(first) = self.groups.get(name) {
                let first = first.name.clone();
                let why = format!(
                    "{name} is in {first} already, and a program is in one group: to run it twice, \
                     declare it under another name"
                );
                self.note(&section.name, Some("programs"), &key.place, why);
                continue;
            }
            let (name, place) = (name.to_owned(), section.place.clone());
            let (text, group) = (text.to_owned(), group.clone());
            self.groups.insert(name, Group { text, name: group, priority, place });
        }
    }
}
