//! `dsbus create NAME [--KEY VALUE...] -- CMD...`

use dsbus_schema::command::{Applied, Create, Verb};
use dsbus_schema::program::{Problem, ProgramSpec};
use serde_json::{Map, Value};

use super::{act, apply};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::{self, Verdict};
use crate::{file, output};

/// Declares one program, and waits until it runs. Prints nothing but its UUID on standard output:
/// `id=$(dsbus create ...)`. When the start fails, the program stays declared.
///
/// # Errors
/// When the declaration is wrong or refused, or nobody answers.
pub(super) async fn run(config: &Config, args: args::Create) -> Result<Code, Failure> {
    let alone = match args.command.as_slice() {
        [word] => word.contains(char::is_whitespace),
        _ => false,
    };
    let program = declaration(args.keys, args.command);
    check(&program)?;
    let connection = Connection::open(config).await?;
    let request = Create { envelope: act::envelope(), name: args.name, program };
    let applied: Applied = connection.command(Verb::Create, &request).await?;
    apply::warn(&applied);
    for program in &applied.programs {
        output::line(program.id)?;
        if program.revision > 1 {
            output::note(format_args!(
                "{} existed and was stopped: replaced (revision {})",
                program.name, program.revision
            ));
        }
    }
    if args.wait.no_wait {
        return Ok(Code::Done);
    }
    let wants: Vec<_> = applied.programs.iter().flat_map(apply::wants).collect();
    let id = applied.programs.first().map(|program| program.id.to_string()).unwrap_or_default();
    let outcomes = wait::wait(&connection, &wants, args.wait.timeout.0, |outcome| {
        match &outcome.verdict {
            Verdict::Done => {
                output::note(format_args!(
                    "{}: {}",
                    outcome.name,
                    apply::done(outcome.row.as_ref())
                ));
            }
            Verdict::Failed(_) | Verdict::Waiting(_) => {
                let failure = act::failure(outcome);
                let spawnerr = outcome.row.as_ref().and_then(|row| row.spawnerr.as_deref());
                let hint = match spawnerr {
                    Some(why) if alone && why.contains("no such file") => {
                        format!("give words separately, or --shell; it stays declared, as {id}")
                    }
                    Some(_) | None => format!("it stays declared, as {id}"),
                };
                output::failure(&failure.hint(hint));
            }
        }
        Ok(())
    });
    Ok(act::code(&outcomes.await?))
}

/// The keys and the command as one declaration. With a shell, one word is the line for it.
pub(super) fn declaration(mut keys: Map<String, Value>, words: Vec<String>) -> Map<String, Value> {
    let shell = keys.get("shell").is_some_and(|v| {
        let alone = Map::from_iter([("shell".to_owned(), v.clone())]);
        serde_json::from_value::<ProgramSpec>(Value::Object(alone)).is_ok_and(|spec| spec.shell)
    });
    let command = match <[String; 1]>::try_from(words) {
        Ok([line]) if shell => Value::String(line),
        Ok(words) => Value::from(words.to_vec()),
        Err(words) => Value::from(words),
    };
    keys.insert("command".to_owned(), command);
    keys
}

/// Everything that is wrong with the declaration, as a file would be told.
pub(super) fn check(program: &Map<String, Value>) -> Result<(), Failure> {
    let strange = ProgramSpec::strange_inside(program).into_iter().map(|(key, inside)| {
        let known = ProgramSpec::keys_inside(&key);
        let problem = Problem::new(&key, format!("{inside:?} is no key of it"));
        match file::did_you_mean(&inside, known.iter().map(String::as_str)) {
            Some(near) => problem.hint(near),
            None => problem.hint(format!("known are {}", known.join(", "))),
        }
    });
    let mut problems: Vec<Problem> = strange.collect();
    problems.extend(ProgramSpec::read(program).err().unwrap_or_default());
    if problems.is_empty() { Ok(()) } else { Err(wrong(&problems)) }
}

pub(super) fn wrong(problems: &[Problem]) -> Failure {
    let said: Vec<String> = problems
        .iter()
        .map(|problem| match problem.key.as_str() {
            "command" => problem.to_string(),
            _ => format!("--{problem}"),
        })
        .collect();
    Failure::usage(said.join("\n       "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_word_for_a_shell_is_a_line() {
        let command = |shell: Option<&str>, words: &[&str]| {
            let keys = shell.map(|s| ("shell".to_owned(), json!(s))).into_iter().collect();
            let words = words.iter().map(|w| (*w).to_owned()).collect();
            declaration(keys, words).remove("command").unwrap()
        };
        assert_eq!(command(None, &["sleep 5"]), json!(["sleep 5"]));
        assert_eq!(command(Some("yes"), &["a | b"]), json!("a | b"));
        assert_eq!(command(Some("false"), &["a"]), json!(["a"]));
        assert_eq!(command(Some("true"), &["a", "b"]), json!(["a", "b"]));
    }

    #[test]
    fn slips_inside_of_tables_are_told() {
        let keys = Map::from_iter([
            ("command".to_owned(), json!("true")),
            ("readiness".to_owned(), json!({"http": "http://h/", "timout": 5})),
            ("limits".to_owned(), json!({"disk": 5})),
        ]);
        assert_eq!(
            check(&keys).unwrap_err().message,
            "--limits: \"disk\" is no key of it (known are cpu, memory, pids)\n       \
             --readiness: \"timout\" is no key of it (did you mean \"timeout\"?)"
        );
    }

    #[test]
    fn problems_name_the_option() {
        let keys = Map::from_iter([("numprocs".to_owned(), json!("x"))]);
        let keys = declaration(keys, vec!["true".to_owned()]);
        let said = wrong(&ProgramSpec::read(&keys).unwrap_err());
        assert_eq!(said.message, "--numprocs: expected a whole number, found \"x\"");
        assert_eq!(said.code, Code::Usage);
    }
}
