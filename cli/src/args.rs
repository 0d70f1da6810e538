//! The command line.

mod alert;
mod auth;
mod background;
mod daemons;
mod dev;
mod events;
mod examples;
mod fleet;
mod format;
mod gateway;
mod globals;
mod habits;
mod hands;
mod healthy;
mod keys;
mod listen;
mod live;
mod look;
mod moment;
mod often;
mod screens;
mod secret;
mod swapped;
mod tools;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as Group, CommandFactory, FromArgMatches, Parser, Subcommand};
use dsbus_schema::ids::{ProgramName, Target};
use dsbus_schema::lenient::Span;
use serde_json::{Map, Value};

use crate::file::nearest;

pub(crate) use alert::{Alert, AlertLetters, AlertTest, AlertVerb};
pub(crate) use auth::{
    Auth, AuthAdd, AuthInit, AuthList, AuthPermissions, AuthRevoke, AuthUser, AuthVerb,
};
pub(crate) use background::{Daemon, DaemonAct, OfWorker, Own};
pub(crate) use daemons::{Agent, Scheduler, Tied, Worker};
pub(crate) use dev::{Dev, DevVerb};
pub(crate) use events::{Emit, Events, Named, Shape};
pub(crate) use fleet::{
    About, Describe, Drain, Export, Groups, Rebalance, Recover, Restart, Rollout, RolloutNames,
    RolloutStatus, RolloutStep, Scale, Start, WaitFor, WaitUntil, WorkerAct,
};
pub(crate) use format::{Data, Format, Width};
pub(crate) use gateway::Gateway;
pub(crate) use globals::Globals;
pub(crate) use habits::without_misleading_tips;
pub(crate) use hands::{Attach, RUN_DEFAULTS, Run, SendSignal, Stdin};
pub(crate) use healthy::{Healthy, Probe};
pub(crate) use listen::{Len, Listen};
pub(crate) use live::{complete_for, completed};
pub(crate) use look::{Clear, Logs, Status, Workers};
pub(crate) use screens::{Supervisorctl, Top};
pub(crate) use secret::{Secret, SecretList, SecretRemove, SecretSet, SecretVerb};
pub(crate) use swapped::meant;
pub(crate) use tools::{Completion, Doctor, Import, Init, Man, Settings, Shell, Version};

/// Supervisor for a fleet: declare programs, and they run, on whichever machine is alive.
#[derive(Debug, Parser)]
#[command(name = "dsbus", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 usage, 3 status: something that
should run does not, 4 bus or schedulers unreachable, 5 timed out, or a rollout
waits for a person.

