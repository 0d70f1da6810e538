//! Who answers the signals about the worker itself: HUP reads its file again, USR2 opens its log
//! again.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsbus_schema::program::{Mode, Rlimit};
use dsbus_supervisor::{Bridge, CapacityChoice, CgroupChoice, LogFile, Owner, Settings};
use nix::sys::stat::{self, umask};
use nix::unistd::User;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{choice, rotation};
use crate::args;
use crate::commands::pidfile::PidFileLeft;
use crate::config::Surroundings;
use crate::file::Diagnostic;
use crate::file::worker::{Keys, WorkerFile};
use crate::logging::Level;

/// Keys of which a worker that runs keeps the old value.
const AT_START: [&str; 11] = [
    "dir",
    "directory",
    "identifier",
    "minfds",
    "minprocs",
    "name",
    "nodaemon",
    "pidfile",
    "signers_file",
    "silent",
    "user",
];

/// What does not change while the worker runs.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    /// This binary, as it was at the start.
    pub(super) binary: PathBuf,
    /// Limit of open files of children, where the worker's own was raised.
    pub(super) nofile: Option<Rlimit>,
    /// Limit of core files of children, where the worker's own was lowered.
    pub(super) core: Option<Rlimit>,
    /// Whom the worker became.
    pub(super) account: Option<User>,
    /// What runs event listeners.
    pub(super) bridge: Option<Bridge>,
    /// The locked pidfile.
    pub(super) pidfile: Option<PidFileLeft>,
}

impl Fixed {
    /// What the file and the command line say of the worker and for all children.
    pub(super) fn settings(&self, args: &args::Worker, keys: &Keys) -> Settings {
        let mut environment = keys.environment.clone();
        if let Some(user) = &self.account {
            // The worker's own variables are still root's.
            let home = user.dir.display().to_string();
            for (key, value) in [("HOME", &home), ("USER", &user.name), ("LOGNAME", &user.name)] {
                environment.entry(key.to_owned()).or_insert_with(|| value.clone());
            }
        }
        Settings {
            labels: choice::labels(args, keys),
            capacity: CapacityChoice {
                cpu: keys.capacity.cpu,
                memory: keys.capacity.memory.map(|memory| memory.0),
            },
            drain: (args.drain || keys.drain).then_some(keys.drain_timeout.0),
            environment,
            serverurl: keys.serverurl.clone(),
            strip_ansi: keys.strip_ansi,
            umask: keys.umask,
            childlogdir: keys.childlogdir.clone(),
            nocleanup: keys.nocleanup,
            cgroup: match keys.cgroup.as_str() {
                "auto" => CgroupChoice::Auto,
                "none" => CgroupChoice::None,
                path => CgroupChoice::Path(path.into()),
            },
            syslog: keys.syslog.clone(),
            compressor: vec![self.binary.clone().into(), "gzip".into()],
            nofile: self.nofile,
            core: self.core,
            bridge: self.bridge.clone(),
            policy: keys.policy.clone(),
        }
    }
}

/// What the owner of a worker leaves to another version of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Left {
    /// See [`Fixed`].
    pub(super) nofile: Option<Rlimit>,
    /// See [`Fixed`].
    #[serde(default)]
    pub(super) core: Option<Rlimit>,
    /// Name of the user that the worker became.
    pub(super) account: Option<String>,
    /// The locked pidfile.
    pub(super) pidfile: Option<PidFileLeft>,
}

/// The owner of a worker that runs.
#[derive(Debug)]
pub(super) struct Standing {
    around: Surroundings,
    args: args::Worker,
    file: WorkerFile,
    fixed: Fixed,
    level: Level,
    log: Option<Arc<Mutex<LogFile>>>,
}

impl Standing {
    pub(super) fn new(
        around: &Surroundings,
        args: args::Worker,
        file: WorkerFile,
        fixed: Fixed,
        level: Level,
        log: Option<Arc<Mutex<LogFile>>>,
    ) -> Standing {
        Standing { around: around.clone(), args, file, fixed, level, log }
    }

    /// Lets the new keys take effect that are about the worker itself.
    fn adopt(&mut self, new: WorkerFile) {
        let changed = self.file.keys.changed(&new.keys);
        let is = |key: &str| changed.iter().any(|changed| changed == key);
        let keys = &new.keys;
        let mut later: Vec<&str> = AT_START.into_iter().filter(|key| is(key)).collect();
        if is("loglevel") && self.around.log().is_none() {
            self.level.set(keys.loglevel.filter());
        }
        match (&self.log, &keys.logfile) {
            (Some(log), Some(path)) if changed.iter().any(|key| key.starts_with("logfile")) => {
                *locked(log) = LogFile::open(path.clone(), rotation(keys, path));
            }
            (Some(_), Some(_)) | (None, None) => {}
            (Some(_), None) | (None, Some(_)) => later.push("logfile"),
        }
        match keys.umask {
            Some(mode) => set_umask(mode),
            None if is("umask") => later.push("umask"),
            None => {}
        }
        let name =
            new.path.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        match changed.as_slice() {
            [] => tracing::info!("{name} was read again: nothing has changed"),
            changed => tracing::info!("{name} was read again; changed: {}", changed.join(", ")),
        }
        if !later.is_empty() {
            let keys = later.join(", ");
            tracing::warn!("takes effect when the worker is started anew: {keys}");
        }
        self.file = new;
    }
}

