//! A daemon in the background, where nothing like systemd is: start, stop, restart, status.
//!
//! A daemon holds a lock on the file with its process id. So a file that is not locked is stale,
//! whichever process has its number by now; and one that is locked names the process that is meant.

mod holder;
mod launch;
mod reload;
mod whose;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::FleetName;
use dsbus_schema::lenient::Span;
use dsbus_starter::{Stage, Starter};
use dsbus_supervisor::{WORKER_LOG, known_as};

use super::pidfile::PidFile;
use crate::args::{DaemonAct, OfWorker, Own, Worker};
use crate::config::{Config, Surroundings};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use holder::{Found, Holder};
pub(super) use whose::Whose;

/// A daemon that may run in the background.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    /// What it is, as its verb is called: `worker`.
    pub(super) what: &'static str,
    /// Which of them is meant.
    pub(super) whose: Whose,
    /// The labels that a worker was given here.
    pub(super) labels: Vec<(String, String)>,
    /// The file with its process id, which it locks.
    pub(super) pidfile: PathBuf,
    /// Where to read what it says.
    pub(super) log: PathBuf,
    /// Options that it has besides those that were given.
    pub(super) more: Vec<OsString>,
}

/// What to do about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Start it; so long it may take.
    Start(Span),
    /// Stop it.
    Stop(Span),
    /// Stop and start it.
    Restart(Span),
    /// Let it take over what is new.
    Reload(Span),
    /// Look.
    Status,
}

impl Act {
    /// Of a command line: what to do, and the options of the daemon.
    pub(super) fn of<O: clap::Args>(act: DaemonAct<O>) -> (Act, O) {
        match act {
            DaemonAct::Start(of) => (Act::Start(of.timeout), of.options),
            DaemonAct::Stop(of) => (Act::Stop(of.timeout), of.options),
            DaemonAct::Restart(of) => (Act::Restart(of.timeout), of.options),
            DaemonAct::Status(of) => (Act::Status, of.options),
        }
    }

    /// The same of a worker.
    pub(super) fn of_worker(act: OfWorker) -> (Act, Worker) {
        match act {
            OfWorker::Daemon(act) => Act::of(act),
            OfWorker::Reload(of) => (Act::Reload(of.timeout), of.options),
        }
    }

    /// Whether a daemon is started.
    pub(super) fn starts(self) -> bool {
        match self {
            Act::Start(_) | Act::Restart(_) => true,
            Act::Stop(_) | Act::Reload(_) | Act::Status => false,
        }
    }
}

impl Daemon {
    /// One that keeps its process id and its log where it is told to, or where such things are.
    ///
    /// # Errors
    /// When there is no place for them.
    pub(super) fn new(
        what: &'static str,
        name: Option<&str>,
        own: &Own,
        config: &Config,
    ) -> Result<Daemon, Failure> {
        let (fleet, around) = (&config.fleet, &config.around);
        let named = file_name(what, fleet, name);
        let (run, log) = directories(around, nix::unistd::geteuid().is_root())?;
        let place = |given: &Option<PathBuf>, directory: PathBuf, end: &str| match given {
            Some(path) => around.directory.join(path),
            None => directory.join(format!("{named}.{end}")),
        };
        let pidfile = place(&own.pidfile, run, "pid");
        let log = place(&own.logfile, log, "log");
        let given = [("--pidfile", &own.pidfile, &pidfile), ("--logfile", &own.logfile, &log)];
        let more = given.iter().filter(|(_, given, _)| given.is_none());
        let more = more.flat_map(|(option, _, path)| [(*option).into(), (*path).into()]).collect();
        let whose = Whose { fleet: Some(fleet.clone()), name: name.map(str::to_owned) };
        Ok(Daemon { what, whose, labels: Vec::new(), pidfile, log, more })
    }

