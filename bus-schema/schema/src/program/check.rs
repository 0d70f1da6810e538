//! What is wrong with a declaration whose values could all be read.

use super::EnvironmentValue;
use super::command::Command;
use super::expand;
use super::limits::rlimit_problem;
use super::{HookPoint, Problem, ProgramSpec, Retries};

/// Most copies of one program: the answer to a command names each, and a NATS message holds 1 MiB.
pub const NUMPROCS_MAX: u32 = 5_000;
/// Shortest `touch_timeout`, in seconds: an acknowledged touch counts for fencing only if it was
/// sent more than 1 s before the previous one could expire, which leaves nothing of 1 s.
pub const TOUCH_TIMEOUT_MIN: u64 = 2;
/// Longest `touch_timeout`, in seconds: a scheduler remembers its own touches, by which it judges,
/// for somewhat longer than this.
pub const TOUCH_TIMEOUT_MAX: u64 = 1_800;
/// Most rotated files of one channel: each rotation renames all of them.
pub const LOG_BACKUPS_MAX: u32 = 1_000;
/// Largest declaration, in bytes of JSON, environment included. A NATS message holds 1 MiB, and a
/// placement must hold one with its envelope.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;
/// Most start retries that may be asked for.
pub const START_RETRIES_MAX: u32 = 1_000_000;

const HOOKS: [HookPoint; 4] =
    [HookPoint::PreStart, HookPoint::PostStart, HookPoint::PreStop, HookPoint::PostStop];

/// What a shell would act on, and dsbus passes on unchanged.
const SHELL_WORDS: &[&str] = &["|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>&1", "2>"];

