//! `dsbus apply FILE...`

use std::path::PathBuf;

use dsbus_schema::command::{Applied, AppliedProgram, Apply, Change, RolloutRow, Verb};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::status::{InstanceRow, NOT_STARTED};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use super::act;
use crate::args::{self, Format, Wait};
use crate::config::{Config, Surroundings};
use crate::connection::Connection;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::{self, Programs};
use crate::output;
use crate::wait::rollout::{self, End, Ended};
use crate::wait::{self, Goal, Outcome, Verdict, Want};

/// How long the instances of a rollout that is done are looked at, when the time is up.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Declares what the files say, and waits until it runs.
///
/// # Errors
/// When a file is wrong, the command is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Apply) -> Result<Code, Failure> {
    let programs = read(&args.files)?;
    let connection = Connection::open(config).await?;
    if args.dry_run {
        return dry_run(&connection, programs, args.output).await;
    }
    apply(&connection, programs, &args.wait, args.output).await
}

/// Reads the files.
///
/// # Errors
/// When anything in any of them is wrong; it has been told then.
pub(super) fn read(files: &[PathBuf]) -> Result<Programs, Failure> {
    let read = file::read_all(files, &Surroundings::here());
    let (programs, notes) = read.map_err(|found| {
        output::diagnostics(&found, "nothing was applied");
        Failure::told(Code::Failed)
    })?;
    notes.iter().for_each(output::note);
    Ok(programs)
}

/// Declares the programs, and waits.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn apply(
    connection: &Connection,
    programs: Programs,
    wait: &Wait,
    format: Format,
) -> Result<Code, Failure> {
    let request = Apply { envelope: act::envelope(), programs, dry_run: false };
    let applied: Applied = connection.command(Verb::Apply, &request).await?;
    finish(connection, &applied, &[], wait, format).await
}

/// Says what declaring the programs would do.
async fn dry_run(
    connection: &Connection,
    programs: Programs,
    format: Format,
) -> Result<Code, Failure> {
    let request = Apply { envelope: act::envelope(), programs, dry_run: true };
    let applied: Applied = connection.command(Verb::Apply, &request).await?;
    warn(&applied);
    if let Format::Data(data) = format {
        output::data(data, &applied)?;
        return Ok(Code::Done);
    }
    for program in &applied.programs {
        output::line(summary(program, true))?;
    }
    if !applied.steps.is_empty() {
        output::line("First steps:")?;
    }
    for step in &applied.steps {
        output::line(format_args!("  {step}"))?;
    }
    output::note("nothing was applied: this was a dry run");
    Ok(Code::Done)
}

/// Tells what a scheduler did with declarations, and waits until it is so: instance by instance,
/// or rollout by rollout. `before` are instances that
/// were there before.
///
/// # Errors
/// When nobody answers, or reads what is told.
pub(super) async fn finish(
    connection: &Connection,
    applied: &Applied,
    before: &[InstanceId],
    wait: &Wait,
    format: Format,
) -> Result<Code, Failure> {
    warn(applied);
    let data = format.data();
    let table = data.is_none();
    if table {
        for program in &applied.programs {
            output::success(summary(program, false))?;
        }
    }
    let (mut ended, mut outcomes) = (Vec::new(), Vec::new());
    if !wait.no_wait {
        let deadline = Instant::now() + wait.timeout.0;
        let rolling = rolling(connection, applied).await?;
        let rolls =
            |program: &&AppliedProgram| rolling.iter().any(|(name, _)| *name == program.name);
        let others = applied.programs.iter().filter(|program| !rolls(program));
        let mut waited: Vec<Want> = others.flat_map(wants).collect();
        waited.extend(surplus(connection, applied, &rolling, before).await?);
        let rollouts = rollout::wait(connection, &rolling, wait.timeout.0, !table);
        let instances = wait::wait(connection, &waited, wait.timeout.0, |outcome| {
            if table { act::tell(outcome, || done(outcome.row.as_ref())) } else { Ok(()) }
        });
        (ended, outcomes) = futures::try_join!(rollouts, instances)?;
        // A rollout tells of each instance when it is changed; here what came of it is made sure.
        let is_done = |name: &ProgramName| {
            ended.iter().any(|ended| ended.program == *name && ended.end == End::Done)
        };
        let rolled = applied.programs.iter().filter(|program| is_done(&program.name));
        let rolled: Vec<Want> = rolled.flat_map(wants).collect();
        let left = deadline.saturating_duration_since(Instant::now()).max(LAST_LOOK);
        let last = wait::wait(connection, &rolled, left, |outcome| match outcome.verdict {
            Verdict::Done => Ok(()),
            Verdict::Failed(_) | Verdict::Waiting(_) if table => act::tell(outcome, String::new),
            Verdict::Failed(_) | Verdict::Waiting(_) => Ok(()),
        });
        outcomes.extend(last.await?);
    }
    if let Some(data) = data {
        let programs: Vec<Value> =
            applied.programs.iter().map(|program| as_json(program, &ended, &outcomes)).collect();
        output::data(data, &programs)?;
    }
    if table && let Some(said) = unwell(applied, &ended, &outcomes) {
        output::warning(said);
    }
    let codes = [rollout::code(&ended), act::code(&outcomes)];
    Ok([Code::Failed, Code::TimedOut].into_iter().find(|c| codes.contains(c)).unwrap_or(Code::Done))
}

