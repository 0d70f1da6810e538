//! What each action does. Messages and exit codes are Supervisor's.

use std::collections::BTreeMap;

use dsbus_client::{Error, Item};
use dsbus_schema::ids::{ProgramName, Target};
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::storage::Bucket;

use super::{acting, at, help};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::key::is_bus;
use dsbus_gateway::faults::Fault;
use dsbus_gateway::processes::{self, Named, Process};

/// The version whose manners these are; what `version` says.
const VERSION: &str = "4.3.0";

/// Supervisor's exit codes (LSB).
pub(super) const GENERIC: u8 = 1;
const INVALID_ARGS: u8 = 2;
const UNIMPLEMENTED: u8 = 3;
const UNREACHABLE: u8 = 4;
pub(super) const NOT_RUNNING: u8 = 7;
pub(super) const STATUS_NOT_RUNNING: u8 = 3;
pub(super) const STATUS_UNKNOWN: u8 = 4;

/// Whether another action follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It may.
    More,
    /// `exit`, `quit`.
    End,
}

/// One run of supervisorctl.
#[derive(Debug)]
pub(super) struct Controller {
    /// Which fleet.
    pub(super) config: Config,
    /// How it ends.
    pub(super) code: u8,
}

/// What every name of an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Stop,
    Clear,
}

impl Controller {
    pub(super) fn new(config: Config) -> Controller {
        Controller { config, code: 0 }
    }

    /// How the process ends.
    pub(super) fn code(&self) -> Code {
        Code::program(self.code)
    }

