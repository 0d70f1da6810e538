//! One verb a file.

mod act;
mod agent;
mod alert;
mod apply;
mod attach;
mod auth;
mod background;
mod clear;
mod completion;
mod config;
mod create;
mod describe;
mod dev;
mod disable;
mod doctor;
mod drain;
mod emit;
mod enable;
mod events;
mod explain;
mod export;
mod gateway;
mod groups;
mod gzip;
mod hands;
mod healthy;
mod history;
mod import;
mod init;
mod listen;
mod logs;
mod man;
mod other;
mod pid;
mod pidfile;
mod rebalance;
mod recover;
mod reload;
mod remove;
mod restart;
mod rollout;
mod run;
mod scale;
mod scheduler;
mod secret;
mod shell;
mod signal;
mod start;
mod status;
mod stdin;
mod steer;
mod stop;
mod supervisorctl;
mod tied;
mod top;
mod version;
mod wait;
mod worker;
mod workers;

use dsbus_schema::command::Verb as Said;

use crate::args::{Args, Verb};
use crate::config::Config;
use crate::connection;
use crate::exit_code::Code;
use crate::failure::Failure;

pub(crate) use completion::VARIABLE as COMPLETE;
use gzip::run as gzip;

/// Runs a verb that needs no settings, so that nothing that is wrong with them keeps it from working;
/// gives back any other.
///
/// # Errors
/// The verb's own.
pub(crate) fn alone(args: Args) -> Result<Result<Code, Args>, Failure> {
    let done = if let Verb::Gzip = &args.verb {
        // It is run at each rotation of a log.
        gzip()
    } else if let Verb::Init(init) = &args.verb {
        init::run(init)
    } else if let Verb::Auth(auth) = &args.verb {
        auth::run(auth, args.globals.fleet.as_ref())
    } else if let Verb::Completion(completion) = &args.verb {
        completion::run(completion)
    } else if let Verb::Man(man) = &args.verb {
        man::run(man)
    } else if let Verb::Tied(tied) = &args.verb {
        Err(tied::run(tied))
    } else {
        return Ok(Err(args));
    };
    done.map(Ok)
}

/// Runs a verb.
///
/// # Errors
/// The verb's own.
pub(crate) fn run(config: &Config, verb: Verb) -> Result<Code, Failure> {
    match verb {
        Verb::Init(args) => init::run(&args),
        Verb::Auth(args) => auth::run(&args, Some(&config.fleet)),
        Verb::Apply(args) => connection::run(apply::run(config, &args)),
        Verb::Export(args) => connection::run(export::run(config, &args)),
        Verb::Import(args) => import::run(&args),
        Verb::Create(args) => connection::run(create::run(config, args)),
        Verb::Start(args) => connection::run(start::run(config, &args)),
        Verb::Stop(args) => connection::run(stop::run(config, &args)),
        Verb::Restart(args) => connection::run(restart::run(config, &args)),
        Verb::Reload(args) => connection::run(reload::run(config, &args)),
        Verb::Remove(args) => connection::run(remove::run(config, &args)),
        Verb::Enable(args) => connection::run(enable::run(config, &args)),
        Verb::Disable(args) => connection::run(disable::run(config, &args)),
        Verb::Scale(args) => connection::run(scale::run(config, &args)),
        Verb::Rollout(args) => connection::run(rollout::run(config, &args)),
        Verb::History(args) => connection::run(history::run(config, &args)),
        Verb::Describe(args) => connection::run(describe::run(config, &args)),
        Verb::Pid(args) => connection::run(pid::run(config, &args)),
        Verb::Wait(args) => connection::run(wait::run(config, &args)),
        Verb::Explain(args) => connection::run(explain::run(config, &args)),
        Verb::Groups(args) => connection::run(groups::run(config, &args)),
        Verb::Drain(args) => connection::run(drain::run(config, &args)),
        Verb::Undrain(args) => connection::run(steer::run(config, Said::Undrain, &args)),
        Verb::Cordon(args) => connection::run(steer::run(config, Said::Cordon, &args)),
        Verb::Uncordon(args) => connection::run(steer::run(config, Said::Uncordon, &args)),
        Verb::Forget(args) => connection::run(steer::run(config, Said::Forget, &args)),
        Verb::Rebalance(args) => connection::run(rebalance::run(config, &args)),
        Verb::Recover(args) => connection::run(recover::run(config, &args)),
        Verb::Status(args) => connection::run(status::run(config, &args)),
        Verb::Workers(args) => connection::run(workers::run(config, &args)),
        Verb::Secret(args) => secret::run(config, args),
        Verb::Logs(args) => connection::run(logs::run(config, &args)),
        Verb::Run(args) => connection::run(run::run(config, args)),
        Verb::Attach(args) => connection::run(attach::run(config, &args)),
        Verb::Signal(args) => connection::run(signal::run(config, &args)),
        Verb::Stdin(args) => connection::run(stdin::run(config, &args)),
        Verb::Clear(args) => connection::run(clear::run(config, &args)),
        Verb::Events(args) => connection::run(events::run(config, &args)),
        Verb::Emit(args) => connection::run(emit::run(config, &args)),
        Verb::Top(args) => top::run(config, args),
        Verb::Shell => shell::run(config),
        Verb::Supervisorctl(args) => supervisorctl::run(config, &args),
        Verb::Listen(args) => listen::run(config, args),
        Verb::Alert(args) => alert::run(config, args),
        Verb::Gateway(args) => gateway::run(config, args),
        Verb::Config(args) => config::run(config, &args),
        Verb::Version(args) => connection::run(version::run(config, &args)),
        Verb::Doctor(args) => connection::run(doctor::run(config, &args)),
        Verb::Healthy(args) => connection::run(healthy::run(config, &args)),
        Verb::Dev(args) => dev::run(config, args),
        Verb::Scheduler(args) => scheduler::run(config, args),
        Verb::Worker(args) => worker::run(config, args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Man(args) => man::run(&args),
        Verb::Other(words) => other::run(config, &words).map(|never| match never {}),
        Verb::Agent(args) => agent::run(config, &args),
        Verb::Tied(args) => Err(tied::run(&args)),
        Verb::Gzip => gzip(),
    }
}
