//! `recover`: what the bus has lost is rebuilt from what workers have.
//!
//! It writes goals, then the program, then placements, so that no scheduler meets a placement of a program
//! that nobody wants; and none places an instance meanwhile of which a worker tells that it has a child.
//! Each write is guarded by what stood there, and finds itself done when it is done again.

mod decide;
mod found;

use std::collections::BTreeMap;

use dsbus_client::{Error, Refusal, Write};
use dsbus_schema::call::Holding;
use dsbus_schema::command::{
    Apply, RECOVER_INSTANCES_MAX, Recover, Recovered, RecoveredInstance, RecoveredProgram,
    Recovery, Verb,
};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, UserName, WorkerName};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::storage::{Bucket, goal_key, instance_key, parse_instance_key, placement_guard};
use futures::{StreamExt, TryStreamExt, stream};

use super::declare::{self, Wish, author};
use super::revise::{Author, signed};
use super::{Commander, id, unavailable};
use crate::grants::Touched;
use crate::writes::goal_pattern;
use decide::{Copy, Decision, Stands, Terms};
use found::Found;

/// Workers that are asked at once, and instances that are looked at and written at once: enough to hide
/// the way to the server and back.
const AT_ONCE: usize = 32;
/// How often an instance is looked at again whose placement has changed meanwhile.
const RACES_MAX: usize = 5;

