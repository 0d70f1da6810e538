//! `dsbus drain WORKER...`

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::command::{Ask, Explanation, Verb, WorkerActed};
use dsbus_schema::ids::{InstanceId, Target, WorkerName};
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use super::steer;
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::rollout::names;
use crate::wait::{feed, pause};
use crate::{describe, output};

/// How long an instance may be left before it is asked why: most leave within moments.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most instances that are asked why they are left; the others wait for their turn.
const ASKED_MAX: usize = 10;

/// What has become of the instances of workers that are drained.
#[derive(Debug, Default)]
struct Drain {
    /// Those that were there.
    were: BTreeSet<InstanceId>,
    /// Where each has gone.
    gone: BTreeMap<InstanceId, String>,
    /// Why those that are left are left.
    why: BTreeMap<InstanceId, String>,
}

impl Drain {
    /// Takes in what is known now; what there is to tell of those that have left.
    fn look(&mut self, rows: &[InstanceRow], workers: &[WorkerName]) -> Vec<String> {
        let mut told = Vec::new();
        for row in rows {
            let there = row.worker.as_ref().is_some_and(|worker| workers.contains(worker));
            if there {
                self.were.insert(row.name.clone());
                self.gone.remove(&row.name);
            } else if self.were.contains(&row.name) && !self.gone.contains_key(&row.name) {
                let Some(end) = left(row) else { continue };
                told.push(format!("{}: {end}", row.name));
                self.gone.insert(row.name.clone(), end);
            }
        }
        // What is not known any more was removed.
        for name in &self.were {
            let known = rows.iter().any(|row| row.name == *name);
            if !known && !self.gone.contains_key(name) {
                told.push(format!("{name}: removed"));
                self.gone.insert(name.clone(), "removed".to_owned());
            }
        }
        told
    }

    /// Those that are still there.
    fn left<'a>(rows: &'a [InstanceRow], workers: &[WorkerName]) -> Vec<&'a InstanceRow> {
        let there =
            |row: &&InstanceRow| row.worker.as_ref().is_some_and(|worker| workers.contains(worker));
        rows.iter().filter(there).collect()
    }
}

/// What has become of an instance that left, or `None` while it is on its way.
fn left(row: &InstanceRow) -> Option<String> {
    match row.state {
        State::Running => Some(format!("moved ({})", describe::place(row))),
        // Another worker knows now how it is, and does not start it.
        State::Exited | State::Stopped if row.worker.is_some() => {
            let end = if row.state == State::Exited { "it has ended" } else { "it is stopped" };
            let why = match describe::detail(row) {
                why if why.is_empty() => String::new(),
                why => format!(": {why}"),
            };
            Some(format!("moved ({}); {end}{why}", describe::place(row)))
        }
        State::Pending => Some(format!("left, and waits for a place: {}", describe::detail(row))),
        State::Stopped | State::Exited | State::Fatal => {
            Some(format!("left; it is {}", describe::state(row)))
        }
        State::Starting | State::Backoff | State::Stopping | State::Unknown => None,
    }
}

/// Moves everything away from workers, and tells what moves, what cannot, and why, until nothing
/// is left there.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Drain) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let acted = steer::send(&connection, Verb::Drain, &args.which).await?;
    let data = args.which.output.data();
    let table = data.is_none();
    if table {
        for WorkerActed { name, instances, .. } in &acted {
            let has = if *instances == 0 { "nothing".to_owned() } else { steer::count(*instances) };
            output::success(format_args!("{name}: draining; it has {has}"))?;
        }
    }
    if args.no_wait {
        if let Some(data) = data {
            output::data(data, &acted)?;
        }
        return Ok(Code::Done);
    }
    let workers: Vec<WorkerName> = acted.iter().map(|acted| acted.name.clone()).collect();
    let began = Instant::now();
    let deadline = began + args.timeout.0;
    let mut feed = feed(&connection).await;
    let mut drain = Drain::default();
    let (left, over) = loop {
        let over = Instant::now() >= deadline;
        let Ok(rows) = connection.status(&[]).await else {
            if over {
                break (drain.were.iter().cloned().collect(), true);
            }
            pause(&mut feed, deadline).await;
            continue;
        };
        for line in drain.look(&rows, &workers) {
            if table {
                output::line(line)?;
            }
        }
        let left = Drain::left(&rows, &workers);
        let names: Vec<InstanceId> = left.iter().map(|row| row.name.clone()).collect();
        // Those that have left are told of when they run elsewhere.
        let settled = drain.gone.len() == drain.were.len();
        if (names.is_empty() && settled) || over {
            break (names, over);
        }
        if began.elapsed() >= PATIENCE {
            ask_why(&connection, &names, &mut drain, table).await;
        }
        if table {
            output::passing(&[passing(&drain, &names)]);
        }
        pause(&mut feed, deadline).await;
    };
    output::passing(&[]);
    let timed_out = over && !left.is_empty();
    if timed_out {
        ask_why(&connection, &left, &mut drain, false).await;
    }
    if let Some(data) = data {
        let left: Vec<_> = left
            .iter()
            .map(|name| json!({ "name": name, "because": drain.why.get(name) }))
            .collect();
        let gone: Vec<_> =
            drain.gone.iter().map(|(name, end)| json!({ "name": name, "detail": end })).collect();
        output::data(data, &json!({ "workers": acted, "gone": gone, "left": left }))?;
    } else {
        end(&workers, &drain, &left)?;
    }
    Ok(if timed_out { Code::TimedOut } else { Code::Done })
}

