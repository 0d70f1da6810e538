//! `dsbus recover [--dry-run] [--force] [--from FILE...]`

use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::command::{
    Recover, Recovered, RecoveredInstance, RecoveredProgram, Recovery, Verb, code,
};
use dsbus_schema::ids::WorkerName;
use tokio::time::{Instant, sleep};

use super::{act, apply};
use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text, Tone};

/// Longer than schedulers wait for workers that may be on their way back to the bus.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before they are asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 6] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "WORKER", leaves: 0, optional: false },
    Column { title: "PID", leaves: 2, optional: false },
    Column { title: "EPOCH", leaves: 1, optional: false },
    Column { title: "WHAT", leaves: 0, optional: false },
    Column { title: "WHY", leaves: 0, optional: true },
];

/// Rebuilds what the bus has lost from what workers have.
///
/// # Errors
/// When a file is wrong, it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Recover) -> Result<Code, Failure> {
    let programs = apply::read(&args.from)?;
    let connection = Connection::open(config).await?;
    let recovered = ask(&connection, programs, args).await?;
    let left = |recovery: Recovery| recovery == Recovery::Left;
    let rest = recovered.programs.iter().any(|program| left(program.recovery))
        || recovered.instances.iter().any(|instance| left(instance.recovery))
        || !recovered.silent.is_empty();
    let code = if rest && !args.dry_run { Code::Failed } else { Code::Done };
    let wide = match args.output {
        Format::Data(data) => {
            output::data(data, &recovered)?;
            return Ok(code);
        }
        Format::Text(wide) => wide,
    };
    if !recovered.silent.is_empty() {
        let silent: Vec<&str> = recovered.silent.iter().map(WorkerName::as_str).collect();
        output::note(format_args!(
            "no answer that counts from {}: what is there is not known",
            silent.join(", ")
        ));
    }
    let programs = recovered.programs.iter().map(|program| of_program(program, args.dry_run));
    let instances = recovered.instances.iter().map(|one| of_instance(one, args.dry_run));
    let rows: Vec<Vec<Text>> = programs.chain(instances).collect();
    if rows.is_empty() {
        output::line("Nothing to recover: no worker has anything")?;
        return Ok(code);
    }
    output::table(wide, &COLUMNS, &rows)?;
    if args.dry_run {
        output::note("nothing was done: this was a dry run");
    } else if code == Code::Failed {
        output::note("some was left as it is; dsbus recover --force decides it as WHY says");
    }
    Ok(code)
}

/// Asks part by part: the schedulers answer within a second or two.
async fn ask(
    connection: &Connection,
    programs: crate::file::Programs,
    args: &args::Recover,
) -> Result<Recovered, Failure> {
    let mut all = Recovered::default();
    let mut request =
        Recover { dry_run: args.dry_run, force: args.force, programs, ..Recover::default() };
    loop {
        request.envelope = act::envelope();
        let part: Recovered = patiently(connection, &request).await?;
        for program in part.programs {
            // One whose instances are told of in two parts was rebuilt in the first.
            if !all.programs.iter().any(|known| known.name == program.name) {
                all.programs.push(program);
            }
        }
        all.instances.extend(part.instances);
        for worker in part.silent {
            if !all.silent.contains(&worker) {
                all.silent.push(worker);
            }
        }
        request.after = part.next;
        if request.after.is_none() {
            return Ok(all);
        }
    }
}

/// Asks again for as long as the schedulers wait for workers that may be on their way back.
async fn patiently(connection: &Connection, request: &Recover) -> Result<Recovered, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match connection.bus.command(Verb::Recover, request).await {
            Ok(part) => return Ok(part),
            Err(Error::Refused { code: code::UNAVAILABLE, text, .. }) if Instant::now() < until => {
                if !std::mem::replace(&mut told, true) {
                    output::note(format_args!("waits: {text}"));
                }
                sleep(AGAIN_AFTER).await;
            }
            Err(error) => return Err(connection.explain(error).await),
        }
    }
}

fn of_program(program: &RecoveredProgram, dry_run: bool) -> Vec<Text> {
    vec![
        program.name.to_string().into(),
        Text::default(),
        Text::default(),
        Text::default(),
        what(program.recovery, dry_run),
        program.reason.clone().unwrap_or_default().into(),
    ]
}

fn of_instance(one: &RecoveredInstance, dry_run: bool) -> Vec<Text> {
    vec![
        one.name.to_string().into(),
        one.worker.to_string().into(),
        one.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()).into(),
        one.epoch.to_string().into(),
        what(one.recovery, dry_run),
        one.reason.clone().unwrap_or_default().into(),
    ]
}

fn what(recovery: Recovery, dry_run: bool) -> Text {
    let (text, tone) = match (recovery, dry_run) {
        (Recovery::Known, _) => ("known", Tone::Quiet),
        (Recovery::Rebuilt, false) => ("rebuilt", Tone::Good),
        (Recovery::Rebuilt, true) => ("would be rebuilt", Tone::Good),
        (Recovery::Left, _) => ("left", Tone::Bad),
        (Recovery::Ended, false) => ("stopped", Tone::Moving),
        (Recovery::Ended, true) => ("would be stopped", Tone::Moving),
    };
    Text { text: text.to_owned(), tone }
}
