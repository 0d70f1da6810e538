//! What a run is declared as.

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Kind, Problem, ProgramSpec};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::args;
use crate::commands::create;
use crate::failure::Failure;

/// A program that runs once, unless it is said otherwise.
pub(super) fn defaults(mut keys: Map<String, Value>, detach: bool) -> Map<String, Value> {
    for (key, value) in args::RUN_DEFAULTS {
        let value = if key == "stdin" && detach { "false" } else { value };
        keys.entry(key).or_insert(value.into());
    }
    keys
}

/// Refuses what is no single run.
pub(super) fn one_run(spec: &ProgramSpec) -> Result<(), Failure> {
    let wrong = [
        (spec.numprocs != 1, "numprocs", "must be 1"),
        (spec.kind != Kind::Oneshot, "kind", "must be oneshot"),
        (spec.schedule.is_some(), "schedule", "is for programs that are declared"),
        (spec.system, "system", "is for programs that are declared"),
        (spec.eventlistener.is_some(), "eventlistener", "is for programs that are declared"),
        (!spec.autostart, "autostart", "must be true"),
    ];
    match wrong.into_iter().find(|(is, ..)| *is) {
        Some((_, key, why)) => {
            let problem = Problem::new(key, format!("{why}: dsbus run runs one process once"));
            Err(create::wrong(&[problem.hint("dsbus create makes other programs")]))
        }
        None => Ok(()),
    }
}

pub(super) fn made_up() -> Result<ProgramName, Failure> {
    // The end of it is random.
    let random = Uuid::now_v7().simple().to_string();
    let name = ProgramName::parse(&format!("run-{}", random.get(24..).unwrap_or_default()));
    name.map_err(|e| Failure::failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(keys: Value) -> Result<ProgramSpec, Failure> {
        let Value::Object(keys) = keys else { panic!("{keys}") };
        let program = create::declaration(defaults(keys, false), vec!["true".to_owned()]);
        create::check(&program)?;
        let spec = ProgramSpec::read(&program).map_err(|problems| create::wrong(&problems))?;
        one_run(&spec).map(|()| spec)
    }

    #[test]
    fn it_runs_once_unless_it_is_said_otherwise() {
        let plain = spec(json!({})).unwrap();
        assert!(plain.stdin && plain.kind == Kind::Oneshot && plain.max_fail_count == 1);
        assert_eq!(json!(plain.stopsignal), json!("INT"));
        let said = spec(json!({"stdin": "false", "max_fail_count": "3", "stopsignal": "TERM"}));
        let said = said.unwrap();
        assert!(!said.stdin && said.max_fail_count == 3);
        assert_eq!(json!(said.stopsignal), json!("TERM"));
        for (keys, what) in [
            (json!({"numprocs": "2"}), "--numprocs: must be 1"),
            (json!({"kind": "service"}), "--kind: must be oneshot"),
            (json!({"autostart": "false"}), "--autostart"),
            (json!({"stdin": "perhaps"}), "--stdin"),
        ] {
            let failure = spec(keys).unwrap_err();
            assert!(failure.message.contains(what), "{failure:?}");
        }
    }
}
