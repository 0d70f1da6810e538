//! Programs, and what is wanted of them.

use std::collections::BTreeMap;

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::rows;
use dsbus_schema::command::{AppliedProgram, RecoveredProgram, Recovery};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::Program;
use dsbus_schema::storage::{Bucket, goal_key, instance_key, placement_guard};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::super::declare::Wish;
use super::super::revise::signed;
use super::decide::{self, Of};
use super::{AT_ONCE, Commander, RACED, RACES_MAX, Rebuild};
use crate::commands::unavailable;
use crate::writes::goal_pattern;

/// Instances that are named in a row; the rest is counted.
const NAMED_MAX: usize = 3;
/// What is left of a program that the bus says was removed.
const REMOVED: &str =
    "the bus says that it was removed; by force what workers have of it is stopped";

/// A program, and what is to become of it.
pub(super) struct Judged {
    row: RecoveredProgram,
    /// As it is, or will be.
    program: Option<Program>,
    /// Its sequence on the bus.
    seq: u64,
    /// It is not there, or not as it will be.
    news: bool,
}

impl Judged {
    /// Of what program instances count; by force none does that was removed.
    pub(super) fn of(&self, force: bool) -> Option<Of> {
        let of = self.program.as_ref().map(|p| Of { id: p.id, revision: p.revision });
        let none = Of { id: ProgramId(Uuid::nil()), revision: 0 };
        of.or((force && self.row.recovery == Recovery::Ended).then_some(none))
    }
}

impl Commander {
    /// The program that instances of this name are of: as the bus knows it, or as workers do.
    pub(super) async fn judged(
        &self,
        name: &ProgramName,
        task: &Rebuild<'_>,
    ) -> Result<Judged, Refusal> {
        let (stored, seq) = self.program(name).await?;
        let copies = task.found.copies(name);
        let judged = |program: Option<Program>, recovery, reason: Option<String>| {
            let id = program.as_ref().map_or(ProgramId(Uuid::nil()), |program| program.id);
            let revision = program.as_ref().map_or(0, |program| program.revision);
            let row = RecoveredProgram { name: name.clone(), id, revision, recovery, reason };
            Judged { row, program, seq, news: false }
        };
        let placed = stored.as_ref().and_then(|known| {
            let core = self.shared.lock();
            rows::latest(&core.view, known).cloned()
        });
        let told = decide::newest(&copies, stored.as_ref().map(|program| program.id));
        // What a placement says that counts, a scheduler has said; its worker may be lost.
        let placed = placed.as_ref().map(|placed| (placed.id, placed.revision, &*placed.spec));
        let placed = placed.filter(|(_, revision, _)| told.is_none_or(|told| told.1 < *revision));
        let Some((id, revision, spec)) = placed.or(told).filter(|(_, revision, _)| {
            stored.as_ref().is_none_or(|known| *revision > known.revision && !known.removing)
        }) else {
            let recovery = if stored.is_some() { Recovery::Known } else { Recovery::Left };
            return Ok(judged(stored, recovery, None));
        };
        if stored.is_none() && seq > 0 {
            let ends = if task.ask.force { Recovery::Ended } else { Recovery::Left };
            return Ok(judged(None, ends, Some(REMOVED.to_owned())));
        }
        let vouched = task.declared.contains_key(name)
            || placed.is_some()
            || stored.as_ref().is_some_and(|known| known.spec == *spec)
            || task.ask.force
            || !self.shared.lock().checks_signatures();
        if !vouched {
            let reason = "only a worker vouches for its declaration, and placements are signed here: \
                          name a file that declares it, or force it";
            return Ok(judged(stored, Recovery::Left, Some(reason.to_owned())));
        }
        if let Some(silence) = task.silence() {
            return Ok(judged(stored, Recovery::Left, Some(silence)));
        }
        let before = stored.as_ref().map(|known| known.revision);
        let wished = task.declared.get(name).filter(|wished| *wished != spec);
        let fresh = || {
            let mut program = Program::new(id, name.clone(), spec.clone());
            program.declared = spec.schedule.is_some().then_some(task.author.at);
            program
        };
        let mut program = stored.unwrap_or_else(fresh);
        program.spec = wished.unwrap_or(spec).clone();
        program.revision = if wished.is_some() { revision.saturating_add(1) } else { revision };
        program.rollout = None;
        let from = if placed.is_some() { "its placements say" } else { "workers have" };
        signed(&mut program, task.author, Some(format!("recovered from what {from}")));
        let reason = match (wished, before) {
            (Some(_), _) => {
                Some("its declaration is that of the file, which is another one".to_owned())
            }
            (None, Some(before)) => Some(format!("the bus had revision {before}")),
            (None, None) => None,
        };
        Ok(Judged { news: true, ..judged(Some(program), Recovery::Rebuilt, reason) })
    }

