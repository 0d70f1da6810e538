//! Does what the planner decided; no decisions here. Every write carries the guard under which it
//! was decided, so a loser of a race writes nothing.

use dsbus_client::{Bus, Entry, Error, Item, Value, Write};
use dsbus_planner::Action;
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{InstanceId, ProgramId, ProgramName};
use dsbus_schema::program::Program;
use dsbus_schema::state::State;
use dsbus_schema::storage::{Bucket, fleet_status_key, goal_key, listener_consumer};
use std::time::Duration;
use uuid::Uuid;

use crate::clock;
use crate::own_touch::Presence;
use crate::writes::{
    Goals, Group, Writer, Writes, entry, goal_after, goal_of, goal_pattern, group_writes, said,
};

/// How long the listing of a removed program's goals may take.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// A write that the bus acknowledged, to be folded at once.
pub(crate) type Folded = (Bucket, Entry);

/// Who enacts.
pub(crate) struct Enactor<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) presence: &'a Presence,
}

impl Enactor<'_> {
    /// Does the actions of a group: all, or none. Answers with what was written.
    ///
    /// # Errors
    /// When the bus refused it or did not answer. Either way the watch will show what is so.
    pub(crate) async fn enact(&self, group: &Group) -> Result<Vec<Folded>, Error> {
        let writer = Writer { id: &self.presence.id, touch: self.presence.touch(0) };
        if let Some(writes) = group_writes(group, &writer)? {
            let last = self.bus.batch(writes.bucket, writes.writes.clone()).await?;
            for (action, _) in group {
                log(action);
            }
            return Ok(writes.entries(last, clock::wall(), &self.presence.id));
        }
        match group.first() {
            Some((Action::SetFleetStatus { name, state, reason, guard }, id)) => {
                self.say(name, *id, (*state, reason), *guard).await
            }
            Some((Action::Forget { program, guard }, _)) => self.forget(program, *guard).await,
            Some((action, _)) => self.write_goal(action).await.map(|()| Vec::new()),
            None => Ok(Vec::new()),
        }
    }

    /// Writes the goal that an action is about, unless it was done already.
    async fn write_goal(&self, action: &Action) -> Result<(), Error> {
        let Some((program, index)) = goal_of(action) else { return Ok(()) };
        let pattern = goal_pattern(program);
        // The guard is read first: what is written after it makes the write fail.
        let last = self.bus.get(Bucket::Goals, &pattern).await?.map_or(0, |e| e.seq);
        let read = |index| async move {
            let entry = self.bus.get(Bucket::Goals, &goal_key(program, index)).await?;
            Ok::<Option<Goal>, Error>(entry.map(|e| e.json()).transpose()?.flatten())
        };
        let goals = Goals { own: read(index).await?, all: read(None).await?, last };
        let Some(goal) = goal_after(action, self.bus.fleet(), &goals) else { return Ok(()) };
        match action {
            Action::Stop { name, reason, .. } => tracing::info!("{name}: stopped: {reason}"),
            Action::Fire { due, .. } => {
                tracing::info!("{program}: the run of {} is due: {:?}", due.at, due.verdict);
            }
            _ => {}
        }
        let write = Write::put(goal_key(program, index), &goal)?.guard(&pattern, last);
        self.bus.write(Bucket::Goals, write).await.map(|_| ())
    }

    /// Deletes what is left of a removed program: its goals, where it stands in the events if it is a
    /// listener, then itself. The goals are listed before it is made sure that they are its own, and
    /// not those of a successor of its name.
    async fn forget(&self, program: &ProgramName, guard: u64) -> Result<Vec<Folded>, Error> {
        let keys = format!("{program}.*");
        let listed = self.living(Bucket::Goals, &keys);
        let goals = tokio::time::timeout(LIST_WITHIN, listed).await.map_err(|_| Error::Timeout)?;
        let entry = self.bus.get(Bucket::Programs, program.as_str()).await?;
        let now = entry.as_ref().map_or(0, |e| e.seq);
        if now != guard {
            return Err(Error::LostRace { current: Some(now) });
        }
        for goal in goals {
            self.bus.write(Bucket::Goals, Write::delete(goal.key).expect(goal.seq)).await?;
        }
        if let Some(Program { id, .. }) = entry.and_then(|e| e.json().ok().flatten()) {
            self.forget_place(program, id).await?;
        }
        self.delete(Bucket::Programs, program.to_string(), guard).await
    }

    /// Of any program, since it may have been a listener earlier. A bus that does not answer is
    /// asked again; one that refuses for good keeps no program from being removed.
    async fn forget_place(&self, program: &ProgramName, id: ProgramId) -> Result<(), Error> {
        let place = listener_consumer(program, id);
        match self.bus.forget_durable(&place).await {
            Ok(true) => tracing::info!("{program}: its place in the events is forgotten"),
            // There are no events, and so nobody stands in them.
            Ok(false) | Err(Error::NotProvisioned) => {}
            Err(e @ (Error::Denied { .. } | Error::Api { .. })) => {
                tracing::warn!("{program} is removed, but its consumer {place} stays: {e}");
            }
            Err(e) => return Err(e),
        }
        Ok(())
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
        let writes = Writes { bucket: Bucket::Status, writes: vec![write.clone()] };
        let seq = self.bus.write(Bucket::Status, write).await?;
        Ok(writes.entries(seq, clock::wall(), &self.presence.id))
    }

    async fn delete(&self, bucket: Bucket, key: String, guard: u64) -> Result<Vec<Folded>, Error> {
        let write = Write::delete(key).expect(guard);
        let seq = self.bus.write(bucket, write.clone()).await?;
        Ok(vec![(bucket, entry(&write, seq, clock::wall(), &self.presence.id))])
    }

    /// Every living key that `pattern` matches.
    async fn living(&self, bucket: Bucket, pattern: &str) -> Vec<Entry> {
        let mut living = Vec::new();
        let mut watch = self.bus.watch(bucket, pattern, &format!("forget-{}", self.presence.id));
        loop {
            match watch.next().await {
                Item::Entry(entry) if matches!(entry.value, Value::Put(_)) => living.push(entry),
                Item::Entry(_) => {}
                Item::Reset => living.clear(),
                Item::CaughtUp => return living,
            }
        }
    }
}

