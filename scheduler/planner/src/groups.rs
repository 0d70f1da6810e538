//! Groups and rollouts as people see them.

use std::collections::BTreeSet;

use dsbus_schema::command::{GroupRow, GroupState, RolloutRow};
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::State;

use crate::rolling::{self, Health};
use crate::rows;
use crate::view::{Instance, Now, View};

/// Every group, by name.
pub fn groups(view: &View) -> Vec<GroupRow> {
    let groups = view.index.groups();
    groups.iter().map(|(name, members)| group(view, name, members)).collect()
}

fn group(view: &View, name: &ProgramName, members: &BTreeSet<ProgramName>) -> GroupRow {
    let mut row = GroupRow {
        name: name.clone(),
        state: GroupState::Stopped,
        major_failure: false,
        minor_failure: false,
        ok: 0,
        instances: 0,
        programs: members.iter().cloned().collect(),
        failed: Vec::new(),
    };
    let (mut runs, mut starts, mut stops) = (false, false, false);
    for member in members {
        let mut failed = false;
        for instance in rows::of_program(view, member) {
            row.instances += 1;
            row.ok += usize::from(instance.ok);
            let bad = matches!(
                instance.state,
                State::Fatal | State::Unknown | State::Pending | State::Backoff | State::Exited
            );
            failed |= instance.wanted.run && bad && !instance.ok;
            runs |= instance.wanted.run;
            starts |= instance.wanted.run
                && matches!(instance.state, State::Stopped | State::Starting | State::Stopping);
            stops |= !instance.wanted.run && instance.state.may_have_child();
        }
        if failed {
            row.failed.push(member.clone());
            let required = view.program(member).is_some_and(|program| program.spec.required);
            row.major_failure |= required;
            row.minor_failure |= !required;
        }
    }
    row.state = match (runs, starts, stops) {
        (true, true, _) => GroupState::Starting,
        (true, false, _) => GroupState::Running,
        (false, _, true) => GroupState::Stopping,
        (false, _, false) => GroupState::Stopped,
    };
    row
}

/// The rollout of a program; of one that has none, where its instances are. `None` when the program
/// is unknown.
pub fn rollout(view: &View, name: &ProgramName, now: Now) -> Option<RolloutRow> {
    let entry = view.programs.get(name)?;
    let program = &entry.program.as_ref()?.value;
    let rollout = program.rollout.as_deref();
    let mut row = RolloutRow {
        program: name.clone(),
        id: program.id,
        revision: program.revision,
        stable: rollout.map(|rollout| rollout.stable.revision),
        state: rollout.map(|rollout| rollout.state),
        done: Vec::new(),
        moving: Vec::new(),
        waiting: Vec::new(),
        awaits_promotion: false,
        reason: rollout.and_then(|rollout| rollout.reason.clone()),
        since: rollout.map(|rollout| rollout.since),
    };
    let young = program.spec.update.min_healthy.0;
    for index in rows::indexes(view, name) {
        let instance_name = InstanceId::new(name.clone(), index);
        let wanted = view.wanted(program, index).run;
        let instance = entry.instance(index);
        let placed = instance.and_then(Instance::placed);
        let Some((instance, placed)) = instance.zip(placed) else {
            if wanted {
                row.moving.push(instance_name);
            }
            continue;
        };
        let current = placed.revision >= program.revision;
        let health = rolling::health(view, instance, placed, young, now.boot);
        let ended = instance.acted(placed).is_some_and(|s| crate::order::ended_well(program, s));
        if current && (health == Health::Up || ended || !wanted) {
            row.done.push(instance_name);
        } else if current || health == Health::Down {
            row.moving.push(instance_name);
        } else {
            row.waiting.push(instance_name);
        }
    }
    if let Some(rollout) = rollout
        && rollout.state == RolloutState::Rolling
    {
        let canary = program.spec.update.canary;
        let canaries_up = row.done.iter().filter(|name| name.index < canary).count();
        let waits =
            !rollout.promoted && canaries_up >= usize::try_from(canary).unwrap_or(usize::MAX);
        row.awaits_promotion = waits;
        row.reason = if waits {
            let canaries = if canary == 1 { "canary is" } else { "canaries are" };
            Some(format!("its {canaries} healthy: promote or undo it"))
        } else {
            row.reason.or_else(|| {
                Some("changed instances become healthy".to_owned())
                    .filter(|_| !row.moving.is_empty())
            })
        };
    }
    Some(row)
}
