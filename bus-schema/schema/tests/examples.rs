//! Examples of the catalogue (`bus-schema/examples/`, recorded by `./run catalogue`): they are what
//! the types read and the schemas allow, and every TYPE of event has one, or a reason why not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::Verb;
use dsbus_schema::event::{Event, Kind};
use dsbus_schema::generate::{
    Exchange, Kept, UNRECORDED, call_messages, command_messages, event_path,
};
use dsbus_schema::subject;
use jsonschema::Validator;
use serde_json::{Value, json};

/// Most TYPEs without a recorded example: more are not looked for, but forgotten.
const UNRECORDED_MAX: usize = 8;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn json_of(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

fn schema(name: &str) -> Validator {
    let draft = json_of(&format!("schemas/{name}.json"));
    jsonschema::options().should_validate_formats(true).build(&draft).unwrap()
}

/// Asserts that a value is what a schema says.
fn check(validator: &Validator, value: &Value, what: &str) {
    let wrong: Vec<String> =
        validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("\n"));
}

fn files(folder: &str) -> Vec<String> {
    let all = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let mut names: Vec<String> = all
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn events_are_what_types_and_schema_say() {
    let validator = schema("event");
    for name in files("examples/events") {
        let path = format!("examples/events/{name}.json");
        let event: Event =
            serde_json::from_str(&read(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let value = json_of(&path);
        assert_eq!(serde_json::to_value(&event).unwrap(), value, "{path} has what types have not");
        check(&validator, &value, &path);
        let said = format!("{}.{}", event.data.kind(), event.data.type_name());
        assert_eq!(said, name, "{path}");
        assert_eq!(
            event.kind,
            format!("io.dsbus.{}.v1", said.to_lowercase()),
            "{path}: its attribute `type`"
        );
    }
    let mut wrong = json_of("examples/events/process.RUNNING.json");
    wrong["data"]["state"] = json!("FLYING");
    assert!(!validator.is_valid(&wrong), "the schema refuses nothing");
}

#[test]
fn every_type_is_recorded_or_says_why_not() {
    let recorded: BTreeSet<String> = files("examples/events").into_iter().collect();
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        for info in kind.types() {
            let name = format!("{}.{}", kind.name(), info.name);
            let excused = UNRECORDED.iter().any(|u| u.kind == kind && u.name == info.name);
            match (recorded.contains(&name), excused) {
                (false, false) => missing.push(name),
                (true, true) => panic!("{name} is recorded, and need not be in UNRECORDED"),
                (true, false) | (false, true) => {}
            }
        }
    }
    assert!(recorded.iter().any(|name| name.starts_with("user.")), "no event of a user");
    assert_eq!(missing, [""; 0], "./run catalogue records them, or UNRECORDED says why it cannot");
    assert!(UNRECORDED.len() <= UNRECORDED_MAX, "{} are too many", UNRECORDED.len());
    for unrecorded in UNRECORDED {
        let path = format!("golden/v1/{}.json", unrecorded.golden);
        let event: Event = serde_json::from_str(&read(&path)).unwrap();
        assert_eq!(Kind::of(&event.data), unrecorded.kind, "{path}");
        assert_eq!(event.data.type_name(), unrecorded.name, "{path}");
        assert!(!unrecorded.why.ends_with('.'), "{path}: it is a part of a sentence");
    }
}

#[test]
fn requests_and_answers_are_what_the_schemas_say() {
    for verb in Verb::ALL {
        let (request, answer) = command_messages(verb);
        let path = format!("examples/commands/{}.json", verb.name());
        let told: Exchange = serde_json::from_str(&read(&path)).unwrap();
        check(&schema(request), &told.request, &format!("{path}: request"));
        check(&schema(answer), &told.answer, &format!("{path}: answer"));
        let (_, at) = subject::parse_command(&told.subject).unwrap();
        assert_eq!(at, verb, "{path}");
    }
    for verb in WorkerVerb::ALL {
        let (request, answer) = call_messages(verb);
        let path = format!("examples/calls/{}.json", verb.name());
        let told: Exchange = serde_json::from_str(&read(&path)).unwrap();
        match request {
            Some(request) => check(&schema(request), &told.request, &format!("{path}: request")),
            None => assert_eq!(told.request, Value::Null, "{path}"),
        }
        check(&schema(answer), &told.answer, &format!("{path}: answer"));
    }
    let told: Exchange = serde_json::from_str(&read("examples/commands/refused.json")).unwrap();
    check(&schema("refused"), &told.answer, "a refusal");
    assert_eq!(told.headers["Nats-Service-Error-Code"], told.answer["code"].to_string());
    assert_eq!(told.headers["Nats-Service-Error"], told.answer["error"]);
}

#[test]
fn keys_are_what_the_schemas_say() {
    for (name, message) in [
        ("program", "program"),
        ("goal.program", "goal"),
        ("goal.instance", "goal"),
        ("goal.worker", "worker-goal"),
        ("placement", "placement"),
        ("touch.worker", "touch"),
        ("touch.scheduler", "scheduler-touch"),
        ("worker", "worker"),
        ("status.worker", "status"),
        ("status.fleet", "status"),
        ("alert.lease", "alert-lease"),
        ("alert.group", "alert-group"),
        ("alert.rate", "alert-rate"),
        ("alert.letter", "letter"),
        ("alert.dead", "dead-letter"),
        ("secret", "secret"),
    ] {
        let path = format!("examples/keys/{name}.json");
        let kept: Kept = serde_json::from_str(&read(&path)).unwrap();
        check(&schema(message), &kept.value, &path);
    }
}

/// The AsyncAPI document describes each kind of events as a message of its own, and its payload
/// schemas hold what is said.
#[test]
fn asyncapi_describes_what_is_said() {
    let document = json_of("asyncapi.json");
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut examples = 0;
    for (name, message) in messages.iter().filter(|(name, _)| *name != "empty") {
        // Pointers hold `/` and `~` only where names do, and ours do not.
        let payload = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "allOf": [{ "$ref": format!("#/components/messages/{name}/payload") }],
            "components": document["components"],
        });
        let validator = jsonschema::validator_for(&payload).unwrap();
        for example in message["examples"].as_array().into_iter().flatten() {
            check(&validator, &example["payload"], &format!("{name}: {}", example["name"]));
            examples += 1;
        }
    }
    assert!(examples > 50, "only {examples} examples");
    for kind in Kind::ALL {
        let name = format!("event.{}", kind.name());
        assert!(messages.contains_key(&name), "no message {name}");
        let other = Kind::ALL.into_iter().find(|other| *other != kind && !other.types().is_empty());
        let other = other.unwrap();
        let payload = json!({
            "allOf": [{ "$ref": format!("#/components/messages/{name}/payload") }],
            "components": document["components"],
        });
        let validator = jsonschema::validator_for(&payload).unwrap();
        let path = event_path(other, other.types()[1].name);
        assert!(!validator.is_valid(&json_of(&path)), "{name} takes {path}");
    }
}

/// The official schema of AsyncAPI 3, of the npm package that `./run test` fetches, pinned by its
/// hash.
#[test]
fn asyncapi_is_valid() {
    let Some(modules) = std::env::var_os("DSBUS_NODE_MODULES") else {
        let hint = "SKIPPED: DSBUS_NODE_MODULES is not set; ./run test fetches the schema\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), hint.as_bytes());
        return;
    };
    let path = Path::new(&modules).join("@asyncapi/specs/schemas/3.0.0-without-$id.json");
    let draft = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&draft).unwrap();
    let document = json_of("asyncapi.json");
    check(&validator, &document, "asyncapi.json");
    let mut wrong = document;
    wrong["channels"]["event.process"]["address"] = json!(7);
    assert!(!validator.is_valid(&wrong), "the schema refuses nothing");
}
