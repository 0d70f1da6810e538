//! Reading the sections of a file. What an unknown key may have meant is left to the caller, who
//! shows where it stands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dsbus_schema::alert::TargetName;
use dsbus_schema::program::Problem;
use dsbus_schema::reading::{self, Wrong};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::keys::{CommandKeys, Keys, MailKeys, WebhookKeys};
use super::{RuleKeys, SECTIONS_MAX, Spec};
use crate::texts::Texts;

/// What a file names that is not in it.
pub struct Around<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A path, made whole.
    pub path: &'a dyn Fn(&str) -> Result<PathBuf, String>,
    /// Name of this machine.
    pub host: String,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A kind of section; each has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[[rule]]`
    Rule,
    /// `[target.NAME]` with `type = "webhook"`.
    Webhook,
    /// `type = "mail"`
    Mail,
    /// `type = "command"`
    Command,
}

impl Section {
    /// Words for the types of targets.
    pub const TYPES: [(&str, Section); 3] =
        [("webhook", Section::Webhook), ("mail", Section::Mail), ("command", Section::Command)];

    /// The section of a target of this type.
    pub fn of_type(word: &str) -> Option<Section> {
        Section::TYPES.iter().find(|(name, _)| *name == word).map(|(_, section)| *section)
    }

    /// Every key that it may have, in alphabetical order.
    pub fn keys(self) -> BTreeSet<String> {
        let mut keys = match self {
            Section::Rule => return names::<RuleKeys>(),
            Section::Webhook => names::<WebhookKeys>(),
            Section::Mail => names::<MailKeys>(),
            Section::Command => names::<CommandKeys>(),
        };
        keys.insert("type".to_owned());
        keys
    }
}

/// Which section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A rule, by its number from 0.
    Rule(usize),
    /// A target, by its number from 0 in what was given.
    Target(usize),
}

/// A file that was read.
#[derive(Debug)]
pub struct Found {
    /// What of it could be read.
    pub spec: Spec,
    /// Everything that is wrong with it.
    pub problems: Vec<(Place, Problem)>,
    /// Names of targets that no rule sends to.
    pub unused: Vec<TargetName>,
}

/// Reads the rules and the targets of a file; keys that are not known are passed over.
pub fn read(
    rules: &[Map<String, Value>],
    targets: &[(String, Map<String, Value>)],
    around: &Around<'_>,
) -> Found {
    let (mut spec, mut problems) = (Spec::default(), Vec::new());
    for (number, (name, keys)) in targets.iter().enumerate() {
        match target(name, keys, around) {
            Ok(target) => spec.targets.push(target),
            Err(found) => problems.extend(found.into_iter().map(|p| (Place::Target(number), p))),
        }
    }
    let known: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let (mut names, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (number, keys) in rules.iter().enumerate() {
        let mut tell = |problem| problems.push((Place::Rule(number), problem));
        let (read, found) = alone::<RuleKeys>(keys);
        let unread: Vec<String> = found.iter().map(|problem| problem.key.clone()).collect();
        found.into_iter().for_each(&mut tell);
        if let Some(name) = read.name.as_ref().filter(|name| !names.insert((*name).clone())) {
            tell(Problem::new("name", format!("another rule before is named {name}, too")));
        }
        for name in read.send.iter().filter(|name| !known.contains(&name.as_str())) {
            tell(nobody(name, &known));
        }
        used.extend(read.send.iter().cloned());
        match read.rule() {
            Ok(rule) => spec.rules.push(rule),
            // A key that could not be read has its default here, and is not judged twice.
            Err(found) => found.into_iter().filter(|p| !unread.contains(&p.key)).for_each(tell),
        }
    }
    if rules.len() > SECTIONS_MAX {
        let why = format!("the file has {} rules; most are {SECTIONS_MAX}", rules.len());
        problems.push((Place::Rule(SECTIONS_MAX), Problem::new("name", why)));
    }
    let texts = Texts::default();
    for (number, keys) in rules.iter().enumerate() {
        problems.extend(templates(&texts, keys).into_iter().map(|p| (Place::Rule(number), p)));
    }
    for (number, (_, keys)) in targets.iter().enumerate() {
        problems.extend(templates(&texts, keys).into_iter().map(|p| (Place::Target(number), p)));
    }
    if problems.is_empty() {
        problems.extend(trials(&texts, &spec));
    }
    let unused = spec.targets.iter().map(|target| target.name.clone());
    let unused = unused.filter(|name| !used.contains(name)).collect();
    Found { spec, problems, unused }
}

fn nobody(name: &TargetName, known: &[&str]) -> Problem {
    let problem = Problem::new("send", format!("there is no section [target.{name}]"));
    if known.is_empty() { problem } else { problem.hint(format!("known are {}", known.join(", "))) }
}

/// What is wrong with the templates of a section that is not read yet: also of one that has other
/// mistakes.
fn templates(texts: &Texts, keys: &Map<String, Value>) -> Vec<Problem> {
    let wrong = |key: &&str| texts.check_all(key, keys.get(*key)?).err();
    ["subject", "text", "body", "json"].iter().filter_map(wrong).collect()
}

/// What goes wrong when templates are used, in a file that is right otherwise.
fn trials(texts: &Texts, spec: &Spec) -> Vec<(Place, Problem)> {
    let mut found = Vec::new();
    for (number, rule) in spec.rules.iter().enumerate() {
        for (other, target) in spec.targets.iter().enumerate() {
            if !rule.send.contains(&target.name) {
                continue;
            }
            let Some(wrong) = texts.try_out(rule, target) else { continue };
            let place = if wrong.of_rule { Place::Rule(number) } else { Place::Target(other) };
            let told = (place, Problem::new(wrong.key, wrong.why));
            if !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found
}

fn target(
    name: &str,
    keys: &Map<String, Value>,
    around: &Around<'_>,
) -> Result<super::Target, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = TargetName::parse(name);
    let name = name.map_err(|e| problems.push(Problem::new("", e.to_string()))).ok();
    let types = Section::TYPES.map(|(word, _)| format!("{word:?}")).join(", ");
    let section = match keys.get("type") {
        Some(Value::String(word)) => Section::of_type(word).ok_or_else(|| {
            Problem::new("type", format!("expected one of {types}; found {word:?}"))
        }),
        Some(other) => Err(Problem::new("type", format!("expected one of {types}; found {other}"))),
        None => Err(Problem::new("type", format!("is missing: it is one of {types}"))),
    };
    let (keys, found) = match section {
        Ok(Section::Webhook) => {
            let (keys, found) = alone::<WebhookKeys>(keys);
            (Keys::Webhook(Box::new(keys)), found)
        }
        Ok(Section::Mail) => {
            let (keys, found) = alone::<MailKeys>(keys);
            (Keys::Mail(Box::new(keys)), found)
        }
        // A rule is no type, and no word stands for it.
        Ok(Section::Command | Section::Rule) => {
            let (keys, found) = alone::<CommandKeys>(keys);
            (Keys::Command(keys), found)
        }
        Err(problem) => {
            problems.push(problem);
            return Err(problems);
        }
    };
    let unread: Vec<String> = found.iter().map(|problem| problem.key.clone()).collect();
    problems.extend(found);
    // A name that is wrong has been told; what else is wrong is looked for all the same.
    let stand_in = TargetName::parse("x").ok();
    let Some(named) = name.clone().or(stand_in) else { return Err(problems) };
    match keys.target(named, around) {
        Ok(target) if problems.is_empty() => Ok(target),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found.into_iter().filter(|p| !unread.contains(&p.key)));
            Err(problems)
        }
    }
}

/// Reads each key by itself, so that all mistakes are found; those that cannot be read have their
/// defaults.
fn alone<T: DeserializeOwned + Serialize + Default>(
    keys: &Map<String, Value>,
) -> (T, Vec<Problem>) {
    let known = names::<T>();
    let (mut accepted, mut problems) = (Map::new(), Vec::new());
    for (key, value) in keys.iter().filter(|(key, _)| known.contains(*key)) {
        let one = Map::from_iter([(key.clone(), value.clone())]);
        match reading::value::<T>(Value::Object(one.clone())) {
            Ok(_) => accepted.extend(one),
            Err(Wrong { field, why }) => {
                problems.push(match field.strip_prefix(&format!("{key}.")) {
                    Some(inside) => Problem::new(key, format!("{inside}: {why}")),
                    None => Problem::new(key, why),
                });
            }
        }
    }
    (serde_json::from_value(Value::Object(accepted)).unwrap_or_default(), problems)
}

fn names<T: Serialize + Default>() -> BTreeSet<String> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(map)) => map.into_iter().map(|(key, _)| key).collect(),
        Ok(_) | Err(_) => BTreeSet::new(),
    }
}