/// A program, and whether instances of it can be placed.
struct Judged {
    row: RecoveredProgram,
    program: Option<Program>,
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
        let mut told = Recovered { silent: found.silent.clone(), ..Recovered::default() };
        let names: Vec<&InstanceId> =
            found.names().into_iter().filter(|name| ask.after.as_ref() < Some(name)).collect();
        let page: Vec<&InstanceId> = names.iter().take(RECOVER_INSTANCES_MAX).copied().collect();
        if names.len() > page.len() {
            told.next = page.last().map(|name| (*name).clone());
        }
        let mut programs: BTreeMap<&ProgramName, Judged> = BTreeMap::new();
        for name in page.iter().map(|name| &name.program) {
            if !programs.contains_key(name) {
                let judged = self.program_of(name, &found, &declared, &ask, &author).await?;
                programs.insert(name, judged);
            }
        }
        let terms = Terms { force: ask.force, silent: &found.silent };
        let mut looks = Vec::new();
        for name in page {
            let Some(program) = programs.get(&name.program) else { continue };
            let copies = found.copies(&name.program);
            let copies = copies.into_iter().filter(|(_, held)| held.name == *name).collect();
            looks.push(self.instance(name, program, copies, terms, ask.dry_run));
        }
        let rows: Vec<Vec<RecoveredInstance>> =
            stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        told.instances = rows.into_iter().flatten().collect();
        told.programs = programs.into_values().map(|judged| judged.row).collect();
        if told.next.is_none() {
            told.programs.extend(self.unheld(&found, declared, &ask, &author).await?);
        }
        Ok(told)
    }

    /// The program that instances of this name are of: as the bus knows it, or rebuilt.
    async fn program_of(
        &self,
        name: &ProgramName,
        found: &Found,
        declared: &BTreeMap<ProgramName, ProgramSpec>,
        ask: &Recover,
        author: &Author<'_>,
    ) -> Result<Judged, Refusal> {
        let (stored, seq) = self.program(name).await?;
        let row = |id, revision, recovery, reason| {
            let name = name.clone();
            RecoveredProgram { name, id, revision, recovery, reason }
        };
        if let Some(program) = stored {
            let row = row(program.id, program.revision, Recovery::Known, None);
            return Ok(Judged { row, program: Some(program) });
        }
        let copies = found.copies(name);
        let Some((id, revision, spec)) = decide::newest(&copies) else {
            let row = row(ProgramId(uuid::Uuid::nil()), 0, Recovery::Left, None);
            return Ok(Judged { row, program: None });
        };
        let wished = declared.get(name).filter(|wished| *wished != spec);
        if !declared.contains_key(name) && !ask.force && self.shared.lock().checks_signatures() {
            let reason = "only a worker vouches for its declaration, and placements are signed here: \
                          name a file that declares it, or force it";
            let row = row(id, revision, Recovery::Left, Some(reason.to_owned()));
            return Ok(Judged { row, program: None });
        }
        let mut program = Program::new(id, name.clone(), wished.unwrap_or(spec).clone());
        program.revision = if wished.is_some() { revision.saturating_add(1) } else { revision };
        program.declared = program.spec.schedule.is_some().then_some(author.at);
        signed(&mut program, author, Some("recovered from what workers have".to_owned()));
        if !ask.dry_run {
            let of_it: BTreeMap<InstanceId, &Holding> = copies
                .iter()
                .filter(|(_, held)| held.placement.id == id)
                .map(|(_, held)| (held.name.clone(), *held))
                .collect();
            self.write_goals(name, &of_it).await?;
            self.raise_floors(&program, &of_it, found).await?;
            let write = Write::put(name.as_str(), &program).map_err(unavailable)?.expect(seq);
            match self.bus.write(Bucket::Programs, write).await {
                Ok(_) => {}
                // Another scheduler was asked the same, or somebody declares it at this moment.
                Err(Error::LostRace { .. }) => {
                    let stored = self.program(name).await?.0;
                    let reason = "somebody declared it meanwhile".to_owned();
                    let known = stored.as_ref().filter(|stored| stored.id == id);
                    let recovery = if known.is_some() { Recovery::Rebuilt } else { Recovery::Left };
                    let row = row(id, revision, recovery, known.is_none().then_some(reason));
                    return Ok(Judged { row, program: stored });
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
        let reason = wished.map(|_| "its declaration is that of the file, which is another one");
        let row = row(id, program.revision, Recovery::Rebuilt, reason.map(str::to_owned));
        Ok(Judged { row, program: Some(program) })
    }

    /// Writes the goals by which instances are wanted as they were; one that is there stays.
    async fn write_goals(
        &self,
        program: &ProgramName,
        held: &BTreeMap<InstanceId, &Holding>,
    ) -> Result<(), Refusal> {
        let pattern = goal_pattern(program);
        for (index, goal) in decide::goals(held) {
            let key = goal_key(program, index);
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let last = last.map_or(0, |entry| entry.seq);
            let there = self.goal_entry(&key).await?;
            if there.is_some_and(|entry| entry.json::<serde_json::Value>().ok().flatten().is_some())
            {
                continue;
            }
            let write = Write::put(key, &goal).map_err(unavailable)?.guard(&pattern, last);
            match self.write_goal(write).await {
                Ok(_) | Err(Error::LostRace { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(())
    }

    /// Copies that no worker has are placed anew under a greater epoch, by whichever scheduler is first:
    /// so it is said before the program is declared.
    async fn raise_floors(
        &self,
        program: &Program,
        held: &BTreeMap<InstanceId, &Holding>,
        found: &Found,
    ) -> Result<(), Refusal> {
        let Some((worker, _)) = found.holdings.get(&program.name).and_then(|of| of.first()) else {
            return Ok(());
        };
        let all = found.holdings.values().flatten();
        let greatest = all.map(|(_, held)| held.epoch).max().unwrap_or_default();
        for (name, epoch) in decide::floors(program, held, greatest) {
            let reason = "no worker had it when the fleet was recovered".to_owned();
            let removal = Removal { id: program.id, epoch, reason };
            let write = Write::delete(instance_key(worker, &name))
                .guard(&placement_guard(&name), 0)
                .stamp(epoch, 0)
                .saying(&removal)
                .map_err(unavailable)?;
            match self.bus.write(Bucket::Fleet, write).await {
                // The bus remembers it.
                Ok(_) | Err(Error::LostRace { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(())
    }

    /// Places an instance where it is, or says why not.
    async fn instance(
        &self,
        name: &InstanceId,
        judged: &Judged,
        copies: Vec<Copy<'_>>,
        terms: Terms<'_>,
        dry_run: bool,
    ) -> Result<Vec<RecoveredInstance>, Refusal> {
        let row = |worker: &WorkerName, recovery, reason| {
            let held = copies.iter().find(|(at, _)| *at == worker).map(|(_, held)| held);
            let epoch = held.map_or(Epoch::default(), |held| held.epoch);
            let (name, worker, pid) = (name.clone(), worker.clone(), held.and_then(|h| h.pid));
            RecoveredInstance { name, worker, epoch, pid, recovery, reason }
        };
        let Some(program) = &judged.program else {
            let reason = || Some("its program was left".to_owned());
            return Ok(copies.iter().map(|(at, _)| row(at, Recovery::Left, reason())).collect());
        };
        let mut decision = Decision::default();
        for _ in 0..RACES_MAX {
            let (stands, guard) = self.stands(name).await?;
            decision = decide::instance(program.id, &copies, &stands, terms);
            if dry_run || (decision.place.is_none() && decision.end.is_empty()) {
                break;
            }
            let writes = placing(name, program, &copies, &decision, &stands, guard);
            let writes = writes.map_err(unavailable)?;
            if writes.is_empty() {
                break;
            }
            match self.bus.batch(Bucket::Fleet, writes).await {
                Ok(_) => break,
                Err(Error::LostRace { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        let rows = decision.rows.into_iter();
        Ok(rows.map(|(worker, recovery, reason)| row(&worker, recovery, reason)).collect())
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
                stands.placed = worker.map(|worker| (worker, placement.epoch));
            }
            None => {
                let removal = entry.said::<Removal>().ok().flatten();
                stands.removed = removal.map_or(Epoch::default(), |removal| removal.epoch);
            }
        }
        Ok((stands, entry.seq))
    }

    /// Declares what only the file knows.
    async fn unheld(
        &self,
        found: &Found,
        declared: BTreeMap<ProgramName, ProgramSpec>,
        ask: &Recover,
        author: &Author<'_>,
    ) -> Result<Vec<RecoveredProgram>, Refusal> {
        let mut wishes = BTreeMap::new();
        for (name, spec) in declared {
            if !found.holdings.contains_key(&name) && self.program(&name).await?.0.is_none() {
                wishes.insert(name, Wish::Spec(Box::new(spec)));
            }
        }
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        let applied = self.declare(author, &wishes, ask.dry_run).await?;
        let row = |program: dsbus_schema::command::AppliedProgram| RecoveredProgram {
            name: program.name,
            id: program.id,
            revision: program.revision,
            recovery: Recovery::Rebuilt,
            reason: Some("declared by the file; no worker has it".to_owned()),
        };
        Ok(applied.programs.into_iter().map(row).collect())
    }
}

/// What a decision writes: tombstones before the placement, so that the placement is the last word.
fn placing(
    name: &InstanceId,
    program: &Program,
    copies: &[Copy<'_>],
    decision: &Decision,
    stands: &Stands,
    guard: u64,
) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for (worker, epoch) in &decision.end {
        let reason = "another copy counts since the fleet was recovered".to_owned();
        let removal = Removal { id: program.id, epoch: *epoch, reason };
        let write = Write::delete(instance_key(worker, name)).stamp(*epoch, guard);
        writes.push(write.saying(&removal)?);
    }
    // What stands is said again after tombstones under other keys.
    let ends = |worker: &WorkerName| decision.end.iter().any(|(ended, _)| ended == worker);
    let stands = stands.placed.as_ref().filter(|(worker, _)| !writes.is_empty() && !ends(worker));
    if let Some((worker, epoch)) = decision.place.as_ref().or(stands)
        && let Some((_, held)) = copies.iter().find(|(at, _)| *at == worker)
    {
        let placement = Placement {
            id: program.id,
            epoch: *epoch,
            from: None,
            reason: Some("recovered: it was here".to_owned()),
            ..held.placement.clone()
        };
        writes.push(Write::put(instance_key(worker, name), &placement)?.stamp(*epoch, guard));
    } else if stands.is_some() {
        // Its worker does not have it yet, and the last word about an instance stays its placement.
        return Ok(Vec::new());
    }
    if let Some(first) = writes.first_mut() {
        *first = first.clone().guard(&placement_guard(name), guard);
    }
    Ok(writes)
}
