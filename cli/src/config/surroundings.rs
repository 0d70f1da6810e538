//! What the process finds around it: its environment, and its directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::file::worker::LogLevel;

/// What is logged unless said otherwise.
const LOG_DEFAULT: &str = LogLevel::Info.filter();
/// What to log.
pub(crate) const LOG: &str = "DSBUS_LOG";

/// What holds on a machine where nobody says anything else: what its daemons go by.
const MACHINE: &str = "/etc/dsbus/dsbus.toml";

/// What the process finds around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Environment variables.
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// Current directory.
    pub(crate) directory: PathBuf,
    /// Settings of the machine.
    pub(crate) machine: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn here() -> Surroundings {
        Surroundings {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            machine: Some(PathBuf::from(MACHINE)),
        }
    }

    /// A variable that is set, is text, and is not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let text = self.variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The nearest file of this relative path, here or in a parent directory.
    pub(crate) fn upward(&self, relative: &str) -> Option<PathBuf> {
        self.directory.ancestors().map(|dir| dir.join(relative)).find(|path| path.is_file())
    }

    /// Directories in which programs are looked for.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        self.variables
            .get(std::ffi::OsStr::new("PATH"))
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default()
    }

    /// What to log: `DSBUS_LOG`, else `RUST_LOG`; `None` when neither is set.
    pub(crate) fn log(&self) -> Option<&str> {
        self.variable(LOG).or_else(|| self.variable("RUST_LOG"))
    }

    /// What a daemon logs, where the environment does not say it.
    pub(crate) fn daemon_log<'a>(&'a self, otherwise: Option<&'a str>) -> &'a str {
        self.log().or(otherwise).unwrap_or(LOG_DEFAULT)
    }
}