    /// Does what a line says.
    ///
    /// # Errors
    /// When nobody reads what is said.
    pub(super) async fn action(&mut self, line: &str) -> Result<Next, Failure> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Next::More);
        }
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
        let (name, arg) = match line.strip_prefix('?') {
            Some(arg) => ("help", arg.trim()),
            None => (&line[..end], line[end..].trim()),
        };
        let words: Vec<&str> = arg.split_whitespace().collect();
        let done = match name {
            "exit" | "quit" | "EOF" => {
                output::line("")?;
                return Ok(Next::End);
            }
            "status" => self.status(&words).await,
            "start" => self.names(Act::Start, "start", &words, INVALID_ARGS).await,
            "stop" => self.names(Act::Stop, "stop", &words, GENERIC).await,
            "clear" => self.names(Act::Clear, "clear", &words, GENERIC).await,
            "restart" if words.is_empty() => self.wanting("restart", GENERIC),
            "restart" => match self.names(Act::Stop, "stop", &words, GENERIC).await {
                Ok(()) => self.names(Act::Start, "start", &words, INVALID_ARGS).await,
                failed => failed,
            },
            "signal" => self.signal(&words).await,
            "pid" => self.pid(&words).await,
            "tail" => self.tail(&words).await,
            "avail" if arg.is_empty() => self.avail().await,
            "version" if arg.is_empty() => Ok(output::line(VERSION)?),
            "avail" | "version" | "reload" | "shutdown" | "reread" if !arg.is_empty() => {
                self.usage(name, &format!("Error: {name} accepts no arguments"))
            }
            "add" => self.add(&words).await,
            "remove" => self.remove(&words).await,
            "open" => self.open(arg).await,
            "fg" => self.foreground(&words).await,
            "help" => Ok(help::show(arg)?),
            "maintail" => self.has_none(
                "Error: a fleet has no main log: each daemon writes its own, on its machine",
            ),
            "reread" | "update" => self.has_none(
                "ERROR: CANT_REREAD: a fleet reads no files by itself; give them to dsbus apply",
            ),
            "reload" | "shutdown" => self.has_none(&format!(
                "Error: a fleet has no supervisord to {name}; its programs: restart all, stop all"
            )),
            _ => {
                self.code = GENERIC;
                Ok(output::line(format_args!("*** Unknown syntax: {line}"))?)
            }
        };
        match done {
            Err(failure) if failure.code == Code::Unreachable => {
                self.code = UNREACHABLE;
                output::line(format_args!("{} refused connection", self.config.shown()))?;
                output::failure(&failure);
            }
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => {
                self.code = GENERIC;
                output::line(format_args!("error: {}", failure.message))?;
            }
            Ok(()) => {}
        }
        Ok(Next::More)
    }

    /// A wrong command line: what is wrong, and the action's help.
    pub(super) fn usage(&mut self, action: &str, said: &str) -> Result<(), Failure> {
        self.code = GENERIC;
        output::line(said)?;
        Ok(help::show(action)?)
    }

    fn wanting(&mut self, action: &str, code: u8) -> Result<(), Failure> {
        self.usage(action, &format!("Error: {action} requires a process name"))?;
        self.code = code;
        Ok(())
    }

    /// What one supervisord has, and a fleet has not.
    pub(super) fn has_none(&mut self, said: &str) -> Result<(), Failure> {
        self.code = UNIMPLEMENTED;
        Ok(output::line(said)?)
    }

    pub(super) async fn open_bus(&self) -> Result<Connection, Failure> {
        Connection::open(&self.config).await
    }

    pub(super) fn unknown(&mut self, name: &str, what: &str, code: u8) -> Result<(), Failure> {
        self.code = code;
        Ok(output::line(format_args!("{name}: ERROR (no such {what})"))?)
    }

    /// `start`, `stop`, `clear`: a line for each process; one name after the other.
    async fn names(
        &mut self,
        act: Act,
        action: &str,
        words: &[&str],
        invalid: u8,
    ) -> Result<(), Failure> {
        let connection = self.open_bus().await?;
        if words.is_empty() {
            return self.wanting(action, invalid);
        }
        if words.contains(&"all") {
            let all = all(&connection).await?;
            return self.act_on_many(&connection, act, all.iter().collect()).await;
        }
        for name in words {
            let all = all(&connection).await?;
            let (group, process) = processes::split(name);
            match processes::named(&all, name) {
                Named::One(one) => {
                    let fault = match (act, one.runs()) {
                        (Act::Start, true) => Fault::AlreadyStarted,
                        (Act::Stop, false) => Fault::NotRunning,
                        (_, _) => self.act(&connection, act, &[one]).await?.remove(0),
                    };
                    self.told(act, &one.namespec(), &fault)?;
                }
                // Supervisor clears no groups by this way.
                Named::Group(_) | Named::NoGroup if act == Act::Clear => {
                    self.told(act, &format!("{group}:None"), &Fault::BadName)?;
                }
                Named::Group(members) => self.act_on_many(&connection, act, members).await?,
                Named::NoProcess => {
                    let name = processes::join(group, process.unwrap_or_default());
                    self.told(act, &name, &Fault::BadName)?;
                }
                Named::NoGroup => self.unknown(group, "group", invalid)?,
            }
        }
        Ok(())
    }

    /// Those that the action has something to do for.
    async fn act_on_many(
        &mut self,
        connection: &Connection,
        act: Act,
        processes: Vec<&Process>,
    ) -> Result<(), Failure> {
        let due = |one: &&Process| match act {
            Act::Start => !one.runs(),
            Act::Stop => one.runs(),
            Act::Clear => true,
        };
        let processes = processes::by_priority(processes.into_iter().filter(due).collect());
        let faults = self.act(connection, act, &processes).await?;
        let told: Vec<(&Process, Fault)> = processes.into_iter().zip(faults).collect();
        // As Supervisor: first those of which it knows at once.
        let known =
            |(one, fault): &(&Process, Fault)| act != Act::Start || one.at_once || fault.is_early();
        let (early, late): (Vec<_>, Vec<_>) = told.into_iter().partition(known);
        for (one, fault) in early.into_iter().chain(late) {
            self.told(act, &one.namespec(), &fault)?;
        }
        Ok(())
    }

    async fn act(
        &self,
        connection: &Connection,
        act: Act,
        processes: &[&Process],
    ) -> Result<Vec<Fault>, Failure> {
        match act {
            Act::Start => acting::start(connection, processes).await,
            Act::Stop => acting::stop(connection, processes).await,
            Act::Clear => Ok(acting::clear(connection, processes).await),
        }
    }

    fn told(&mut self, act: Act, name: &str, fault: &Fault) -> Result<(), Failure> {
        let done = match act {
            Act::Start => "started",
            Act::Stop => "stopped",
            Act::Clear => "cleared",
        };
        self.result(name, fault, done)
    }

    fn result(&mut self, name: &str, fault: &Fault, done: &str) -> Result<(), Failure> {
        match fault.code() {
            0 => {}
            code => self.code = code,
        }
        match fault.text() {
            None => output::line(format_args!("{name}: {done}"))?,
            Some(why) => output::line(format_args!("{name}: ERROR ({why})"))?,
        }
        Ok(())
    }

    async fn signal(&mut self, words: &[&str]) -> Result<(), Failure> {
        let connection = self.open_bus().await?;
        let [signal, names @ ..] = words else {
            return self.usage("signal", "Error: signal requires a signal name and a process name");
        };
        if names.is_empty() {
            return self.usage("signal", "Error: signal requires a signal name and a process name");
        }
        let all = all(&connection).await?;
        let many = |members: Vec<&'_ Process>| -> Vec<Process> {
            members.into_iter().filter(|one| one.signallable()).cloned().collect()
        };
        if names.contains(&"all") {
            let all = processes::by_priority(all.iter().collect());
            return self.signal_all(&connection, signal, many(all)).await;
        }
        for name in names {
            let (group, process) = processes::split(name);
            match processes::named(&all, name) {
                Named::One(one) => {
                    self.signal_all(&connection, signal, vec![one.clone()]).await?;
                }
                Named::Group(members) => {
                    self.signal_all(&connection, signal, many(members)).await?;
                }
                Named::NoProcess => {
                    let name = processes::join(group, process.unwrap_or_default());
                    self.result(&name, &Fault::BadName, "signalled")?;
                }
                Named::NoGroup => self.unknown(group, "group", GENERIC)?,
            }
        }
        Ok(())
    }

    async fn signal_all(
        &mut self,
        connection: &Connection,
        signal: &str,
        processes: Vec<Process>,
    ) -> Result<(), Failure> {
        for one in processes {
            let fault = acting::signal(connection, signal, &one).await;
            // `NOT_RUNNING` is no success here.
            if fault == Fault::NotRunning {
                self.code = NOT_RUNNING;
            }
            self.result(&one.namespec(), &fault, "signalled")?;
        }
        Ok(())
    }

    async fn add(&mut self, words: &[&str]) -> Result<(), Failure> {
        let all = all(&self.open_bus().await?).await?;
        for name in words {
            if all.iter().any(|one| one.group == *name) {
                output::line("ERROR: process group already active")?;
            } else {
                self.code = GENERIC;
                output::line(format_args!("ERROR: no such process/group: {name}"))?;
            }
        }
        Ok(())
    }

    async fn remove(&mut self, words: &[&str]) -> Result<(), Failure> {
        let connection = self.open_bus().await?;
        for name in words {
            let all = all(&connection).await?;
            let members: Vec<&Process> = all.iter().filter(|one| one.group == *name).collect();
            if members.is_empty() {
                self.code = GENERIC;
                output::line(format_args!("ERROR: no such process/group: {name}"))?;
            } else if members.iter().any(|one| !one.stopped()) {
                self.code = GENERIC;
                output::line(format_args!("ERROR: process/group still running: {name}"))?;
            } else {
                acting::remove(&connection, &members).await?;
                output::line(format_args!("{name}: removed process group"))?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, url: &str) -> Result<(), Failure> {
        if !is_bus(url) {
            self.code = GENERIC;
            return Ok(output::line("ERROR: url must be nats:// or tls://")?);
        }
        self.config = at(&self.config, url)?;
        let before = self.code;
        let shown = Box::pin(self.status(&[])).await;
        self.code = before;
        shown
    }
}

/// Every instance, with what is declared of it.
pub(super) async fn all(connection: &Connection) -> Result<Vec<Process>, Failure> {
    let rows = connection.status(&[]).await?;
    let mut specs: BTreeMap<ProgramName, ProgramSpec> = BTreeMap::new();
    let mut watch = connection.bus.watch(Bucket::Programs, ">", "cli-programs");
    loop {
        let item = match watch.next_or_denied().await {
            Ok(item) => item,
            // Who may look and not read what is declared: each program is a group of its own name
            // then, with the priority that Supervisor has where nobody says one.
            Err(Error::Denied { .. }) => return Ok(processes::all(rows, &BTreeMap::new())),
            Err(e) => return Err(connection.explain(e).await),
        };
        match item {
            Item::Entry(entry) => {
                // What a newer version wrote is only named by its program.
                if let Ok(Some(program)) = entry.json::<Program>() {
                    specs.insert(program.name, program.spec);
                }
            }
            Item::CaughtUp => return Ok(processes::all(rows, &specs)),
            Item::Reset => specs.clear(),
        }
    }
}

/// The instances as a command names them.
pub(super) fn targets(processes: &[&Process]) -> Vec<Target> {
    processes.iter().map(|one| Target::Instance(one.row.name.clone())).collect()
}
