//! What would be done if programs were declared so: the answer to a dry run.

use dsbus_schema::program::Program;

use crate::action::Action;
use crate::plan::plan;
use crate::view::{Now, Seen, View};

/// The first steps, in words. What follows from them (a rollout's next instances) is not told.
pub fn preview(view: &View, programs: &[Program], now: Now) -> Vec<String> {
    let mut tried = view.clone();
    // What is under way already is no answer to this question.
    plan(&mut tried, now);
    for program in programs {
        let seen = Seen { seq: u64::MAX, value: program.clone() };
        tried.set_program(&program.name, Some(seen));
    }
    let known = |action: &Action| {
        action.program().is_some_and(|name| programs.iter().any(|program| program.name == *name))
    };
    plan(&mut tried, now).iter().filter(|action| known(action)).filter_map(words).collect()
}

fn words(action: &Action) -> Option<String> {
    Some(match action {
        Action::Place { name, worker, placement, .. } => {
            let why = placement.reason.as_deref().unwrap_or_default();
            format!("start {name} on {worker}: {why}")
        }
        Action::Update { name, worker, placement, .. } if !placement.wanted.run => {
            format!("stop {name} on {worker}")
        }
        Action::Update { name, worker, placement, .. } => {
            format!("change {name} on {worker} to revision {}", placement.revision)
        }
        Action::Move { name, from, to, reason, .. } => {
            format!("move {name} from {from} to {to}: {reason}")
        }
        Action::Remove { name, worker, reason, .. } => {
            format!("take {name} off {worker}: {reason}")
        }
        Action::SetFleetStatus { name, state, reason, .. } => format!("{name}: {state}, {reason}"),
        Action::Repair { .. }
        | Action::CountFailure { .. }
        | Action::NoteRefusal { .. }
        | Action::ClearFleetStatus { .. }
        | Action::DropStatus { .. }
        | Action::Stop { .. }
        | Action::Fire { .. }
        | Action::Rollout { .. }
        | Action::Drained { .. }
        | Action::TellGroup { .. }
        | Action::ForgetGroup { .. }
        | Action::ForgetWorker { .. }
        | Action::Forget { .. } => return None,
    })
}