fn passing(drain: &Drain, left: &[InstanceId]) -> String {
    format!("{} of {} left; still there: {}", drain.gone.len(), drain.were.len(), names(left))
}

/// Tells why instances are left, each reason once.
async fn ask_why(connection: &Connection, left: &[InstanceId], drain: &mut Drain, table: bool) {
    let names: Vec<Target> =
        left.iter().take(ASKED_MAX).map(|name| Target::Instance(name.clone())).collect();
    if names.is_empty() {
        return;
    }
    let ask = Ask { names, ..Ask::default() };
    let told: Result<Vec<Explanation>, _> = connection.command(Verb::Explain, &ask).await;
    // Without an answer nothing is told; the next look asks again.
    for explanation in told.unwrap_or_default() {
        // What comes first is why it was put there.
        let because = match explanation.because.split_once("; ") {
            Some((_, now)) => now.to_owned(),
            None => explanation.because,
        };
        let before = drain.why.insert(explanation.name.clone(), because.clone());
        if table && before.as_ref() != Some(&because) {
            output::note(format_args!("{}: {because}", explanation.name));
        }
    }
}

fn end(workers: &[WorkerName], drain: &Drain, left: &[InstanceId]) -> Result<(), Failure> {
    let all: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
    let all = all.join(", ");
    if left.is_empty() {
        output::success(format_args!("{all}: drained ({} gone)", steer::count(drain.gone.len())))?;
        return Ok(());
    }
    let what =
        if left.len() == 1 { "1 instance is" } else { &format!("{} instances are", left.len()) };
    let why: BTreeSet<&String> = left.iter().filter_map(|name| drain.why.get(name)).collect();
    let why: Vec<&str> = why.into_iter().map(String::as_str).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
    let said = format!("{all}: timed out; {what} still there ({}){why}", names(left));
    let failure = Failure::new(Code::TimedOut, said);
    output::failure(
        &failure.hint(format!("it goes on; dsbus undrain {} ends it", all.replace(", ", " "))),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use dsbus_schema::state::Exit;

    use super::*;

    fn row(name: &str, state: &str, worker: Option<&str>) -> InstanceRow {
        let id: InstanceId = serde_json::from_value(json!(name)).unwrap();
        serde_json::from_value(json!({
            "name": name, "id": "00000000-0000-0000-0000-000000000001", "program": id.program,
            "index": id.index, "state": state, "statecode": 0, "worker": worker, "pid": 7,
            "epoch": 1, "revision": 2, "since": null, "restarts": 0, "exit": null,
            "reason": null, "spawnerr": null, "stderr_line": null, "stdout_logfile": null,
            "stderr_logfile": null, "wanted": {"run": true}, "acted": {"run": true}, "ok": true,
        }))
        .unwrap()
    }

    #[test]
    fn each_that_left_is_told_once_and_when_it_runs() {
        let workers = [WorkerName::parse("w1").unwrap()];
        let mut drain = Drain::default();
        let mut look = |rows: &[InstanceRow]| drain.look(rows, &workers);
        let other = || row("api:0", "RUNNING", Some("w2"));
        assert_eq!(look(&[row("web:0", "RUNNING", Some("w1")), other()]), [""; 0]);
        assert_eq!(look(&[row("web:0", "STARTING", Some("w2")), other()]), [""; 0]);
        assert_eq!(
            look(&[row("web:0", "RUNNING", Some("w2")), other()]),
            ["web:0: moved (w2, pid 7)"]
        );
        assert_eq!(look(&[row("web:0", "RUNNING", Some("w2")), other()]), [""; 0]);
        let ended = |worker| InstanceRow {
            pid: None,
            exit: Some(Exit { code: Some(0), signal: None, core: false }),
            ..row("once:0", "EXITED", Some(worker))
        };
        look(&[ended("w1")]);
        assert_eq!(look(&[ended("w2")]), ["once:0: moved (w2); it has ended: exit code 0"]);
        let waits = InstanceRow {
            reason: Some("no worker has zone = eu".to_owned()),
            ..row("eu:0", "PENDING", None)
        };
        look(&[row("eu:0", "RUNNING", Some("w1"))]);
        let told = ["eu:0: left, and waits for a place: no worker has zone = eu"];
        assert_eq!(look(&[waits]), told);
        look(&[row("job:0", "RUNNING", Some("w1"))]);
        assert_eq!(look(&[]), ["job:0: removed"]);
    }
}
