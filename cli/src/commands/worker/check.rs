//! `dsbus worker --check-config`: prints what a worker that is started now would use, as a file that
//! says the same.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use dsbus_schema::lenient::Size;

use super::choice::{Choice, FILE_DEFAULT};
use crate::args;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::worker::{CapacityKeys, Keys};
use crate::output;
use dsbus_supervisor::policy::Policy;

/// Settings are no wider than this before what they are from; longer ones stand out.
const WIDTH_MAX: usize = 56;

/// A key, its value as TOML (`None` is not set), and what it is when it is not set.
type Row = (&'static str, Option<String>, &'static str);

/// Prints every key.
///
/// # Errors
/// When nobody reads it.
pub(super) fn run(config: &Config, args: &args::Worker, choice: &Choice) -> Result<Code, Failure> {
    match &choice.file.path {
        Some(path) => output::line(format_args!("# {} has no mistake.", path.display()))?,
        None => output::line(format_args!(
            "# There is no file (--config, or {FILE_DEFAULT}): defaults and options only."
        ))?,
    }
    output::line(format_args!(
        "# bus: {} ({}); fleet: {}",
        config.shown(),
        config.origin,
        config.fleet
    ))?;
    let settings: Vec<(&str, String)> = rows(choice)
        .into_iter()
        .map(|(key, value, unset)| match value {
            Some(value) => (key, format!("{key:<16} = {value}")),
            None => (key, format!("# {key:<14} = {unset}")),
        })
        .collect();
    let width = settings.iter().map(|(_, setting)| setting.chars().count()).max().unwrap_or(0);
    let width = width.min(WIDTH_MAX);
    for (key, setting) in settings {
        output::line(format_args!("{setting:<width$}  # {}", origin(args, choice, key)))?;
    }
    Ok(Code::Done)
}

/// Where the value of a key is from.
fn origin(args: &args::Worker, choice: &Choice, key: &str) -> String {
    let lines = &choice.file.lines;
    let (option, line) = match key {
        "name" => (args.name.is_some(), lines.get(key).or_else(|| lines.get("identifier"))),
        "dir" => (args.dir.is_some(), lines.get(key)),
        "drain" => (args.drain, lines.get(key)),
        "labels" if !args.labels.is_empty() => {
            return match lines.get(key) {
                Some(line) => format!("line {line}, and --label"),
                None => "--label".to_owned(),
            };
        }
        _ => (false, lines.get(key)),
    };
    match line {
        Some(line) if option => format!("--{key} (line {line} has another one)"),
        None if option => format!("--{key}"),
        Some(line) => format!("line {line}"),
        None if key == "name" && choice.known => "that of the last run in dir".to_owned(),
        None if key == "name" => "the host's".to_owned(),
        None => "default".to_owned(),
    }
}

fn rows(choice: &Choice) -> Vec<Row> {
    let Keys {
        name: _,
        identifier: _,
        dir: _,
        logfile,
        logfile_maxbytes,
        logfile_backups,
        loglevel,
        silent,
        pidfile,
        nodaemon,
        user,
        umask,
        directory,
        minfds,
        minprocs,
        labels: _,
        drain: _,
        drain_timeout,
        capacity,
        environment,
        serverurl,
        childlogdir,
        nocleanup,
        strip_ansi,
        cgroup,
        syslog,
        policy,
        signers_file,
    } = &choice.file.keys;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| quoted(path.display()));
    vec![
        ("name", Some(quoted(&choice.worker)), ""),
        ("dir", Some(quoted(choice.directory.display())), ""),
        ("logfile", path(logfile), "standard error"),
        ("logfile_maxbytes", Some(size(*logfile_maxbytes)), ""),
        ("logfile_backups", Some(logfile_backups.to_string()), ""),
        ("loglevel", Some(quoted(loglevel.name())), ""),
        ("silent", Some(silent.to_string()), ""),
        ("pidfile", path(pidfile), "none"),
        ("nodaemon", Some(nodaemon.to_string()), ""),
        ("user", user.as_ref().map(quoted), "whoever starts it"),
        ("umask", umask.as_ref().map(quoted), "as it is started"),
        ("directory", path(directory), "as it is started"),
        ("minfds", Some(minfds.to_string()), ""),
        ("minprocs", Some(minprocs.to_string()), ""),
        ("labels", Some(table(&choice.labels)), ""),
        ("capacity", limits(*capacity), "what the machine has"),
        ("drain", Some(choice.drain.to_string()), ""),
        ("drain_timeout", Some(quoted(drain_timeout)), ""),
        ("environment", Some(table(environment)), ""),
        ("serverurl", serverurl.as_ref().map(quoted), "none"),
        ("childlogdir", path(childlogdir), "below dir"),
        ("nocleanup", Some(nocleanup.to_string()), ""),
        ("strip_ansi", Some(strip_ansi.to_string()), ""),
        ("cgroup", Some(quoted(cgroup)), ""),
        ("syslog", Some(quoted(syslog.display())), ""),
        ("policy", rules(policy), "everything is allowed"),
        (
            "signers_file",
            signers_file.as_ref().map(|path| quoted(path.display())),
            "everybody's placements",
        ),
    ]
}

