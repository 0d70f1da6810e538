//! `recover`: what the bus has lost is rebuilt from what workers have.
//!
//! It writes placements, then goals, then the program. Nothing is planned for a program that the bus does
//! not know, nor for an instance whose placement knows of more than the goals and the program do: so
//! nobody acts on what is half written. While somebody who may have something does not answer, nothing is
//! written by which anything could start. Each write is guarded by what stood there, and finds itself done
//! when it is done again.

mod decide;
mod found;
mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::{Error, Refusal, Write};
use dsbus_schema::command::{
    Apply, RECOVER_INSTANCES_MAX, Recover, Recovered, RecoveredInstance, Recovery, Verb, code,
};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, UserName, WorkerName};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::storage::{Bucket, instance_key, parse_instance_key, placement_guard};
use dsbus_schema::touch::PRESENCE_SECONDS;
use futures::{StreamExt, TryStreamExt, stream};

use super::declare::{self, author};
use super::revise::Author;
use super::{Commander, id, unavailable};
use crate::clock;
use crate::grants::Touched;
use decide::{Copy, Decision, Stands, Terms};
use found::Found;
use program::Judged;

/// Workers that are asked at once, and instances that are looked at and written at once: enough to hide
/// the way to the server and back.
const AT_ONCE: usize = 32;
/// How often an instance, or the goals of a program, are looked at again that have changed meanwhile.
const RACES_MAX: usize = 5;
/// For so long after a scheduler has begun to hear the bus, or begun anew, a worker of which nothing stands
/// there may be on its way back: twice as long as the bus keeps what it was last told by one.
const SETTLED_AFTER: Duration = Duration::from_secs(2 * PRESENCE_SECONDS);

/// Why something was not written.
const RACED: &str = "somebody else writes it at this moment; say it again";

/// What is rebuilt, from what, and for whom.
struct Rebuild<'a> {
    ask: &'a Recover,
    found: &'a Found,
    declared: &'a BTreeMap<ProgramName, ProgramSpec>,
    author: &'a Author<'a>,
    /// Nothing is written.
    dry_run: bool,
}

impl Rebuild<'_> {
    fn terms(&self) -> Terms<'_> {
        Terms { force: self.ask.force, silent: &self.found.silent }
    }

    /// Why nothing may be written now that could start something.
    fn silence(&self) -> Option<String> {
        let silent = !self.ask.force && !self.found.silent.is_empty();
        silent.then(|| decide::silence(&self.found.silent))
    }
}

impl Commander {
    /// Rebuilds what the bus has lost.
    pub(super) async fn recover(&self, by: &UserName, ask: Recover) -> Result<Recovered, Refusal> {
        self.permit(by, Verb::Recover, Touched::Everything)?;
        let author = author(id(&ask.envelope), Verb::Recover, self.sender(by));
        let declared = declare::read_all(&Apply {
            envelope: ask.envelope.clone(),
            programs: ask.programs.clone(),
            dry_run: false,
        })?;
        self.fresh().await?;
        let found = self.found().await;
        let (ask, declared, author) = (&ask, &declared, &author);
        let task = Rebuild { ask, found: &found, declared, author, dry_run: ask.dry_run };
        if let Some(rest) = self.unsettled().filter(|_| !ask.force && !ask.dry_run) {
            let told = self.rebuild(&Rebuild { dry_run: true, ..task }).await?;
            let known = |recovery| recovery == Recovery::Known;
            let done = told.programs.iter().all(|program| known(program.recovery))
                && told.instances.iter().all(|instance| known(instance.recovery));
            if done {
                return Ok(told);
            }
            let text = format!(
                "workers may be on their way back to the bus, which this scheduler hears since a moment \
                 ago; say it again in {} s",
                rest.as_secs() + 1
            );
            return Err(Refusal::new(code::UNAVAILABLE, text));
        }
        self.rebuild(&task).await
    }

    /// For how long workers may still be on their way back.
    fn unsettled(&self) -> Option<Duration> {
        let since = self.shared.lock().hears_since;
        let heard = since.map_or(Duration::ZERO, |since| clock::now().since(since));
        SETTLED_AFTER.checked_sub(heard).filter(|rest| !rest.is_zero())
    }

    async fn rebuild(&self, task: &Rebuild<'_>) -> Result<Recovered, Refusal> {
        let (ask, found) = (task.ask, task.found);
        let silent = found.silent.iter().map(|(worker, _)| worker.clone()).collect();
        let mut told = Recovered { silent, ..Recovered::default() };
        let names: Vec<&InstanceId> =
            found.names().into_iter().filter(|name| ask.after.as_ref() < Some(name)).collect();
        let page: Vec<&InstanceId> = names.iter().take(RECOVER_INSTANCES_MAX).copied().collect();
        let next = names.get(page.len());
        told.next = next.and(page.last()).map(|name| (*name).clone());
        let mut programs: BTreeMap<&ProgramName, Judged> = BTreeMap::new();
        for name in page.iter().map(|name| &name.program) {
            if !programs.contains_key(name) {
                programs.insert(name, self.judged(name, task).await?);
            }
        }
        let mut looks = Vec::new();
        for name in page {
            let Some(judged) = programs.get(&name.program) else { continue };
            let copies = found.copies(&name.program);
            let copies = copies.into_iter().filter(|(_, held)| held.name == *name).collect();
            looks.push(self.instance(name, judged, copies, task));
        }
        let rows: Vec<Vec<RecoveredInstance>> =
            stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        told.instances = rows.into_iter().flatten().collect();
        for (name, judged) in programs {
            // Once all of its instances are placed.
            if next.is_none_or(|next| next.program != *name) {
                told.programs.push(self.finished(name, judged, task).await?);
            }
        }
        if told.next.is_none() {
            told.programs.extend(self.unreported(task).await?);
            told.programs.extend(self.unheld(task).await?);
            told.instances.extend(found.odd.iter().map(|(worker, held)| RecoveredInstance {
                name: held.name.clone(),
                worker: worker.clone(),
                epoch: held.epoch,
                pid: held.pid,
                recovery: Recovery::Left,
                reason: Some("its worker tells numbers that cannot be".to_owned()),
            }));
        }
        Ok(told)
    }