    /// Does it.
    ///
    /// # Errors
    /// When it cannot be done, or is not done in time.
    pub(super) fn act(&self, act: Act) -> Result<Code, Failure> {
        let what = self.what;
        let found = holder::find(&self.pidfile)?;
        if let Found::Runs(holder) = &found {
            let runs = self.runs(holder.pid);
            if runs.is_another_than(&self.whose) {
                return self.anothers(act, &runs, holder.pid);
            }
        }
        match (act, found) {
            (Act::Start(_), Found::Runs(holder)) => {
                if !self.labels.is_empty() && self.labels != whose::labels(holder.pid) {
                    let why = format!("the {what} runs (pid {}), with other labels", holder.pid);
                    let hint = "dsbus worker restart, with the same options, gives it these";
                    return Err(Failure::failed(why).hint(hint));
                }
                output::success(format_args!("the {what} runs already (pid {})", holder.pid))?;
                Ok(Code::Done)
            }
            (
                Act::Start(limit) | Act::Restart(limit),
                Found::Nobody | Found::Stale(_) | Found::Foreign(_),
            ) => launch::run(self, limit),
            (Act::Restart(limit), Found::Runs(holder)) => {
                let again = self.with_labels_of(holder.pid);
                self.stop(&holder, limit)?;
                launch::run(&again, limit)
            }
            (Act::Reload(limit), Found::Runs(holder)) => reload::run(self, &holder, limit),
            (Act::Reload(_), Found::Nobody | Found::Stale(_) | Found::Foreign(_)) => {
                Err(Failure::failed(format!("the {what} does not run: there is nothing to reload"))
                    .hint(format!("nobody holds {}", self.pidfile.display())))
            }
            (Act::Stop(limit), Found::Runs(holder)) => {
                self.stop(&holder, limit)?;
                Ok(Code::Done)
            }
            (Act::Stop(_), Found::Nobody | Found::Stale(_) | Found::Foreign(_)) => {
                output::success(format_args!("the {what} does not run"))?;
                Ok(Code::Done)
            }
            (Act::Status, Found::Runs(holder)) => {
                let log = self.log_of(holder.pid);
                let log = log.map(|log| format!("; its log is {}", log.display()));
                let log = log.unwrap_or_default();
                output::line(format_args!("the {what} runs (pid {}){log}", holder.pid))?;
                Ok(Code::Done)
            }
            (Act::Status, Found::Foreign(pid)) => {
                let path = self.pidfile.display();
                output::line(format_args!(
                    "the {what} does not run: pid {pid} in {path} is another process's by now"
                ))?;
                Ok(Code::NotRunning)
            }
            (Act::Status, Found::Stale(pid)) => {
                let path = self.pidfile.display();
                output::line(format_args!(
                    "the {what} does not run: pid {pid} in {path} is of one that has ended"
                ))?;
                Ok(Code::NotRunning)
            }
            (Act::Status, Found::Nobody) => {
                let path = self.pidfile.display();
                output::line(format_args!("the {what} does not run: nobody holds {path}"))?;
                Ok(Code::NotRunning)
            }
        }
    }

    /// What is said where another daemon has the file.
    fn anothers(&self, act: Act, runs: &Whose, pid: i32) -> Result<Code, Failure> {
        let (what, path) = (self.what, self.pidfile.display());
        let (so, hint) = if what == "worker" {
            let path = self.pidfile.parent().unwrap_or(Path::new("/")).display();
            (
                format!("{runs} runs in {path} (pid {pid})"),
                "give each worker a directory of its own",
            )
        } else {
            let so = format!("{path} is the pidfile of another {what} (pid {pid}): {runs}");
            (so, "name the one that is meant, or a pidfile of its own")
        };
        match act {
            Act::Status => {
                output::line(format_args!("the {what} does not run: {so}"))?;
                Ok(Code::NotRunning)
            }
            Act::Start(_) | Act::Stop(_) | Act::Restart(_) | Act::Reload(_) => {
                Err(Failure::failed(so).hint(format!("nothing was done; {hint}")))
            }
        }
    }

    /// Who runs there: the directory of a worker knows whose it is, also where a file names it.
    fn runs(&self, pid: i32) -> Whose {
        let told = Whose::of(pid);
        if self.what != "worker" {
            return told;
        }
        match self.pidfile.parent().and_then(known_as) {
            Some((fleet, name)) => Whose { fleet: Some(fleet), name: Some(name.to_string()) },
            None => Whose { name: told.name.or_else(|| self.whose.name.clone()), ..told },
        }
    }

    /// The same with the labels of the one that runs, where none are given here.
    fn with_labels_of(&self, pid: i32) -> Daemon {
        let mut again = self.clone();
        if self.what == "worker" && self.labels.is_empty() {
            for (name, value) in whose::labels(pid) {
                again.more.extend(["--label".into(), format!("{name}={value}").into()]);
            }
        }
        again
    }

    /// Where one that runs logs to, as far as it can be seen: it may have been told another file than
    /// whoever asks.
    fn log_of(&self, pid: i32) -> Option<PathBuf> {
        if self.what == "worker" {
            // A link there leads to the one that its file named.
            let here = self.pidfile.with_file_name(WORKER_LOG);
            return Some(std::fs::read_link(&here).unwrap_or(here));
        }
        whose::log(pid, &self.log)
    }

    fn stop(&self, holder: &Holder, limit: Span) -> Result<(), Failure> {
        let (what, pid) = (self.what, holder.pid);
        holder.terminate().map_err(|e| {
            Failure::failed(format!("the {what} (pid {pid}) cannot be told to stop: {e}"))
        })?;
        if holder.ended_within(limit.0)? {
            output::success(format_args!("the {what} (pid {pid}) has stopped"))?;
            return Ok(());
        }
        let why = format!("the {what} (pid {pid}) was told to stop, and still runs after {limit}");
        let again = if what == "worker" { "; told again, it kills what is left" } else { "" };
        let log = self.log_of(pid).unwrap_or_else(|| self.log.clone());
        Err(Failure::new(Code::TimedOut, why).hint(format!("see {}{again}", log.display())))
    }
}

