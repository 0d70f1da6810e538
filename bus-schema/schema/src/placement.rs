//! Where an instance runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Wanted;
use crate::ids::{Epoch, ProgramId, WorkerName};
use crate::moment::Timestamp;
use crate::program::ProgramSpec;
use crate::state::{Exit, State};
use crate::status::Status;

/// "This instance has ended for good, or was given up": a worker that meets the placement anew (it
/// was started again, or the instance moved there) shows this, and starts nothing.
///
/// It speaks of the `wanted`, `revision` and `spec` beside it. Whoever wants more of the instance
/// takes it away with the same write. An instance that its supervisor knows already heeds it not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rest {
    /// Which of the two.
    pub state: RestState,
    /// How the last child ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// How an instance rests. Names are those of [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RestState {
    /// It has ended by itself, and is not started again.
    Exited,
    /// It was given up.
    Fatal,
}

impl From<RestState> for State {
    fn from(state: RestState) -> State {
        match state {
            RestState::Exited => State::Exited,
            RestState::Fatal => State::Fatal,
        }
    }
}

impl Rest {
    /// What this placement should say, now that its worker has told this: only where that answers
    /// all that is wanted here.
    pub fn told(placement: &Placement, status: &Status) -> Option<Rest> {
        let (wanted, acted) = (placement.wanted, status.wanted);
        let answered = status.rests
            && (status.id, status.epoch) == (placement.id, placement.epoch)
            && status.revision == placement.revision
            && acted.run == wanted.run
            && acted.starts >= wanted.starts
            && acted.restarts >= wanted.restarts;
        let state = match status.state {
            State::Exited if answered => RestState::Exited,
            State::Fatal if answered => RestState::Fatal,
            State::Exited
            | State::Fatal
            | State::Stopped
            | State::Pending
            | State::Starting
            | State::Running
            | State::Backoff
            | State::Stopping
            | State::Unknown => return None,
        };
        let (exit, reason, since) = (status.exit, status.reason.clone(), status.since);
        Some(Rest { state, exit, reason, since })
    }

    /// What stays of the rest of `before` in a placement that wants this: nothing, where a worker
    /// that knows the instance would start it now.
    pub fn kept(
        before: &Placement,
        wanted: Wanted,
        revision: u64,
        spec: &ProgramSpec,
    ) -> Option<Rest> {
        let rest = before.rest.as_ref()?;
        // Any change may mend what failed; what has ended well begins anew only as something else.
        let declared_anew = revision != before.revision
            && (rest.state == RestState::Fatal || !before.spec.same_child(spec));
        let more = (wanted.run && !before.wanted.run)
            || wanted.starts > before.wanted.starts
            || wanted.restarts > before.wanted.restarts;
        let begins = wanted.run && (more || declared_anew);
        (!begins).then(|| rest.clone())
    }
}

/// What stands in the tombstone of a placement that was taken away. That of one that was moved is
/// empty: the placement elsewhere tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removal {
    /// Identity of the program.
    pub id: ProgramId,
    /// Epoch of what was taken away.
    pub epoch: Epoch,
    /// Why, for people.
    pub reason: String,
}

/// "This instance runs on this worker under this epoch, with this spec": all that the worker needs
/// to know. Key `<worker>.<program>.<index>` of the fleet bucket; at most one per instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Identity of the program.
    pub id: ProgramId,
    /// Revision of `spec`.
    pub revision: u64,
    /// Grows each time the instance is placed anew, and only then.
    pub epoch: Epoch,
    /// What the instance should do.
    pub wanted: Wanted,
    /// What to run.
    pub spec: ProgramSpec,
    /// Where it was before, when it was moved here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkerName>,
    /// Why it is here, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It has ended for good, or was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// Words after those of the command, given with the last start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// It is stopped only to leave its place: nobody wants it to stay stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

