//! What is held back for a while after its write was refused.

use dsbus_planner::Action;

/// What an action is about: one that was refused is held back under this name.
pub fn hold_key(action: &Action) -> String {
    let about = match action {
        Action::Drained { worker, .. } | Action::ForgetWorker { worker, .. } => worker.to_string(),
        Action::TellGroup { fact, .. } => fact.group.to_string(),
        Action::ForgetGroup { group, .. } => group.to_string(),
        Action::Forget { program, .. } | Action::Fire { program, .. } => program.to_string(),
        Action::Rollout { record, .. } => record.name.to_string(),
        Action::DropStatus { name, worker, .. } => format!("{name}@{worker}"),
        other => other.instance().map(ToString::to_string).unwrap_or_default(),
    };
    let bucket = match action {
        Action::Place { .. }
        | Action::Update { .. }
        | Action::Move { .. }
        | Action::Repair { .. }
        | Action::Remove { .. } => "fleet",
        Action::CountFailure { .. } | Action::NoteRefusal { .. } | Action::Stop { .. } => "goal",
        Action::Fire { .. } => "run",
        Action::Rollout { .. } => "rollout",
        Action::Drained { .. } => "drained",
        Action::TellGroup { .. } | Action::ForgetGroup { .. } => "group",
        Action::ForgetWorker { .. } => "worker",
        Action::SetFleetStatus { .. } | Action::ClearFleetStatus { .. } => "said",
        Action::DropStatus { .. } => "status",
        Action::Forget { .. } => "program",
    };
    format!("{bucket} {about}")
}
