//! What is wrong with a declaration whose values could all be read.

use super::command::Command;
use super::spec::TOUCH_TIMEOUT_EXCLUSIVE;
use super::{Problem, ProgramSpec};

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
        if self.startretries > START_RETRIES_MAX {
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
        if let Some(directory) = &self.directory
            && (!directory.starts_with('/') || directory.contains('\0'))
        {
            let problem = Problem::new("directory", format!("{directory:?} is not absolute"));
            found.push(problem.hint("a worker has no current directory of yours"));
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

    /// What is allowed but worth saying.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.exclusive && self.touch_seconds() < TOUCH_TIMEOUT_EXCLUSIVE {
            found.push(
                Problem::new(
                    "touch_timeout",
                    format!("{}s is short for an exclusive program", self.touch_seconds()),
                )
                .hint("on three NATS nodes an election takes up to 8.5 s and would stop it"),
            );
        }
        found
    }
}
