//! A command on this machine. It finds the event on its standard input, as JSON, and the most
//! important of it in its environment; it is the leader of a process group, and whatever of the
//! group is left when its time is over is killed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dsbus_schema::alert::Letter;
use dsbus_schema::ids::FleetName;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Fate;
use crate::spec::CommandTarget;
use crate::texts::{Context, Said, document};

/// How much of what a command says is kept, for the reason of a failure; the rest is read and
/// thrown away.
const OUTPUT_MAX: usize = 4096;
/// How long what a command has said is waited for after its end: what it left running may hold its
/// output open for ever.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);
/// Longest variable: the kernel refuses a command with one of 128 KiB.
const VARIABLE_MAX: usize = 32 * 1024;
/// Exit codes that mean that another try is in vain: `EX_USAGE`, `EX_DATAERR`, `EX_NOPERM` and
/// `EX_CONFIG` of sysexits.h.
const NEVER: [i32; 4] = [64, 65, 77, 78];

/// Kills a process group unless it was waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // The group may be gone.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Runs it once. Cancelling this kills it.
pub(super) async fn run(
    target: &CommandTarget,
    fleet: &FleetName,
    letter: &Letter,
    said: &Said,
) -> Fate {
    let Some((program, arguments)) = target.words.split_first() else {
        return Fate::never("there is no command");
    };
    let mut context = Context::new(fleet, letter);
    context.set(&said.subject, &said.text);
    let mut command = Command::new(program);
    for variable in dsbus_starter::VARIABLES {
        command.env_remove(variable);
    }
    let child = command
        .args(arguments)
        .envs(environment(&context))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => return Fate::later(format!("{program} cannot be run: {e}")),
    };
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(pid);
    let (status, output) = talk(&mut child, document(&context).to_string()).await;
    group.0 = None;
    match status {
        Ok(status) => fate(status, &output),
        Err(e) => Fate::later(format!("{program} cannot be waited for: {e}")),
    }
}

/// Gives it its input, and reads what it says until it ends.
async fn talk(child: &mut Child, input: String) -> (std::io::Result<ExitStatus>, Vec<u8>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut said = Vec::new();
    let mut streams = Box::pin(async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command need not read.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let mut ignored = Vec::new();
        tokio::join!(write, keep(stderr, &mut said), keep(stdout, &mut ignored));
    });
    let status = tokio::select! {
        status = child.wait() => {
            drop(tokio::time::timeout(OUTPUT_WAIT, &mut streams).await);
            status
        }
        () = &mut streams => child.wait().await,
    };
    drop(streams);
    (status, said)
}

/// Keeps the last bytes of what comes.
async fn keep(from: Option<impl AsyncRead + Unpin>, last: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut part = [0; OUTPUT_MAX];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        last.extend_from_slice(&part[..count]);
        let surplus = last.len().saturating_sub(OUTPUT_MAX);
        last.drain(..surplus);
    }
}

fn fate(status: ExitStatus, output: &[u8]) -> Fate {
    if status.success() {
        return Fate::Delivered;
    }
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let why = match line {
        Some(line) => format!("{status}: {line}"),
        None => status.to_string(),
    };
    if status.code().is_some_and(|code| NEVER.contains(&code)) {
        Fate::never(why)
    } else {
        Fate::later(why)
    }
}

/// What stands in the environment of a command, beside what this process has itself.
fn environment(context: &Context) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let own = ["fleet", "rule", "target", "kind", "count", "subject", "text"];
    let own = own.map(|name| (format!("DSBUS_ALERT_{}", name.to_uppercase()), context.get(name)));
    let event = context.get("event");
    let of_event =
        ["type", "subject", "program", "instance", "worker", "time", "exit", "why", "stderr_line"];
    let of_event =
        of_event.map(|name| (format!("DSBUS_EVENT_{}", name.to_uppercase()), &event[name]));
    let all = own.into_iter().chain(of_event);
    // Nothing of an event may keep the command from being started: NUL ends a variable.
    all.map(|(name, value)| (name, cut(text(value).replace('\0', "\u{fffd}")))).collect()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(VARIABLE_MAX));
    text
}
