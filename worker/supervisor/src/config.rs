//! What a worker needs to know before it starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::program::{Mode, Rlimit};
use dsbus_schema::worker::Labels;

use crate::handover::{Handover, Itself};
use crate::output::LogFile;
use crate::policy::Policy;

/// What the agent is: a process that finds its socket as descriptor [`crate::AGENT_FD`].
#[derive(Clone, Default)]
pub struct AgentCommand {
    /// Its command line, which everybody can see.
    pub argv: Vec<OsString>,
    /// What it has in its environment beside what the supervisor has: secrets, too.
    pub environment: Vec<(String, String)>,
    /// It is this very executable: an agent is of the same version as its supervisor.
    pub is_itself: bool,
}

impl std::fmt::Debug for AgentCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCommand").field("argv", &self.argv).finish_non_exhaustive()
    }
}

/// Configuration of a worker, resolved.
#[derive(Debug)]
pub struct Config {
    /// Name.
    pub worker: WorkerName,
    /// Fleet, which children are told.
    pub fleet: FleetName,
    /// State directory.
    pub directory: PathBuf,
    /// What the agent is.
    pub agent: AgentCommand,
    /// What its owner chose for all children.
    pub settings: Settings,
    /// Answers the signals that are about the worker itself.
    pub owner: Box<dyn Owner>,
    /// The worker's own log file, which the agent's words are written to as well; without one the
    /// agent has the worker's standard error.
    pub log: Option<Arc<Mutex<LogFile>>>,
    /// Where the agent's words go besides.
    pub echo: Option<Echo>,
    /// How this program was started, to be replaced by another version; an empty path is never.
    pub itself: Itself,
    /// What another version of the worker has left, in whose place this one comes.
    pub handover: Option<Handover>,
    /// Why another version that took over has given the place back.
    pub given_back: Option<String>,
}

/// Whoever watches what a log is given. It never waits, and what it cannot take is lost.
pub struct Echo(Box<dyn Write + Send>);

impl Echo {
    /// Of a writer that never waits.
    pub fn new(writer: impl Write + Send + 'static) -> Echo {
        Echo(Box::new(writer))
    }

    pub(crate) fn say(&mut self, words: &[u8]) {
        // The log has it; whoever watches may have gone away.
        let _ = self.0.write_all(words);
    }
}

impl std::fmt::Debug for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Echo")
    }
}

/// What only whoever runs the worker can do: it read the configuration, and opened the log.
pub trait Owner: std::fmt::Debug {
    /// SIGHUP: reads the configuration again. What is not about children takes effect by itself.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays.
    fn reload(&mut self) -> Result<Settings, String>;

    /// Another version takes the worker's place: what its owner is to be told, and the descriptors
    /// that it finds open.
    fn hand_over(&self) -> (serde_json::Value, Vec<RawFd>) {
        (serde_json::Value::Null, Vec::new())
    }

    /// SIGUSR2: opens the worker's own log again.
    fn reopen_log(&mut self);
}

/// What the owner of a machine chose for its worker and all children (`worker.toml`).
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the owner says of the worker, for programs to choose by.
    pub labels: Labels,
    /// How much its instances may declare in all.
    pub capacity: CapacityChoice,
    /// Told to stop by SIGTERM, the worker first gives its instances away, for so long at most;
    /// `None` is not at all.
    pub drain: Option<Duration>,
    /// Variables of every child; those of its program win.
    pub environment: BTreeMap<String, String>,
    /// What children find as `SUPERVISOR_SERVER_URL`, unless their program has a `serverurl`.
    pub serverurl: Option<String>,
    /// Whether escape sequences are left out of logged output.
    pub strip_ansi: bool,
    /// File mode mask of children whose program has none; else they have the worker's.
    pub umask: Option<Mode>,
    /// Directory of AUTO logs; `None` is the directory of the instance.
    pub childlogdir: Option<PathBuf>,
    /// Whether AUTO logs in `childlogdir` of earlier runs are kept.
    pub nocleanup: bool,
    /// Where children are put in cgroups.
    pub cgroup: CgroupChoice,
    /// Socket of the machine's syslog.
    pub syslog: PathBuf,
    /// Command that compresses its standard input to its standard output (`gzip -c`). Without one,
    /// rotated logs stay as they are.
    pub compressor: Vec<OsString>,
    /// Limit of open files that children get. The worker's own may be greater, since it needs some
    /// for each child; `None` is the worker's own.
    pub nofile: Option<Rlimit>,
    /// Limit of core files that children get. The worker has none of its own, since its memory holds
    /// their secrets; `None` is the worker's own.
    pub core: Option<Rlimit>,
    /// What runs event listeners; without it the worker cannot.
    pub bridge: Option<Bridge>,
    /// What programs may not do here.
    pub policy: Policy,
}

/// What runs event listeners of Supervisor's kind, and where it finds the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its first words (`dsbus listen`); what to listen to, and the listener, come after them.
    pub command: Vec<String>,
    /// Variables that it has and that no program changes.
    pub environment: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            labels: Labels::new(),
            capacity: CapacityChoice::default(),
            drain: None,
            environment: BTreeMap::new(),
            serverurl: None,
            strip_ansi: false,
            umask: None,
            childlogdir: None,
            nocleanup: false,
            cgroup: CgroupChoice::Auto,
            syslog: PathBuf::from("/dev/log"),
            compressor: Vec::new(),
            nofile: None,
            core: None,
            bridge: None,
            policy: Policy::default(),
        }
    }
}

/// How much the instances of a worker may declare in all; what is `None` is what the machine has and
/// the worker may use of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CapacityChoice {
    /// Processors, in cores.
    pub cpu: Option<f64>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
}

/// Where the cgroups of children are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupChoice {
    /// Below the worker's own cgroup, if it may write there; else there are none.
    #[default]
    Auto,
    /// Nowhere.
    None,
    /// Below this directory of a cgroup v2 file system.
    Path(PathBuf),
}
