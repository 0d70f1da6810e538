//! What a simulated worker tells of an instance: the events STARTING and RUNNING, and then the
//! status, as an agent does.

use dsbus_client::{Bus, Error, Write};
use dsbus_schema::event::{Event, Fact, ProcessFact, Source};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};
use uuid::Uuid;

use crate::clock::wall;

/// What it has said of an instance.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    epoch: Epoch,
    events: u64,
    /// Of the status entry.
    seq: u64,
    running: bool,
}

/// Tells of one change of one instance.
pub(crate) struct Teller {
    pub(crate) bus: Bus,
    pub(crate) worker: WorkerName,
    pub(crate) name: InstanceId,
    pub(crate) said: Said,
}

impl Teller {
    pub(crate) async fn tell(
        mut self,
        placement: Option<Placement>,
        incarnation: Incarnation,
    ) -> Result<Said, Error> {
        let key = instance_key(&self.worker, &self.name);
        let Some(placement) = placement else {
            if self.said.seq > 0 {
                let delete = Write::delete(key).expect(self.said.seq);
                // A scheduler may have removed it first.
                drop(self.bus.write(Bucket::Status, delete).await);
            }
            return Ok(Said::default());
        };
        if placement.epoch != self.said.epoch {
            self.said = Said { epoch: placement.epoch, seq: self.said.seq, ..Said::default() };
        }
        let steps = match (placement.wanted.run, self.said.running) {
            (true, false) => vec![State::Starting, State::Running],
            (false, true) => vec![State::Stopping, State::Stopped],
            (true, true) | (false, false) => Vec::new(),
        };
        self.said.running = placement.wanted.run;
        let mut event = None;
        let mut from = if self.said.running { State::Stopped } else { State::Running };
        for state in steps {
            self.said.events += 1;
            let fact = self.fact(&placement, from, state);
            event = Some(tell(&self.bus, &self.worker, Fact::Process(fact)).await?);
            from = state;
        }
        let status = self.status(&placement, event, incarnation);
        let write = Write::put(key.clone(), &status)?;
        let written = self.bus.write(Bucket::Status, write.clone().expect(self.said.seq)).await;
        self.said.seq = match written {
            // A scheduler removed an old one.
            Err(Error::LostRace { .. }) => {
                let there = self.bus.get(Bucket::Status, &key).await?.map_or(0, |e| e.seq);
                self.bus.write(Bucket::Status, write.expect(there)).await?
            }
            written => written?,
        };
        Ok(self.said)
    }

    fn fact(&self, placement: &Placement, from: State, state: State) -> ProcessFact {
        ProcessFact {
            name: self.name.clone(),
            id: placement.id,
            group: None,
            process: None,
            worker: Some(self.worker.clone()),
            epoch: placement.epoch,
            seq: self.said.events,
            revision: placement.revision,
            from,
            state,
            pid: Some(1),
            exit: None,
            usage: None,
            expected: None,
            reason: None,
            spawnerr: None,
            stderr_line: None,
            attempt: (state == State::Starting).then_some(1),
        }
    }

    fn status(
        &self,
        placement: &Placement,
        event: Option<Uuid>,
        incarnation: Incarnation,
    ) -> Status {
        Status {
            id: placement.id,
            epoch: placement.epoch,
            revision: placement.revision,
            wanted: placement.wanted,
            state: if self.said.running { State::Running } else { State::Stopped },
            rests: false,
            refused: None,
            since: wall(),
            pid: self.said.running.then_some(1),
            restarts: 0,
            exit: None,
            usage: None,
            note: None,
            reason: None,
            spawnerr: None,
            stderr_line: None,
            stdout_logfile: Some(format!("/var/lib/dsbus/instances/{}/stdout.log", self.name)),
            stderr_logfile: Some(format!("/var/lib/dsbus/instances/{}/stderr.log", self.name)),
            seq: self.said.events,
            event,
            incarnation,
        }
    }
}

/// Publishes an event of this worker; its id.
pub(crate) async fn tell(bus: &Bus, worker: &WorkerName, fact: Fact) -> Result<Uuid, Error> {
    let (id, source) = (Uuid::now_v7(), Source::Worker(worker.clone()));
    let event = Event::new(bus.fleet(), &source, id, wall(), fact);
    bus.publish_event(&source, &event).await?;
    Ok(id)
}
