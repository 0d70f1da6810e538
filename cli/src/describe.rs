//! What is known of instances, workers and events in words.

pub(crate) mod size;

use anstyle::{AnsiColor, Style};
use dsbus_schema::event::{Fact, Notice, NoticeFact, PlacementFact, ProcessFact, WorkerChange};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::rollout::{RolloutChange, RolloutFact};
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::{DISABLED, InstanceRow};

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

/// A length of time: its two greatest units.
pub(crate) fn length(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// What an event tells beyond its type.
pub(crate) fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Process(fact) => process(fact),
        Fact::Placement(fact) => placement(fact),
        Fact::Worker(fact) => fact.reason.clone().unwrap_or_default(),
        Fact::Notice(fact) => notice(fact),
        Fact::Output(fact) => fact.text.trim_end().to_owned(),
        Fact::Rollout(fact) => rollout(fact),
    }
}

fn notice(fact: &NoticeFact) -> String {
    let hook = fact.hook.map(|hook| hook.to_string());
    let exit = fact.exit.map(|exit| exit.to_string());
    join([hook.as_deref(), exit.as_deref(), Some(fact.reason.as_str())])
}

fn rollout(fact: &RolloutFact) -> String {
    let revision = format!("revision {}", fact.revision);
    let by = fact.by.as_ref().map(|user| format!("by {user}"));
    join([Some(revision.as_str()), Some(fact.reason.as_str()), by.as_deref()])
}

fn process(fact: &ProcessFact) -> String {
    let pid = fact.pid.map(|pid| format!("pid {pid}"));
    let exit = fact.exit.map(|exit| match fact.expected {
        Some(false) => format!("{exit} (not expected)"),
        Some(true) | None => exit.to_string(),
    });
    // What the worker gives as the reason when there is none but the exit itself.
    let ended = fact.exit.map(|exit| format!("ended by itself: {exit}"));
    let attempt = fact.attempt.filter(|n| *n > 1).map(|n| format!("try {n}"));
    let stderr = fact.stderr_line.as_ref().map(|line| format!("stderr: {line}"));
    join([
        pid.as_deref(),
        attempt.as_deref(),
        fact.spawnerr.as_deref(),
        exit.as_deref(),
        fact.reason.as_deref().filter(|reason| Some(*reason) != ended.as_deref()),
        stderr.as_deref(),
    ])
}

fn placement(fact: &PlacementFact) -> String {
    let way = match (&fact.from, &fact.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(to)) => format!("-> {to}"),
        (Some(from), None) => format!("{from} ->"),
        (None, None) => String::new(),
    };
    join([Some(way.as_str()), Some(fact.reason.as_str())])
}

/// The style of an event's type.
pub(crate) fn event_style(fact: &Fact) -> Style {
    let colour = match fact {
        Fact::Process(fact) => match fact.state {
            State::Running => AnsiColor::Green,
            State::Fatal | State::Unknown | State::Backoff => AnsiColor::Red,
            State::Exited if fact.expected == Some(false) => AnsiColor::Red,
            State::Pending | State::Starting | State::Stopping => AnsiColor::Yellow,
            State::Stopped | State::Exited => return Style::new().dimmed(),
        },
        Fact::Placement(_) => AnsiColor::Cyan,
        Fact::Worker(fact) => match fact.change {
            WorkerChange::Started | WorkerChange::Back | WorkerChange::Uncordoned => {
                AnsiColor::Green
            }
            WorkerChange::Lost
            | WorkerChange::Awaited
            | WorkerChange::Fenced
            | WorkerChange::NameTaken
            | WorkerChange::EventsDropped
            | WorkerChange::Refused => AnsiColor::Red,
            WorkerChange::AgentStarted
            | WorkerChange::Stopping
            | WorkerChange::Stopped
            | WorkerChange::Cordoned
            | WorkerChange::Draining
            | WorkerChange::Drained => AnsiColor::Yellow,
        },
        Fact::Notice(fact) => match fact.change {
            Notice::HookFailed
            | Notice::HookTimedOut
            | Notice::ProbeFailed
            | Notice::OomKill
            | Notice::ReloadFailed
            | Notice::OutputLost
            | Notice::DoesNotDie => AnsiColor::Red,
            Notice::ReloadStarted | Notice::BinaryChanged | Notice::Recycled => AnsiColor::Yellow,
            Notice::HookDone
            | Notice::Reloaded
            | Notice::ReloadSwitched
            | Notice::OutputWrittenAgain => AnsiColor::Green,
        },
        Fact::Output(_) => return Style::new().dimmed(),
        Fact::Rollout(fact) => match fact.change {
            RolloutChange::Failed | RolloutChange::Reverted => AnsiColor::Red,
            RolloutChange::Started | RolloutChange::Paused => AnsiColor::Yellow,
            RolloutChange::Resumed | RolloutChange::Promoted | RolloutChange::Done => {
                AnsiColor::Green
            }
        },
    };
    colour.on_default()
}

/// `epoch.seq`, which orders the events of an instance.
pub(crate) fn order(fact: &Fact) -> String {
    match fact {
        // What the fleet tells of an instance without a place is outside of that order.
        Fact::Process(fact) if fact.seq == 0 => "-".to_owned(),
        Fact::Process(fact) => format!("{}.{}", fact.epoch, fact.seq),
        Fact::Placement(fact) => fact.epoch.to_string(),
        Fact::Notice(fact) => fact.epoch.to_string(),
        Fact::Output(fact) => fact.epoch.to_string(),
        Fact::Worker(_) | Fact::Rollout(_) => String::new(),
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