impl Owner for Standing {
    fn reload(&mut self) -> Result<Settings, String> {
        let new = choice::read(&self.args, &self.around).map_err(|found| {
            let told: Vec<String> = found.iter().map(Diagnostic::one_line).collect();
            format!("the worker's file is not read again, the old one stays:\n{}", told.join("\n"))
        })?;
        // A file that is being replaced is gone for a moment, in which everything would be allowed.
        if let (Some(path), None) = (&self.file.path, &new.path) {
            return Err(format!(
                "the worker's file is not read again, the old one stays:\n{} is not there; to go on \
                 without one, leave it empty",
                path.display()
            ));
        }
        self.adopt(new);
        Ok(self.fixed.settings(&self.args, &self.file.keys))
    }

    fn hand_over(&self) -> (Value, Vec<RawFd>) {
        let Fixed { nofile, core, account, pidfile, .. } = &self.fixed;
        let account = account.as_ref().map(|user| user.name.clone());
        let numbers = pidfile.iter().map(|pidfile| pidfile.lock).collect();
        let left = Left { nofile: *nofile, core: *core, account, pidfile: pidfile.clone() };
        (serde_json::to_value(left).unwrap_or_default(), numbers)
    }

    fn reopen_log(&mut self) {
        if let Some(log) = &self.log {
            locked(log).reopen();
            tracing::info!("the log was opened again");
        }
    }
}

/// A log is whole after every write, also one that panicked.
fn locked(log: &Mutex<LogFile>) -> MutexGuard<'_, LogFile> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets which permission bits files do not get.
pub(super) fn set_umask(mode: Mode) {
    umask(stat::Mode::from_bits_truncate(mode.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(account: Option<User>) -> Fixed {
        Fixed {
            binary: "/usr/bin/dsbus".into(),
            nofile: None,
            core: None,
            account,
            bridge: None,
            pidfile: None,
        }
    }

    fn args() -> args::Worker {
        match args::parse(["dsbus", "worker"]).unwrap().verb {
            args::Verb::Worker(args) => args.options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_that_the_worker_became_is_told_to_children_unless_the_file_says_otherwise() {
        let account = User::from_uid(nix::unistd::Uid::from_raw(0)).unwrap().unwrap();
        let mut keys = Keys::default();
        keys.environment.insert("HOME".to_owned(), "/srv".to_owned());
        let environment = fixed(Some(account)).settings(&args(), &keys).environment;
        let pairs = [("HOME", "/srv"), ("LOGNAME", "root"), ("USER", "root")];
        assert_eq!(environment, pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(fixed(None).settings(&args(), &Keys::default()).environment.is_empty());
    }

    #[test]
    fn a_file_that_says_nothing_is_what_a_worker_without_one_has() {
        let settings = fixed(None).settings(&args(), &Keys::default());
        let compressor = vec!["/usr/bin/dsbus".into(), "gzip".into()];
        assert_eq!(settings, Settings { compressor, ..Settings::default() });
    }

    #[test]
    fn a_file_that_is_gone_takes_no_policy_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        let words = ["dsbus", "worker", "--dir", "."];
        let args = match args::parse(words).unwrap().verb {
            args::Verb::Worker(args) => args.options,
            other => panic!("{other:?}"),
        };
        let around = Surroundings { directory: directory.path().into(), ..Surroundings::default() };
        std::fs::write(&path, "[policy]\nroot = false\n").unwrap();
        let file = choice::read(&args, &around).unwrap();
        let level = Level::idle();
        let mut standing = Standing::new(&around, args, file, fixed(None), level, None);
        std::fs::remove_file(&path).unwrap();
        let why = standing.reload().unwrap_err();
        assert!(why.contains("worker.toml is not there"), "{why}");
        assert!(!standing.file.keys.policy.root);
        std::fs::write(&path, "").unwrap();
        assert!(standing.reload().unwrap().policy.is_open(), "an empty one says so");
        std::fs::write(&path, "signers_file = \"s\"\n").unwrap();
        assert!(standing.reload().is_ok());
    }

    #[test]
    fn every_key_that_is_no_setting_and_not_adopted_waits_for_the_next_start() {
        // What a reload obeys: what is in the settings, and what `adopt` looks at.
        let obeyed = [
            "capacity",
            "cgroup",
            "childlogdir",
            "drain",
            "drain_timeout",
            "environment",
            "labels",
            "logfile",
            "logfile_backups",
            "logfile_maxbytes",
            "loglevel",
            "nocleanup",
            "policy",
            "serverurl",
            "strip_ansi",
            "syslog",
            "umask",
        ];
        let mut all: Vec<&str> = obeyed.into_iter().chain(AT_START).collect();
        all.sort_unstable();
        let names = Keys::names();
        assert_eq!(all, names.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn what_waits_for_the_next_start_is_a_key() {
        assert!(AT_START.iter().all(|key| Keys::names().contains(*key)));
    }
}
