//! Events in words.

use anstyle::{AnsiColor, Style};
use dsbus_schema::event::{
    CommandFact, Fact, GroupChange, GroupFact, ListenerChange, ListenerFact, Notice, NoticeFact,
    PlacementFact, ProcessFact, ProgramChange, ProgramFact, SchedulerChange, SchedulerFact,
    Verdict, WorkerChange,
};
use dsbus_schema::rollout::{RolloutChange, RolloutFact};
use dsbus_schema::state::State;

use super::join;

/// What an event tells beyond its type.
pub(crate) fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Process(fact) => process(fact),
        Fact::Placement(fact) => placement(fact),
        Fact::Worker(fact) => fact.reason.clone().unwrap_or_default(),
        Fact::Notice(fact) => notice(fact),
        Fact::Output(fact) => fact.text.trim_end().to_owned(),
        Fact::Rollout(fact) => rollout(fact),
        Fact::Program(fact) => program(fact),
        Fact::Group(fact) => group(fact),
        Fact::Command(fact) => command(fact),
        Fact::Scheduler(fact) => scheduler(fact),
        Fact::Tick(_) => String::new(),
        Fact::User(fact) => fact.text.trim_end().to_owned(),
        Fact::Listener(fact) => listener(fact),
    }
}

fn program(fact: &ProgramFact) -> String {
    let revision = format!("revision {}", fact.revision);
    let changed = fact.changed.join(", ");
    let by = fact.by.as_ref().map(|user| format!("by {user}"));
    join([Some(revision.as_str()), Some(changed.as_str()), by.as_deref()])
}

fn group(fact: &GroupFact) -> String {
    if fact.failed.is_empty() {
        return String::new();
    }
    format!("failed: {}", fact.failed.join(", "))
}

fn command(fact: &CommandFact) -> String {
    let mut names = fact.names.join(" ");
    if fact.count > fact.names.len() {
        names = format!("{names} and {} more", fact.count - fact.names.len());
    }
    let by = format!("by {}", fact.by);
    join([Some(names.trim()), fact.reason.as_deref(), Some(by.as_str())])
}

fn scheduler(fact: &SchedulerFact) -> String {
    if let Some(count) = fact.count {
        return format!("{count} events could not be stored");
    }
    match fact.schedulers {
        0 => "none is left".to_owned(),
        1 => "there is 1 now".to_owned(),
        n => format!("there are {n} now"),
    }
}

fn listener(fact: &ListenerFact) -> String {
    let target = fact.target.as_ref().map(|target| format!("to {target}"));
    join([target.as_deref(), Some(fact.reason.as_str())])
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
pub(crate) fn style(fact: &Fact) -> Style {
    let colour = match fact {
        Fact::Process(fact) => match fact.state {
            State::Running => AnsiColor::Green,
            State::Fatal | State::Unknown | State::Backoff => AnsiColor::Red,
            State::Exited if fact.expected == Some(false) => AnsiColor::Red,
            State::Pending | State::Starting | State::Stopping => AnsiColor::Yellow,
            State::Stopped | State::Exited => return Style::new().dimmed(),
        },
        Fact::Placement(_) => AnsiColor::Cyan,
        Fact::Worker(fact) => worker_colour(fact.change),
        Fact::Notice(fact) => notice_colour(fact.change),
        Fact::Output(_) => return Style::new().dimmed(),
        Fact::Rollout(fact) => match fact.change {
            RolloutChange::Failed | RolloutChange::Reverted => AnsiColor::Red,
            RolloutChange::Started | RolloutChange::Paused => AnsiColor::Yellow,
            RolloutChange::Resumed | RolloutChange::Promoted | RolloutChange::Done => {
                AnsiColor::Green
            }
        },
        Fact::Program(fact) => match fact.change {
            ProgramChange::Added => AnsiColor::Green,
            ProgramChange::Changed | ProgramChange::Removed => AnsiColor::Yellow,
        },
        Fact::Group(fact) => match fact.change {
            GroupChange::Added | GroupChange::Ok => AnsiColor::Green,
            GroupChange::Removed | GroupChange::Degraded => AnsiColor::Yellow,
            GroupChange::Failed => AnsiColor::Red,
        },
        Fact::Command(fact) => match fact.verdict {
            Verdict::Accepted => AnsiColor::Cyan,
            Verdict::Refused => AnsiColor::Red,
        },
        Fact::Scheduler(fact) => match fact.change {
            SchedulerChange::Joined => AnsiColor::Green,
            SchedulerChange::Left => AnsiColor::Yellow,
            SchedulerChange::Lost | SchedulerChange::EventsDropped => AnsiColor::Red,
        },
        Fact::Tick(_) => return Style::new().dimmed(),
        Fact::User(_) => AnsiColor::Magenta,
        Fact::Listener(fact) => match fact.change {
            ListenerChange::Accepted => AnsiColor::Green,
            ListenerChange::Rejected | ListenerChange::Died => AnsiColor::Yellow,
            ListenerChange::Unknown | ListenerChange::DeadLetter | ListenerChange::Dropped => {
                AnsiColor::Red
            }
        },
    };
    colour.on_default()
}

fn worker_colour(change: WorkerChange) -> AnsiColor {
    match change {
        WorkerChange::Started
        | WorkerChange::Back
        | WorkerChange::Uncordoned
        | WorkerChange::Upgraded => AnsiColor::Green,
        WorkerChange::Lost
        | WorkerChange::Awaited
        | WorkerChange::Fenced
        | WorkerChange::NameTaken
        | WorkerChange::EventsDropped
        | WorkerChange::EventsUnsaved
        | WorkerChange::UpgradeFailed
        | WorkerChange::Refused => AnsiColor::Red,
        WorkerChange::AgentStarted
        | WorkerChange::Stopping
        | WorkerChange::Stopped
        | WorkerChange::Cordoned
        | WorkerChange::Draining
        | WorkerChange::Drained
        | WorkerChange::SecretChanged => AnsiColor::Yellow,
    }
}

fn notice_colour(change: Notice) -> AnsiColor {
    match change {
        Notice::HookFailed
        | Notice::HookTimedOut
        | Notice::ProbeFailed
        | Notice::OomKill
        | Notice::ReloadFailed
        | Notice::OutputLost
        | Notice::DoesNotDie => AnsiColor::Red,
        Notice::ReloadStarted
        | Notice::BinaryChanged
        | Notice::Recycled
        | Notice::Signalled
        | Notice::StdinClosed => AnsiColor::Yellow,
        Notice::HookDone
        | Notice::Reloaded
        | Notice::ReloadSwitched
        | Notice::OutputWrittenAgain => AnsiColor::Green,
    }
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
        Fact::Worker(_)
        | Fact::Rollout(_)
        | Fact::Program(_)
        | Fact::Group(_)
        | Fact::Command(_)
        | Fact::Scheduler(_)
        | Fact::Tick(_)
        | Fact::User(_)
        | Fact::Listener(_) => String::new(),
    }
}
