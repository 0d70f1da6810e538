//! `dsbus recover [--dry-run] [--force] [--from FILE...]`

use std::collections::BTreeMap;
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
/// A worker that does not answer and is not lost may be busy: it is asked again for so long. One that
/// is gone is lost by then, and counts no more.
const SILENT_MAX: Duration = Duration::from_secs(10);
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
    let recovered = ask_all(&connection, &programs, args).await?;
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

/// Asks until every worker has answered that is not lost, or for as long as that may take.
async fn ask_all(
    connection: &Connection,
    programs: &crate::file::Programs,
    args: &args::Recover,
) -> Result<Recovered, Failure> {
    let until = Instant::now() + SILENT_MAX;
    let mut all = ask(connection, programs, args).await?;
    // Who says `--force` does not wait for them.
    while !args.force && !all.silent.is_empty() && Instant::now() < until {
        sleep(AGAIN_AFTER).await;
        match ask(connection, programs, args).await {
            Ok(again) => all = merged(all, again),
            // What was done is told all the same.
            Err(why) => {
                output::note(format_args!(
                    "workers that did not answer could not be asked again: {}",
                    why.message
                ));
                break;
            }
        }
    }
    Ok(all)
}

/// What became of all, when it was asked for a second time: what was done at first is known since, or
/// gone.
fn merged(first: Recovered, second: Recovered) -> Recovered {
    let done = |recovery| matches!(recovery, Recovery::Rebuilt | Recovery::Ended);
    let mut programs: BTreeMap<_, RecoveredProgram> =
        second.programs.into_iter().map(|one| (one.name.clone(), one)).collect();
    for one in first.programs.into_iter().filter(|one| done(one.recovery)) {
        if programs.get(&one.name).is_none_or(|later| later.recovery == Recovery::Known) {
            programs.insert(one.name.clone(), one);
        }
    }
    let place = |one: &RecoveredInstance| (one.name.clone(), one.worker.clone());
    let mut instances: BTreeMap<_, RecoveredInstance> =
        second.instances.into_iter().map(|one| (place(&one), one)).collect();
    for one in first.instances.into_iter().filter(|one| done(one.recovery)) {
        let later = instances.get(&place(&one));
        if later.is_none_or(|later| later.recovery == Recovery::Known) {
            instances.insert(place(&one), one);
        }
    }
    Recovered {
        programs: programs.into_values().collect(),
        instances: instances.into_values().collect(),
        silent: second.silent,
        next: None,
    }
}

/// Asks part by part: the schedulers answer within a second or two.
async fn ask(
    connection: &Connection,
    programs: &crate::file::Programs,
    args: &args::Recover,
) -> Result<Recovered, Failure> {
    let mut all = Recovered::default();
    let programs = programs.clone();
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn recovered(silent: &[&str], instances: &[(&str, &str, &str)]) -> Recovered {
        let program = |what: &str| {
            json!({ "name": "web", "id": "01890a5d-ac96-774b-bcce-b302099a8057", "revision": 1,
                "recovery": what })
        };
        let instances: Vec<Value> = instances
            .iter()
            .map(|(name, worker, what)| {
                json!({ "name": name, "worker": worker, "epoch": 7, "recovery": what })
            })
            .collect();
        let first = instances.first().map(|one| one["recovery"].as_str().unwrap().to_owned());
        let programs: Vec<Value> = first.iter().map(|what| program(what)).collect();
        serde_json::from_value(json!({ "programs": programs, "instances": instances,
            "silent": silent }))
        .unwrap()
    }

    #[test]
    fn what_was_done_at_first_is_told_at_last() {
        let first = recovered(
            &["w2"],
            &[
                ("web:0", "w1", "rebuilt"),
                ("web:1", "w1", "left"),
                ("web:2", "w1", "ended"),
                ("web:3", "w1", "rebuilt"),
            ],
        );
        let second = recovered(
            &[],
            &[
                ("web:0", "w1", "known"),
                ("web:1", "w1", "rebuilt"),
                ("web:3", "w1", "ended"),
                ("web:4", "w2", "rebuilt"),
            ],
        );
        let all = recovered(
            &[],
            &[
                ("web:0", "w1", "rebuilt"),
                ("web:1", "w1", "rebuilt"),
                ("web:2", "w1", "ended"),
                ("web:3", "w1", "ended"),
                ("web:4", "w2", "rebuilt"),
            ],
        );
        assert_eq!(merged(first, second), all);
    }
}
