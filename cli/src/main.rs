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
mod table;
mod wait;

use std::process::ExitCode;

use args::{Alert, Args, Listen, Verb};
use config::{Config, Surroundings};
use exit_code::Code;
use failure::Failure;

fn main() -> ExitCode {
    // A shell that completes is answered here, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(args::completed).var(commands::COMPLETE).complete();
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(e) => {
            output::command_line(&e);
            return match e.use_stderr() {
                // Its command may end with 2, too.
                true if args::is_run(std::env::args_os()) => Code::NotRun.into(),
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
    if let Verb::Gzip = args.verb {
        // It is run at each rotation of a log, and needs nothing of what follows.
        return commands::gzip();
    }
    let around = Surroundings::here();
    match &args.verb {
        // Its file says where it logs.
        Verb::Worker(_) => {}
        Verb::Agent(agent) => logging::agent(around.daemon_log(agent.log.as_deref())),
        Verb::Scheduler(_) | Verb::Listen(Listen { list: false, forget: None, .. }) => {
            logging::daemon(around.daemon_log(None));
        }
        Verb::Alert(Alert { verb: None, .. }) => logging::daemon(around.daemon_log(None)),
        Verb::Init(_)
        | Verb::Apply(_)
        | Verb::Import(_)
        | Verb::Export(_)
        | Verb::Create(_)
        | Verb::Start(_)
        | Verb::Stop(_)
        | Verb::Restart(_)
        | Verb::Reload(_)
        | Verb::Remove(_)
        | Verb::Enable(_)
        | Verb::Disable(_)
        | Verb::Scale(_)
        | Verb::Rollout(_)
        | Verb::History(_)
        | Verb::Status(_)
        | Verb::Describe(_)
        | Verb::Pid(_)
        | Verb::Wait(_)
        | Verb::Explain(_)
        | Verb::Groups(_)
        | Verb::Workers(_)
        | Verb::Drain(_)
        | Verb::Undrain(_)
        | Verb::Cordon(_)
        | Verb::Uncordon(_)
        | Verb::Forget(_)
        | Verb::Rebalance(_)
        | Verb::Logs(_)
        | Verb::Clear(_)
        | Verb::Run(_)
        | Verb::Attach(_)
        | Verb::Signal(_)
        | Verb::Stdin(_)
        | Verb::Events(_)
        | Verb::Emit(_)
        | Verb::Top(_)
        | Verb::Shell
        | Verb::Supervisorctl(_)
        | Verb::Alert(_)
        | Verb::Listen(_)
        | Verb::Completion(_)
        | Verb::Man(_)
        | Verb::Other(_)
        | Verb::Dev(_)
        | Verb::Tied(_)
        | Verb::Gzip => logging::verb(&around),
    }
    let config = Config::resolve(&args.globals, around)?;
    commands::run(&config, args.verb)
}
