//! The instances of a fleet as Supervisor's processes. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, Unstarted};
use jiff::tz::TimeZone;

/// Least width of the names in `status`.
const NAME_WIDTH_MIN: usize = 30;
/// What Supervisor has as the priority of a `[group:NAME]` that says none.
const GROUP_PRIORITY: i32 = 999;

/// An instance.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its group; the program's name where it has none.
    pub group: String,
    /// Its name in the group.
    pub name: String,
    /// What is known of it.
    pub row: Arc<InstanceRow>,
    /// `avail`: `auto` or `manual`, and both priorities.
    autostart: bool,
    priorities: (i32, i32),
    /// It is RUNNING as soon as it is started.
    pub at_once: bool,
    /// Its standard error goes where its standard output goes.
    pub redirected: bool,
}

/// What a name on the command line means.
#[derive(Debug)]
pub enum Named<'a> {
    /// `web`, `shop:api`.
    One(&'a Process),
    /// `shop:*`, `shop:`.
    Group(Vec<&'a Process>),
    /// As [`Named::One`], and there is none.
    NoProcess,
    /// As [`Named::Group`], and there is none.
    NoGroup,
}

/// Supervisor's `split_namespec`: the process is `None` when the whole group is meant.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        Some((group, "" | "*")) => (group, None),
        Some((group, process)) => (group, Some(process)),
        None => (name, Some(name)),
    }
}

/// Supervisor's `make_namespec`.
pub fn join(group: &str, process: &str) -> String {
    if group == process { process.to_owned() } else { format!("{group}:{process}") }
}

impl Process {
    pub(crate) fn new(row: Arc<InstanceRow>, spec: Option<&ProgramSpec>) -> Process {
        let program = &row.program;
        let group = spec.and_then(|spec| spec.group.as_ref()).unwrap_or(program).to_string();
        let name = spec.and_then(|spec| {
            let worker = row.worker.clone().or_else(|| WorkerName::parse("none").ok())?;
            spec.process_name(program, &spec.variables(&row.name, &worker, "")).ok()
        });
        let name = name.unwrap_or_else(|| program.to_string());
        let priority = spec.map_or(GROUP_PRIORITY, |spec| spec.priority);
        let of_group = if group == program.as_str() { priority } else { GROUP_PRIORITY };
        let autostart = spec.is_none_or(|spec| spec.autostart);
        let at_once = spec.is_some_and(|spec| spec.startsecs.0.is_zero());
        let redirected = spec.is_some_and(|spec| spec.redirect_stderr);
        let priorities = (of_group, priority);
        Process { group, name, row, autostart, priorities, at_once, redirected }
    }

    /// Where it stands among all, in the order of Supervisor: by group, then by name.
    pub(crate) fn place(&self) -> (&str, &str, &InstanceId) {
        (&self.group, &self.name, &self.row.name)
    }

    /// Priorities of its group, and of itself.
    pub(crate) fn priorities(&self) -> (i32, i32) {
        self.priorities
    }

    /// `web`, or `shop:api`.
    pub fn namespec(&self) -> String {
        join(&self.group, &self.name)
    }

    /// Whether it is in one of Supervisor's `RUNNING_STATES`: it runs, or tries to. One that waits
    /// for a worker does.
    pub fn runs(&self) -> bool {
        match self.row.state {
            State::Running | State::Starting | State::Backoff | State::Pending => true,
            State::Stopped | State::Stopping | State::Exited | State::Fatal | State::Unknown => {
                false
            }
        }
    }

    /// Whether it is in one of Supervisor's `STOPPED_STATES`.
    pub fn stopped(&self) -> bool {
        match self.row.state {
            State::Stopped | State::Exited | State::Fatal | State::Unknown => true,
            State::Running
            | State::Starting
            | State::Backoff
            | State::Pending
            | State::Stopping => false,
        }
    }

    /// Whether it is in one of Supervisor's `SIGNALLABLE_STATES`.
    pub fn signallable(&self) -> bool {
        matches!(self.row.state, State::Running | State::Starting | State::Stopping)
    }