NAME is a program (web), one of its instances (web:0, or as the program calls
it, web:web_00), a group (shop, shop:*), a pattern (web*, with quotes where
files are named so), a program's UUID, or all.
Try it: dsbus dev examples/hello.toml";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write files to begin with: programs and settings, each line explained
    Init(Init),
    /// Declare the programs of TOML files, and wait until they run
    Apply(Apply),
    /// Print a configuration of Supervisor as a TOML file, and name what has no meaning here
    Import(Import),
    /// Print what is declared now as a TOML file
    Export(Export),
    /// Declare one new program without a file; prints its UUID
    Create(Create),
    /// Run a command once on the fleet, with its output, input and exit code here
    #[command(after_help = hands::RUN)]
    Run(Run),
    /// Start programs or instances
    Start(Start),
    /// Stop programs or instances
    Stop(Act),
    /// Stop and start programs or instances
    Restart(Restart),
    /// Make programs read their configuration anew, without a pause: by their `reload_signal`, or by a new
    /// child that takes over
    Reload(Act),
    /// Stop programs, and forget them
    Remove(Act),
    /// Send a signal to the processes of instances, once
    Signal(SendSignal),
    /// Let what was disabled be started again
    Enable(About),
    /// Stop programs or instances, and let nobody start them until they are enabled
    Disable(Act),
    /// Change how many copies programs have
    Scale(Scale),
    /// Show or steer how changes reach the instances of programs
    Rollout(Rollout),
    /// Show what was declared when, and by whom
    History(About),
    /// Show what runs, and where; exits 3 when something that should run does not
    Status(Status),
    /// Show everything about programs or instances: what is declared, how it is, and why, what was
    /// changed, and what happened
    Describe(Describe),
    /// Print the process ids of instances; exits 3 when one has none
    Pid(About),
    /// Wait until instances run, have stopped, or are gone
    Wait(WaitUntil),
    /// Show why instances are where they are, or wait
    Explain(About),
    /// Show the groups, and which have failed
    Groups(Groups),
    /// Show the workers, and what their machines are busy with
    Workers(Workers),
    /// Move everything away from workers, and give them nothing new
    Drain(Drain),
    /// Let workers that were drained or cordoned take instances again
    Undrain(WorkerAct),
    /// Give workers nothing new; what they have stays
    Cordon(WorkerAct),
    /// Let workers that were cordoned take instances again
    Uncordon(WorkerAct),
    /// Forget workers that are gone for good
    Forget(WorkerAct),
    /// Move instances so that the workers are loaded evenly
    Rebalance(Rebalance),
    /// Rebuild what the bus has lost, from what workers still have; nothing is restarted
    Recover(Recover),
    /// Give workers secrets, for programs that name them in their environment
    Secret(Secret),
    /// Show what instances print
    Logs(Logs),
    /// Show what an instance says from now on, and give it what you type
    #[command(after_help = hands::ATTACH)]
    Attach(Attach),
    /// Write to the standard input of an instance
    #[command(after_help = hands::STDIN)]
    Stdin(Stdin),
    /// Empty the log files of instances, and remove the rotated ones
    Clear(Clear),
    /// Show what happened
    Events(Events),
    /// Say something to whoever listens: an event of your own
    Emit(Emit),
    /// Watch workers and instances on the whole terminal, and act on them
    #[command(after_help = screens::TOP)]
    Top(Top),
    /// Type verbs, with completion and a history
    Shell,
    /// Print and exit as supervisorctl 4.3.0 does, for scripts that were made for it
    Supervisorctl(Supervisorctl),
    /// Run an event listener of Supervisor's kind, unmodified, on the events of the fleet
    #[command(after_help = listen::LISTEN)]
    Listen(Listen),
    /// Tell people about events, by mail, webhook or command (a daemon)
    Alert(Alert),
    /// Serve a web page, XML-RPC as Supervisor speaks it, JSON and metrics over HTTP (a daemon)
    #[command(after_help = gateway::GATEWAY)]
    Gateway(Daemon<Gateway>),
    /// Print the settings that hold, and where each is said
    #[command(after_help = tools::CONFIG)]
    Config(Settings),
    /// Print the versions of this dsbus, of the server, and of the fleet
    Version(Version),
    /// Look for what is wrong with the bus, the fleet and this machine, and say what to do about it
    #[command(after_help = tools::DOCTOR)]
    Doctor(Doctor),
    /// Say whether one daemon is well: for health checks of containers
    #[command(after_help = healthy::HEALTHY)]
    Healthy(Healthy),
    /// Make users of the bus, each with the least that it needs, and the configuration of its servers
    Auth(Auth),
    /// Run a whole private fleet in this terminal
    Dev(Dev),
    /// Run a scheduler (a daemon)
    Scheduler(Daemon<Scheduler>),
    /// Run a worker: it runs the fleet's programs on this machine (a daemon)
    ///
    /// On HUP it reads its file again, and becomes the version of dsbus that lies at its path by
    /// then, without touching a child; what cannot take over is refused.
    Worker(Daemon<Worker, OfWorker>),
    /// Print what a shell needs to complete verbs, options, and names of this fleet
    #[command(after_help = tools::COMPLETION)]
    Completion(Completion),
    /// Print the manual page, or write those of all verbs into a directory
    Man(Man),
    /// The bus side of a worker; its supervisor starts it
    #[command(hide = true)]
    Agent(Agent),
    /// Run a command that ends when the process that started this one does
    #[command(hide = true)]
    Tied(Tied),
    /// Compress standard input to standard output; workers compress rotated logs by it
    #[command(hide = true)]
    Gzip,
    /// `dsbus NAME ...` is `dsbus-NAME ...`, where there is such a program.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Whether and how long to wait.
#[derive(Debug, Clone, Group)]
pub(crate) struct Wait {
    /// Return once it is accepted, before it is so
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait until it is so
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: Span,
}

