//! `dsbus worker`: the supervisor. It is one thread, and no runtime is around it: the agent that
//! it starts is the one that speaks on the bus.

use std::ffi::OsString;
use std::path::PathBuf;

use dsbus_schema::ids::{NAME_LEN_MAX, WorkerName};
use dsbus_supervisor::{Owner, Settings};

use crate::args;
use crate::config::{Config, Surroundings};
use crate::exit_code::Code;
use crate::failure::Failure;

/// Runs a worker until it is told to stop.
///
/// # Errors
/// When it cannot start: its directory is in use, or cannot be written.
pub(super) fn run(config: &Config, args: args::Worker) -> Result<Code, Failure> {
    let worker = match args.name {
        Some(name) => name,
        None => host_name()?,
    };
    let directory = match args.dir {
        // The supervisor runs on from `/`, so that it holds no file system.
        Some(dir) => config.around.directory.join(dir),
        None => default_directory(&config.around, &worker, nix::unistd::geteuid().is_root())?,
    };
    let mut agent: Vec<OsString> = vec![std::env::current_exe()?.into()];
    agent.extend(config.as_arguments());
    agent.extend(["agent", "--fd", &dsbus_supervisor::AGENT_FD.to_string()].map(OsString::from));
    let fleet = config.fleet.clone();
    let settings = Settings::default();
    let config = dsbus_supervisor::Config {
        worker,
        fleet,
        directory,
        agent,
        settings,
        owner: Box::new(Unchanging),
        log: None,
    };
    match dsbus_supervisor::run(config) {
        Ok(0) => Ok(Code::Done),
        Ok(_) => Err(Failure::told(Code::Failed)),
        Err(e) => Err(Failure::failed(format!("the worker ends: {e}"))),
    }
}

/// Keeps its settings, and has no log.
#[derive(Debug)]
struct Unchanging;

impl Owner for Unchanging {
    fn reload(&mut self) -> Result<Settings, String> {
        Ok(Settings::default())
    }
    fn reopen_log(&mut self) {}
}

fn host_name() -> Result<WorkerName, Failure> {
    let host = nix::unistd::gethostname().map_err(std::io::Error::from)?;
    WorkerName::parse(&legal(&host.to_string_lossy())).map_err(|e| {
        Failure::usage(format!("the host's name cannot be a worker's: {e}"))
            .hint("give one: --name")
    })
}

/// A host's name as a worker's: what is before the first dot, other characters as `-`.
fn legal(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    first.trim_start_matches('_').chars().map(legal).take(NAME_LEN_MAX).collect()
}

fn default_directory(
    around: &Surroundings,
    worker: &WorkerName,
    root: bool,
) -> Result<PathBuf, Failure> {
    if root {
        return Ok(PathBuf::from("/var/lib/dsbus").join(worker.as_str()));
    }
    let home = around.variable("HOME").ok_or_else(|| {
        Failure::usage("there is no HOME for the worker's state").hint("give a directory: --dir")
    })?;
    Ok(PathBuf::from(home).join(".local/state/dsbus").join(worker.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_workers() {
        for (host, name) in
            [("db1", "db1"), ("db1.example.org", "db1"), ("_a b", "a-b"), ("größe", "gr--e")]
        {
            assert_eq!(legal(host), name);
        }
    }

    #[test]
    fn state_is_kept_where_the_user_may_write() {
        let name = WorkerName::parse("w1").unwrap();
        let around = Surroundings {
            variables: [("HOME".into(), "/home/ann".into())].into(),
            directory: "/".into(),
        };
        let directory = |root| default_directory(&around, &name, root).unwrap();
        assert_eq!(directory(true), PathBuf::from("/var/lib/dsbus/w1"));
        assert_eq!(directory(false), PathBuf::from("/home/ann/.local/state/dsbus/w1"));
        assert!(default_directory(&Surroundings::default(), &name, false).is_err());
    }
}
