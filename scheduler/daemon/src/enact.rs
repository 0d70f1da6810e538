//! Does what the planner decided; no decisions here. Every write carries the guard under which it
//! was decided, so a loser of a race writes nothing.

use dsbus_client::{Bus, Entry, Error, Item, Value, Write};
use dsbus_planner::Action;
use dsbus_schema::event::{Fact, PlacementChange, PlacementFact, ProcessFact};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, fleet_status_key, goal_key};
use std::time::Duration;
use uuid::Uuid;

use crate::writes::{Writer, counted, said, writes};
use crate::{clock, own_touch, verify};

/// How long the listing of a removed program's goals may take.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// A write that the bus acknowledged, to be folded at once.
pub(crate) type Folded = (Bucket, Entry);

/// Who enacts.
pub(crate) struct Enactor<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) id: &'a str,
}

impl Enactor<'_> {
    /// Does one action. Answers with what was written.
    ///
    /// # Errors
    /// When the bus refused it or did not answer. Either way the watch will show what is so.
    pub(crate) async fn enact(
        &self,
        action: &Action,
        program: Option<ProgramId>,
    ) -> Result<Vec<Folded>, Error> {
        if let Some(writes) = writes(action, &self.writer())? {
            let last = self.bus.batch(writes.bucket, writes.writes.clone()).await?;
            self.tell_placement(action, program);
            return Ok(writes.entries(last, clock::wall()));
        }
        match action {
            Action::CountFailure { name, worker, epoch, asked } => {
                self.count_failure(name, worker, *epoch, *asked).await?;
                Ok(Vec::new())
            }
            Action::SetFleetStatus { name, state, reason, guard } => {
                self.say(name, program, (*state, reason), *guard).await
            }
            Action::Forget { program, guard } => self.forget(program, *guard).await,
            Action::Place { .. }
            | Action::Update { .. }
            | Action::Move { .. }
            | Action::Remove { .. }
            | Action::ClearFleetStatus { .. }
            | Action::DropStatus { .. } => Ok(Vec::new()),
        }
    }

    fn writer(&self) -> Writer<'_> {
        Writer { id: self.id, touch: own_touch::touch(0) }
    }

    /// Deletes what is left of a removed program: its goals, then itself. The goals are listed
    /// before it is made sure that they are its own, and not those of a successor of its name.
    async fn forget(&self, program: &ProgramName, guard: u64) -> Result<Vec<Folded>, Error> {
        let keys = format!("{program}.*");
        let listed = self.living(Bucket::Goals, &keys);
        let goals = tokio::time::timeout(LIST_WITHIN, listed).await.map_err(|_| Error::Timeout)?;
        let now = self.bus.get(Bucket::Programs, program.as_str()).await?.map_or(0, |e| e.seq);
        if now != guard {
            return Err(Error::LostRace { current: Some(now) });
        }
        for goal in goals {
            self.bus.write(Bucket::Goals, Write::delete(goal.key).expect(goal.seq)).await?;
        }
        self.delete(Bucket::Programs, program.to_string(), guard).await
    }

    /// Counts a failure in the instance's goal, unless it is counted already.
    async fn count_failure(
        &self,
        name: &InstanceId,
        worker: &WorkerName,
        epoch: Epoch,
        asked: u64,
    ) -> Result<(), Error> {
        let key = goal_key(&name.program, Some(name.index));
        let pattern = format!("{}.*", name.program);
        let last = self.bus.get(Bucket::Goals, &pattern).await?.map_or(0, |e| e.seq);
        let entry = self.bus.get(Bucket::Goals, &key).await?;
        let stored: Option<Goal> = entry.map(|e| e.json()).transpose()?.flatten();
        let all: Option<Goal> =
            match self.bus.get(Bucket::Goals, &goal_key(&name.program, None)).await? {
                Some(entry) => entry.json()?,
                None => None,
            };
        let Some(goal) = counted(stored, all.as_ref(), worker, epoch, asked) else {
            return Ok(());
        };
        let write = Write::put(key, &goal)?.guard(&pattern, last);
        self.bus.write(Bucket::Goals, write).await.map(|_| ())
    }

    async fn say(
        &self,
        name: &InstanceId,
        program: Option<ProgramId>,
        (state, reason): (State, &str),
        guard: u64,
    ) -> Result<Vec<Folded>, Error> {
        let event = Uuid::now_v7();
        let status = said(program, (state, reason), event, clock::wall());
        let write = Write::put(fleet_status_key(name), &status)?.expect(guard);
        let seq = self.bus.write(Bucket::Status, write).await?;
        verify::publish(self.bus, event, Fact::Process(fleet_fact(name, &status)));
        Ok(vec![put_entry(Bucket::Status, fleet_status_key(name), seq, &status)?])
    }

    async fn delete(&self, bucket: Bucket, key: String, guard: u64) -> Result<Vec<Folded>, Error> {
        let seq = self.bus.write(bucket, Write::delete(key.clone()).expect(guard)).await?;
        Ok(vec![gone(bucket, key, seq)])
    }

    /// Every living key that `pattern` matches.
    async fn living(&self, bucket: Bucket, pattern: &str) -> Vec<Entry> {
        let mut living = Vec::new();
        let mut watch = self.bus.watch(bucket, pattern, &format!("forget-{}", self.id));
        loop {
            match watch.next().await {
                Item::Entry(entry) if matches!(entry.value, Value::Put(_)) => living.push(entry),
                Item::Entry(_) => {}
                Item::Reset => living.clear(),
                Item::CaughtUp => return living,
            }
        }
    }

    /// Tells of an action that changed where an instance runs.
    fn tell_placement(&self, action: &Action, program: Option<ProgramId>) {
        let known = program.unwrap_or(ProgramId(Uuid::nil()));
        let (name, id, change, from, to, epoch, reason) = match action {
            Action::Place { name, worker, placement, .. } => {
                let reason = "it should run and had no place";
                (
                    name,
                    placement.id,
                    PlacementChange::Placed,
                    None,
                    Some(worker),
                    placement.epoch,
                    reason,
                )
            }
            Action::Move { name, from, to, placement, reason, .. } => {
                let change = PlacementChange::Moved;
                (name, placement.id, change, Some(from), Some(to), placement.epoch, reason.as_str())
            }
            Action::Remove { name, worker, epoch, reason, .. } => {
                (name, known, PlacementChange::Removed, Some(worker), None, *epoch, reason.as_str())
            }
            Action::Update { .. }
            | Action::CountFailure { .. }
            | Action::SetFleetStatus { .. }
            | Action::ClearFleetStatus { .. }
            | Action::DropStatus { .. }
            | Action::Forget { .. } => return,
        };
        let place = |worker: Option<&WorkerName>| worker.map_or("-", WorkerName::as_str).to_owned();
        tracing::info!("{name}: {change:?} {} -> {} ({reason})", place(from), place(to));
        let fact = PlacementFact {
            name: name.clone(),
            id,
            change,
            from: from.cloned(),
            to: to.cloned(),
            epoch,
            reason: reason.to_owned(),
            scheduler: self.id.to_owned(),
        };
        verify::publish(self.bus, Uuid::now_v7(), Fact::Placement(fact));
    }
}

fn fleet_fact(name: &InstanceId, status: &Status) -> ProcessFact {
    ProcessFact {
        name: name.clone(),
        id: status.id,
        worker: None,
        epoch: status.epoch,
        seq: 0,
        revision: status.revision,
        from: State::Stopped,
        state: status.state,
        pid: None,
        exit: None,
        usage: None,
        expected: None,
        reason: status.reason.clone(),
        spawnerr: None,
        stderr_line: None,
        attempt: None,
    }
}

fn put_entry<T: serde::Serialize>(
    bucket: Bucket,
    key: String,
    seq: u64,
    body: &T,
) -> Result<Folded, Error> {
    let Write { body, .. } = Write::put(key.clone(), body)?;
    let value = Value::Put(body.unwrap_or_default());
    Ok((bucket, Entry { key, seq, value, time: clock::wall() }))
}

fn gone(bucket: Bucket, key: String, seq: u64) -> Folded {
    (bucket, Entry { key, seq, value: Value::Deleted, time: clock::wall() })
}
