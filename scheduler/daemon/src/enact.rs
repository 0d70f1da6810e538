//! Does what the planner decided; no decisions here. Every write carries the guard under which it
//! was decided, so a loser of a race writes nothing.

use dsbus_client::{Bus, Entry, Error, Item, Value, Write};
use dsbus_planner::Action;
use dsbus_planner::action::LeaseGuard;
use dsbus_planner::jobs::{Due, Verdict};
use dsbus_schema::event::{Fact, PlacementChange, PlacementFact, ProcessFact};
use dsbus_schema::goal::{Goal, Wanted};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::rollout::RolloutFact;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{
    Bucket, fleet_status_key, goal_key, instance_key, placement_guard, scheduler_key, touch_key,
};
use dsbus_schema::touch::PRESENCE_SECONDS;
use std::time::Duration;
use uuid::Uuid;

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
        match action {
            Action::Place { name, worker, guard, placement } => {
                let seq = self.put(name, worker, *guard, placement).await?;
                let reason = placement.reason.as_deref().unwrap_or("it should run");
                self.tell(
                    name,
                    placement.id,
                    PlacementChange::Placed,
                    (None, Some(worker)),
                    (placement.epoch, reason),
                );
                Ok(vec![placed(name, worker, seq, placement)?])
            }
            Action::Update { name, worker, guard, placement } => {
                let seq = self.put(name, worker, *guard, placement).await?;
                Ok(vec![placed(name, worker, seq, placement)?])
            }
            Action::Move { .. } => self.relocate(action).await,
            Action::Remove { name, worker, guard, lease, epoch, reason } => {
                let seq = self.take_away(name, worker, *guard, *lease).await?;
                let id = program.unwrap_or(ProgramId(Uuid::nil()));
                self.tell(
                    name,
                    id,
                    PlacementChange::Removed,
                    (Some(worker), None),
                    (*epoch, reason),
                );
                Ok(vec![gone(Bucket::Fleet, instance_key(worker, name), seq)])
            }
            Action::CountFailure { name, worker, epoch, asked } => {
                self.count_failure(name, worker, *epoch, *asked).await?;
                Ok(Vec::new())
            }
            Action::SetFleetStatus { name, state, reason, guard } => {
                self.say(name, program, (*state, reason), *guard).await
            }
            Action::ClearFleetStatus { name, guard } => {
                self.delete(Bucket::Status, fleet_status_key(name), *guard).await
            }
            Action::DropStatus { name, worker, guard } => {
                self.delete(Bucket::Status, instance_key(worker, name), *guard).await
            }
            Action::Stop { name, epoch, reason } => {
                self.stop(name, *epoch, reason).await.map(|()| Vec::new())
            }
            Action::Fire { program, due } => self.fire(program, due).await.map(|()| Vec::new()),
            Action::Rollout { guard, record, change, reason } => {
                let key = record.name.to_string();
                let write = Write::put(key.clone(), record)?.expect(*guard);
                let seq = self.bus.write(Bucket::Programs, write).await?;
                let fact = RolloutFact {
                    program: record.name.clone(),
                    id: record.id,
                    change: *change,
                    revision: record.revision,
                    reason: reason.clone(),
                    by: None,
                };
                tracing::info!("{}: rollout {change:?}: {reason}", record.name);
                verify::publish(self.bus, Uuid::now_v7(), Fact::Rollout(fact));
                Ok(vec![put_entry(Bucket::Programs, key, seq, record)?])
            }
            Action::ForgetWorker { worker, guard } => {
                tracing::info!("worker {worker} stopped, and is not missed");
                self.delete(Bucket::Workers, worker.to_string(), *guard).await
            }
            Action::Forget { program, guard } => self.forget(program, *guard).await,
        }
    }

    /// The goal of a program or an instance as it is stored, that of the whole program, and the last
    /// sequence of all of them.
    async fn goals(
        &self,
        program: &ProgramName,
        index: Option<u32>,
    ) -> Result<(Option<Goal>, Option<Goal>, u64), Error> {
        let pattern = goal_pattern(program);
        // The guard is read first: what is written after it makes the write fail.
        let last = self.bus.get(Bucket::Goals, &pattern).await?.map_or(0, |e| e.seq);
        let read = |index| async move {
            let entry = self.bus.get(Bucket::Goals, &goal_key(program, index)).await?;
            Ok::<Option<Goal>, Error>(entry.map(|e| e.json()).transpose()?.flatten())
        };
        Ok((read(index).await?, read(None).await?, last))
    }

    async fn put_goal(
        &self,
        program: &ProgramName,
        index: Option<u32>,
        goal: &Goal,
        last: u64,
    ) -> Result<(), Error> {
        let pattern = goal_pattern(program);
        let write = Write::put(goal_key(program, index), goal)?.guard(&pattern, last);
        self.bus.write(Bucket::Goals, write).await.map(|_| ())
    }

    /// Stops an instance whose worker is lost, once for each epoch.
    async fn stop(&self, name: &InstanceId, epoch: Epoch, reason: &str) -> Result<(), Error> {
        let (stored, _, last) = self.goals(&name.program, Some(name.index)).await?;
        let mut goal = stored.unwrap_or_default();
        let text = format!("{}/{name}/{epoch}/lost", self.bus.fleet());
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
        if goal.commands.has_acted(id) {
            return Ok(());
        }
        goal.commands.remember(id, "stop");
        (goal.run, goal.stamp) = (false, last + 1);
        tracing::info!("{name}: stopped: {reason}");
        self.put_goal(&name.program, Some(name.index), &goal, last).await
    }

    /// Fires a scheduled run, or notes that it is skipped: whoever is first.
    async fn fire(&self, program: &ProgramName, due: &Due) -> Result<(), Error> {
        let (stored, _, last) = self.goals(program, None).await?;
        let mut goal = stored.unwrap_or_default();
        if goal.last_due >= Some(due.at) || goal.commands.has_acted(due.id) {
            return Ok(());
        }
        goal.last_due = Some(due.at);
        if due.verdict == Verdict::Run {
            goal.commands.remember(due.id, "start");
            (goal.run, goal.stamp) = (true, last + 1);
            goal.starts += 1;
        }
        tracing::info!("{program}: the run of {} is due: {:?}", due.at, due.verdict);
        self.put_goal(program, None, &goal, last).await
    }

    /// Deletes a placement; in one batch with a write that stands on a lost lease, if it does.
    async fn take_away(
        &self,
        name: &InstanceId,
        worker: &WorkerName,
        guard: u64,
        lease: Option<LeaseGuard>,
    ) -> Result<u64, Error> {
        let delete = Write::delete(instance_key(worker, name)).guard(&placement_guard(name), guard);
        let Some(lease) = lease else { return self.bus.write(Bucket::Fleet, delete).await };
        // A delete has one guard only. The other is carried by a touch of this scheduler's own.
        let touch = Write::put(scheduler_key(self.id), &own_touch::touch(0))?
            .ttl(PRESENCE_SECONDS)
            .guard(&touch_key(worker, lease.seconds), lease.seq);
        self.bus.batch(Bucket::Fleet, vec![delete, touch]).await.map(|seq| seq - 1)
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

    async fn put(
        &self,
        name: &InstanceId,
        worker: &WorkerName,
        guard: u64,
        placement: &Placement,
    ) -> Result<u64, Error> {
        let write =
            Write::put(instance_key(worker, name), placement)?.guard(&placement_guard(name), guard);
        self.bus.write(Bucket::Fleet, write).await
    }

    async fn relocate(&self, action: &Action) -> Result<Vec<Folded>, Error> {
        let Action::Move { name, from, to, guard, lease, placement, reason } = action else {
            return Ok(Vec::new());
        };
        let delete = Write::delete(instance_key(from, name)).guard(&placement_guard(name), *guard);
        let mut put = Write::put(instance_key(to, name), placement)?;
        if let Some(lease) = lease {
            put = put.guard(&touch_key(from, lease.seconds), lease.seq);
        }
        let seq = self.bus.batch(Bucket::Fleet, vec![delete, put]).await?;
        self.tell(
            name,
            placement.id,
            PlacementChange::Moved,
            (Some(from), Some(to)),
            (placement.epoch, reason),
        );
        Ok(vec![
            gone(Bucket::Fleet, instance_key(from, name), seq - 1),
            placed(name, to, seq, placement)?,
        ])
    }

    /// Counts a failure in the instance's goal, unless it is counted already.
    async fn count_failure(
        &self,
        name: &InstanceId,
        worker: &WorkerName,
        epoch: Epoch,
        asked: u64,
    ) -> Result<(), Error> {
        let (stored, all, last) = self.goals(&name.program, Some(name.index)).await?;
        // A goal that is made only to count says what the program's says, and is never the later.
        let mut goal = stored
            .unwrap_or_else(|| Goal { run: all.as_ref().is_none_or(|g| g.run), ..Goal::default() });
        if goal.failed_epoch >= epoch && goal.fails_since >= asked {
            return Ok(());
        }
        if goal.fails_since < asked {
            (goal.fails, goal.fails_since) = (0, asked);
            goal.failed_on.clear();
        }
        goal.fails += 1;
        goal.failed_epoch = epoch;
        if !goal.failed_on.contains(worker) {
            goal.failed_on.push(worker.clone());
        }
        self.put_goal(&name.program, Some(name.index), &goal, last).await
    }

    async fn say(
        &self,
        name: &InstanceId,
        program: Option<ProgramId>,
        (state, reason): (State, &str),
        guard: u64,
    ) -> Result<Vec<Folded>, Error> {
        let event = Uuid::now_v7();
        let status = Status {
            id: program.unwrap_or(ProgramId(Uuid::nil())),
            epoch: Epoch(0),
            revision: 0,
            wanted: Wanted { run: true, ..Wanted::default() },
            state,
            rests: false,
            since: clock::wall(),
            pid: None,
            restarts: 0,
            exit: None,
            usage: None,
            note: None,
            reason: Some(reason.to_owned()),
            spawnerr: None,
            stderr_line: None,
            stdout_logfile: None,
            stderr_logfile: None,
            seq: 0,
            event: Some(event),
            incarnation: Incarnation(Uuid::nil()),
        };
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

    fn tell(
        &self,
        name: &InstanceId,
        id: ProgramId,
        change: PlacementChange,
        (from, to): (Option<&WorkerName>, Option<&WorkerName>),
        (epoch, reason): (Epoch, &str),
    ) {
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

fn placed(
    name: &InstanceId,
    worker: &WorkerName,
    seq: u64,
    placement: &Placement,
) -> Result<Folded, Error> {
    put_entry(Bucket::Fleet, instance_key(worker, name), seq, placement)
}

fn gone(bucket: Bucket, key: String, seq: u64) -> Folded {
    (bucket, Entry { key, seq, value: Value::Deleted, time: clock::wall() })
}

/// Every goal of a program.
fn goal_pattern(program: &ProgramName) -> String {
    format!("{program}.*")
}

/// What an action is about: one that was refused is held back under this name.
pub(crate) fn hold_key(action: &Action) -> String {
    let about = match action {
        Action::ForgetWorker { worker, .. } => worker.to_string(),
        Action::Forget { program, .. } | Action::Fire { program, .. } => program.to_string(),
        Action::Rollout { record, .. } => record.name.to_string(),
        Action::DropStatus { name, worker, .. } => format!("{name}@{worker}"),
        other => other.instance().map(ToString::to_string).unwrap_or_default(),
    };
    let bucket = match action {
        Action::Place { .. }
        | Action::Update { .. }
        | Action::Move { .. }
        | Action::Remove { .. } => "fleet",
        Action::CountFailure { .. } | Action::Stop { .. } => "goal",
        Action::Fire { .. } => "run",
        Action::Rollout { .. } => "rollout",
        Action::ForgetWorker { .. } => "worker",
        Action::SetFleetStatus { .. } | Action::ClearFleetStatus { .. } => "said",
        Action::DropStatus { .. } => "status",
        Action::Forget { .. } => "program",
    };
    format!("{bucket} {about}")
}