    /// Supervisor's `description`.
    pub(crate) fn description(&self, now: Timestamp, zone: &TimeZone) -> String {
        let row = &self.row;
        match row.state {
            State::Running => {
                let seconds = row.since.map_or(0, |since| {
                    (now.unix_nanos() - since.unix_nanos()).max(0) / 1_000_000_000
                });
                format!("pid {}, uptime {}", row.pid.unwrap_or(0), uptime(seconds))
            }
            State::Backoff | State::Fatal => failure(row, &self.name),
            State::Stopped | State::Exited => match (row.exit, row.since) {
                (Some(_), Some(since)) => date(since, zone),
                (_, _) => "Not started".to_owned(),
            },
            State::Pending => row.reason.clone().unwrap_or_default(),
            State::Starting | State::Stopping | State::Unknown => String::new(),
        }
    }

    /// A line of `avail`.
    pub fn available(&self) -> String {
        let how = if self.autostart { "auto" } else { "manual" };
        let (group, own) = self.priorities;
        format!("{:<32} {:<9} {how:<9} {group}:{own}", self.namespec(), "in use")
    }
}

/// Why it does not run, in Supervisor's words where it has some.
fn failure(row: &InstanceRow, name: &str) -> String {
    match (&row.spawnerr, row.exit) {
        (Some(why), _) => match Unstarted::of(why) {
            Unstarted::NoFile(command) => format!("can't find command '{command}'"),
            Unstarted::NoInterpreter
            | Unstarted::NotExecutable
            | Unstarted::Refused
            | Unstarted::Other => why.clone(),
        },
        (None, Some(_)) => "Exited too quickly (process log may have details)".to_owned(),
        (None, None) => format!("unknown error (try \"tail {name}\")"),
    }
}

/// As Python prints a `timedelta`.
fn uptime(seconds: i128) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    format!("{days}{}:{:02}:{:02}", rest / 3_600, rest % 3_600 / 60, rest % 60)
}

fn date(at: Timestamp, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_nanosecond(at.unix_nanos()).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%b %d %I:%M %p").to_string()
}

/// All of a fleet, in the order of Supervisor: by group, then by name.
pub fn all(rows: Vec<InstanceRow>, specs: &BTreeMap<ProgramName, ProgramSpec>) -> Vec<Process> {
    let process = |row: InstanceRow| {
        let spec = specs.get(&row.program);
        Process::new(Arc::new(row), spec)
    };
    let mut all: Vec<Process> = rows.into_iter().map(process).collect();
    all.sort_by(|a, b| a.place().cmp(&b.place()));
    all
}

/// The same in the order in which Supervisor starts them.
pub fn by_priority(mut processes: Vec<&Process>) -> Vec<&Process> {
    processes.sort_by_key(|one| (one.priorities.0, &one.group, one.priorities.1));
    processes
}

/// What a name means.
pub fn named<'a>(all: &'a [Process], name: &str) -> Named<'a> {
    let (group, process) = split(name);
    let Some(process) = process else {
        let members: Vec<&Process> = all.iter().filter(|one| one.group == group).collect();
        return if members.is_empty() { Named::NoGroup } else { Named::Group(members) };
    };
    let found = all.iter().find(|one| one.group == group && one.name == process);
    found.map_or(Named::NoProcess, Named::One)
}

