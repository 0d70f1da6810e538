//! Rollouts: which instances may be changed now. How far a rollout is can be read off the
//! placements; what is on the bus besides is what it started from, and whether it may go on.
//!
//! The same budget of instances that may be down bounds rolling restarts, and willing moves.

use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{OnWorkerLoss, Program, ProgramSpec};
use dsbus_schema::rollout::{Rollout, RolloutChange, RolloutState};
use dsbus_schema::state::State;

use crate::action::Action;
use crate::ahead::runs_by_itself;
use crate::order::ended_well;
use crate::plan::{Draft, Scene};
use crate::view::{Entry, Goals, Instance, Placed, View};

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// RUNNING, and has been for long enough.
    Up,
    /// RUNNING, but not for long enough until then.
    Young(BootTime),
    /// Anything else.
    Down,
}

/// Whether an instance is RUNNING, as it is placed.
pub(crate) fn is_up(view: &View, instance: &Instance, placed: &Placed) -> bool {
    let runs = instance.acted(placed).is_some_and(|status| status.state == State::Running);
    runs && placed.wanted.run && !view.is_cut_off(placed)
}

/// How an instance is; `young` is how long it must have been RUNNING.
pub(crate) fn health(
    view: &View,
    instance: &Instance,
    placed: &Placed,
    young: Duration,
    now: BootTime,
) -> Health {
    if !is_up(view, instance, placed) {
        return Health::Down;
    }
    match instance.well.map(|well| well.since + young) {
        Some(at) if at > now => Health::Young(at),
        _ => Health::Up,
    }
}

/// Whether the last command about an instance that asked for a restart asked for a rolling one.
pub(crate) fn restarts(scene: &Scene<'_>, index: u32) -> bool {
    let goals = &scene.entry.goals;
    let stamp = goals.all.as_ref().map_or(0, |all| all.stamp);
    let own = goals.each.get(&index).filter(|own| own.stamp > stamp);
    own.or(goals.all.as_ref()).is_some_and(|goal| goal.rolling)
}

/// How far the changes of a program may go now.
#[derive(Debug)]
pub(crate) struct Rolling<'a> {
    program: &'a Program,
    goals: &'a Goals,
    spec: Arc<ProgramSpec>,
    stable: Option<(u64, Arc<ProgramSpec>)>,
    /// Other specs in use, whose children may go on as ones of `spec`.
    quiet: Vec<Arc<ProgramSpec>>,
    /// Instances are restarted one after the other.
    restarts: bool,
    /// Indexes below this one may be changed.
    reach: u32,
    /// Instances that are wanted and not up.
    down: u32,
    /// How many may be.
    allowed: u32,
    /// How many extra instances there should be.
    surge: u32,
    /// Every instance is changed and up.
    done: bool,
    /// A changed instance that ended FATAL.
    failed: Option<InstanceId>,
    wake: Option<BootTime>,
}

