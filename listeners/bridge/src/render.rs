//! Events of a fleet as Supervisor would tell them: its name for each, and its payload, byte for
//! byte (its events.py). Pure.
//!
//! | of the fleet | becomes |
//! | --- | --- |
//! | a process that is STARTING, RUNNING, BACKOFF, STOPPING, EXITED, STOPPED, FATAL or UNKNOWN | `PROCESS_STATE_*` |
//! | output of a program with `*_events_enabled`, or in capture mode | `PROCESS_LOG_*`, `PROCESS_COMMUNICATION_*` |
//! | what somebody said (`dsbus emit`) | `REMOTE_COMMUNICATION` |
//! | a worker that has started, or was told to stop: it is what is one Supervisor elsewhere | `SUPERVISOR_STATE_CHANGE_*` |
//! | a tick, once per fleet | `TICK_*` |
//! | a group that has its first program, or has lost its last; a program without one is one | `PROCESS_GROUP_*` |
//!
//! The rest has no counterpart, and is not told: PENDING, placements, moves, rollouts, commands; nor
//! the FATAL of a scheduler that gives up an instance for good, since each worker on which it failed
//! has told one. Supervisor knows no PENDING; what was PENDING comes `from_state:STOPPED`.

use std::fmt::Write;

use dsbus_schema::call::Channel;
use dsbus_schema::event::{
    Event, Fact, GroupChange, OutputFact, OutputKind, Period, ProcessFact, ProgramChange,
    WorkerChange,
};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::program::EventName;
use dsbus_schema::state::{Exit, State};

/// Renders events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Renderer {
    extra_tokens: bool,
}

/// An event as Supervisor tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its name.
    pub name: EventName,
    /// What comes after the first line.
    pub payload: String,
}

impl Renderer {
    /// With `extra_tokens`, what Supervisor does not know comes after its own tokens: `worker`,
    /// `epoch`, `exitcode` and `signal`.
    pub fn new(extra_tokens: bool) -> Renderer {
        Renderer { extra_tokens }
    }

    /// The event, where Supervisor has one like it.
    pub fn render(self, event: &Event) -> Option<Rendered> {
        let name = name_of(&event.data)?;
        let payload = match &event.data {
            Fact::Process(fact) => self.process(fact),
            Fact::Output(fact) => self.output(fact),
            Fact::User(fact) => format!("type:{}\n{}", fact.name, fact.text),
            Fact::Tick(fact) => format!("when:{}", fact.when),
            Fact::Program(fact) => format!("groupname:{}\n", fact.program),
            Fact::Group(fact) => format!("groupname:{}\n", fact.group),
            Fact::Worker(fact) if self.extra_tokens => format!("worker:{}", fact.worker),
            Fact::Worker(_) => String::new(),
            Fact::Placement(_)
            | Fact::Notice(_)
            | Fact::Rollout(_)
            | Fact::Command(_)
            | Fact::Scheduler(_)
            | Fact::Listener(_) => return None,
        };
        Some(Rendered { name, payload })
    }

    fn process(self, fact: &ProcessFact) -> String {
        let mut text = who(&fact.name, fact.process.as_deref(), fact.group.as_ref());
        let pid = fact.pid.unwrap_or(0);
        // Writing to text does not fail.
        let _ = write!(text, " from_state:{}", from(fact.from));
        let _ = match fact.state {
            // Supervisor counts the starts that failed before this one.
            State::Starting => {
                write!(text, " tries:{}", fact.attempt.unwrap_or(1).saturating_sub(1))
            }
            State::Backoff => write!(text, " tries:{}", fact.attempt.unwrap_or(1)),
            State::Running | State::Stopping | State::Stopped => write!(text, " pid:{pid}"),
            State::Exited => {
                write!(text, " expected:{} pid:{pid}", u8::from(fact.expected.unwrap_or(false)))
            }
            State::Fatal | State::Unknown | State::Pending => Ok(()),
        };
        self.extra(&mut text, fact.worker.as_ref(), fact.epoch, fact.exit);
        text
    }

    fn output(self, fact: &OutputFact) -> String {
        let mut text = who(&fact.name, fact.process.as_deref(), fact.group.as_ref());
        let _ = write!(text, " pid:{}", fact.pid);
        if fact.output == OutputKind::Log {
            let _ = write!(text, " channel:{}", fact.channel.name());
        }
        self.extra(&mut text, Some(&fact.worker), fact.epoch, None);
        text.push('\n');
        text.push_str(&fact.text);
        text
    }

