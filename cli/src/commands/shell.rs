//! `dsbus shell`: the verbs of the command line, one a line. Each runs as a process of its own: so
//! it is the same verb, and Ctrl-C ends it and not the shell.

mod completing;
mod helping;
mod lines;
mod really;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use crate::args;
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::Color;

pub(super) use lines::Lines;

/// Reads verbs until the input ends.
///
/// # Errors
/// When nobody reads what is said.
pub(super) fn run(config: &Config) -> Result<Code, Failure> {
    outlive_interrupts()?;
    // Whoever has to say who he is says it once; that nobody answers is told by each verb.
    let known = connection::run(Connection::open(config)).map(|c| c.config().clone());
    let config = known.as_ref().unwrap_or(config);
    args::complete_for(config);
    let mut lines = Lines::open(config, None, "shell");
    let watched = lines.are_typed();
    if watched {
        output::note(format_args!(
            "fleet {} at {}; help lists the verbs, Tab completes, Ctrl-D leaves",
            config.fleet,
            config.shown()
        ));
    }
    let prompt = format!("dsbus {}> ", config.fleet);
    let mut failed = Code::Done;
    let mut number = 0;
    'lines: while let Some(typed) = lines.read(&prompt, false)? {
        number += 1;
        // Who types sees where it went wrong.
        let place = (!watched).then_some(number);
        // What is pasted may be several.
        for line in typed.lines() {
            match words(line) {
                Ok(words) if words.is_empty() => {}
                Ok(words) if ["exit", "quit"].contains(&words[0].as_str()) => break 'lines,
                Ok(words) => {
                    let code = verb(config, &words, &mut lines, place)?;
                    if code != Code::Done {
                        failed = code;
                    }
                }
                Err(failure) => {
                    failed = failure.code;
                    output::failure(&at(place, failure));
                }
            }
        }
    }
    // A person has seen what failed.
    Ok(if watched { Code::Done } else { failed })
}

/// A failure with the number of its line, if it has one.
fn at(place: Option<usize>, mut failure: Failure) -> Failure {
    if let Some(number) = place {
        failure.message = format!("line {number}: {}", failure.message);
    }
    failure
}

/// What is wrong with a verb's words, as the parser says it.
fn wrong_words(place: Option<usize>, words: &[OsString], e: clap::Error) {
    let e = args::without_misleading_tips(e, words);
    let meant = args::meant(words, &e);
    if place.is_none() || !e.use_stderr() {
        return output::command_line(&e, meant.as_deref());
    }
    let said = e.render().to_string();
    let said = said.trim_end();
    let failure = Failure::usage(said.strip_prefix("error: ").unwrap_or(said));
    output::failure(&at(place, Failure { hint: meant, ..failure }));
}

/// Runs one verb; `place` is the number of its line, where nobody types.
fn verb(
    config: &Config,
    words: &[String],
    lines: &mut Lines,
    place: Option<usize>,
) -> Result<Code, Failure> {
    if words == ["help"] {
        let mut out = output::bulk();
        for line in helping::lines(output::width()) {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        return Ok(Code::Done);
    }
    let line: Vec<OsString> =
        ["dsbus"].into_iter().chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    let asked = match args::parse(line.iter().cloned()) {
        Ok(args) => args.verb,
        Err(e) => {
            let wrong = e.use_stderr();
            wrong_words(place, &line, e);
            return Ok(if wrong { Code::Usage } else { Code::Done });
        }
    };
    if matches!(asked, args::Verb::Shell) {
        output::failure(&at(place, Failure::usage("this is the shell already")));
        return Ok(Code::Usage);
    }
    if lines.are_typed()
        && let Some(what) = really::destroys(&asked)
    {
        let answer = lines.ask(&format!("Really {what}? y/N "))?;
        if !answer.is_some_and(|answer| really::agrees(&answer)) {
            output::note("nothing was done");
            return Ok(Code::Done);
        }
    }
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(options(config)).envs(config.as_environment());
    if !io::stdin().is_terminal() {
        // The lines that follow are ours, and no verb's input.
        command.stdin(Stdio::null());
    }
    let status = command.args(words).status()?;
    let code = code(status);
    if let (Some(number), false) = (place, code == Code::Done) {
        let (words, code) = (shell_words::join(words), code.number());
        output::note(format_args!("line {number}: dsbus {words}: exit {code}"));
    }
    Ok(code)
}

/// How a verb ended.
fn code(status: ExitStatus) -> Code {
    match (status.code().and_then(|code| u8::try_from(code).ok()), status.signal()) {
        (Some(code), _) => Code::program(code),
        (None, Some(signal)) => Code::signal(signal),
        (None, None) => Code::Failed,
    }
}

/// What was said to the shell, for each of its verbs; which bus it is they find in their environment.
fn options(config: &Config) -> Vec<OsString> {
    let mut words = config.as_arguments();
    match config.color {
        Color::Auto => {}
        Color::Always => words.push("--color=always".into()),
        Color::Never => words.push("--color=never".into()),
    }
    words.extend(config.quiet.then(|| "--quiet".into()));
    words
}

/// The words of a line; none of a comment.
fn words(line: &str) -> Result<Vec<String>, Failure> {
    if line.trim_start().starts_with('#') {
        return Ok(Vec::new());
    }
    let words = shell_words::split(line);
    let mut words = words.map_err(|_| Failure::usage("a quote is not closed"))?;
    // What one would copy from elsewhere.
    if words.first().is_some_and(|word| word == "dsbus") {
        words.remove(0);
    }
    Ok(words)
}

/// From now on Ctrl-C ends the verb that runs, which has the signal from the terminal itself. A
/// handler, since a verb would inherit that it is ignored; it stays for as long as the process lives.
fn outlive_interrupts() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    connection::run(async {
        drop(signal(SignalKind::interrupt())?);
        drop(signal(SignalKind::quit())?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_shells_do() {
        for (line, expected) in [
            ("", vec![]),
            ("  ", vec![]),
            ("# status", vec![]),
            ("status 'web*' -o json", vec!["status", "web*", "-o", "json"]),
            ("dsbus status", vec!["status"]),
            ("emit DEPLOYED \"two words\"", vec!["emit", "DEPLOYED", "two words"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert_eq!(words("status 'web").unwrap_err().code, Code::Usage);
    }
}
