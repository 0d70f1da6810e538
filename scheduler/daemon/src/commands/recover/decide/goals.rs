//! What must be written so that instances are wanted as they were placed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_planner::view::Goals;
use dsbus_schema::goal::{Arguments, Goal, Wanted};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Program;

/// What was wanted of an instance when it was placed.
fn told(placement: &Placement) -> Wanted {
    Wanted { run: placement.wanted.run || placement.leaves, ..placement.wanted }
}

/// How much is missing.
fn short(wanted: Wanted, known: Wanted) -> Wanted {
    Wanted {
        run: false,
        starts: wanted.starts.saturating_sub(known.starts),
        restarts: wanted.restarts.saturating_sub(known.restarts),
        reloads: wanted.reloads.saturating_sub(known.reloads),
    }
}

fn is_short(wanted: Wanted, known: Wanted) -> bool {
    short(wanted, known) != Wanted::default()
}

fn raise(goal: &mut Goal, by: Wanted) {
    goal.starts = goal.starts.saturating_add(by.starts);
    goal.restarts = goal.restarts.saturating_add(by.restarts);
    goal.reloads = goal.reloads.saturating_add(by.reloads);
}

/// Goals of a program that must be written beside those that are `known`. These stay, but where a
/// placement knows of a later command, or where nobody has commanded anything, as far as they say.
pub(in super::super) fn goals(
    program: &Program,
    known: &Goals,
    held: &BTreeMap<InstanceId, &Placement>,
    now: Timestamp,
) -> BTreeMap<Option<u32>, Goal> {
    let each = || held.iter().map(|(name, placement)| (name.index, told(placement)));
    let before = |index| known.wanted(program, index);
    let later: BTreeSet<u32> = each()
        .filter(|(index, wanted)| is_short(*wanted, before(*index)))
        .map(|(index, _)| index)
        .collect();
    let mut goals = known.clone();
    let autostart = || Goal { run: program.spec.autostart, ..Goal::default() };
    let mut all = known.all.clone().unwrap_or_else(autostart);
    // What all of them lack was asked of all.
    let least = |of: fn(Wanted) -> u64| {
        each().map(|(index, wanted)| of(short(wanted, before(index)))).min().unwrap_or(0)
    };
    raise(
        &mut all,
        Wanted {
            run: false,
            starts: least(|short| short.starts),
            restarts: least(|short| short.restarts),
            reloads: least(|short| short.reloads),
        },
    );
    if !later.is_empty() && program.spec.schedule.is_some() {
        // Which runs were fired is not known; what was due until now is not made up for.
        all.last_due = all.last_due.or(Some(now));
    }
    goals.all = Some(all.clone());
    let differs = |goals: &Goals, index: u32, wanted: Wanted| {
        let may = later.contains(&index) || !known.is_commanded(index);
        may && wanted.run != goals.wanted(program, index).run
    };
    if !each().any(|(index, _)| known.is_commanded(index))
        && each().any(|(index, wanted)| differs(&goals, index, wanted))
    {
        // One that stands stopped was stopped alone, where others run.
        all.run = each().any(|(_, wanted)| wanted.run);
        all.stamp = 1;
        goals.all = Some(all.clone());
    }
    let mut written = BTreeMap::new();
    if known.all.as_ref() != Some(&all) && (known.all.is_some() || all != autostart()) {
        written.insert(None, all.clone());
    }
    for (name, placement) in held {
        let (index, wanted) = (name.index, told(placement));
        let now = goals.wanted(program, index);
        let words = later.contains(&index) && goals.arguments(index) != placement.arguments;
        if !is_short(wanted, now) && !differs(&goals, index, wanted) && !words {
            continue;
        }
        let plain = || Goal { run: now.run, ..Goal::default() };
        let mut own = known.each.get(&index).cloned().unwrap_or_else(plain);
        raise(&mut own, short(wanted, now));
        own.run = wanted.run;
        own.disabled &= !wanted.run;
        own.stamp = own.stamp.max(all.stamp).saturating_add(1);
        own.arguments = (!placement.arguments.is_empty()).then(|| Arguments {
            words: placement.arguments.clone(),
            of: wanted.starts.saturating_add(wanted.restarts),
        });
        written.insert(Some(index), own);
    }
    written
}

#[cfg(test)]
mod tests {
    use dsbus_planner::View;
    use dsbus_schema::ids::{Epoch, ProgramId};
    use serde_json::json;

    use super::*;

    fn program() -> Program {
        let spec = serde_json::from_value(json!({ "command": "x", "numprocs": 3 })).unwrap();
        Program::new(ProgramId(uuid::Uuid::from_u128(1)), "web".parse().unwrap(), spec)
    }

    fn wanted(run: bool, starts: u64, restarts: u64) -> Wanted {
        Wanted { run, starts, restarts, reloads: 0 }
    }

