//! One verb a file.

mod act;
mod agent;
mod apply;
mod clear;
mod create;
mod dev;
mod events;
mod gzip;
mod logs;
mod reload;
mod remove;
mod restart;
mod scheduler;
mod start;
mod status;
mod stop;
mod tied;
mod worker;
mod workers;

use crate::args::Verb;
use crate::config::Config;
use crate::connection;
use crate::exit_code::Code;
use crate::failure::Failure;

pub(crate) use gzip::run as gzip;

/// Runs a verb.
///
/// # Errors
/// The verb's own.
pub(crate) fn run(config: &Config, verb: Verb) -> Result<Code, Failure> {
    match verb {
        Verb::Apply(args) => connection::run(apply::run(config, &args)),
        Verb::Create(args) => connection::run(create::run(config, args)),
        Verb::Start(args) => connection::run(start::run(config, &args)),
        Verb::Stop(args) => connection::run(stop::run(config, &args)),
        Verb::Restart(args) => connection::run(restart::run(config, &args)),
        Verb::Reload(args) => connection::run(reload::run(config, &args)),
        Verb::Remove(args) => connection::run(remove::run(config, &args)),
        Verb::Status(args) => connection::run(status::run(config, &args)),
        Verb::Workers(args) => connection::run(workers::run(config, &args)),
        Verb::Logs(args) => connection::run(logs::run(config, &args)),
        Verb::Clear(args) => connection::run(clear::run(config, &args)),
        Verb::Events(args) => connection::run(events::run(config, &args)),
        Verb::Dev(args) => dev::run(config, args),
        Verb::Scheduler(args) => scheduler::run(config, args),
        Verb::Worker(args) => worker::run(config, args),
        Verb::Agent(args) => agent::run(config, &args),
        Verb::Tied(args) => Err(tied::run(&args)),
        Verb::Gzip => gzip(),
    }
}
