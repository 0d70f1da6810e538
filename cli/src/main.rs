//! `dsbus`: every verb and every daemon in one binary.

mod args;
mod clock;
mod commands;
mod config;
mod connection;
mod describe;
mod exit_code;
mod failure;
mod file;
mod logging;
mod output;
mod role;
mod settings;
mod table;
mod wait;
mod who;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Alert, Args, Daemon, Listen, Verb};
use config::{Config, Surroundings};
use exit_code::Code;
use failure::Failure;
use settings::{Origin, Wrong};

fn main() -> ExitCode {
    // A shell that completes is answered here, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(args::completed).var(commands::COMPLETE).complete();
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(e) => {
            let words: Vec<OsString> = std::env::args_os().collect();
            let e = args::without_misleading_tips(e, &words);
            let meant = args::meant(&words, &e);
            output::command_line(&e, meant.as_deref());
            return match e.use_stderr() {
                // Its command may end with 2, too.
                true if args::is_run(words) => Code::NotRun.into(),
                true => Code::Usage.into(),
                false => Code::Done.into(),
            };
        }
    };
    match run(args) {
        Ok(code) => code.into(),
        Err(failure) => {
            output::failure(&failure);
            failure.code.into()
        }
    }
}

fn run(args: Args) -> Result<Code, Failure> {
    let args = match commands::alone(args)? {
        Ok(code) => return Ok(code),
        Err(args) => args,
    };
    let around = Surroundings::here();
    let daemon = matches!(
        &args.verb,
        Verb::Scheduler(Daemon { act: None, .. })
            | Verb::Listen(Listen { list: false, forget: None, .. })
            | Verb::Gateway(Daemon { act: None, .. })
            | Verb::Alert(Alert { verb: None, .. })
    );
    if let Verb::Agent(agent) = &args.verb {
        logging::agent(around.daemon_log(agent.log.as_deref()));
    } else if daemon {
        logging::daemon(around.daemon_log(None));
    } else if !matches!(&args.verb, Verb::Worker(Daemon { act: None, .. })) {
        // The file of a worker says where that logs.
        logging::verb(&around);
    }
    run_with(args, around)
}

/// Runs a verb with the settings that hold.
fn run_with(mut args: Args, around: Surroundings) -> Result<Code, Failure> {
    if let Verb::Supervisorctl(supervisorctl) = &args.verb
        && let Some(bus) = supervisorctl.bus()
    {
        args.globals.nats = Some(bus.to_owned());
    }
    let config = match Config::resolve(&args.globals, around) {
        Ok(config) => config,
        Err(Wrong::Other(failure)) => return Err(failure),
        Err(Wrong::File(found)) => {
            output::diagnostics(&found, "nothing was done");
            return Err(Failure::told(Code::Usage));
        }
    };
    output::speak(config.color, config.quiet);
    settings::slips(&config.around).into_iter().for_each(output::warning);
    // The doctor tells it among the rest, and what others start was told by them.
    if config.origin != Origin::Parent && !matches!(args.verb, Verb::Doctor(_)) {
        for path in config.access.exposed() {
            let path = path.display();
            output::warning(format_args!(
                "everybody on this machine can read {path}: chmod 600 {path}"
            ));
        }
    }
    let verb = match (&config.output, &config.timeout) {
        (None, None) => args.verb,
        // They are the defaults of options.
        (output, timeout) => {
            let words = std::env::args_os();
            let read = args::parse_with(words, output.clone(), timeout.clone());
            read.map_err(|e| Failure::usage(e.to_string()))?.verb
        }
    };
    commands::run(&config, verb)
}