/// Says what was done, for the log of this scheduler.
fn log(action: &Action) {
    match action {
        Action::Place { name, worker, placement, .. } => {
            let reason = placement.reason.as_deref().unwrap_or_default();
            tracing::info!("{name}: placed on {worker} ({reason})");
        }
        Action::Move { name, from, to, reason, .. } => {
            tracing::info!("{name}: moved from {from} to {to} ({reason})");
        }
        Action::Remove { name, worker, reason, .. } => {
            tracing::info!("{name}: removed from {worker} ({reason})");
        }
        Action::Repair { name, worker, why, .. } => {
            tracing::warn!("{name}: what {worker} was told is forged ({why}); written over");
        }
        Action::Rollout { record, change, reason, .. } => {
            tracing::info!("{}: rollout {change:?}: {reason}", record.name);
        }
        Action::Drained { worker, .. } => tracing::info!("worker {worker} is drained"),
        Action::TellGroup { fact, .. } => {
            tracing::info!("group {}: {:?}", fact.group, fact.change);
        }
        Action::ForgetWorker { worker, .. } => {
            tracing::info!("worker {worker} stopped, and is not missed");
        }
        Action::Update { .. }
        | Action::CountFailure { .. }
        | Action::NoteRefusal { .. }
        | Action::SetFleetStatus { .. }
        | Action::ClearFleetStatus { .. }
        | Action::DropStatus { .. }
        | Action::Stop { .. }
        | Action::Fire { .. }
        | Action::ForgetGroup { .. }
        | Action::Forget { .. } => {}
    }
}