impl Placement {
    /// A placement that says no more than it must.
    pub fn new(
        id: ProgramId,
        revision: u64,
        epoch: Epoch,
        wanted: Wanted,
        spec: ProgramSpec,
    ) -> Placement {
        let (from, reason, rest, arguments, leaves) = (None, None, None, Vec::new(), false);
        Placement { id, revision, epoch, wanted, spec, from, reason, rest, arguments, leaves }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A placement that wants 2 starts, and what its worker told of it.
    fn told(state: State) -> (Placement, Status) {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let wanted = json!({ "run": true, "starts": 2 });
        let mut placement = json!({ "id": id, "revision": 3, "epoch": 7, "wanted": wanted });
        placement["spec"] = json!({ "command": "x" });
        let status = json!({
            "id": id, "revision": 3, "epoch": 7, "wanted": wanted, "state": state, "rests": true,
            "since": "2026-05-01T12:00:00Z", "exit": { "code": 5, "signal": null, "core": false },
            "reason": "why", "seq": 4, "incarnation": "00000000-0000-0000-0000-000000000000",
        });
        let status = serde_json::from_value(status).unwrap();
        (serde_json::from_value(placement).unwrap(), status)
    }

    #[test]
    fn a_placement_of_before_says_nothing_of_rest() {
        let (placement, _) = told(State::Exited);
        assert_eq!(placement.rest, None);
        assert!(!serde_json::to_string(&placement).unwrap().contains("\"rest\""));
    }

    #[test]
    fn what_has_ended_and_answers_all_that_is_wanted_rests() {
        for (state, rests) in [(State::Exited, RestState::Exited), (State::Fatal, RestState::Fatal)]
        {
            let (placement, status) = told(state);
            let rest = Rest::told(&placement, &status).unwrap();
            assert_eq!((rest.state, State::from(rest.state)), (rests, state));
            assert_eq!((rest.exit, rest.since), (status.exit, status.since));
            assert_eq!(rest.reason.as_deref(), Some("why"));
            let placement = Placement { rest: Some(rest), ..placement };
            let json = serde_json::to_value(&placement).unwrap();
            assert_eq!(json["rest"]["state"], json!(state));
            assert_eq!(serde_json::from_value::<Placement>(json).unwrap(), placement);
        }
        let (placement, status) = told(State::Running);
        assert_eq!(Rest::told(&placement, &status), None);
        let unanswered: [fn(&mut Placement, &mut Status); 7] = [
            |_, s| s.rests = false,
            |p, _| p.epoch = Epoch(8),
            |p, _| p.revision = 4,
            |p, _| p.wanted.starts = 3,
            |p, _| p.wanted.restarts = 1,
            |p, _| p.wanted.run = false,
            |p, _| p.id = ProgramId(uuid::Uuid::nil()),
        ];
        for edit in unanswered {
            let (mut placement, mut status) = told(State::Exited);
            edit(&mut placement, &mut status);
            assert_eq!(Rest::told(&placement, &status), None, "{placement:?}");
        }
    }

    type Edit = fn(&mut Placement);

    #[test]
    fn it_rests_until_more_is_wanted() {
        let kept = |state, edit: fn(&mut Placement)| {
            let (mut before, status) = told(state);
            before.rest = Rest::told(&before, &status);
            let mut next = before.clone();
            edit(&mut next);
            Rest::kept(&before, next.wanted, next.revision, &next.spec).is_some()
        };
        let edits: [(Edit, bool, bool); 7] = [
            (|_| {}, true, true),
            (|p| p.wanted.reloads = 1, true, true),
            (|p| p.wanted.run = false, true, true),
            (|p| p.wanted.starts = 3, false, false),
            (|p| p.wanted.restarts = 1, false, false),
            (|p| (p.revision, p.spec.priority) = (4, 1), true, false),
            (|p| (p.revision, p.spec.shell) = (4, true), false, false),
        ];
        for (number, (edit, exited, fatal)) in edits.into_iter().enumerate() {
            assert_eq!(kept(State::Exited, edit), exited, "{number}");
            assert_eq!(kept(State::Fatal, edit), fatal, "{number}");
        }
    }

    #[test]
    fn what_was_stopped_at_rest_begins_when_it_should_run() {
        let (mut before, mut status) = told(State::Exited);
        (before.wanted.run, status.wanted.run) = (false, false);
        before.rest = Rest::told(&before, &status);
        assert!(before.rest.is_some());
        let wanted = Wanted { run: true, ..before.wanted };
        assert_eq!(Rest::kept(&before, wanted, 3, &before.spec), None);
    }
}