/// `dsbus apply`.
#[derive(Debug, Group)]
pub(crate) struct Apply {
    /// TOML files with [program.NAME] sections, or configurations of Supervisor; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus create`. Its options are the keys of a program: see [`parse`].
#[derive(Debug, Group)]
pub(crate) struct Create {
    /// Name of the program
    pub(crate) name: ProgramName,
    /// What to run, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Keys of the program.
    #[arg(skip)]
    pub(crate) keys: Map<String, Value>,
}

/// `dsbus stop`, `reload`, `remove`, `disable`.
#[derive(Debug, Group)]
pub(crate) struct Act {
    /// Programs, groups or instances; all is every program
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Reads a command line.
///
/// # Errors
/// Help, the version, or what is wrong with it.
pub(crate) fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Args, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    match often::parse(&words) {
        Some(args) => Ok(args),
        None => parse_with(words, None, None),
    }
}

/// As [`parse`], with other defaults of `--output` and `--timeout`, where verbs have those of all.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_with(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    output: Option<String>,
    timeout: Option<String>,
) -> Result<Args, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut command = enough_for(&words);
    if output.is_some() || timeout.is_some() {
        let defaults = [("output", "table", output), ("timeout", "60s", timeout)];
        command = command.mut_subcommands(|verb| {
            verb.mut_args(|arg| {
                let new = defaults.iter().find(|(id, old, _)| {
                    arg.get_id() == id && arg.get_default_values().iter().any(|value| value == old)
                });
                match new {
                    Some((.., Some(new))) if takes(&arg, new) => arg.default_value(new.clone()),
                    Some(_) | None => arg,
                }
            })
        });
    }
    let helps = words.iter().any(|word| word == "help");
    let matches = command.try_get_matches_from(words).map_err(|wrong| told(wrong, helps))?;
    let mut args = Args::from_arg_matches(&matches)?;
    let keys = match &mut args.verb {
        Verb::Create(create) => Some(&mut create.keys),
        Verb::Run(run) => Some(&mut run.keys),
        _ => None,
    };
    if let (Some(keys), Some((_, given))) = (keys, matches.subcommand()) {
        *keys = keys::given(given)?;
    }
    Ok(args)
}

/// What is wrong with a command line, as people are told it.
fn told(mut wrong: clap::Error, helps: bool) -> clap::Error {
    if wrong.kind() == ErrorKind::MissingSubcommand {
        // It names those that are hidden, too; the help is where the others are explained.
        wrong.remove(ContextKind::ValidSubcommand);
    }
    // `dsbus help VERB` suggests nothing by itself; and verbs are no help behind another one.
    if helps
        && let Some(ContextValue::String(word)) = wrong.get(ContextKind::InvalidSubcommand)
        && wrong.get(ContextKind::SuggestedSubcommand).is_none()
    {
        let command = Args::command();
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        if let Some(near) = nearest(word, verbs.map(clap::Command::get_name)) {
            let near = ContextValue::Strings(vec![near.to_owned()]);
            wrong.insert(ContextKind::SuggestedSubcommand, near);
        }
    }
    wrong
}

/// Whether an option can have this value; of one that names no values any.
fn takes(arg: &clap::Arg, value: &str) -> bool {
    let possible = arg.get_possible_values();
    possible.is_empty() || possible.iter().any(|name| name.matches(value, false))
}

/// Whether a command line that cannot be read is one of `run`.
pub(crate) fn is_run(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> bool {
    let read = command().ignore_errors(true).try_get_matches_from(words);
    read.is_ok_and(|matches| matches.subcommand_name() == Some("run"))
}

/// The whole command line, with what its types do not say.
pub(crate) fn command() -> clap::Command {
    examples::add_to(keys::add_to(Args::command()))
}

/// As much of it as these words may need: making all of it takes longer than asking a scheduler.
fn enough_for(words: &[OsString]) -> clap::Command {
    let have = |any: &[&str]| words.iter().any(|word| any.iter().any(|known| word == known));
    let (helps, keys) = (have(&["help", "--help", "-h"]), have(&["create", "run"]));
    let mut command = Args::command();
    if helps || keys {
        command = keys::add_to(command);
    }
    if helps { examples::add_to(command) } else { command }
}

#[cfg(test)]
mod tests;
