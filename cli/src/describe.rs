//! What is known of instances, workers and events in words.

pub(crate) mod event;
pub(crate) mod size;

use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::{DISABLED, InstanceRow};

use crate::args::Width;
use crate::table::{Text, Tone};

/// Why an instance is in its state: spawn error or exit, reason, last line of standard error. Empty
/// where there is nothing to explain.
pub(crate) fn detail(row: &InstanceRow) -> String {
    let disabled = row.reason.as_deref() == Some(DISABLED);
    let explained = match row.state {
        State::Stopped if disabled => true,
        State::Backoff | State::Fatal | State::Pending | State::Exited | State::Unknown => true,
        State::Stopped | State::Starting | State::Running | State::Stopping => false,
    };
    if !explained && row.ok {
        return String::new();
    }
    let exit = row.exit.map(|exit| exit.to_string());
    let stderr = row.stderr_line.as_ref().map(|line| format!("stderr: {line}"));
    let failed = matches!(row.state, State::Backoff | State::Fatal | State::Exited);
    join([
        row.spawnerr.as_deref().filter(|_| failed),
        exit.as_deref().filter(|_| failed),
        row.reason.as_deref(),
        stderr.as_deref().filter(|_| failed),
    ])
}

/// Joins parts, leaving out what an earlier or a longer one says already.
fn join<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let told = |i: usize| {
        parts.iter().enumerate().any(|(j, other)| {
            j != i && other.contains(parts[i]) && (other.len() > parts[i].len() || j < i)
        })
    };
    let kept: Vec<&str> = (0..parts.len()).filter(|&i| !told(i)).map(|i| parts[i]).collect();
    kept.join("; ").replace(" 1 times", " once")
}

/// The `meta` of its program: `team=blue, tier=1`.
pub(crate) fn meta(row: &InstanceRow) -> String {
    let pairs = row.meta.iter().map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => format!("{key}={value}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Where an instance runs: `w2, pid 123`.
pub(crate) fn place(row: &InstanceRow) -> String {
    match (&row.worker, row.pid) {
        (Some(worker), Some(pid)) => format!("{worker}, pid {pid}"),
        (Some(worker), None) => worker.to_string(),
        (None, _) => "on no worker".to_owned(),
    }
}

/// The state as a word: `running on its way`, with the reason where there is one.
pub(crate) fn state(row: &InstanceRow) -> String {
    match detail(row) {
        detail if detail.is_empty() => row.state.to_string(),
        detail => format!("{}: {detail}", row.state),
    }
}

/// Glyph, word and colour of a state. The glyph is for people: programs that read a pipe get the
/// word alone.
pub(crate) fn state_cell(row: &InstanceRow, terminal: bool) -> Text {
    let (glyph, tone) = match row.state {
        State::Running => ('●', Tone::Good),
        State::Starting => ('◐', Tone::Moving),
        State::Stopping => ('◑', Tone::Moving),
        State::Pending => ('◌', Tone::Moving),
        State::Backoff => ('↻', Tone::Moving),
        State::Stopped => ('○', Tone::Quiet),
        State::Exited if row.ok => ('✓', Tone::Quiet),
        State::Exited => ('✗', Tone::Bad),
        State::Fatal => ('✗', Tone::Bad),
        State::Unknown => ('?', Tone::Bad),
    };
    let text = if terminal { format!("{glyph} {}", row.state) } else { row.state.to_string() };
    Text { text, tone }
}

/// Word and colour of a worker's state.
pub(crate) fn worker_cell(state: WorkerState) -> Text {
    let tone = match state {
        WorkerState::Ready => Tone::Good,
        WorkerState::Cordoned
        | WorkerState::Draining
        | WorkerState::Stopping
        | WorkerState::Stopped => Tone::Quiet,
        WorkerState::Suspect => Tone::Moving,
        WorkerState::Lost => Tone::Bad,
    };
    Text { text: state.to_string(), tone }
}

/// How long ago something was.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let nanos = (now.unix_nanos() - since.unix_nanos()).max(0);
    length(u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX))
}

/// How long ago, and when: `2h 3m ago (2026-11-26 21:00:05 UTC)`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago ({})", age(at, now), exact(at))
}

/// How long ago, and in a wide table also when.
pub(crate) fn ago_cell(at: Timestamp, now: Timestamp, wide: Width) -> String {
    match wide {
        Width::Fitted => format!("{} ago", age(at, now)),
        Width::Whole => ago(at, now),
    }
}

/// A time as people read it, to the second.
pub(crate) fn exact(at: Timestamp) -> String {
    let text = at.to_string();
    let to_the_second = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{} UTC", to_the_second.replace('T', " "))
}

/// A length of time: its two greatest units.
pub(crate) fn length(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let at = |seconds: i128| Timestamp::from_unix_nanos(seconds * 1_000_000_000);
        for (seconds, said) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_600, "1h 0m"), (90_000, "1d 1h"), (-5, "0s")]
        {
            assert_eq!(age(at(0), at(seconds)), said);
        }
    }

    #[test]
    fn a_detail_says_nothing_twice() {
        let line = join([Some("exit code 1"), Some("exit code 1 too quickly"), Some("stderr: x")]);
        assert_eq!(line, "exit code 1 too quickly; stderr: x");
        assert_eq!(join([Some("FATAL 1 times, on w1")]), "FATAL once, on w1");
        assert_eq!(join([Some("a"), None, Some(""), Some("a")]), "a");
    }
}
