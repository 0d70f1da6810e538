//! Events that did not happen: for trying templates and targets.

use dsbus_schema::event::{Event, Fact, ProcessFact, Source};
use dsbus_schema::ids::{
    Epoch, FleetName, InstanceId, NameError, ProgramId, ProgramName, WorkerName,
};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::{Exit, State};
use uuid::Uuid;

/// An instance that was given up.
///
/// # Errors
/// When one of the names cannot be one.
pub(crate) fn given_up(
    fleet: &FleetName,
    program: &str,
    index: u32,
    worker: &str,
    time: Timestamp,
) -> Result<Event, NameError> {
    let worker = WorkerName::parse(worker)?;
    let fact = ProcessFact {
        name: InstanceId::new(ProgramName::parse(program)?, index),
        id: ProgramId(Uuid::nil()),
        group: None,
        process: None,
        worker: Some(worker.clone()),
        epoch: Epoch(1),
        seq: 9,
        revision: 1,
        from: State::Backoff,
        state: State::Fatal,
        pid: Some(4711),
        exit: Some(Exit::code(1)),
        usage: None,
        expected: Some(false),
        reason: Some("gave up after 4 tries".to_owned()),
        spawnerr: None,
        stderr_line: Some("boom".to_owned()),
        attempt: Some(4),
    };
    let source = Source::Worker(worker);
    Ok(Event::new(fleet, &source, Uuid::nil(), time, Fact::Process(fact)))
}

#[cfg(test)]
pub(crate) use of_tests::{at, fatal, lost, set_reason};

#[cfg(test)]
mod of_tests {
    use dsbus_schema::event::{WorkerChange, WorkerFact};

    use super::*;

    /// So many seconds after a moment that is the same in every test.
    pub(crate) fn at(seconds: u64) -> Timestamp {
        let base = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
        base + std::time::Duration::from_secs(seconds)
    }

    pub(crate) fn fatal(program: &str, index: u32, worker: &str) -> Event {
        given_up(&FleetName::default(), program, index, worker, at(0)).unwrap()
    }

    pub(crate) fn lost(worker: &str) -> Event {
        let fact = WorkerFact {
            worker: WorkerName::parse(worker).unwrap(),
            change: WorkerChange::Lost,
            reason: Some("silent for 5s".to_owned()),
            incarnation: None,
            dropped: None,
        };
        let fleet = FleetName::default();
        Event::new(&fleet, &Source::Fleet, Uuid::from_u128(2), at(0), Fact::Worker(fact))
    }

    pub(crate) fn set_reason(event: &mut Event, reason: &str) {
        match &mut event.data {
            Fact::Process(fact) => fact.reason = Some(reason.to_owned()),
            other => panic!("{other:?} is no process fact"),
        }
    }
}
