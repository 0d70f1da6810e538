//! `dsbus dev kill WORKER`: a worker's end as a power cut makes it.

use std::fs;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::WorkerName;
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::WorkerRow;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::workers;
use super::Record;
use super::fleet::REBOOT;
use super::home::{self, RECORD_FILE};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Most instances that are named; a worker may have run hundreds.
const NAMES_MAX: usize = 5;

/// Kills both processes of the worker, if they are on this machine.
///
/// # Errors
/// When there is no such worker here, or it does not run.
pub(super) async fn run(config: &Config, worker: &WorkerName) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = workers::all(&connection).await?;
    let row = find(&rows, worker)?;
    let host = nix::unistd::gethostname().map_err(std::io::Error::from)?;
    if host.to_string_lossy() != row.host {
        return Err(Failure::failed(format!(
            "{worker} is not on this machine, but on {}",
            row.host
        )));
    }
    let home = home_of(config, worker);
    for pid in [row.agent_pid, row.supervisor_pid] {
        check(worker, pid, home.is_some())?;
    }
    if row.state == WorkerState::Lost {
        return Err(Failure::failed(format!("{worker} is lost already")));
    }
    let there: Vec<String> = connection
        .status(&[])
        .await?
        .iter()
        .filter(|row| row.worker.as_ref() == Some(worker))
        .filter(|row| matches!(row.state, State::Running | State::Starting))
        .map(|row| row.name.to_string())
        .collect();
    let comes_back = home.is_some_and(|data| fs::write(home::killed(&data, worker), "").is_ok());
    // A supervisor that sees its agent die starts another one: it is held first.
    for (pid, signal) in [
        (row.supervisor_pid, Signal::SIGSTOP),
        (row.agent_pid, Signal::SIGKILL),
        (row.supervisor_pid, Signal::SIGKILL),
    ] {
        kill(Pid::from_raw(pid), signal).map_err(|e| {
            Failure::failed(format!("failed to kill process {pid} of {worker}: {e}"))
        })?;
    }
    let (agent, supervisor) = (row.agent_pid, row.supervisor_pid);
    output::line(format_args!("killed {worker}: supervisor {supervisor}, agent {agent}"))?;
    match there.as_slice() {
        [] => output::line("nothing ran there")?,
        names => output::line(format_args!(
            "{} ran there, and will run elsewhere after its touch_timeout (5 s unless set)",
            named(names)
        ))?,
    }
    if comes_back {
        let seconds = REBOOT.as_secs();
        output::line(format_args!("{worker} comes back in {seconds} s, as after a reboot"))?;
    }
    Ok(Code::Done)
}

fn find<'a>(rows: &'a [WorkerRow], worker: &WorkerName) -> Result<&'a WorkerRow, Failure> {
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    rows.iter().find(|row| row.name == *worker).ok_or_else(|| {
        Failure::failed(format!("there is no worker {worker}; there are: {}", names.join(" ")))
    })
}

/// The first few names, and how many more there are.
fn named(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(" ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Refuses to kill what is no process of dsbus: the number may belong to another one by now.
fn check(worker: &WorkerName, pid: i32, comes_back: bool) -> Result<(), Failure> {
    let gone = || {
        Failure::failed(if comes_back {
            format!("{worker} is already killed; it comes back by itself")
        } else {
            format!("process {pid} of {worker} does not run any more")
        })
    };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let process = Path::new("/proc").join(pid.to_string());
    let binary = fs::read_link(process.join("exe")).map_err(|_| gone())?;
    let ours = std::env::current_exe().ok().and_then(|path| name(&path));
    // The link of a binary that was built anew ends with " (deleted)".
    let theirs = name(&binary).map(|name| name.trim_end_matches(" (deleted)").to_owned());
    if pid > 1 && (theirs == ours || theirs.as_deref() == Some("dsbus")) {
        return Ok(());
    }
    Err(Failure::failed(format!("process {pid} of {worker} is {}, not dsbus", binary.display())))
}

/// Data of the `dsbus dev` that runs this worker here, if one does: a word left there tells it that
/// the end is meant, and it starts the worker again.
fn home_of(config: &Config, worker: &WorkerName) -> Option<PathBuf> {
    let path = config.around.upward(RECORD_FILE)?;
    let text = fs::read_to_string(path).ok()?;
    let record = serde_json::from_str::<Record>(&text).ok()?;
    let theirs =
        record.fleet == config.fleet && record.data.join("workers").join(worker.as_str()).exists();
    theirs.then_some(record.data)
}
