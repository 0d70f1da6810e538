//! What of a declaration its child is made of.

use std::borrow::Cow;

use super::{Command, Hook, HookPoint, LogTarget, ProgramSpec};
use crate::ids::{InstanceId, ProgramName, WorkerName};
use crate::program::expand::Variables;

/// `touch_timeout` unless set, in seconds.
pub const TOUCH_TIMEOUT_DEFAULT: u64 = 5;
/// `touch_timeout` of an exclusive program unless set, in seconds: an election of a three-node
/// stream takes up to 8.5 s (measured) and would stop a shorter one.
pub const TOUCH_TIMEOUT_EXCLUSIVE: u64 = 15;
/// Name of each of several copies whose program gives them none. Supervisor demands a template then,
/// and this is the one of its manual: two processes of one name could not be told apart.
const NAME_OF_SEVERAL: &str = "%(program_name)s_%(process_num)02d";

impl ProgramSpec {
    /// The words to execute.
    ///
    /// # Errors
    /// When the command is empty or its quotes do not match.
    pub fn argv(&self) -> Result<Vec<String>, String> {
        self.command.argv(self.shell)
    }

    /// The same with words after those of its command. They are taken as they are: nothing in them is
    /// expanded, and a shell sees them quoted.
    ///
    /// # Errors
    /// As [`ProgramSpec::argv`].
    pub fn with_arguments(&self, arguments: &[String]) -> Result<Cow<'_, ProgramSpec>, String> {
        if arguments.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let as_they_are = |text: &str| text.replace("%(", "%%(");
        let mut words = self.argv()?;
        match words.last_mut() {
            Some(line) if self.shell => {
                *line = format!("{line} {}", as_they_are(&shell_words::join(arguments)));
            }
            _ => words.extend(arguments.iter().map(|word| as_they_are(word))),
        }
        let command = Command::Words(words);
        Ok(Cow::Owned(ProgramSpec { command, shell: false, ..self.clone() }))
    }

    /// How long its worker may be silent before it runs elsewhere, in whole seconds.
    pub fn touch_seconds(&self) -> u64 {
        match self.touch_timeout {
            Some(span) => span.0.as_secs(),
            None if self.exclusive => TOUCH_TIMEOUT_EXCLUSIVE,
            None => TOUCH_TIMEOUT_DEFAULT,
        }
    }

    /// Whether `other` belongs to another placement: `touch_timeout` and `exclusive` say by which
    /// lease an instance lives, so changing them means stopping and placing it anew.
    pub fn same_identity(&self, other: &ProgramSpec) -> bool {
        self.exclusive == other.exclusive && self.touch_seconds() == other.touch_seconds()
    }

    /// Whether a child of `self` may go on living as a child of `other`: only keys that do not
    /// reach into the process differ.
    pub fn same_child(&self, other: &ProgramSpec) -> bool {
        self == other || (self.same_identity(other) && self.without_live() == other.without_live())
    }

    /// The same with every key that acts on a child from outside set to its default.
    fn without_live(&self) -> ProgramSpec {
        let of = ProgramSpec::default();
        ProgramSpec {
            // A child knows the number only where it was told; an event listener whether it is alone.
            numprocs: match &self.eventlistener {
                _ if self.tells_numprocs() => self.numprocs,
                Some(_) => self.numprocs.min(2),
                None => of.numprocs,
            },
            kind: of.kind,
            schedule: of.schedule,
            priority: of.priority,
            autostart: of.autostart,
            autorestart: of.autorestart,
            startsecs: of.startsecs,
            startretries: of.startretries,
            restart_pause: of.restart_pause,
            backoff_factor: of.backoff_factor,
            backoff_max: of.backoff_max,
            restart_limit: of.restart_limit,
            restart_window: of.restart_window,
            max_age: of.max_age,
            exitcodes: of.exitcodes,
            restart_when_binary_changed: of.restart_when_binary_changed,
            on_fatal: of.on_fatal,
            stopsignal: of.stopsignal,
            stopwaitsecs: of.stopwaitsecs,
            killwaitsecs: of.killwaitsecs,
            stopasgroup: of.stopasgroup,
            killasgroup: of.killasgroup,
            reload_signal: of.reload_signal,
            readiness: of.readiness,
            liveness: of.liveness,
            start_timeout: of.start_timeout,
            pre_start: of.pre_start,
            post_start: of.post_start,
            pre_stop: of.pre_stop,
            post_stop: of.post_stop,
            stdout_logfile: of.stdout_logfile,
            stdout_logfile_maxbytes: of.stdout_logfile_maxbytes,
            stdout_logfile_backups: of.stdout_logfile_backups,
            stdout_capture_maxbytes: of.stdout_capture_maxbytes,
            stdout_events_enabled: of.stdout_events_enabled,
            stdout_syslog: of.stdout_syslog,
            stderr_logfile: of.stderr_logfile,
            stderr_logfile_maxbytes: of.stderr_logfile_maxbytes,
            stderr_logfile_backups: of.stderr_logfile_backups,
            stderr_capture_maxbytes: of.stderr_capture_maxbytes,
            stderr_events_enabled: of.stderr_events_enabled,
            stderr_syslog: of.stderr_syslog,
            log_timestamps: of.log_timestamps,
            log_compress: of.log_compress,
            log_max_age: of.log_max_age,
            strip_ansi: of.strip_ansi,
            meta: of.meta,
            required: of.required,
            depends_on: of.depends_on,
            machines: of.machines,
            labels: of.labels,
            resources: of.resources,
            strategy: of.strategy,
            spread_by: of.spread_by,
            anti_affinity: of.anti_affinity,
            system: self.eventlistener.is_some() && self.system,
            on_worker_loss: of.on_worker_loss,
            update: of.update,
            touch_timeout: of.touch_timeout,
            max_fail_count: of.max_fail_count,
            ..self.clone()
        }
    }

    fn tells_numprocs(&self) -> bool {
        serde_json::to_string(self).is_ok_and(|text| text.contains("%(numprocs)"))
    }

    /// The hook of that moment.
    pub fn hook(&self, point: HookPoint) -> Option<&Hook> {
        match point {
            HookPoint::PreStart => self.pre_start.as_ref(),
            HookPoint::PostStart => self.post_start.as_ref(),
            HookPoint::PreStop => self.pre_stop.as_ref(),
            HookPoint::PostStop => self.post_stop.as_ref(),
        }
    }

    /// Whether RUNNING waits for more than `startsecs`.
    pub fn waits_to_be_ready(&self) -> bool {
        self.notify || self.readiness.is_some() || self.daemon
    }

    /// Whether output of that channel goes to syslog, by whichever key.
    pub fn to_syslog(targets: &[LogTarget], switch: bool) -> bool {
        switch || targets.contains(&LogTarget::Syslog)
    }

    /// What can be expanded in its values, on a worker; its environment is added by the worker.
    pub fn variables(&self, name: &InstanceId, worker: &WorkerName, host: &str) -> Variables {
        let number = u64::from(self.numprocs_start) + u64::from(name.index);
        [
            ("group_name", self.group.as_ref().unwrap_or(&name.program).to_string()),
            ("host_node_name", host.to_owned()),
            ("numprocs", self.numprocs.to_string()),
            ("process_num", number.to_string()),
            ("program_name", name.program.to_string()),
            ("worker", worker.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// The name that the program gives a copy (`web_00`), where it gives one that does not depend
    /// on the worker's host or environment.
    pub fn copy_name(&self, name: &InstanceId, worker: &WorkerName) -> Option<String> {
        let template = self.name_template()?;
        let mut variables = self.variables(name, worker, "");
        variables.remove("host_node_name");
        super::expand::expand(template, &variables).ok()
    }

    fn name_template(&self) -> Option<&str> {
        let several = self.numprocs > 1 || self.system;
        self.process_name.as_deref().or(several.then_some(NAME_OF_SEVERAL))
    }

    /// The name of a copy: `web` or `web_00`, which Supervisor calls process name.
    ///
    /// # Errors
    /// When the template asks for what only the worker's environment has, and that is not among
    /// `variables`.
    pub fn process_name(
        &self,
        program: &ProgramName,
        variables: &Variables,
    ) -> Result<String, String> {
        match self.name_template() {
            Some(template) => super::expand::expand(template, variables),
            None => Ok(program.to_string()),
        }
    }
}