/// What the files of a daemon are called: those of the default fleet carry none, and no name of a
/// fleet has a dot.
fn file_name(what: &str, fleet: &FleetName, name: Option<&str>) -> String {
    let fleet = if fleet.is_default() { String::new() } else { format!("{fleet}.") };
    let name = name.map(|name| format!("-{name}")).unwrap_or_default();
    format!("{fleet}{what}{name}")
}

/// Where the files of daemons are: process ids, and logs.
fn directories(around: &Surroundings, root: bool) -> Result<(PathBuf, PathBuf), Failure> {
    if root {
        return Ok(("/run/dsbus".into(), "/var/log/dsbus".into()));
    }
    let home = around.variable("HOME").map(|home| Path::new(home).join(".local/state/dsbus"));
    let state = home.ok_or_else(|| {
        Failure::usage("there is no HOME for the files of a daemon")
            .hint("name them: --pidfile, --logfile")
    })?;
    let run = around.variable("XDG_RUNTIME_DIR").map(|run| Path::new(run).join("dsbus"));
    Ok((run.unwrap_or_else(|| state.clone()), state))
}

/// Begins as a daemon: its log goes where it is told to, and its process id is written down, until what
/// this gives is dropped.
///
/// # Errors
/// When one of the files cannot be written, or is that of a daemon that lives.
pub(super) fn begin(own: &Own, what: &str) -> Result<Option<Written>, Failure> {
    for path in [&own.logfile, &own.pidfile].into_iter().flatten() {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|e| {
                Failure::failed(format!("failed to make {}: {e}", directory.display()))
            })?;
        }
    }
    if let Some(path) = &own.logfile {
        log_into(path)?;
    }
    let pidfile = own.pidfile.as_deref().map(|path| PidFile::write(path, what));
    Ok(pidfile.transpose()?.map(|file| Written(Some(file))))
}

/// A pidfile that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Written(Option<PidFile>);

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            file.remove();
        }
    }
}

/// From now on what would go to standard error is appended to this file.
fn log_into(path: &Path) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| {
        Failure::failed(format!("failed to open the logfile {}: {e}", path.display()))
    };
    let file = File::options().create(true).append(true).open(path).map_err(wrong)?;
    nix::unistd::dup2_stderr(&file).map_err(|e| wrong(e.into()))
}

/// Tells whoever started this daemon why it ends.
pub(super) fn tell_starter(failure: &Failure) {
    let hint = failure.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    if !failure.message.is_empty() {
        Starter::here().stands(Stage::Stopping, &format!("{}{hint}", failure.message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_user_may_write() {
        let around = |variables: &[(&str, &str)]| Surroundings {
            variables: variables.iter().map(|(n, v)| (n.into(), v.into())).collect(),
            directory: "/here".into(),
            machine: None,
        };
        let paths = |run: &str, log: &str| (PathBuf::from(run), PathBuf::from(log));
        let home = ("HOME", "/home/ann");
        assert_eq!(directories(&around(&[]), true).unwrap(), paths("/run/dsbus", "/var/log/dsbus"));
        let state = "/home/ann/.local/state/dsbus";
        assert_eq!(directories(&around(&[home]), false).unwrap(), paths(state, state));
        let run = [home, ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(directories(&around(&run), false).unwrap(), paths("/run/user/7/dsbus", state));
        assert!(directories(&around(&[]), false).is_err());
        let own = Own { pidfile: Some("s.pid".into()), logfile: None };
        let config = Config::resolve(&crate::args::Globals::default(), around(&run)).unwrap();
        let daemon = Daemon::new("scheduler", Some("s1"), &own, &config).unwrap();
        assert_eq!(daemon.pidfile, Path::new("/here/s.pid"));
        assert!(daemon.log.ends_with("dsbus/scheduler-s1.log"), "{:?}", daemon.log);
        assert_eq!(daemon.more, [OsString::from("--logfile"), daemon.log.clone().into()]);
    }

    #[test]
    fn each_fleet_and_each_name_has_files_of_its_own() {
        let of = |fleet: &str, name| file_name("scheduler", &fleet.parse().unwrap(), name);
        assert_eq!(of("default", None), "scheduler");
        assert_eq!(of("default", Some("s1")), "scheduler-s1");
        assert_eq!(of("eu", None), "eu.scheduler");
        assert_eq!(of("eu", Some("s1")), "eu.scheduler-s1");
    }
}
