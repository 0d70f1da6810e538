//! The states, each with the data that exists only then.

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Stopped,
    Starting { pid: i32, spec: ProgramSpec, until: BootTime, since: BootTime },
    Running { pid: i32, spec: ProgramSpec, since: BootTime },
    Backoff { until: BootTime },
    Stopping { pid: i32, spec: ProgramSpec, kill_at: Option<BootTime>, killed: bool },
    Exited { restart_at: Option<BootTime> },
    Fatal,
}

impl Phase {
    pub(super) fn state(&self) -> State {
        match self {
            Phase::Stopped => State::Stopped,
            Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Stopping { .. } => State::Stopping,
            Phase::Exited { .. } => State::Exited,
            Phase::Fatal => State::Fatal,
        }
    }
}