/// The table of `status`.
pub fn table(shown: &[&Process], now: Timestamp, zone: &TimeZone) -> Vec<String> {
    let names: Vec<String> = shown.iter().map(|one| one.namespec()).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let width = longest.max(NAME_WIDTH_MIN) + 3;
    let line = |(one, name): (&&Process, &String)| {
        format!("{name:<width$}{:<10}{}", one.row.state, one.description(now, zone))
    };
    shown.iter().zip(&names).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn process(name: &str, spec: Value, row: &Value) -> Process {
        let (program, index) = name.split_once(':').unwrap();
        let mut full = json!({
            "name": name, "id": "00000000-0000-0000-0000-000000000001", "program": program,
            "index": index.parse::<u32>().unwrap(), "state": "STOPPED", "statecode": 0,
            "worker": null, "pid": null, "epoch": 1, "revision": 1, "since": null, "restarts": 0,
            "exit": null, "reason": null, "spawnerr": null, "stderr_line": null,
            "stdout_logfile": null, "stderr_logfile": null, "ok": true,
            "wanted": { "run": true, "starts": 0, "restarts": 0, "reloads": 0 },
            "acted": { "run": true, "starts": 0, "restarts": 0, "reloads": 0 },
        });
        full.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
        let spec: ProgramSpec = serde_json::from_value(spec).unwrap();
        Process::new(Arc::new(serde_json::from_value(full).unwrap()), Some(&spec))
    }

    #[test]
    fn names_are_those_of_supervisor() {
        for (name, spec, namespec) in [
            ("web:0", json!({ "command": "x" }), "web"),
            ("web:1", json!({ "command": "x", "numprocs": 2 }), "web:web_01"),
            ("api:0", json!({ "command": "x", "group": "shop" }), "shop:api"),
            (
                "web:1",
                json!({ "command": "x", "numprocs": 2, "group": "shop",
                        "process_name": "p-%(process_num)d", "numprocs_start": 8000 }),
                "shop:p-8001",
            ),
            ("web:0", json!({ "command": "x", "process_name": "other" }), "web:other"),
        ] {
            assert_eq!(process(name, spec.clone(), &json!({})).namespec(), namespec, "{spec}");
        }
    }

    #[test]
    fn names_mean_what_they_mean_to_supervisor() {
        let spec = |group: &str| json!({ "command": "x", "group": group });
        let all = [
            process("web:0", json!({ "command": "x" }), &json!({})),
            process("api:0", spec("shop"), &json!({})),
            process("db:0", spec("shop"), &json!({})),
        ];
        for (name, meaning) in [
            ("web", "one"),
            ("web:web", "one"),
            ("shop:api", "one"),
            ("shop:*", "2"),
            ("shop:", "2"),
            ("web:*", "1"),
            ("shop", "no process"),
            ("api", "no process"),
            ("shop:web", "no process"),
            ("nope:*", "no group"),
            ("api:*", "no group"),
        ] {
            let found = match named(&all, name) {
                Named::One(_) => "one".to_owned(),
                Named::Group(members) => members.len().to_string(),
                Named::NoProcess => "no process".to_owned(),
                Named::NoGroup => "no group".to_owned(),
            };
            assert_eq!(found, meaning, "{name}");
        }
    }

    #[test]
    fn lines_of_status() {
        let now = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
        let at = |seconds: i128| {
            json!(Timestamp::from_unix_nanos((1_800_000_000 - seconds) * 1_000_000_000))
        };
        let web = json!({ "command": "x" });
        for (row, line) in [
            (
                json!({ "state": "RUNNING", "pid": 123, "since": at(62) }),
                "RUNNING   pid 123, uptime 0:01:02",
            ),
            (
                json!({ "state": "RUNNING", "pid": 1, "since": at(90_061) }),
                "RUNNING   pid 1, uptime 1 day, 1:01:01",
            ),
            (
                json!({ "state": "RUNNING", "pid": 1, "since": at(900_000) }),
                "RUNNING   pid 1, uptime 10 days, 10:00:00",
            ),
            (
                json!({ "state": "RUNNING", "pid": 1, "since": at(-5) }),
                "RUNNING   pid 1, uptime 0:00:00",
            ),
            (json!({ "since": at(0) }), "STOPPED   Not started"),
            (
                json!({ "since": at(0), "exit": { "code": 0, "signal": null } }),
                "STOPPED   Jan 15 08:00 AM",
            ),
            (
                json!({ "state": "EXITED", "since": at(43_200), "exit": { "code": 0, "signal": null } }),
                "EXITED    Jan 14 08:00 PM",
            ),
            (
                json!({ "state": "FATAL", "spawnerr": "/no/such does not exist" }),
                "FATAL     can't find command '/no/such'",
            ),
            (
                json!({ "state": "FATAL", "spawnerr": "directory /no does not exist" }),
                "FATAL     directory /no does not exist",
            ),
            (
                json!({ "state": "BACKOFF", "exit": { "code": 1, "signal": null } }),
                "BACKOFF   Exited too quickly (process log may have details)",
            ),
            (json!({ "state": "FATAL" }), "FATAL     unknown error (try \"tail web\")"),
            (json!({ "state": "STARTING" }), "STARTING  "),
            (json!({ "state": "PENDING", "reason": "no worker" }), "PENDING   no worker"),
        ] {
            let one = process("web:0", web.clone(), &row);
            let lines = table(&[&one], now, &TimeZone::UTC);
            assert_eq!(lines, [format!("{:<33}{line}", "web")]);
        }
        let long = "a".repeat(40);
        let one = process(&format!("{long}:0"), web, &json!({}));
        assert_eq!(
            table(&[&one], now, &TimeZone::UTC),
            [format!("{long}   STOPPED   Not started")]
        );
    }

    #[test]
    fn what_is_available() {
        let spec = json!({ "command": "x", "priority": 5, "autostart": false });
        assert_eq!(
            process("web:0", spec, &json!({})).available(),
            "web                              in use    manual    5:5"
        );
    }
}
