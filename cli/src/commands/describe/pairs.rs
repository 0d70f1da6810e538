//! Names and values of programs and instances, in an order that people look for them.

use dsbus_schema::command::RolloutRow;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::Program;
use dsbus_schema::status::InstanceRow;

use crate::describe::{self, size};
use crate::table::{Text, Tone};
use crate::wait::rollout::progress;

type Pairs = Vec<(&'static str, Text)>;

/// A program as a whole.
pub(super) fn of_program(
    program: Option<&Program>,
    instances: &[InstanceRow],
    rollout: Option<&RolloutRow>,
    now: Timestamp,
) -> Pairs {
    let well = instances.iter().filter(|row| row.ok).count();
    let all = instances.len();
    let tone = if well == all { Tone::Good } else { Tone::Bad };
    let copies = if all == 1 { "1 instance" } else { &format!("{all} instances") };
    let text = format!("{copies}, {well} as it should be");
    let mut pairs: Pairs = vec![("state", Text { text, tone })];
    if let Some(program) = program {
        pairs.push(("id", program.id.to_string().into()));
        let by = program.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let changed = program.changed.or(program.declared);
        let when = changed.map(|at| format!(", {}", describe::ago(at, now))).unwrap_or_default();
        pairs.push(("revision", format!("{}{when}{by}", program.revision).into()));
        if let Some(reason) = &program.reason {
            pairs.push(("reason", reason.clone().into()));
        }
    }
    if let Some(rollout) = rollout {
        let why = rollout.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let text = format!("{}{why}", progress(rollout));
        pairs.push(("rollout", Text { text, tone: Tone::Moving }));
    }
    pairs
}

/// One instance.
pub(super) fn of_instance(
    row: &InstanceRow,
    because: Option<&str>,
    now: Timestamp,
    terminal: bool,
) -> Pairs {
    let mut pairs: Pairs = vec![("state", describe::state_cell(row, terminal))];
    let mut add = |name, value: Option<String>| {
        pairs.extend(value.filter(|text| !text.is_empty()).map(|text| (name, Text::from(text))));
    };
    add("detail", Some(describe::detail(row)));
    add("since", row.since.map(|at| describe::ago(at, now)));
    add("worker", row.worker.as_ref().map(ToString::to_string));
    add("because", because.map(str::to_owned));
    add("pid", row.pid.map(|pid| pid.to_string()));
    add("note", row.note.clone());
    add("arguments", Some(shell_words::join(&row.arguments)));
    add("epoch", (row.epoch.0 > 0).then(|| row.epoch.to_string()));
    add("revision", Some(row.revision.to_string()));
    add("restarts", Some(row.restarts.to_string()));
    add("last exit", row.exit.map(|exit| exit.to_string()));
    add(
        "last child",
        row.usage.map(|usage| {
            let seconds = usage.cpu_ms / 1000;
            let cpu = format!("{seconds}.{:03} s of processor time", usage.cpu_ms % 1000);
            match usage.memory_peak {
                0 => cpu,
                bytes => format!("{cpu}, at most {}", size::whole(bytes)),
            }
        }),
    );
    let wanted = if row.wanted.run { "to run" } else { "to be stopped" };
    add("wanted", Some(wanted.to_owned()));
    add("stdout", row.stdout_logfile.clone());
    add("stderr", row.stderr_logfile.clone());
    add("meta", Some(describe::meta(row)));
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i128) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn an_instance_is_told_without_what_is_not_known() {
        let row = json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": "RUNNING", "statecode": 20, "worker": "w1", "pid": 17,
            "epoch": 3, "revision": 2, "since": "2026-05-01T12:00:00Z", "restarts": 1,
            "exit": { "code": 7, "signal": null, "core": false },
            "usage": { "cpu_ms": 1250, "memory_peak": 2_097_152 },
            "reason": null, "spawnerr": null, "stderr_line": null, "stdout_logfile": "/x/stdout.log",
            "stderr_logfile": null, "wanted": {"run": true}, "acted": {"run": true}, "ok": true,
            "arguments": ["--all", "a b"],
        });
        let row: InstanceRow = serde_json::from_value(row).unwrap();
        let now = at(row.since.unwrap().unix_nanos() / 1_000_000_000 + 61);
        let told = of_instance(&row, Some("it was free"), now, false);
        let told: Vec<String> = told.iter().map(|(k, v)| format!("{k}: {}", v.text)).collect();
        assert_eq!(
            told,
            [
                "state: RUNNING",
                "since: 1m 1s ago (2026-05-01 12:00:00 UTC)",
                "worker: w1",
                "because: it was free",
                "pid: 17",
                "arguments: --all 'a b'",
                "epoch: 3",
                "revision: 2",
                "restarts: 1",
                "last exit: exit code 7",
                "last child: 1.250 s of processor time, at most 2.0 MiB",
                "wanted: to run",
                "stdout: /x/stdout.log",
            ]
        );
    }
}
