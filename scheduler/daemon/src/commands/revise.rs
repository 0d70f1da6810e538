//! What a new declaration makes of a program. Pure.

use dsbus_schema::command::Change;
use dsbus_schema::goal::Sender;
use dsbus_schema::ids::{ProgramId, ProgramName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::{Kind, Program, ProgramSpec};
use dsbus_schema::rollout::{Rollout, RolloutState, Stable};
use serde_json::Value;
use uuid::Uuid;

/// Who declares, why and when.
#[derive(Debug, Clone)]
pub struct Author<'a> {
    /// Id of the command.
    pub command: Uuid,
    /// Its verb.
    pub verb: &'static str,
    /// Who.
    pub sender: Sender<'a>,
    /// When.
    pub at: Timestamp,
}

/// A program after a declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Revised {
    /// The program.
    pub program: Program,
    /// What kind of change it is.
    pub change: Change,
    /// Names of the keys that changed.
    pub changed: Vec<String>,
    /// The change needs new children, and is rolled out.
    pub rolls: bool,
}

/// The program after it is declared as `spec`. The simulation declares by it, too.
pub fn revised(
    name: &ProgramName,
    stored: Option<Program>,
    spec: &ProgramSpec,
    author: &Author<'_>,
    reason: Option<String>,
) -> Revised {
    let Some(before) = stored else {
        let id = ProgramId(Uuid::now_v7());
        let mut program = Program::new(id, name.clone(), spec.clone());
        signed(&mut program, author, reason);
        return Revised { program, change: Change::Created, changed: Vec::new(), rolls: false };
    };
    if before.spec == *spec {
        let (change, changed) = (Change::Unchanged, Vec::new());
        return Revised { program: before, change, changed, rolls: false };
    }
    let mut program = before.clone();
    program.revision = program.revision.saturating_add(1);
    program.spec = spec.clone();
    signed(&mut program, author, reason);
    let rolls = rolls(&before.spec, spec);
    if spec.kind == Kind::Oneshot {
        program.rollout = None;
    }
    if rolls {
        let stable = match before.rollout {
            Some(rollout) => rollout.stable,
            None => Stable { revision: before.revision, spec: before.spec.clone() },
        };
        let back = stable.spec == *spec;
        program.rollout = Some(Box::new(Rollout {
            // What is gone back to has proved itself, and needs no canaries.
            promoted: spec.update.canary == 0 || back,
            state: RolloutState::Rolling,
            reverts: back.then_some(before.revision),
            reason: None,
            since: author.at,
            stable,
        }));
    }
    let changed = changed_keys(&before.spec, spec);
    if !rolls && let Some(rollout) = program.rollout.as_mut() {
        // What needs no new child is no part of the rollout, and is not taken back with it.
        rollout.stable.spec = patched(&rollout.stable.spec, spec, &changed);
    }
    Revised { program, change: Change::Changed, changed, rolls }
}

/// A declaration with some keys of another one.
fn patched(spec: &ProgramSpec, other: &ProgramSpec, keys: &[String]) -> ProgramSpec {
    let (Ok(Value::Object(mut to)), Ok(Value::Object(from))) =
        (serde_json::to_value(spec), serde_json::to_value(other))
    else {
        return spec.clone();
    };
    for key in keys {
        match from.get(key) {
            Some(value) => to.insert(key.clone(), value.clone()),
            None => to.remove(key),
        };
    }
    serde_json::from_value(Value::Object(to)).unwrap_or_else(|_| spec.clone())
}

/// Whether a change is rolled out: it needs new children, and there are some for longer than a run.
pub(crate) fn rolls(before: &ProgramSpec, after: &ProgramSpec) -> bool {
    after.kind == Kind::Service && !before.same_child(after)
}

pub(crate) fn signed(program: &mut Program, author: &Author<'_>, reason: Option<String>) {
    program.changed = Some(author.at);
    program.by = Some(author.sender.by.clone());
    program.reason = reason;
    program.commands.remember(author.command, author.verb, Some(author.sender));
}

