//! What a key is when nobody gave it.

use std::collections::BTreeMap;

use serde_json::Map;

use super::{
    AutoRestart, Command, DependsOn, Limits, LogTargets, Mode, OnFatal, OnWorkerLoss, ProgramSpec,
    Resources, Retries, StopSignals, Strategy, Update,
};
use crate::lenient::{Size, Span};

/// Log files rotate at 50 MB and keep 10, as Supervisor's do.
const LOG_MAXBYTES: Size = Size(50 << 20);
const LOG_BACKUPS: u32 = 10;

impl Default for ProgramSpec {
    #[expect(clippy::too_many_lines, reason = "a line for each key")]
    fn default() -> Self {
        ProgramSpec {
            command: Command::Words(Vec::new()),
            shell: false,
            process_name: None,
            numprocs: 1,
            numprocs_start: 0,
            priority: 999,
            directory: None,
            umask: None,
            user: None,
            environment: BTreeMap::new(),
            env_file: Vec::new(),
            autostart: true,
            autorestart: AutoRestart::Unexpected,
            startsecs: Span::from_secs(1),
            startretries: Retries::Count(3),
            restart_pause: None,
            backoff_factor: None,
            backoff_max: Span::from_secs(60),
            restart_limit: 0,
            restart_window: Span::from_secs(60),
            exitcodes: vec![0],
            restart_when_binary_changed: false,
            on_fatal: OnFatal::Nothing,
            stopsignal: StopSignals::default(),
            stopwaitsecs: Span::from_secs(10),
            killwaitsecs: Span::from_secs(2),
            stopasgroup: false,
            killasgroup: None,
            reload_signal: None,
            daemon: false,
            pidfile: None,
            notify: false,
            watchdog: None,
            readiness: None,
            liveness: None,
            start_timeout: Span::from_secs(90),
            pre_start: None,
            post_start: None,
            pre_stop: None,
            post_stop: None,
            redirect_stderr: false,
            stdout_logfile: LogTargets::default(),
            stdout_logfile_maxbytes: LOG_MAXBYTES,
            stdout_logfile_backups: LOG_BACKUPS,
            stdout_capture_maxbytes: Size(0),
            stdout_events_enabled: false,
            stdout_syslog: false,
            stderr_logfile: LogTargets::default(),
            stderr_logfile_maxbytes: LOG_MAXBYTES,
            stderr_logfile_backups: LOG_BACKUPS,
            stderr_capture_maxbytes: Size(0),
            stderr_events_enabled: false,
            stderr_syslog: false,
            log_timestamps: false,
            log_compress: false,
            log_max_age: None,
            strip_ansi: false,
            serverurl: None,
            socket: None,
            socket_owner: None,
            socket_mode: Mode(0o700),
            socket_backlog: None,
            listen: Vec::new(),
            extra_files: Vec::new(),
            rlimits: BTreeMap::new(),
            limits: Limits::default(),
            nice: None,
            oom_score_adj: None,
            capabilities: Vec::new(),
            meta: Map::new(),
            group: None,
            required: true,
            depends_on: DependsOn::default(),
            machines: Vec::new(),
            labels: Vec::new(),
            resources: Resources::default(),
            strategy: Strategy::Spread,
            spread_by: None,
            anti_affinity: Vec::new(),
            system: false,
            on_worker_loss: OnWorkerLoss::Move,
            update: Update::default(),
            touch_timeout: None,
            exclusive: false,
            max_fail_count: 3,
        }
    }
}
