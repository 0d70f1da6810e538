//! The declaration itself: every key and its default.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::command::{self, Command};
use super::{
    AutoRestart, Capability, DependsOn, EnvironmentValue, EventListener, ExtraFile, Hook, Kind,
    LabelRule, Limits, LogTargets, Mode, OnFatal, OnWorkerLoss, Probe, Resources, Retries, Rlimit,
    Schedule, Signal, SocketAddress, StopSignals, Strategy, Update, place,
};
use crate::ids::{ProgramName, WorkerName};
use crate::lenient::{self, Size, Span};

/// What a person declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["command"]))]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that people switch on or off")]
pub struct ProgramSpec {
    /// What to run. Required.
    #[serde(deserialize_with = "command::read")]
    pub command: Command,
    /// Give the command line to `/bin/sh -c`.
    #[serde(deserialize_with = "lenient::boolean")]
    pub shell: bool,
    /// `"service"` runs until it is stopped. `"oneshot"` runs to its end, and then rests: EXITED, wherever its worker
    /// goes, until it is started again. Unset: `"service"`, and `"oneshot"` with a `schedule`.
    pub kind: Kind,
    /// When a oneshot runs: `"*/5 * * * *"`, or `{ cron = "0 3 * * mon-fri", timezone = "Europe/Berlin", missed = "run" }`.
    /// It does not run while its last run goes on. A time that the clock leaves out counts as the first moment after
    /// it, one that comes twice counts once; a schedule of every hour follows the time that passes instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Name of each copy; with several copies it holds `%(process_num)`. Unset: `%(program_name)s`, and
    /// `%(program_name)s_%(process_num)02d` with several copies. An alias of the index: `web:web_00`, also in
    /// `SUPERVISOR_PROCESS_NAME`, in syslog, and for event listeners of Supervisor's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_name: Option<String>,
    /// How many copies.
    #[serde(deserialize_with = "lenient::number")]
    pub numprocs: u32,
    /// What `%(process_num)` is for the first copy.
    #[serde(deserialize_with = "lenient::number")]
    pub numprocs_start: u32,
    /// Lower ones are started first and stopped last.
    #[serde(deserialize_with = "lenient::number")]
    pub priority: i32,
    /// Working directory of the child; its worker's state directory of the instance unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Permission bits that files of the child do not get; the worker's unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<Mode>,
    /// `user` or `user:group`: whom the child runs as, with all groups of that user, and with HOME, USER and
    /// LOGNAME of that user. The worker's own unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Added to the child's environment. A value is text, or stands elsewhere: `{ file = "/run/secrets/db" }` is what
    /// that file on the worker holds, read at each start, and `{ secret = "db-password" }` what `dsbus secret set` gave
    /// the worker.
    #[serde(deserialize_with = "lenient::environment_values")]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// Files of `NAME=value` lines on the worker, read at each start; `environment` wins over them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub env_file: Vec<String>,
    /// Start it once it is declared.
    #[serde(deserialize_with = "lenient::boolean")]
    pub autostart: bool,
    /// Start it again when it ends by itself. Unset: `"unexpected"`, and `false` for a oneshot.
    pub autorestart: AutoRestart,
    /// How long a child must live to count as RUNNING. Unset: 1 s, and 0 for a oneshot.
    pub startsecs: Span,
    /// How often a start that failed is tried again, before FATAL; a number or `"infinite"`.
    pub startretries: Retries,
    /// Pause before each start that follows a failed one. Unset: 1 s after the first, 2 s after the second,
    /// and so on (Supervisor's rule).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_pause: Option<Span>,
    /// By what the pause grows with each failed start, from `restart_pause` (1 s when unset) on.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::factor")]
    pub backoff_factor: Option<f64>,
    /// Longest pause.
    pub backoff_max: Span,
    /// After so many restarts within `restart_window` a child that was RUNNING is given up: FATAL. 0 is never.
    #[serde(deserialize_with = "lenient::number")]
    pub restart_limit: u32,
    /// See `restart_limit`.
    pub restart_window: Span,
    /// A child of a service that is RUNNING, and was started so long ago, is stopped and started again; that counts
    /// for no limit. Each copy has an age of its own, from nine tenths of this to all of it, that follows from the
    /// program's id and the copy's number: not all of them stop in one moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Exit codes that are expected.
    #[serde(deserialize_with = "lenient::exit_codes")]
    pub exitcodes: Vec<u8>,
    /// Restart it when its executable file changes.
    #[serde(deserialize_with = "lenient::boolean")]
    pub restart_when_binary_changed: bool,
    /// `"exit"`: when it ends FATAL, or by itself for good, its worker stops, with its exit code. With 2 the
    /// worker's systemd unit does not start it again: that means a mistake in the worker's files.
    pub on_fatal: OnFatal,
    /// The signal that asks it to stop, or several, one after the other: `["TERM", "INT:5s"]`.
    pub stopsignal: StopSignals,
    /// How long it may take to stop after each signal before the next one, or SIGKILL.
    pub stopwaitsecs: Span,
    /// How long after a SIGKILL it is killed again, and told that it does not die.
    pub killwaitsecs: Span,
    /// Send the stop signals to its whole process group, and wait for all of that to end.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stopasgroup: bool,
    /// Without effect: SIGKILL always ends everything that the child started. Unset: as `stopasgroup`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_boolean")]
    pub killasgroup: Option<bool>,
    /// Signal by which `reload` makes it read its configuration anew. Unset: `reload` starts a new child, and stops
    /// the old one when that is RUNNING.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_signal: Option<Signal>,
    /// The child forks, and its first process ends: the process named in `pidfile`, or else the one that is left,
    /// is supervised instead.
    #[serde(deserialize_with = "lenient::boolean")]
    pub daemon: bool,
    /// Where a `daemon` writes its process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pidfile: Option<String>,
    /// It says by `sd_notify(3)` when it is ready (`READY=1`); RUNNING comes only then.
    #[serde(deserialize_with = "lenient::boolean")]
    pub notify: bool,
    /// It says by `sd_notify(3)` at least so often that it lives (`WATCHDOG=1`), or it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Span>,
    /// RUNNING comes only when this is answered well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// While it is RUNNING: after so many bad answers in a row it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// How long a start may take that waits for `notify`, `readiness` or a `daemon`, before it has failed.
    pub start_timeout: Span,
    /// Run before the child is started; when it fails, the start has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_start: Option<Hook>,
    /// Run when the child is RUNNING.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Hook>,
    /// Run before the child is asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// Run after the child has ended, however it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_stop: Option<Hook>,
    /// Its standard input is a pipe, which `dsbus stdin`, `attach` and `run` write to. Else it is `/dev/null`: what
    /// reads from a pipe that nobody writes to would wait for ever, and each pipe takes a descriptor of its worker.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stdin: bool,
    /// Write its standard error to where its standard output goes.
    #[serde(deserialize_with = "lenient::boolean")]
    pub redirect_stderr: bool,
    /// Where standard output goes: AUTO (a file in the worker's state directory), NONE, an absolute path,
    /// `/dev/stdout`, `/dev/stderr` (the worker's own), `syslog`; or several of them. Directories of a
    /// path that are missing are made.
    pub stdout_logfile: LogTargets,
    /// Size at which the standard output's file is rotated; 0 is never.
    pub stdout_logfile_maxbytes: Size,
    /// How many rotated files of standard output are kept.
    #[serde(deserialize_with = "lenient::number")]
    pub stdout_logfile_backups: u32,
    /// Most bytes that are kept of what standard output says between `<!--XSUPERVISOR:BEGIN-->` and
    /// `<!--XSUPERVISOR:END-->`, which becomes an event; 0 is off.
    pub stdout_capture_maxbytes: Size,
    /// Make an event of everything that standard output says.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stdout_events_enabled: bool,
    /// Send standard output to syslog, too.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stdout_syslog: bool,
    /// Where standard error goes; see `stdout_logfile`.
    pub stderr_logfile: LogTargets,
    /// Size at which the standard error's file is rotated; 0 is never.
    pub stderr_logfile_maxbytes: Size,
    /// How many rotated files of standard error are kept.
    #[serde(deserialize_with = "lenient::number")]
    pub stderr_logfile_backups: u32,
    /// See `stdout_capture_maxbytes`.
    pub stderr_capture_maxbytes: Size,
    /// Make an event of everything that standard error says.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stderr_events_enabled: bool,
    /// Send standard error to syslog, too.
    #[serde(deserialize_with = "lenient::boolean")]
    pub stderr_syslog: bool,
    /// Begin each line of a log file with the time it was read.
    #[serde(deserialize_with = "lenient::boolean")]
    pub log_timestamps: bool,
    /// Compress rotated files (gzip).
    #[serde(deserialize_with = "lenient::boolean")]
    pub log_compress: bool,
    /// Remove rotated files that are older; looked at when a file is opened or rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_max_age: Option<Span>,
    /// Leave terminal escapes out of log files.
    #[serde(deserialize_with = "lenient::boolean")]
    pub strip_ansi: bool,
    /// What `SUPERVISOR_SERVER_URL` tells the child; the worker's `serverurl` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serverurl: Option<String>,
    /// It is an event listener of Supervisor's kind: a table of what it is given, `{ events = "PROCESS_STATE,TICK_60" }`.
    /// In a file, the section `[eventlistener.NAME]` has these keys beside those of a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eventlistener: Option<EventListener>,
    /// The worker listens here, and all copies on that worker find the socket as standard input (`FastCGI`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketAddress>,
    /// `user` or `user:group` that owns a unix `socket` or `listen`; `user` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_owner: Option<String>,
    /// Permission bits of a unix `socket` or `listen`.
    pub socket_mode: Mode,
    /// How many connections may wait at a `socket` or `listen`; the system's most unless set.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_number")]
    pub socket_backlog: Option<u32>,
    /// The worker listens here, and the child finds the sockets from descriptor 3 on, as systemd passes them
    /// (`LISTEN_FDS`); they stay open over its restarts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub listen: Vec<SocketAddress>,
    /// Files that the child finds open, on the descriptors after those of `listen`: `/path`, `/path:r`, `:w`, `:a`, `:rw`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub extra_files: Vec<ExtraFile>,
    /// Limits of setrlimit(2): `{ nofile = 4096, core = "unlimited", nproc = "100:200" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Limits of the child with all its descendants, kept by a cgroup: `{ memory = "512MB", cpu = 0.5, pids = 100 }`.
    pub limits: Limits,
    /// Scheduling priority, -20 (most) to 19 (least).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_number")]
    pub nice: Option<i32>,
    /// How readily the kernel kills it when memory runs out, -1000 (never) to 1000.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_number")]
    pub oom_score_adj: Option<i32>,
    /// Linux capabilities that it keeps although `user` is not root, such as `NET_BIND_SERVICE`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub capabilities: Vec<Capability>,
    /// Anything of yours; kept, and returned untouched.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// The group it belongs to, in the same namespace as programs; also `%(group_name)s`. Unset: one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<ProgramName>,
    /// Its group has failed when it fails (a major failure); else the group only limps (a minor one).
    #[serde(deserialize_with = "lenient::boolean")]
    pub required: bool,
    /// Programs that must be up before it is started, and that stop after it: `["db"]`, or a table of the state that
    /// is waited for, `{ db = "healthy", migrate = "done" }`: `started`, `running` (the default), `healthy`
    /// (running for its `min_healthy`), `done` (ended as expected).
    #[serde(skip_serializing_if = "DependsOn::is_empty")]
    pub depends_on: DependsOn,
    /// Workers it may run on; all when empty.
    #[serde(deserialize_with = "lenient::list")]
    pub machines: Vec<WorkerName>,
    /// Rules on labels of the workers it may run on; all must hold: `zone = eu`, `disk != hdd`, `zone in (eu, us)`,
    /// `gpu` (it has that label), `!gpu`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "place::label_rules")]
    pub labels: Vec<LabelRule>,
    /// What an instance takes of a worker's capacity: `{ cpu = 0.5, memory = "512MB" }`. A worker takes no instance
    /// beyond its capacity. It limits nothing: see `limits`.
    #[serde(skip_serializing_if = "Resources::is_none")]
    pub resources: Resources,
    /// Which of the workers that may take an instance does: `spread` (fewest copies of the program, then fewest
    /// instances), `pack` (most instances), `ordered` (first of `machines`), `least_loaded`, `most_loaded`
    /// (by what is declared and what is measured).
    pub strategy: Strategy,
    /// Spread copies over the values of this label first, such as `zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_by: Option<String>,
    /// Programs that it never shares a worker with; its own name keeps its copies apart.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub anti_affinity: Vec<ProgramName>,
    /// One copy on each worker that may take it, `numprocs` notwithstanding.
    #[serde(deserialize_with = "lenient::boolean")]
    pub system: bool,
    /// What becomes of an instance whose worker is lost: `move` it to another one, let it `stay` until the worker
    /// is back, or `stop` it for good.
    pub on_worker_loss: OnWorkerLoss,
    /// How a change that needs new children is rolled out.
    pub update: Update,
    /// How long its worker may be silent before it runs elsewhere; whole seconds. Unset: 5 s, and 15 s when
    /// exclusive.
    pub touch_timeout: Option<Span>,
    /// Never two live copies of one instance, at the price of stopping when the bus is lost.
    #[serde(deserialize_with = "lenient::boolean")]
    pub exclusive: bool,
    /// On how many workers an instance may end FATAL before it is given up.
    #[serde(deserialize_with = "lenient::number")]
    pub max_fail_count: u32,
}