    /// Writes what a program lacks, once all of its instances are placed.
    pub(super) async fn finished(
        &self,
        name: &ProgramName,
        judged: Judged,
        task: &Rebuild<'_>,
    ) -> Result<RecoveredProgram, Refusal> {
        let Judged { mut row, program, seq, news } = judged;
        let left = row.recovery == Recovery::Left;
        let Some(program) = program.filter(|program| !left && !program.removing) else {
            return Ok(row);
        };
        let missing = self.missing(&program, news && seq == 0, task);
        let lacks_goals = !self.goals_of(&program, task).is_empty();
        if !lacks_goals && missing.is_empty() && !news {
            return Ok(row);
        }
        if let Some(silence) = task.silence() {
            (row.recovery, row.reason) = (Recovery::Left, Some(silence));
            return Ok(row);
        }
        let mut reasons: Vec<String> = row.reason.take().into_iter().collect();
        if lacks_goals && !news {
            reasons.push("what is wanted of it was lost".to_owned());
        }
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|(name, ..)| name.to_string()).collect();
            reasons.push(format!("no worker has {}: placed anew", listed(&names)));
        }
        row.recovery = Recovery::Rebuilt;
        row.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        if task.dry_run {
            return Ok(row);
        }
        let mut written = self.write_goals(&program, task).await?;
        if written {
            self.raise_floors(&program, missing).await?;
            written = !news || self.write_program(name, &program, seq).await?;
        }
        if !written {
            (row.recovery, row.reason) = (Recovery::Left, Some(RACED.to_owned()));
        }
        Ok(row)
    }

    /// Instances that nobody has and somebody had, under whose keys that is said, and the epoch that each
    /// must exceed: it is placed anew, by whichever scheduler is first.
    fn missing(
        &self,
        program: &Program,
        lost: bool,
        task: &Rebuild<'_>,
    ) -> Vec<(InstanceId, WorkerName, Epoch)> {
        let copies = task.found.copies(&program.name);
        let reported = |name: &InstanceId| copies.iter().any(|(_, held)| held.name == *name);
        if lost && let Some((worker, _)) = copies.first() {
            let floors = decide::floors(program, &copies).into_iter();
            return floors.map(|(name, epoch)| (name, (*worker).clone(), epoch)).collect();
        }
        let told = self.shared.lock().view.forgotten(&program.name).into_iter();
        told.filter(|(name, _, epoch)| !reported(name) && *epoch <= Epoch::TOLD_MAX).collect()
    }

    async fn raise_floors(
        &self,
        program: &Program,
        missing: Vec<(InstanceId, WorkerName, Epoch)>,
    ) -> Result<(), Refusal> {
        let writes = missing.into_iter().map(|(name, worker, epoch)| async move {
            let reason = "no worker had it when the fleet was recovered".to_owned();
            let removal = Removal { id: program.id, epoch, reason };
            let write = Write::delete(instance_key(&worker, &name))
                .guard(&placement_guard(&name), 0)
                .stamp(epoch, 0)
                .saying(&removal)
                .map_err(unavailable)?;
            match self.bus.write(Bucket::Fleet, write).await {
                // The bus remembers it.
                Ok(_) | Err(Error::LostRace { .. }) => Ok(()),
                Err(error) => Err(unavailable(error)),
            }
        });
        stream::iter(writes).buffered(AT_ONCE).try_collect().await
    }

    /// The goals that are to be written, as things stand in the view.
    fn goals_of(
        &self,
        program: &Program,
        task: &Rebuild<'_>,
    ) -> BTreeMap<Option<u32>, dsbus_schema::goal::Goal> {
        let mut placed: BTreeMap<InstanceId, Placement> = BTreeMap::new();
        let mut copies = task.found.copies(&program.name);
        copies.retain(|(_, held)| held.placement.id == program.id);
        copies.sort_by_key(|(_, held)| held.placement.epoch);
        for (_, held) in copies {
            placed.insert(held.name.clone(), held.placement.clone());
        }
        let core = self.shared.lock();
        // What only a worker has that is lost.
        for name in program.instances().filter(|_| !program.spec.system) {
            if let Some(known) = core.view.placed(&name).filter(|known| known.id == program.id) {
                placed.entry(name).or_insert_with(|| known.placement());
            }
        }
        let known = core.view.goals(&program.name).cloned().unwrap_or_default();
        let placed = placed.iter().map(|(name, placement)| (name.clone(), placement)).collect();
        decide::goals(program, &known, &placed, task.author.at)
    }

    /// Writes the goals by which instances are wanted as they were. Says whether they are there.
    async fn write_goals(&self, program: &Program, task: &Rebuild<'_>) -> Result<bool, Refusal> {
        let pattern = goal_pattern(&program.name);
        'again: for _ in 0..RACES_MAX {
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let mut last = last.map_or(0, |entry| entry.seq);
            self.fresh().await?;
            if last > 0 && !self.shared.lock().has_heard(&[(Bucket::Goals, last)]) {
                continue;
            }
            for (index, goal) in self.goals_of(program, task) {
                let write = Write::put(goal_key(&program.name, index), &goal);
                let write = write.map_err(unavailable)?.guard(&pattern, last);
                match self.write_goal(write).await {
                    Ok(seq) => last = seq,
                    Err(Error::LostRace { .. }) => continue 'again,
                    Err(error) => return Err(unavailable(error)),
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes a program. Says whether it is there, by this or by another scheduler that was asked the same.
    async fn write_program(
        &self,
        name: &ProgramName,
        program: &Program,
        seq: u64,
    ) -> Result<bool, Refusal> {
        let write = Write::put(name.as_str(), program).map_err(unavailable)?.expect(seq);
        match self.bus.write(Bucket::Programs, write).await {
            Ok(_) => Ok(true),
            Err(Error::LostRace { .. }) => {
                let (stored, _) = self.program(name).await?;
                let same = |stored: Program| {
                    (stored.id, stored.revision) == (program.id, program.revision)
                };
                Ok(stored.is_some_and(same))
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Programs of which no worker has anything, and of which somebody tells what the bus has forgotten: a
    /// worker, or a placement.
    pub(super) async fn unreported(
        &self,
        task: &Rebuild<'_>,
    ) -> Result<Vec<RecoveredProgram>, Refusal> {
        let names: Vec<ProgramName> = {
            let core = self.shared.lock();
            let names = core.view.programs().map(|program| &program.name);
            let lost = names.filter(|name| {
                !core.view.forgotten(name).is_empty() || rows::holds_back(&core.view, name)
            });
            lost.filter(|name| !task.found.holdings.contains_key(*name)).cloned().collect()
        };
        let mut rows = Vec::new();
        for name in names {
            let judged = self.judged(&name, task).await?;
            if judged.program.is_some() {
                rows.push(self.finished(&name, judged, task).await?);
            }
        }
        Ok(rows)
    }

    /// Declares what only the file knows.
    pub(super) async fn unheld(
        &self,
        task: &Rebuild<'_>,
    ) -> Result<Vec<RecoveredProgram>, Refusal> {
        let mut wishes = BTreeMap::new();
        for (name, spec) in task.declared {
            if !task.found.holdings.contains_key(name) && self.program(name).await?.0.is_none() {
                wishes.insert(name.clone(), Wish::Spec(Box::new(spec.clone())));
            }
        }
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(silence) = task.silence() {
            let row = |name: ProgramName| RecoveredProgram {
                name,
                id: ProgramId(Uuid::nil()),
                revision: 0,
                recovery: Recovery::Left,
                reason: Some(silence.clone()),
            };
            return Ok(wishes.into_keys().map(row).collect());
        }
        let applied = self.declare(task.author, &wishes, task.dry_run).await?;
        let row = |program: AppliedProgram| RecoveredProgram {
            name: program.name,
            id: program.id,
            revision: program.revision,
            recovery: Recovery::Rebuilt,
            reason: Some("declared by the file; no worker has it".to_owned()),
        };
        Ok(applied.programs.into_iter().map(row).collect())
    }
}

/// Names, as many as are worth reading.
fn listed(names: &[String]) -> String {
    match names.get(..NAMED_MAX) {
        Some(some) if names.len() > NAMED_MAX => {
            format!("{} and {} more", some.join(", "), names.len() - NAMED_MAX)
        }
        Some(_) | None => names.join(", "),
    }
}
