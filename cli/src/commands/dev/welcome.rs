//! What `dsbus dev` says when everything runs.

use std::path::PathBuf;

use dsbus_gateway::Listen;
use dsbus_schema::ids::WorkerName;

use super::home::Home;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// What there is to say.
#[derive(Debug)]
pub(super) struct Welcome<'a> {
    /// Version of the server, if this started one.
    pub(super) server: Option<String>,
    pub(super) schedulers: u16,
    pub(super) workers: &'a [WorkerName],
    pub(super) config: &'a Config,
    pub(super) home: &'a Home,
    /// Where the web page is.
    pub(super) page: Option<&'a Listen>,
}

impl Welcome<'_> {
    /// Says what runs, and where.
    ///
    /// # Errors
    /// When nobody reads it.
    pub(super) fn what_runs(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self.workers.iter().map(WorkerName::as_str).collect();
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let schedulers = count(usize::from(self.schedulers), "scheduler");
        let workers = count(names.len(), "worker");
        let bus = match &self.server {
            Some(version) => format!("nats-server {version} at {}", self.config.shown()),
            None => format!("the bus at {}", self.config.shown()),
        };
        let kept = if self.home.is_temporary() {
            " (removed at the end; --data DIR keeps it)"
        } else {
            ""
        };
        output::line(format_args!("{schedulers} and {workers} ({}) on {bus}", names.join(" ")))?;
        if let Some(page) = self.page {
            output::line(format_args!("  web page: {page}"))?;
        }
        output::line(format_args!("  data and logs  {}{kept}", self.home.data().display()))?;
        output::line(format_args!("  binary         {}", binary().display()))?;
        Ok(())
    }

    /// Says what to type next.
    ///
    /// # Errors
    /// When nobody reads it.
    pub(super) fn what_next(&self, instance: Option<&str>) -> Result<(), Failure> {
        let me = self.name();
        let fleet = self.config.fleet_option();
        let kill = format!("dev kill {}", self.workers.first().map_or("w1", WorkerName::as_str));
        let logs = instance.map(|name| format!("logs -f {name}"));
        let mut steps = vec![
            ("status", "what runs, and where"),
            ("events -f", "each change as it happens; leave it open"),
            (kill.as_str(), "kill -9 a worker: in about 5 s its instances run elsewhere"),
            ("status", "the same programs, another worker, a greater epoch"),
        ];
        match &logs {
            Some(logs) => steps.push((logs, "its output, wherever it runs")),
            None => steps.push(("create hello -- sleep 1000", "a program of yours")),
        }
        let width = steps.iter().map(|(verb, _)| verb.len()).max().unwrap_or(0);
        output::line("\nIn another terminal, in this directory:")?;
        for (verb, what) in steps {
            output::line(format_args!("  {me}{fleet} {verb:width$}  # {what}"))?;
        }
        output::line("Ctrl-C ends all of it.\n")?;
        Ok(())
    }

    /// How this binary is typed: by its name where PATH finds it, by a path where not.
    fn name(&self) -> String {
        let (binary, around) = (binary(), &self.config.around);
        let found = around.path().into_iter().map(|dir| dir.join("dsbus")).find(|p| p.is_file());
        if found.and_then(|path| path.canonicalize().ok()).is_some_and(|path| path == binary) {
            return "dsbus".to_owned();
        }
        match binary.strip_prefix(&around.directory) {
            Ok(below) => below.display().to_string(),
            Err(_) => binary.display().to_string(),
        }
    }
}

fn binary() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("dsbus"))
}