/// Names of the keys that differ. Their values are nobody's business who may only look.
pub(crate) fn changed_keys(before: &ProgramSpec, after: &ProgramSpec) -> Vec<String> {
    let (Ok(Value::Object(before)), Ok(Value::Object(after))) =
        (serde_json::to_value(before), serde_json::to_value(after))
    else {
        return Vec::new();
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::ids::UserName;
    use serde_json::json;

    fn spec(keys: &Value) -> ProgramSpec {
        ProgramSpec::read(keys.as_object().unwrap()).unwrap()
    }

    /// Declares one after the other; the last.
    fn declared(specs: &[Value]) -> Revised {
        let (name, by) = (ProgramName::parse("web").unwrap(), UserName::parse("ann").unwrap());
        let mut last: Option<Revised> = None;
        for (n, keys) in specs.iter().enumerate() {
            let author = Author {
                command: Uuid::from_u128(n as u128),
                verb: "apply",
                sender: Sender { by: &by, at: 0 },
                at: Timestamp::from_unix_nanos(n as i128),
            };
            let stored = last.map(|revised| revised.program);
            last = Some(revised(&name, stored, &spec(keys), &author, None));
        }
        last.unwrap()
    }

    #[test]
    fn what_is_scaled_in_a_rollout_is_not_taken_back_with_it() {
        let a = json!({"command": "a", "numprocs": 2, "update": {"auto_revert": true}});
        let b = json!({"command": "b", "numprocs": 2, "update": {"auto_revert": true}});
        let c = json!({"command": "b", "numprocs": 5, "update": {"auto_revert": true}});
        let scaled = declared(&[a, b, c]);
        assert!(!scaled.rolls);
        let stable = scaled.program.rollout.unwrap().stable;
        assert_eq!((stable.revision, stable.spec.numprocs), (1, 5));
        assert_eq!(stable.spec.argv().unwrap(), ["a"]);
    }

    #[test]
    fn a_change_that_needs_new_children_is_rolled_out() {
        let (a, b, c) = (json!({"command": "a"}), json!({"command": "b"}), json!({"command": "c"}));
        let first = declared(std::slice::from_ref(&a));
        assert_eq!((first.change, first.rolls), (Change::Created, false));
        assert_eq!(first.program.by.unwrap().as_str(), "ann");
        assert_eq!(declared(&[a.clone(), a.clone()]).change, Change::Unchanged);
        let second = declared(&[a.clone(), b.clone()]);
        assert_eq!((second.rolls, second.changed), (true, vec!["command".to_owned()]));
        let rollout = second.program.rollout.unwrap();
        assert_eq!((rollout.stable.revision, rollout.promoted), (1, true));
        let third = declared(&[a.clone(), b.clone(), c]).program;
        assert_eq!(third.revision, 3);
        let rollout = third.rollout.unwrap();
        assert_eq!(rollout.stable.revision, 1, "what ran before both of them stays the stable one");
        assert_eq!(rollout.since, Timestamp::from_unix_nanos(2));
        let back = declared(&[a.clone(), b, a]);
        assert!(back.rolls && back.program.revision == 3);
    }

    #[test]
    fn a_change_that_children_live_through_is_not() {
        let (a, more) = (json!({"command": "a"}), json!({"command": "a", "numprocs": 3}));
        let scaled = declared(&[a.clone(), more]);
        assert_eq!((scaled.rolls, scaled.changed), (false, vec!["numprocs".to_owned()]));
        assert_eq!(scaled.program.rollout, None);
        let (b, b_more) = (json!({"command": "b"}), json!({"command": "b", "priority": 3}));
        let rolling = declared(&[a, b, b_more]);
        assert!(!rolling.rolls);
        let rollout = rolling.program.rollout.unwrap();
        assert_eq!(rollout.since, Timestamp::from_unix_nanos(1), "the one under way goes on");
    }

    #[test]
    fn canaries_wait_but_not_on_the_way_back() {
        let canary = json!({"canary": 1});
        let a = json!({"command": "a", "numprocs": 3, "update": canary});
        let b = json!({"command": "b", "numprocs": 3, "update": canary});
        let promoted = |specs: &[Value]| declared(specs).program.rollout.unwrap().promoted;
        assert!(!promoted(&[a.clone(), b.clone()]));
        assert!(promoted(&[a.clone(), b, a]));
    }
}