    fn placed(all: &[Wanted]) -> Vec<(InstanceId, Placement)> {
        let program = program();
        let place = |(index, wanted): (u32, &Wanted)| {
            let spec = program.spec.clone();
            let placement = Placement::new(program.id, 1, Epoch(9), *wanted, spec);
            (InstanceId::new(program.name.clone(), index), placement)
        };
        (0..).zip(all).map(place).collect()
    }

    /// What is wanted of each once the goals are written; and the goals.
    fn after(
        known: &Goals,
        held: &[(InstanceId, Placement)],
    ) -> (Vec<Wanted>, BTreeMap<Option<u32>, Goal>) {
        let program = program();
        let by_name = held.iter().map(|(name, placement)| (name.clone(), placement)).collect();
        let now = Timestamp::from_unix_nanos(7);
        let written = goals(&program, known, &by_name, now);
        let mut view = View::default();
        let there = known.all.iter().map(|goal| (None, goal.clone()));
        let there = there.chain(known.each.iter().map(|(i, goal)| (Some(*i), goal.clone())));
        for (index, goal) in there.chain(written.clone()) {
            view.set_goal(&program.name, index, Some(goal));
        }
        let found = view.goals(&program.name).cloned().unwrap_or_default();
        assert!(goals(&program, &found, &by_name, now).is_empty(), "it is done after once");
        let wanted = held.iter().map(|(name, _)| view.wanted(&program, name.index)).collect();
        (wanted, written)
    }

    fn goal(run: bool, stamp: u64, starts: u64, restarts: u64) -> Goal {
        Goal { run, stamp, starts, restarts, ..Goal::default() }
    }

    #[test]
    fn goals_that_are_lost_are_made_of_what_was_wanted() {
        let all = [wanted(true, 3, 4), wanted(false, 2, 4), wanted(true, 2, 4)];
        let mut held = placed(&all);
        held[0].1.arguments = vec!["-v".to_owned()];
        held[2].1.wanted.reloads = 2;
        let (wanted, written) = after(&Goals::default(), &held);
        let told: Vec<Wanted> = held.iter().map(|(_, placement)| placement.wanted).collect();
        assert_eq!(wanted, told);
        assert_eq!(written[&Some(0)].arguments.as_ref().unwrap().words, ["-v"]);
        assert_eq!(written[&None].starts, 2, "what all have was asked of all");
    }

    #[test]
    fn what_runs_by_itself_needs_no_goal() {
        let held = placed(&[wanted(true, 0, 0), wanted(true, 0, 0)]);
        assert_eq!(after(&Goals::default(), &held).1, BTreeMap::new());
        let stopped = placed(&[wanted(false, 0, 0), wanted(false, 0, 0)]);
        let (wanted, written) = after(&Goals::default(), &stopped);
        assert_eq!((wanted[0].run, written.len()), (false, 1));
    }

    #[test]
    fn what_was_stopped_to_leave_is_wanted() {
        let mut held = placed(&[wanted(false, 0, 0)]);
        held[0].1.leaves = true;
        assert_eq!(after(&Goals::default(), &held).1, BTreeMap::new());
    }

    #[test]
    fn goals_that_are_there_stay_but_for_later_commands() {
        // Stopped while the bus knew nothing of the placement: the goal is as late as that.
        let known = Goals { all: Some(goal(false, 5, 1, 0)), ..Goals::default() };
        assert_eq!(after(&known, &placed(&[wanted(true, 1, 0)])).1, BTreeMap::new());
        // Of an earlier time: one was started since, another one restarted.
        let known =
            Goals { all: Some(goal(true, 5, 1, 0)), each: [(1, goal(false, 6, 0, 0))].into() };
        let held = placed(&[wanted(true, 1, 0), wanted(true, 2, 0), wanted(true, 1, 3)]);
        let (wanted, written) = after(&known, &held);
        assert_eq!(wanted, [held[0].1.wanted, held[1].1.wanted, held[2].1.wanted]);
        assert_eq!(written.keys().copied().collect::<Vec<_>>(), [Some(1), Some(2)]);
    }

    #[test]
    fn what_all_were_asked_is_written_once() {
        let known = Goals { all: Some(goal(true, 5, 1, 1)), ..Goals::default() };
        let held = placed(&[wanted(true, 1, 4), wanted(true, 1, 4), wanted(true, 1, 4)]);
        let (_, written) = after(&known, &held);
        assert_eq!(written.keys().collect::<Vec<_>>(), [&None]);
        assert_eq!((written[&None].restarts, written[&None].stamp), (4, 5));
    }

    #[test]
    fn runs_of_a_schedule_that_are_not_known_are_not_made_up_for() {
        let mut program = program();
        let schedule = json!({ "command": "x", "schedule": { "cron": "0 3 * * *" } });
        program.spec = serde_json::from_value(schedule).unwrap();
        let held = placed(&[wanted(true, 57, 0)]);
        let by_name = held.iter().map(|(name, placement)| (name.clone(), placement)).collect();
        let now = Timestamp::from_unix_nanos(7);
        let written = goals(&program, &Goals::default(), &by_name, now);
        assert_eq!((written[&None].starts, written[&None].last_due), (57, Some(now)));
    }
}