/// Which of several programs are not as they should be; what was told of them may have scrolled away, and
/// those that were not changed count as well.
fn unwell(applied: &Applied, ended: &[Ended], outcomes: &[Outcome]) -> Option<String> {
    let is_unwell = |program: &&AppliedProgram| {
        let rolls = ended.iter().any(|e| e.program == program.name && e.end != End::Done);
        let mut own = outcomes.iter().filter(|outcome| outcome.name.program == program.name);
        rolls || own.any(|outcome| !matches!(outcome.verdict, Verdict::Done))
    };
    let found = applied.programs.iter().filter(is_unwell);
    let names: Vec<&str> = found.map(|program| program.name.as_str()).collect();
    let (bad, all) = (names.len(), applied.programs.len());
    let do_not = if bad == 1 { "does not" } else { "do not" };
    (bad > 0 && all > 1)
        .then(|| format!("{bad} of {all} programs {do_not} run as declared: {}", names.join(", ")))
}

/// The programs of these that are being rolled out, each with its revision.
async fn rolling(
    connection: &Connection,
    applied: &Applied,
) -> Result<Vec<(ProgramName, u64)>, Failure> {
    let old = applied.programs.iter().filter(|program| program.change != Change::Created);
    let names: Vec<Target> = old.map(|program| Target::Program(program.name.clone())).collect();
    let rows = super::rollout::going_on(connection, &names).await?;
    let revision = |row: &RolloutRow| {
        let program = applied.programs.iter().find(|program| program.name == row.program)?;
        Some((row.program.clone(), program.revision))
    };
    Ok(rows.iter().filter_map(revision).collect())
}

/// Tells what the scheduler finds worth saying about the declarations.
pub(super) fn warn(applied: &Applied) {
    for program in &applied.programs {
        for problem in &program.warnings {
            output::warning(format_args!("{}: {problem}", program.name));
        }
    }
}

/// What to wait for after a program was declared.
pub(super) fn wants(program: &AppliedProgram) -> impl Iterator<Item = Want> + '_ {
    (0..program.numprocs).map(|index| Want {
        name: InstanceId::new(program.name.clone(), index),
        goal: Goal::Revision(program.revision),
    })
}