impl<'a> Rolling<'a> {
    pub(crate) fn new(scene: &Scene<'a>) -> Rolling<'a> {
        let Scene { entry, program, .. } = *scene;
        let rollout = program.rollout.as_deref();
        let update = &program.spec.update;
        let stable = rollout.zip(entry.stable.clone());
        let mut rolling = Rolling {
            program,
            goals: &entry.goals,
            spec: entry.spec.clone(),
            stable: stable.map(|(rollout, spec)| (rollout.stable.revision, spec)),
            quiet: quiet(entry),
            restarts: entry.goals.all.as_ref().is_some_and(|goal| goal.rolling),
            reach: reach(rollout, update.canary),
            down: 0,
            allowed: update.max_unavailable,
            surge: 0,
            done: true,
            failed: None,
            wake: None,
        };
        let changed = rolling.look(scene);
        if rolling.is_going() && !program.spec.system && (rolling.down > 0 || !changed) {
            rolling.surge = update.max_surge;
        }
        rolling.allowed += rolling.look_at_extra(scene);
        if rolling.surge == 0 {
            // Without extra instances a drain or a restart could not go on otherwise.
            rolling.allowed = rolling.allowed.max(1);
        }
        rolling
    }

    /// Looks at the instances that there should be. Says whether each that may be changed now is.
    fn look(&mut self, scene: &Scene<'a>) -> bool {
        let Scene { view, entry, program, now } = *scene;
        // What waits for a worker that is lost is no business of a rollout.
        let waits = program.spec.system || program.spec.on_worker_loss == OnWorkerLoss::Stay;
        let mut changed = true;
        for index in entry.declared(program) {
            let wanted = entry.wanted(program, index).run;
            let instance = entry.instance(index);
            let placed = instance.and_then(Instance::placed);
            let Some((instance, placed)) = instance.zip(placed) else {
                // One that no worker takes, or that waits, does not come up by others' waiting.
                let pending = instance.is_some_and(|instance| instance.said.is_some());
                self.down += u32::from(wanted && !pending);
                self.done &= !wanted;
                continue;
            };
            let health = self.judge(view, index, instance, placed, now.boot);
            let ended = instance.acted(placed).is_some_and(|s| ended_well(program, s));
            let lost = view.is_cut_off(placed);
            let fine = health == Health::Up || ended;
            // Nor does one that has ended for good, or was given up.
            let rests = placed.rest.is_some();
            let counts = !fine && !rests && (!lost || !waits);
            self.down += u32::from(wanted && counts);
            let current = placed.revision >= program.revision;
            changed &= current || index >= self.reach || !wanted || lost;
            // A job takes what was changed when it runs the next time.
            let job = program.spec.schedule.is_some() && rests;
            self.done &= (current && (fine || !wanted)) || lost || job;
        }
        changed
    }

    /// Looks at the extra instances. Says how many of those that stay are up.
    fn look_at_extra(&mut self, scene: &Scene<'a>) -> u32 {
        let Scene { view, entry, program, now } = *scene;
        let mut up = 0;
        if program.spec.system {
            return up;
        }
        for (index, instance) in entry.instances.range(program.spec.numprocs..) {
            let Some(placed) = instance.placed() else { continue };
            let health = self.judge(view, *index, instance, placed, now.boot);
            up += u32::from(health == Health::Up && self.has(*index));
            self.done = false;
        }
        up
    }

    fn judge(
        &mut self,
        view: &View,
        index: u32,
        instance: &Instance,
        placed: &Placed,
        now: BootTime,
    ) -> Health {
        let changed = self.stable.is_some() && placed.revision >= self.program.revision;
        let proves = changed || self.restarts;
        let young = if proves { self.program.spec.update.min_healthy.0 } else { Duration::ZERO };
        let health = health(view, instance, placed, young, now);
        if let Health::Young(at) = health {
            self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
        }
        let fatal = instance.acted(placed).is_some_and(|s| s.state == State::Fatal);
        if changed && fatal && !view.is_cut_off(placed) {
            let name = InstanceId::new(self.program.name.clone(), index);
            self.failed.get_or_insert(name);
        }
        health
    }

    /// How many indexes there are, extra ones included.
    pub(crate) fn indexes(&self) -> u32 {
        self.program.spec.numprocs + self.surge
    }

    /// Whether there is to be that copy now. An extra one stays while a rollout pauses.
    pub(crate) fn has(&self, index: u32) -> bool {
        let pauses = self.program.rollout.is_some() && !self.is_going();
        let extra = if pauses { self.program.spec.update.max_surge } else { self.surge };
        index < self.program.spec.numprocs + extra
    }

    /// How many indexes there may be while a rollout goes on.
    pub(crate) fn most(&self) -> u32 {
        self.program.spec.numprocs + self.program.spec.update.max_surge
    }
    fn is_going(&self) -> bool {
        self.program.rollout.as_ref().is_some_and(|r| r.state == RolloutState::Rolling)
    }

    pub(crate) fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Whether an instance may go down now. One that is down already always may.
    pub(crate) fn take_down(&mut self, view: &View, instance: &Instance, placed: &Placed) -> bool {
        if !is_up(view, instance, placed) {
            return true;
        }
        if self.down >= self.allowed {
            return false;
        }
        self.down += 1;
        true
    }

    /// What an instance runs that has no place.
    pub(crate) fn fresh(&self, index: u32) -> (u64, Arc<ProgramSpec>) {
        match &self.stable {
            Some((revision, spec)) if index >= self.reach && !self.is_quiet(spec) => {
                (*revision, spec.clone())
            }
            _ => (self.program.revision, self.spec.clone()),
        }
    }

    /// What a placed instance is to run, before it is asked whether it may go down for it.
    pub(crate) fn next(&self, index: u32, placed: &Placed) -> (u64, Arc<ProgramSpec>) {
        let within = self.stable.is_none() || index < self.reach || self.is_stopping(index, placed);
        // What needs no new child is not rolled out; nor is what was changed already taken back.
        if within || self.is_quiet(&placed.spec) || placed.revision >= self.program.revision {
            (self.program.revision, self.spec.clone())
        } else {
            (placed.revision, placed.spec.clone())
        }
    }

    /// Whether an instance would run by the declaration that it has, and by the present one alone does not.
    /// That one stands beside the stop: whoever finds one that would have it run takes the stop for a
    /// person's. It is this one step; what has taken it waits for its turn as all others do.
    fn is_stopping(&self, index: u32, placed: &Placed) -> bool {
        let idle = !self.goals.is_commanded(index) && !self.goals.wanted(self.program, index).run;
        idle && runs_by_itself(&placed.spec)
    }

    /// What an instance runs elsewhere whose worker is lost: the loss of many is no reason to change
    /// many at once.
    pub(crate) fn again(&self, placed: &Placed) -> (u64, Arc<ProgramSpec>) {
        match &self.stable {
            Some((revision, spec))
                if placed.revision < self.program.revision && !self.is_quiet(spec) =>
            {
                (*revision, spec.clone())
            }
            _ => (self.program.revision, self.spec.clone()),
        }
    }

    /// Whether a child of a spec in use may go on as one of the present declaration.
    pub(crate) fn is_quiet(&self, spec: &Arc<ProgramSpec>) -> bool {
        Arc::ptr_eq(&self.spec, spec) || self.quiet.iter().any(|quiet| Arc::ptr_eq(quiet, spec))
    }
}

/// The specs in use, each compared once, whose children may go on as ones of the present
/// declaration.
fn quiet(entry: &Entry) -> Vec<Arc<ProgramSpec>> {
    let mut others: Vec<&Arc<ProgramSpec>> = Vec::new();
    let placed = entry.instances.values().filter_map(Instance::placed).map(|placed| &placed.spec);
    for spec in placed.chain(&entry.stable) {
        let known = |other: &&Arc<ProgramSpec>| Arc::ptr_eq(other, spec);
        if !Arc::ptr_eq(spec, &entry.spec) && !others.iter().any(known) {
            others.push(spec);
        }
    }
    others.into_iter().filter(|spec| entry.spec.same_child(spec)).cloned().collect()
}

/// Which indexes a rollout may change now.
fn reach(rollout: Option<&Rollout>, canary: u32) -> u32 {
    match rollout {
        None => u32::MAX,
        Some(rollout) if rollout.state != RolloutState::Rolling => 0,
        Some(rollout) if rollout.promoted => u32::MAX,
        Some(_) => canary,
    }
}

/// What becomes of a rollout as a whole.
pub(crate) fn plan(scene: &Scene<'_>, guard: u64, rolling: &Rolling<'_>, draft: &mut Draft) {
    let program = scene.program;
    let Some(rollout) = program.rollout.as_deref() else { return };
    if rollout.state != RolloutState::Rolling {
        return;
    }
    let mut record = program.clone();
    let (change, reason) = if let Some(failed) = &rolling.failed {
        let revision = program.revision;
        let reason = format!("{failed} ended FATAL with revision {revision}");
        if program.spec.update.auto_revert && rollout.reverts.is_none() {
            revert(&mut record, rollout, &reason, scene);
            (RolloutChange::Reverted, reason)
        } else {
            if let Some(rollout) = record.rollout.as_mut() {
                rollout.state = RolloutState::Failed;
                rollout.reason = Some(reason.clone());
            }
            (RolloutChange::Failed, reason)
        }
    } else if rolling.done && rollout.promoted {
        record.rollout = None;
        (RolloutChange::Done, "every instance is changed".to_owned())
    } else {
        return;
    };
    draft.actions.push(Action::Rollout { guard, record: Box::new(record), change, reason });
}

/// Declares what was declared before, as a new revision that is rolled out.
fn revert(record: &mut Program, rollout: &Rollout, reason: &str, scene: &Scene<'_>) {
    let bad = record.revision;
    record.revision = record.revision.saturating_add(1);
    record.spec = rollout.stable.spec.clone();
    record.changed = Some(scene.now.wall);
    record.by = None;
    record.reason = Some(format!("back to revision {}: {reason}", rollout.stable.revision));
    record.rollout = Some(Box::new(Rollout {
        state: RolloutState::Rolling,
        promoted: true,
        reverts: Some(bad),
        reason: Some(reason.to_owned()),
        ..rollout.clone()
    }));
}
