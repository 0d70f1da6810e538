//! Whose daemon runs: of which fleet it is, and its name there.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::FleetName;

use crate::args::{self, Verb};
use crate::settings::Key;

/// What tells a daemon from others of its kind. What is not known tells nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::commands) struct Whose {
    /// Its fleet.
    pub(in crate::commands) fleet: Option<FleetName>,
    /// Its name among the others of its fleet, where it was given one.
    pub(in crate::commands) name: Option<String>,
}

impl Whose {
    /// Of a process that runs, by its command line and its environment: one that was started in the
    /// background was given its fleet there.
    pub(super) fn of(pid: i32) -> Whose {
        let args = args::parse(words(pid, "cmdline")).ok();
        let told = args.as_ref().and_then(|args| args.globals.fleet.clone());
        let name = args.and_then(|args| match args.verb {
            Verb::Scheduler(daemon) => daemon.options.id.map(|id| id.to_string()),
            Verb::Worker(daemon) => daemon.options.name.map(|name| name.to_string()),
            _ => None,
        });
        Whose { fleet: told.or_else(|| fleet_of_environment(pid)), name }
    }

    /// Whether one that runs cannot be this one.
    pub(super) fn is_another_than(&self, meant: &Whose) -> bool {
        let fleet = matches!((&self.fleet, &meant.fleet), (Some(one), Some(other)) if one != other);
        fleet || (meant.name.is_some() && self.name != meant.name)
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.fleet) {
            (Some(name), Some(fleet)) => write!(f, "{name} of fleet {fleet}"),
            (Some(name), None) => f.write_str(name),
            (None, Some(fleet)) => write!(f, "one of fleet {fleet}"),
            (None, None) => f.write_str("another one"),
        }
    }
}

/// The labels that a worker which runs was given on its command line.
pub(super) fn labels(pid: i32) -> Vec<(String, String)> {
    match args::parse(words(pid, "cmdline")).map(|args| args.verb) {
        Ok(Verb::Worker(daemon)) => daemon.options.labels,
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// Where a process writes its standard error, if that is a file; `otherwise` where that cannot be seen.
pub(super) fn log(pid: i32, otherwise: &Path) -> Option<PathBuf> {
    match fs::read_link(format!("/proc/{pid}/fd/2")) {
        Ok(path) => (path.is_absolute() && path.is_file()).then_some(path),
        Err(_) => Some(otherwise.to_owned()),
    }
}

fn fleet_of_environment(pid: i32) -> Option<FleetName> {
    let prefix = format!("{}=", Key::Fleet.variable());
    words(pid, "environ").iter().find_map(|pair| pair.to_str()?.strip_prefix(&prefix)?.parse().ok())
}

/// The texts of a file of /proc, none where it cannot be read.
fn words(pid: i32, file: &str) -> Vec<OsString> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsString::from_vec(word.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_tells_nothing() {
        let whose = |fleet: &str, name: &str| Whose {
            fleet: fleet.parse().ok(),
            name: (!name.is_empty()).then(|| name.to_owned()),
        };
        for (runs, meant, another) in [
            (whose("a", "s1"), whose("a", "s1"), false),
            (whose("a", "s1"), whose("b", "s1"), true),
            (whose("a", "s1"), whose("a", "s2"), true),
            (whose("a", ""), whose("a", "s2"), true),
            // Whoever names the file, and no id, means the one that has it.
            (whose("a", "s1"), whose("a", ""), false),
            (whose("", "s1"), whose("b", "s1"), false),
        ] {
            assert_eq!(runs.is_another_than(&meant), another, "{runs} {meant}");
        }
    }
}
