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

use args::Args;
use config::{Config, Surroundings};
use exit_code::Code;
use failure::Failure;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(e) => {
            output::command_line(&e);
            return if e.use_stderr() { Code::Usage.into() } else { Code::Done.into() };
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
    let around = Surroundings::here();
    if args.verb.is_daemon() {
        logging::daemon(&around);
    } else {
        logging::verb(&around);
    }
    let config = Config::resolve(&args.globals, around)?;
    commands::run(&config, args.verb)
}