impl ProgramSpec {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        match self.argv() {
            Err(why) => found.push(Problem::new("command", why)),
            Ok(argv) if !self.shell => {
                if let (Command::Line(_), Some(word)) =
                    (&self.command, argv.iter().find(|w| SHELL_WORDS.contains(&w.as_str())))
                {
                    let problem = Problem::new(
                        "command",
                        format!(
                            "has {word:?}, which only a shell understands, and runs without one"
                        ),
                    );
                    found.push(problem.hint("set shell = true, or give the words as a list"));
                }
            }
            Ok(_) => {}
        }
        if self.numprocs == 0 || self.numprocs > NUMPROCS_MAX {
            let message = format!("must be 1 to {NUMPROCS_MAX}, not {}", self.numprocs);
            found.push(Problem::new("numprocs", message));
        }
        if let Retries::Count(count) = self.startretries
            && count > START_RETRIES_MAX
        {
            let message = format!("must be at most {START_RETRIES_MAX}");
            found.push(Problem::new("startretries", message));
        }
        for (key, backups) in [
            ("stdout_logfile_backups", self.stdout_logfile_backups),
            ("stderr_logfile_backups", self.stderr_logfile_backups),
        ] {
            if backups > LOG_BACKUPS_MAX {
                let message = format!("must be at most {LOG_BACKUPS_MAX}, not {backups}");
                found.push(Problem::new(key, message));
            }
        }
        if self.max_fail_count == 0 {
            found.push(Problem::new("max_fail_count", "must be at least 1"));
        }
        if self.stdin && self.socket.is_some() {
            let message = "cannot be true beside a socket: that is its standard input";
            found.push(Problem::new("stdin", message));
        }
        found.extend(self.path_problems());
        found.extend(self.name_problem());
        found.extend(self.expansion_problems());
        found.extend(self.process_problems());
        found.extend(self.update.problem(self.exclusive, self.numprocs));
        found.extend(self.resources.problem());
        found.extend(self.spread_by_problem());
        found.extend(self.job_problems());
        found.extend(self.event_listener_problems());
        for (key, probe) in [("readiness", &self.readiness), ("liveness", &self.liveness)] {
            found.extend(probe.as_ref().and_then(|probe| probe.problem(key)));
        }
        for point in HOOKS {
            if let Some(Err(why)) = self.hook(point).map(super::Hook::argv) {
                found.push(Problem::new(point.key(), why));
            }
        }
        found.extend(self.touch_timeout_problem());
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if bytes > SPEC_BYTES_MAX {
            let message =
                format!("the declaration has {bytes} bytes, more than {SPEC_BYTES_MAX} of JSON");
            found.push(Problem::new("environment", message));
        }
        found
    }

    fn path_problems(&self) -> Vec<Problem> {
        let one = |key, path: &Option<String>| path.clone().map(|path| (key, path));
        let mut paths: Vec<(&str, String)> =
            one("directory", &self.directory).into_iter().collect();
        paths.extend(one("pidfile", &self.pidfile));
        paths.extend(self.env_file.iter().map(|path| ("env_file", path.clone())));
        paths.extend(self.environment_files().map(|path| ("environment", path.to_owned())));
        let relative = |(_, path): &(&str, String)| {
            !(path.starts_with('/') || path.starts_with("%(")) || path.contains('\0')
        };
        let told = |(key, path): (&str, String)| {
            let problem = Problem::new(key, format!("{path:?} is not absolute"));
            problem.hint("a worker has no current directory of yours")
        };
        paths.into_iter().filter(relative).map(told).collect()
    }

    fn name_problem(&self) -> Option<Problem> {
        let template = self.process_name.as_ref()?;
        let wrong = |message: &str| Some(Problem::new("process_name", message));
        if template.is_empty() || template.contains([' ', ':', '/', '\0']) {
            // Supervisor's rule for every name.
            return wrong("must not be empty, and has no blank, colon or slash");
        }
        if self.numprocs > 1 && !expand::names_the_copy(template) {
            return wrong("must hold %(process_num) when numprocs is more than 1");
        }
        None
    }

    /// Every value in which names are expanded must name what exists.
    fn expansion_problems(&self) -> Vec<Problem> {
        let words = self.argv().unwrap_or_default();
        let mut values: Vec<(&str, &str)> = words.iter().map(|w| ("command", w.as_str())).collect();
        let texts = self.environment.values().filter_map(EnvironmentValue::text);
        values.extend(texts.map(|value| ("environment", value)));
        values.extend(self.environment_files().map(|path| ("environment", path)));
        values.extend(self.env_file.iter().map(|path| ("env_file", path.as_str())));
        for (key, value) in [
            ("process_name", &self.process_name),
            ("directory", &self.directory),
            ("pidfile", &self.pidfile),
            ("serverurl", &self.serverurl),
        ] {
            values.extend(value.iter().map(|value| (key, value.as_str())));
        }
        let mut found = self.environment_problems(&values);
        for (key, value) in values {
            if let Err(why) = expand::check(value) {
                found.push(Problem::new(key, why).hint("a literal %( is written %%("));
            }
        }
        found
    }

    fn process_problems(&self) -> Vec<Problem> {
        let mut found: Vec<Problem> =
            self.limits.problem().into_iter().chain(rlimit_problem(&self.rlimits)).collect();
        let mut wrong = |is: bool, key: &str, message: &str| {
            if is {
                found.push(Problem::new(key, message));
            }
        };
        wrong(
            self.stopasgroup && self.killasgroup == Some(false),
            "killasgroup",
            "cannot be false when stopasgroup is true",
        );
        wrong(
            self.nice.is_some_and(|nice| !(-20..=19).contains(&nice)),
            "nice",
            "must be -20 to 19",
        );
        wrong(
            self.oom_score_adj.is_some_and(|adj| !(-1000..=1000).contains(&adj)),
            "oom_score_adj",
            "must be -1000 to 1000",
        );
        wrong(
            self.backoff_factor.is_some_and(|factor| !(1.0..=1000.0).contains(&factor)),
            "backoff_factor",
            "must be 1 to 1000",
        );
        wrong(
            self.user.as_ref().is_some_and(|user| user.is_empty() || user.contains(['\0', ' '])),
            "user",
            "must be user or user:group",
        );
        wrong(
            self.reload_signal.is_some_and(|signal| ["KILL", "STOP"].contains(&signal.name())),
            "reload_signal",
            "must be a signal that a program can heed, not KILL or STOP",
        );
        wrong(
            self.user.as_ref().is_some_and(|user| user.split(':').count() > 2),
            "user",
            "must be user or user:group",
        );
        wrong(
            self.watchdog.is_some_and(|span| span.0.is_zero()),
            "watchdog",
            "must be more than 0",
        );
        wrong(
            self.pidfile.is_some() && !self.daemon,
            "pidfile",
            "means something only with daemon = true",
        );
        wrong(self.socket_backlog == Some(0), "socket_backlog", "must be at least 1");
        wrong(
            self.restart_limit > 0 && self.restart_window.0.is_zero(),
            "restart_window",
            "must be more than 0",
        );
        found
    }

    fn spread_by_problem(&self) -> Option<Problem> {
        let name = self.spread_by.as_ref()?;
        crate::worker::label::check_name(name)
            .err()
            .map(|e| Problem::new("spread_by", e.to_string()))
    }

    fn touch_timeout_problem(&self) -> Option<Problem> {
        let span = self.touch_timeout?;
        let seconds = span.0.as_secs();
        if span.0.subsec_nanos() != 0 {
            return Some(Problem::new(
                "touch_timeout",
                format!("must be whole seconds, not {span}: NATS expires keys by the second"),
            ));
        }
        (!(TOUCH_TIMEOUT_MIN..=TOUCH_TIMEOUT_MAX).contains(&seconds)).then(|| {
            Problem::new(
                "touch_timeout",
                format!("must be {TOUCH_TIMEOUT_MIN}s to {TOUCH_TIMEOUT_MAX}s, not {span}"),
            )
        })
    }
}