/// Texts as an inline table.
fn table(pairs: &BTreeMap<String, String>) -> String {
    let pairs = pairs.iter().map(|(key, value)| (key.clone(), value.as_str()));
    pairs.collect::<toml_edit::InlineTable>().to_string()
}

fn limits(of: CapacityKeys) -> Option<String> {
    let mut limits = toml_edit::InlineTable::new();
    if let Some(cpu) = of.cpu {
        limits.insert("cpu", cpu.into());
    }
    if let Some(memory) = of.memory {
        let memory = i64::try_from(memory.0).unwrap_or(i64::MAX);
        limits.insert("memory", memory.into());
    }
    (!limits.is_empty()).then(|| limits.to_string())
}

/// A policy as an inline table.
fn rules(policy: &Policy) -> Option<String> {
    let Ok(serde_json::Value::Object(map)) = serde_json::to_value(policy) else { return None };
    (!map.is_empty()).then(|| toml_of(&serde_json::Value::Object(map)).to_string())
}

/// The same value in TOML; a policy has no null.
fn toml_of(value: &serde_json::Value) -> toml_edit::Value {
    use serde_json::Value;
    match value {
        Value::Null => toml_edit::Value::from(""),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(toml_of).collect::<toml_edit::Array>().into(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (key.as_str(), toml_of(value)));
            pairs.collect::<toml_edit::InlineTable>().into()
        }
    }
}

/// A size as a person would write it.
fn size(size: Size) -> String {
    match size.0 {
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => quoted(format_args!("{}MB", bytes >> 20)),
        bytes => bytes.to_string(),
    }
}

/// Text as TOML.
fn quoted(text: impl Display) -> String {
    toml_edit::Value::from(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surroundings;

    #[test]
    fn what_is_printed_is_a_file_that_says_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let text = "name = \"a\"\ndir = \"s\"\nlogfile = \"l\"\nlogfile_maxbytes = 1000\n\
                    environment = { A = 'x\"y', B = 2 }\numask = \"077\"\nnodaemon = false\n\
                    capacity = { memory = '8GB' }\n[labels]\nzone = \"eu\"\n\
                    [policy]\nroot = false\nexecutables = [\"/bin/*\", \
                    { path = \"/x\", sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }]\n\
                    limits = { memory = \"1GB\", rlimits = { nofile = 9 }, cpu = 1.5 }\n";
        std::fs::write(directory.path().join("w.toml"), text).unwrap();
        let around = Surroundings { directory: directory.path().into(), ..Surroundings::default() };
        let choice = |words: &str| match args::parse(words.split(' ')).unwrap().verb {
            args::Verb::Worker(args) => Choice::make(&args.options, &around).unwrap(),
            other => panic!("{other:?}"),
        };
        let first = choice("dsbus worker -c w.toml");
        let lines = rows(&first).into_iter().filter_map(|(key, value, _)| Some((key, value?)));
        let printed: Vec<String> = lines.map(|(key, value)| format!("{key} = {value}")).collect();
        std::fs::write(directory.path().join("again.toml"), printed.join("\n")).unwrap();
        let keys = |keys: &Keys| {
            let policy = Policy {
                source: dsbus_supervisor::policy::Source::default(),
                ..keys.policy.clone()
            };
            Keys { policy, ..keys.clone() }
        };
        let again = choice("dsbus worker -c again.toml").file.keys;
        assert_eq!(keys(&again), keys(&first.file.keys));
        assert_eq!(rows(&first).len(), Keys::names().len() - 1, "every key but identifier");
    }
}