    fn extra(
        self,
        text: &mut String,
        worker: Option<&WorkerName>,
        epoch: Epoch,
        exit: Option<Exit>,
    ) {
        if !self.extra_tokens {
            return;
        }
        if let Some(worker) = worker {
            let _ = write!(text, " worker:{worker}");
        }
        let _ = write!(text, " epoch:{epoch}");
        if let Some(code) = exit.and_then(|exit| exit.code) {
            let _ = write!(text, " exitcode:{code}");
        }
        if let Some(signal) = exit.and_then(|exit| exit.signal) {
            let _ = write!(text, " signal:{signal}");
        }
    }
}

/// `processname:P groupname:G`. A program without a group is one of its own.
fn who(of: &InstanceId, process: Option<&str>, group: Option<&ProgramName>) -> String {
    let InstanceId { program, index } = of;
    let group = group.unwrap_or(program);
    match process {
        Some(name) => format!("processname:{name} groupname:{group}"),
        None if *index == 0 => format!("processname:{program} groupname:{group}"),
        // Told by a worker of a release that gave copies no names.
        None => format!("processname:{program}_{index:02} groupname:{group}"),
    }
}

/// Supervisor's name of an event, where it has one like it.
pub fn name_of(fact: &Fact) -> Option<EventName> {
    let name = match fact {
        // That it is given up everywhere. Its workers have told their own.
        Fact::Process(fact) if fact.state == State::Fatal && fact.worker.is_none() => return None,
        Fact::Process(fact) => match fact.state {
            State::Starting => EventName::ProcessStateStarting,
            State::Running => EventName::ProcessStateRunning,
            State::Backoff => EventName::ProcessStateBackoff,
            State::Stopping => EventName::ProcessStateStopping,
            State::Exited => EventName::ProcessStateExited,
            State::Stopped => EventName::ProcessStateStopped,
            State::Fatal => EventName::ProcessStateFatal,
            State::Unknown => EventName::ProcessStateUnknown,
            State::Pending => return None,
        },
        Fact::Output(fact) => match (fact.output, fact.channel) {
            (OutputKind::Log, Channel::Stdout) => EventName::ProcessLogStdout,
            (OutputKind::Log, Channel::Stderr) => EventName::ProcessLogStderr,
            (OutputKind::Communication, Channel::Stdout) => EventName::ProcessCommunicationStdout,
            (OutputKind::Communication, Channel::Stderr) => EventName::ProcessCommunicationStderr,
        },
        Fact::User(_) => EventName::RemoteCommunication,
        Fact::Tick(fact) => match fact.tick {
            Period::Five => EventName::Tick5,
            Period::Minute => EventName::Tick60,
            Period::Hour => EventName::Tick3600,
        },
        Fact::Worker(fact) => match fact.change {
            WorkerChange::Started => EventName::SupervisorStateChangeRunning,
            WorkerChange::Stopping => EventName::SupervisorStateChangeStopping,
            WorkerChange::AgentStarted
            | WorkerChange::Stopped
            | WorkerChange::Lost
            | WorkerChange::Awaited
            | WorkerChange::Back
            | WorkerChange::Fenced
            | WorkerChange::NameTaken
            | WorkerChange::EventsDropped
            | WorkerChange::EventsUnsaved
            | WorkerChange::Refused
            | WorkerChange::Cordoned
            | WorkerChange::Draining
            | WorkerChange::Drained
            | WorkerChange::Uncordoned
            | WorkerChange::SecretChanged
            | WorkerChange::Upgraded
            | WorkerChange::UpgradeFailed => return None,
        },
        // A program in a group changes that group only as its first or last one.
        Fact::Program(fact) if fact.group.is_some() => return None,
        Fact::Program(fact) => match fact.change {
            ProgramChange::Added => EventName::ProcessGroupAdded,
            ProgramChange::Removed => EventName::ProcessGroupRemoved,
            ProgramChange::Changed => return None,
        },
        Fact::Group(fact) => match fact.change {
            GroupChange::Added => EventName::ProcessGroupAdded,
            GroupChange::Removed => EventName::ProcessGroupRemoved,
            GroupChange::Ok | GroupChange::Degraded | GroupChange::Failed => return None,
        },
        Fact::Placement(_)
        | Fact::Notice(_)
        | Fact::Rollout(_)
        | Fact::Command(_)
        | Fact::Scheduler(_)
        | Fact::Listener(_) => return None,
    };
    Some(name)
}

/// A state that Supervisor knows.
fn from(state: State) -> &'static str {
    match state {
        State::Pending => State::Stopped.name(),
        State::Stopped
        | State::Starting
        | State::Running
        | State::Backoff
        | State::Stopping
        | State::Exited
        | State::Fatal
        | State::Unknown => state.name(),
    }
}

#[cfg(test)]
mod tests;
