//! How groups are, as events tell it. What was last told of each is on the bus (`_group.<group>` in
//! the status bucket), written by whoever is first, so that each change is told once.

use std::collections::BTreeSet;

use dsbus_schema::event::{GROUP_FAILED_MAX, GroupChange, GroupFact};
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::state::State;

use crate::action::Action;
use crate::order::ended_well;
use crate::place;
use crate::plan::{Draft, Scene};
use crate::view::{Group, Instance, Placed, View};

/// How a program is, for its group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Copies that have failed.
    failed: Vec<u32>,
    /// Copies that should run, and neither do nor have failed: they are on their way.
    underway: bool,
    /// Some should run.
    wanted: bool,
}

/// How an instance that should run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Underway,
    Failed,
}

/// How a program is, for which these actions were planned.
pub(crate) fn of(scene: &Scene<'_>, planned: &[Action]) -> Condition {
    let mut condition = Condition::default();
    // Those about which something is to be done: they are not any more as they were said to be.
    let about = planned.iter().filter_map(Action::instance);
    let about = about.filter(|name| name.program == scene.program.name);
    let changing: BTreeSet<u32> = about.map(|name| name.index).collect();
    for index in scene.entry.declared(scene.program) {
        if !scene.entry.wanted(scene.program, index).run {
            continue;
        }
        condition.wanted = true;
        match health(scene, index, changing.contains(&index)) {
            Health::Well => {}
            Health::Underway => condition.underway = true,
            Health::Failed => condition.failed.push(index),
        }
    }
    condition
}

fn health(scene: &Scene<'_>, index: u32, changing: bool) -> Health {
    let instance = scene.entry.instance(index);
    match instance.and_then(|instance| Some((instance, instance.placed()?))) {
        Some((instance, placed)) => of_placed(scene, instance, placed),
        // PENDING, and not because it waits for others: nobody can take it.
        None if instance.is_some_and(|i| i.said.is_some())
            && place::before_start(scene, index).is_none()
            && !changing =>
        {
            Health::Failed
        }
        None => Health::Underway,
    }
}

fn of_placed(scene: &Scene<'_>, instance: &Instance, placed: &Placed) -> Health {
    let status = instance.status(placed);
    let rests = placed.rest.is_some() || status.is_some_and(|status| status.rests);
    let lost = scene.view.is_cut_off(placed) || scene.view.is_lost(&placed.worker);
    if lost && !rests {
        return Health::Failed;
    }
    let Some(status) = status else { return Health::Underway };
    match status.state {
        State::Running => Health::Well,
        State::Exited if ended_well(scene.program, status) => Health::Well,
        State::Fatal | State::Backoff | State::Unknown => Health::Failed,
        State::Exited if rests => Health::Failed,
        // It is started again.
        State::Exited | State::Stopped | State::Pending | State::Starting | State::Stopping => {
            Health::Underway
        }
    }
}

/// What there is to tell of the groups that these programs are in, or that are among these names.
pub(crate) fn groups(view: &View, news: &BTreeSet<ProgramName>, draft: &mut Draft) {
    let concerned = |name| view.index.group_of(name).into_iter().chain([name]);
    let is_group = |name: &&ProgramName| {
        view.index.groups().contains_key(*name) || view.groups.contains_key(*name)
    };
    let names: BTreeSet<&ProgramName> = news.iter().flat_map(concerned).filter(is_group).collect();
    draft.actions.extend(names.into_iter().filter_map(|name| group(view, name)));
}

fn group(view: &View, name: &ProgramName) -> Option<Action> {
    let none = Group::default();
    let Group { told, guard } = view.groups.get(name).unwrap_or(&none);
    let guard = *guard;
    let members = view.index.groups().get(name).into_iter().flatten();
    let members: Vec<&ProgramName> = members
        .filter(|member| view.program(member).is_some_and(|program| !program.removing))
        .collect();
    let tell = |change, failed| {
        let fact = GroupFact { group: name.clone(), change, failed };
        Some(Action::TellGroup { fact, guard })
    };
    let told = match (told, members.is_empty()) {
        (None, true) => return None,
        (None, false) => return tell(GroupChange::Added, Vec::new()),
        (Some(_), true) => return Some(Action::ForgetGroup { group: name.clone(), guard }),
        (Some(told), false) => told.change,
    };
    let (now, failed) = change(view, &members, told)?;
    if now == told { None } else { tell(now, failed) }
}

/// How a group is, and who has failed; `None` while that is not known yet.
fn change(
    view: &View,
    members: &[&ProgramName],
    told: GroupChange,
) -> Option<(GroupChange, Vec<String>)> {
    let (mut failed, mut required, mut underway, mut wanted) = (Vec::new(), false, false, false);
    for member in members {
        let Some(entry) = view.programs.get(*member) else { continue };
        let condition = &entry.condition;
        underway |= condition.underway;
        wanted |= condition.wanted;
        required |= !condition.failed.is_empty()
            && view.program(member).is_some_and(|program| program.spec.required);
        let name = |index: &u32| InstanceId::new((*member).clone(), *index).to_string();
        let room = GROUP_FAILED_MAX - failed.len();
        failed.extend(condition.failed.iter().take(room).map(name));
    }
    if required {
        return Some((GroupChange::Failed, failed));
    }
    if !failed.is_empty() {
        return Some((GroupChange::Degraded, failed));
    }
    // What was never started is not well, and what was stopped has not failed any more.
    let was_bad = matches!(told, GroupChange::Failed | GroupChange::Degraded);
    (!underway && (wanted || was_bad)).then_some((GroupChange::Ok, failed))
}
