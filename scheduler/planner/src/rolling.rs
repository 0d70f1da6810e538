//! Rollouts: which instances may be changed now. How far a rollout is can be read off the
//! placements; what is on the bus besides is what it started from, and whether it may go on.
//!
//! The same budget of instances that may be down bounds rolling restarts, and willing moves.

use std::sync::Arc;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::rollout::{Rollout, RolloutChange, RolloutState};
use dsbus_schema::state::State;

use crate::action::Action;
use crate::order::ended_well;
use crate::plan::{Draft, Scene};
use crate::view::{Instance, Life, Placed, View};

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

/// How an instance is; `young` is how long it must have been RUNNING.
pub(crate) fn health(
    view: &View,
    instance: &Instance,
    placed: &Placed,
    young: std::time::Duration,
    now: BootTime,
) -> Health {
    let runs = instance.acted(placed).is_some_and(|status| status.state == State::Running);
    if !runs || !placed.wanted.run || view.life(placed) == Life::Lost {
        return Health::Down;
    }
    match instance.well.map(|well| well.since + young) {
        Some(at) if at > now => Health::Young(at),
        _ => Health::Up,
    }
}

/// How far the changes of a program may go now.
#[derive(Debug)]
pub(crate) struct Rolling<'a> {
    program: &'a Program,
    spec: Arc<ProgramSpec>,
    stable: Option<(u64, Arc<ProgramSpec>)>,
    /// Indexes below this one may be changed.
    reach: u32,
    /// Instances that are wanted and not up.
    down: u32,
    /// How many may be.
    allowed: u32,
    /// Extra instances.
    surge: u32,
    /// Every instance is changed and up.
    done: bool,
    /// A changed instance that ended FATAL.
    failed: Option<InstanceId>,
    wake: Option<BootTime>,
}

impl<'a> Rolling<'a> {
    pub(crate) fn new(scene: &Scene<'a>) -> Rolling<'a> {
        let Scene { view, entry, program, now } = *scene;
        let rollout = program.rollout.as_deref();
        let update = &program.spec.update;
        let mut rolling = Rolling {
            program,
            spec: entry.spec.clone(),
            stable: rollout.zip(entry.stable.clone()).map(|(r, spec)| (r.stable.revision, spec)),
            reach: reach(rollout, update.canary),
            down: 0,
            allowed: update.max_unavailable,
            surge: 0,
            done: true,
            failed: None,
            wake: None,
        };
        let base = program.spec.numprocs;
        let (mut changed, mut extra_up) = (true, 0);
        for index in view.declared(program) {
            let wanted = view.wanted(program, index).run;
            let instance = entry.instance(index);
            let placed = instance.and_then(Instance::placed);
            let Some((instance, placed)) = instance.zip(placed) else {
                rolling.down += u32::from(wanted);
                rolling.done &= !wanted;
                continue;
            };
            let health = rolling.judge(view, index, instance, placed, now.boot);
            let ended = instance.acted(placed).is_some_and(|s| ended_well(program, s));
            let lost = view.life(placed) == Life::Lost;
            rolling.down += u32::from(wanted && health != Health::Up && !ended);
            let current = placed.revision >= program.revision;
            changed &= current || !wanted || lost;
            rolling.done &= (current && (health == Health::Up || ended || !wanted)) || lost;
        }
        for (index, instance) in entry.instances.range(base..) {
            let Some(placed) = instance.placed().filter(|_| !program.spec.system) else { continue };
            let health = rolling.judge(view, *index, instance, placed, now.boot);
            extra_up += u32::from(health == Health::Up);
            rolling.done = false;
        }
        if rollout.is_some_and(|r| r.promoted) && update.max_surge > 0 {
            let going = rolling.down > 0 || !changed;
            rolling.surge = if going { update.max_surge } else { 0 };
        }
        rolling.allowed += extra_up;
        rolling
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
        let young = if changed {
            self.program.spec.update.min_healthy.0
        } else {
            std::time::Duration::ZERO
        };
        let health = health(view, instance, placed, young, now);
        if let Health::Young(at) = health {
            self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
        }
        let fatal = instance.acted(placed).is_some_and(|s| s.state == State::Fatal);
        if changed && fatal && view.life(placed) != Life::Lost {
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
        let extra = if self.is_stopped() { self.program.spec.update.max_surge } else { self.surge };
        index < self.program.spec.numprocs + extra
    }

    fn is_stopped(&self) -> bool {
        self.program.rollout.as_ref().is_some_and(|r| r.state != RolloutState::Rolling)
    }

    pub(crate) fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// One more instance goes down, if that is allowed; one that is down already may always change.
    pub(crate) fn take_down(&mut self, health: Health) -> bool {
        if health == Health::Down {
            return true;
        }
        // One that is young counts as down, and becomes no worse.
        if health == Health::Up {
            if self.down >= self.allowed {
                return false;
            }
            self.down += 1;
        }
        true
    }

    /// What an instance runs that is placed anew.
    pub(crate) fn fresh(&self, index: u32) -> (u64, Arc<ProgramSpec>) {
        match &self.stable {
            Some((revision, spec)) if index >= self.reach => (*revision, spec.clone()),
            _ => (self.program.revision, self.spec.clone()),
        }
    }

    /// What a placed instance is to run, before it is asked whether it may go down for it.
    pub(crate) fn next(&self, index: u32, placed: &Placed) -> (u64, Arc<ProgramSpec>) {
        let within = self.stable.is_none() || index < self.reach;
        // What needs no new child is not rolled out; nor is what was changed already taken back.
        let quiet = self.spec.same_child(&placed.spec);
        if within || quiet || placed.revision >= self.program.revision {
            (self.program.revision, self.spec.clone())
        } else {
            (placed.revision, placed.spec.clone())
        }
    }
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
    record.revision += 1;
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
