//! What is answered: distsuper's envelope, its codes, its row of a process.

use axum::Json;
use axum::response::{IntoResponse, Response};
use dsbus_schema::command::code;
use dsbus_schema::ids::{ProgramName, WorkerName};
use dsbus_schema::program::{AutoRestart, Command, Program, TOUCH_TIMEOUT_DEFAULT};
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use serde_json::{Value, json};

use super::fault::{Code, Fault};
use crate::fleet::{Failed, Known};

impl Fault {
    /// What the schedulers refused; `otherwise` is what that means where nothing else is known.
    pub(super) fn of(failed: Failed, otherwise: Code) -> Fault {
        let code = match failed.code {
            code::BAD_REQUEST => Code::Value,
            code::NOT_FOUND => Code::NoProgram,
            code::UNAVAILABLE => Code::Server,
            _ => otherwise,
        };
        let problems: Vec<String> = failed.problems.iter().map(ToString::to_string).collect();
        let why = if problems.is_empty() { failed.text } else { problems.join("; ") };
        Fault::new(code, why)
    }
}

/// Always 200 for HTTP, as its clients expect it.
pub(super) fn response(answer: Result<Value, Fault>) -> Response {
    let body = match answer {
        Ok(data) => json!({ "code": 200, "msg": "", "dmsg": "", "data": data }),
        Err(Fault { code, why, data }) => {
            let (number, text) = code.number();
            json!({ "code": number, "msg": text, "dmsg": why, "data": data })
        }
    };
    Json(body).into_response()
}

/// Whether two statuses are the same; one may be text.
pub(super) fn same(wanted: &Value, status: &Value) -> bool {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    number(wanted) == number(status)
}

/// Of a program's instances the first that does not run, or else the first.
pub(super) fn worst<'a>(known: &'a Known, name: &ProgramName) -> Option<&'a InstanceRow> {
    let mut rows = known.rows().values().filter(|row| row.program == *name);
    let first = rows.next()?;
    let mut all = std::iter::once(first).chain(rows);
    let worst = all.find(|row| row.state != State::Running).unwrap_or(first);
    Some(worst)
}

/// distsuper's number of a state; those that it lacks are on their way.
fn status(state: State) -> i32 {
    match state {
        State::Stopped => 0,
        State::Starting | State::Pending | State::Backoff => 10,
        State::Running => 20,
        State::Stopping => 40,
        State::Exited => 100,
        State::Fatal => 200,
        State::Unknown => -1,
    }
}

/// A program as distsuper's table has it, and how its process ended besides.
pub(super) fn row(program: &Program, known: &Known) -> Value {
    let spec = &program.spec;
    let row = worst(known, &program.name);
    let worker = row.and_then(|row| row.worker.as_ref());
    let touched = worker.and_then(|name| known.workers().get(name)?.last_touch);
    let timeout = spec.touch_timeout.map_or(TOUCH_TIMEOUT_DEFAULT, |span| span.0.as_secs());
    let machines: Vec<&str> = spec.machines.iter().map(WorkerName::as_str).collect();
    let names = spec.environment.keys().map(|name| format!("{name}="));
    let command = match &spec.command {
        Command::Line(line) => line.clone(),
        Command::Words(words) => words.join(" "),
    };
    let created = program.id.0.get_timestamp().map(|at| at.to_unix().0);
    let created = created.and_then(|at| i64::try_from(at).ok());
    json!({
        "id": program.id,
        "create_time": created.map(date),
        "update_time": row.and_then(|row| row.since).map(|since| date(since.unix_seconds())),
        "name": program.name,
        "command": command,
        "directory": spec.directory,
        "environment": names.collect::<Vec<_>>().join(";"),
        "machines": machines.join(";"),
        "auto_start": spec.autostart,
        "auto_restart": spec.autorestart != AutoRestart::Never,
        "stdout_logfile": row.and_then(|row| row.stdout_logfile.as_deref()).unwrap_or(""),
        "stderr_logfile": row.and_then(|row| row.stderr_logfile.as_deref()).unwrap_or(""),
        "touch_timeout": timeout,
        "max_fail_count": spec.max_fail_count,
        "status": row.map_or(0, |row| status(row.state)),
        "machine": worker.map_or("", WorkerName::as_str),
        "fail_count": row.map_or(0, |row| row.restarts),
        "timeout_timestamp": touched.map(|at| at.unix_seconds() + i64::try_from(timeout).unwrap_or(0)),
        "pid": row.and_then(|row| row.pid),
        "exit": row.and_then(|row| row.exit),
        "reason": row.and_then(|row| row.spawnerr.as_ref().or(row.reason.as_ref())),
    })
}

/// As Python's `%Y-%m-%d %H:%M:%S`, in UTC.
fn date(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