    /// Places an instance where it is, or says why not.
    async fn instance(
        &self,
        name: &InstanceId,
        judged: &Judged,
        copies: Vec<Copy<'_>>,
        task: &Rebuild<'_>,
    ) -> Result<Vec<RecoveredInstance>, Refusal> {
        let row = |worker: &WorkerName, recovery, reason| {
            let held = copies.iter().find(|(at, _)| *at == worker).map(|(_, held)| held);
            let epoch = held.map_or(Epoch::default(), |held| held.epoch);
            let (name, worker, pid) = (name.clone(), worker.clone(), held.and_then(|h| h.pid));
            RecoveredInstance { name, worker, epoch, pid, recovery, reason }
        };
        let Some(of) = judged.of(task.ask.force) else {
            let reason = || Some("its program was left".to_owned());
            return Ok(copies.iter().map(|(at, _)| row(at, Recovery::Left, reason())).collect());
        };
        let mut decision = Decision::default();
        let mut lost = true;
        for _ in 0..RACES_MAX {
            let (stands, guard) = self.stands(name).await?;
            decision = decide::instance(of, &copies, &stands, task.terms());
            let writes = placing(name, of.id, &copies, &decision, &stands, guard);
            let writes = writes.map_err(unavailable)?;
            lost = !task.dry_run && !writes.is_empty();
            if !lost {
                break;
            }
            match self.bus.batch(Bucket::Fleet, writes).await {
                Ok(_) => {
                    lost = false;
                    break;
                }
                Err(Error::LostRace { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        let rows = decision.rows.into_iter().map(|(worker, recovery, reason)| match recovery {
            Recovery::Rebuilt | Recovery::Ended if lost => {
                row(&worker, Recovery::Left, Some(RACED.to_owned()))
            }
            Recovery::Rebuilt | Recovery::Ended | Recovery::Known | Recovery::Left => {
                row(&worker, recovery, reason)
            }
        });
        Ok(rows.collect())
    }

    /// What stands on the bus about an instance, and the guard of it. Read from the bus: whoever emptied a
    /// bucket did not tell this scheduler.
    async fn stands(&self, name: &InstanceId) -> Result<(Stands, u64), Refusal> {
        let pattern = placement_guard(name);
        let entry = self.bus.get(Bucket::Fleet, &pattern).await.map_err(unavailable)?;
        let Some(entry) = entry else { return Ok((Stands::default(), 0)) };
        let mut stands = Stands::default();
        match entry.json::<Placement>().map_err(unavailable)? {
            Some(placement) => {
                let worker = parse_instance_key(&entry.key).map(|(worker, _)| worker);
                stands.placed = worker.map(|worker| (worker, placement));
            }
            None => {
                let removal = entry.said::<Removal>().ok().flatten();
                stands.removed = removal.map_or(Epoch::default(), |removal| removal.epoch);
            }
        }
        Ok((stands, entry.seq))
    }
}

/// What a decision writes: tombstones before the placement, so that the placement is the last word.
fn placing(
    name: &InstanceId,
    program: ProgramId,
    copies: &[Copy<'_>],
    decision: &Decision,
    stands: &Stands,
    guard: u64,
) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for (worker, epoch) in &decision.end {
        let reason = "another copy counts since the fleet was recovered".to_owned();
        let removal = Removal { id: program, epoch: *epoch, reason };
        let write = Write::delete(instance_key(worker, name)).stamp(*epoch, guard);
        writes.push(write.saying(&removal)?);
    }
    let ends = |worker: &WorkerName| decision.end.iter().any(|(ended, _)| ended == worker);
    let placed = match &decision.place {
        Some(worker) => copies
            .iter()
            .find(|(at, _)| *at == worker)
            .map(|(at, held)| ((*at).clone(), decide::placement(&held.placement, stands))),
        // What stands is said again after tombstones under other keys.
        None => stands.placed.clone().filter(|(worker, _)| !writes.is_empty() && !ends(worker)),
    };
    if let Some((worker, placement)) = placed {
        let put = Write::put(instance_key(&worker, name), &placement)?;
        writes.push(put.stamp(placement.epoch, guard));
    }
    if let Some(first) = writes.first_mut() {
        *first = first.clone().guard(&placement_guard(name), guard);
    }
    Ok(writes)
}
