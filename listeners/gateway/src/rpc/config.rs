//! `getAllConfigInfo`. Pure.

use dsbus_schema::program::{LogTarget, LogTargets, ProgramSpec, Retries};
use dsbus_schema::status::DISABLED;

use super::value::Value;
use crate::processes::Process;

/// What Supervisor says of what is not set.
const NONE: &str = "none";

/// What is declared of a process, with Supervisor's keys.
pub(super) fn config(process: &Process, spec: &ProgramSpec) -> Value {
    let (group_priority, priority) = process.priorities();
    let first = spec.stopsignal.steps().first().map_or(15, |step| step.signal.number());
    let exitcodes = spec.exitcodes.iter().map(|code| i32::from(*code).into()).collect();
    let inuse = process.row.reason.as_deref() != Some(DISABLED);
    let syslog = |targets: &LogTargets, too: bool| {
        (too || targets.targets().contains(&LogTarget::Syslog)).into()
    };
    let or_none = |text: &Option<String>| Value::from(text.as_deref().unwrap_or(NONE));
    let stderr = if spec.redirect_stderr { NONE.into() } else { file(&spec.stderr_logfile) };
    Value::of([
        ("autostart", spec.autostart.into()),
        ("directory", or_none(&spec.directory)),
        // Supervisor's is a number; whose it is on a worker is not known here.
        ("uid", or_none(&spec.user)),
        ("command", command(spec)),
        ("exitcodes", Value::Array(exitcodes)),
        ("group", process.group.as_str().into()),
        ("group_prio", group_priority.into()),
        ("inuse", inuse.into()),
        ("killasgroup", spec.killasgroup.unwrap_or(spec.stopasgroup).into()),
        ("name", process.name.as_str().into()),
        ("process_prio", priority.into()),
        ("redirect_stderr", spec.redirect_stderr.into()),
        ("startretries", retries(spec.startretries)),
        ("startsecs", whole(spec.startsecs.0.as_secs())),
        ("stdout_capture_maxbytes", whole(spec.stdout_capture_maxbytes.0)),
        ("stdout_events_enabled", spec.stdout_events_enabled.into()),
        ("stdout_logfile", file(&spec.stdout_logfile)),
        ("stdout_logfile_backups", spec.stdout_logfile_backups.into()),
        ("stdout_logfile_maxbytes", whole(spec.stdout_logfile_maxbytes.0)),
        ("stdout_syslog", syslog(&spec.stdout_logfile, spec.stdout_syslog)),
        ("stopsignal", first.into()),
        ("stopwaitsecs", whole(spec.stopwaitsecs.0.as_secs())),
        ("stderr_capture_maxbytes", whole(spec.stderr_capture_maxbytes.0)),
        ("stderr_events_enabled", spec.stderr_events_enabled.into()),
        ("stderr_logfile", stderr),
        ("stderr_logfile_backups", spec.stderr_logfile_backups.into()),
        ("stderr_logfile_maxbytes", whole(spec.stderr_logfile_maxbytes.0)),
        ("stderr_syslog", syslog(&spec.stderr_logfile, spec.stderr_syslog)),
        ("serverurl", or_none(&spec.serverurl)),
    ])
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The command as one line, as Supervisor has it.
fn command(spec: &ProgramSpec) -> Value {
    use dsbus_schema::program::Command;
    match &spec.command {
        Command::Line(line) => line.as_str().into(),
        Command::Words(words) => {
            let quoted = words.iter().map(|word| quoted(word)).collect::<Vec<_>>();
            quoted.join(" ").into()
        }
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    }
}

fn file(targets: &LogTargets) -> Value {
    let mut named = targets.targets().iter().filter_map(|target| match target {
        LogTarget::Auto => Some("auto".to_owned()),
        LogTarget::File(path) => Some(path.clone()),
        LogTarget::Stdout | LogTarget::Stderr => Some(target.to_string()),
        LogTarget::Syslog | LogTarget::Null => None,
    });
    named.next().unwrap_or_else(|| NONE.to_owned()).into()
}

fn retries(retries: Retries) -> Value {
    match retries {
        Retries::Count(times) => times.into(),
        Retries::Infinite => Value::Int(i32::MAX.into()),
    }
}