/// What to wait for of instances beyond `numprocs`: mostly they are on their way out, and of those that
/// were there `before` some may be gone already. Those of a rollout may be extra ones, and are its own
/// business.
async fn surplus(
    connection: &Connection,
    applied: &Applied,
    rolling: &[(ProgramName, u64)],
    before: &[InstanceId],
) -> Result<Vec<Want>, Failure> {
    let rolls = |name: &ProgramName| rolling.iter().any(|(rolling, _)| rolling == name);
    let settled = applied.programs.iter().filter(|program| !rolls(&program.name));
    let names: Vec<Target> = settled.map(|program| Target::Program(program.name.clone())).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let want = |row: InstanceRow| {
        let program = applied.programs.iter().find(|program| program.name == row.program)?;
        // A program that has one on each worker has as many as there are workers.
        let goal = if row.wanted.run { Goal::Revision(program.revision) } else { Goal::Gone };
        (row.index >= program.numprocs).then_some(Want { name: row.name, goal })
    };
    let mut wants: Vec<Want> =
        connection.status(&names).await?.into_iter().filter_map(want).collect();
    let gone = before.iter().filter(|name| {
        let beyond = |program: &&AppliedProgram| {
            program.name == name.program && !rolls(&program.name) && name.index >= program.numprocs
        };
        applied.programs.iter().any(|program| beyond(&program))
            && !wants.iter().any(|want| want.name == **name)
    });
    let gone: Vec<Want> = gone.map(|name| Want { name: name.clone(), goal: Goal::Gone }).collect();
    wants.extend(gone);
    Ok(wants)
}

/// What to say of an instance of a program that was declared; without a row it is one too many,
/// and gone.
pub(super) fn done(row: Option<&InstanceRow>) -> String {
    match row {
        Some(row) if !row.wanted.run => match row.reason.as_deref() {
            Some(why) if why != NOT_STARTED => format!("stopped: {why}"),
            _ => "stopped, and stays so until it is started".to_owned(),
        },
        Some(row) if row.pid.is_some() => format!("running ({})", describe::place(row)),
        Some(row) => describe::state(row),
        None => "removed".to_owned(),
    }
}

/// What was done with a program, or would be: `web: changed (3 instances): command; it is rolled out`.
fn summary(program: &AppliedProgram, dry_run: bool) -> String {
    let change = match (program.change, dry_run) {
        (Change::Created, false) => "created",
        (Change::Changed, false) => "changed",
        (Change::Created, true) => "would be created",
        (Change::Changed, true) => "would be changed",
        (Change::Unchanged, _) => "unchanged",
    };
    let instances = match program.numprocs {
        1 => "1 instance".to_owned(),
        n => format!("{n} instances"),
    };
    let changed = program.changed.join(", ");
    let keys = if changed.is_empty() { changed } else { format!(": {changed}") };
    let rolls = if program.rolls { "; it is rolled out" } else { "" };
    format!("{}: {change} ({instances}){keys}{rolls}", program.name)
}

fn as_json(program: &AppliedProgram, ended: &[Ended], outcomes: &[Outcome]) -> Value {
    let instances: Vec<Value> = outcomes
        .iter()
        .filter(|outcome| outcome.name.program == program.name)
        .map(|outcome| act::as_json(outcome, || done(outcome.row.as_ref())))
        .collect();
    let rollout = ended.iter().find(|ended| ended.program == program.name).map(|ended| {
        let detail = ended.failure().message;
        json!({ "result": ended.word(), "detail": (!detail.is_empty()).then_some(detail) })
    });
    json!({
        "name": program.name, "id": program.id, "revision": program.revision,
        "change": program.change, "numprocs": program.numprocs, "warnings": program.warnings,
        "changed": program.changed, "rolls": program.rolls, "rollout": rollout,
        "instances": instances,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_line() {
        let program = |change: &str, changed: &[&str], rolls: bool| -> AppliedProgram {
            let id = uuid::Uuid::nil();
            serde_json::from_value(json!({
                "name": "web", "id": id, "revision": 2, "change": change, "numprocs": 3,
                "changed": changed, "rolls": rolls,
            }))
            .unwrap()
        };
        let changed = program("changed", &["command", "numprocs"], true);
        assert_eq!(
            summary(&changed, false),
            "web: changed (3 instances): command, numprocs; it is rolled out"
        );
        assert!(summary(&changed, true).starts_with("web: would be changed (3 instances)"));
        assert_eq!(summary(&program("created", &[], false), false), "web: created (3 instances)");
    }
}
