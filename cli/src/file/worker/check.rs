//! What is wrong with a worker's file although every value can be read: it names what is not there,
//! or its keys do not go together.

use std::collections::BTreeMap;
use std::path::Path;

use dsbus_schema::program::Problem;
use dsbus_schema::worker::label::{self, LABELS_MAX};
use nix::unistd::{Uid, User};

use super::{Keys, Span};

/// Beginnings of addresses that children can reach a server by.
const SERVER_SCHEMES: [&str; 3] = ["http://", "https://", "unix://"];

/// Most open files that Linux allows a process (`sysctl_nr_open_max` of its sources, on 64 bits).
const FILES_MAX: u64 = 2_147_483_584;
/// Most processes that Linux can number (`PID_MAX_LIMIT`).
const PROCESSES_MAX: u64 = 4_194_304;

/// Finds a user by name, or by number.
pub(crate) fn user(text: &str) -> Result<User, String> {
    let found = match text.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(text),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("there is no user {text:?} on this machine")),
        Err(e) => Err(format!("the user {text:?} cannot be looked up: {}", e.desc())),
    }
}

/// Everything that is wrong, where `uid` reads the file.
pub(super) fn problems(keys: &Keys, given: &BTreeMap<String, Span>, uid: Uid) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut empty = keys.clone();
    for (key, path) in empty.paths() {
        if path.as_os_str().is_empty() {
            found.push(Problem::new(key, "is empty").hint("leave the key out for none"));
        }
    }
    let there = |path: &Path| !path.as_os_str().is_empty();
    for (key, path) in [("directory", &keys.directory), ("childlogdir", &keys.childlogdir)] {
        if let Some(path) = path.as_deref().filter(|path| there(path) && !path.is_dir()) {
            found.push(Problem::new(key, missing(path)));
        }
    }
    let syslog = keys.logfile.as_deref() == Some(Path::new("syslog"));
    if syslog {
        let why = "the worker's own log does not go to syslog (logs of programs may)";
        let problem = Problem::new("logfile", why);
        found.push(problem.hint("leave it out: standard error goes to the journal under systemd"));
    }
    for (key, path) in [("logfile", &keys.logfile), ("pidfile", &keys.pidfile)] {
        let Some(path) =
            path.as_deref().filter(|path| there(path) && !(syslog && key == "logfile"))
        else {
            continue;
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if path.is_dir() {
            found.push(Problem::new(key, format!("{} is a directory", path.display())));
        } else if !folder.is_dir() {
            found.push(Problem::new(key, missing(folder)));
        }
    }
    for (key, value, most, what) in [
        ("minfds", keys.minfds, FILES_MAX, "open files"),
        ("minprocs", keys.minprocs, PROCESSES_MAX, "processes"),
    ] {
        // Found now, and not when the worker is started.
        if value > most {
            let why = format!("{value} is more {what} than any Linux allows, which is {most}");
            found.push(Problem::new(key, why).hint("leave it out for the default"));
        }
    }
    found.extend(placing(keys));
    let wrong = keys.policy.problems();
    found.extend(
        wrong.into_iter().map(|(key, why)| Problem::new("policy", format!("{key}: {why}"))),
    );
    found.extend(together(keys, given));
    if let Some(name) = &keys.user {
        found.extend(user_problem(name, uid).map(|why| Problem::new("user", why)));
    }
    if let Some(url) = &keys.serverurl
        && !SERVER_SCHEMES.iter().any(|scheme| url.starts_with(scheme))
    {
        let why = format!("expected an address such as \"http://host:9001\", found {url:?}");
        found.push(Problem::new("serverurl", why));
    }
    if !["auto", "none"].contains(&keys.cgroup.as_str()) && !Path::new(&keys.cgroup).is_dir() {
        let problem = Problem::new("cgroup", missing(Path::new(&keys.cgroup)));
        found.push(problem.hint("expected \"auto\", \"none\", or a directory of cgroup v2"));
    }
    found
}

/// Keys that programs choose the worker by.
fn placing(keys: &Keys) -> Vec<Problem> {
    let wrong = keys.labels.iter().filter_map(|(name, value)| label::check(name, value).err());
    let mut found: Vec<Problem> =
        wrong.map(|why| Problem::new("labels", why.to_string())).collect();
    if keys.labels.len() > LABELS_MAX {
        found.push(Problem::new("labels", format!("has more than {LABELS_MAX} labels")));
    }
    let hint = "leave it out for what the machine has";
    if keys.capacity.cpu.is_some_and(|cpu| cpu <= 0.0) {
        found.push(Problem::new("capacity", "cpu must be greater than 0").hint(hint));
    }
    if keys.capacity.memory.is_some_and(|memory| memory.0 == 0) {
        found.push(Problem::new("capacity", "memory must be greater than 0").hint(hint));
    }
    found
}

/// Keys that do not go together.
fn together(keys: &Keys, given: &BTreeMap<String, Span>) -> Vec<Problem> {
    let mut found = Vec::new();
    if let (Some(name), Some(identifier)) = (&keys.name, &keys.identifier)
        && name != identifier
    {
        let why = format!("is Supervisor's word for name, which is {name} here");
        found.push(Problem::new("identifier", why).hint("keep one of the two"));
    }
    if keys.logfile.is_none() {
        if !keys.nodaemon {
            let why = "a worker in the background has no standard error to log to";
            found.push(Problem::new("nodaemon", why).hint("set logfile, too"));
        }
        if keys.silent {
            let why = "without a logfile, nobody would hear what the worker says";
            found.push(Problem::new("silent", why).hint("set logfile, too"));
        }
    }
    // What is wrong with the value of a key is told of that key alone.
    found.retain(|problem| given.contains_key(&problem.key));
    found
}

fn user_problem(name: &str, uid: Uid) -> Option<String> {
    match user(name) {
        Err(why) => Some(why),
        Ok(user) if user.uid == uid || uid.is_root() => None,
        Ok(user) => Some(format!(
            "only root can become {}; this is the user with the number {}",
            user.name, uid
        )),
    }
}

fn missing(path: &Path) -> String {
    if path.exists() {
        format!("{} is no directory", path.display())
    } else {
        format!("there is no directory {}", path.display())
    }
}
