//! The page of events, for people.

use std::fmt::Write;

use schemars::schema_for;
use serde_json::{Value, json};

use super::examples::{Examples, UNRECORDED, Unrecorded, event_path, source};
use super::{fields, wrap};
use crate::event::{Event, Kind, Teller, USER_TEXT_MAX};
use crate::ids::FleetName;
use crate::storage;
use crate::{subject, version};

const HEAD: &str = "\
# Events

Made from the types, and from what a real fleet said, by `./run schemas`; `./run catalogue` records the examples anew.

An event is one fact, told once by whoever saw it. It is a [CloudEvent 1.0](https://cloudevents.io) in structured JSON, stored in the stream `DSBUS_EVENTS` of the bus.
`dsbus events` shows them: `dsbus events --type FATAL,worker.LOST --since 2h -f`. [Listeners](../listeners/README.md) act on them, in any language; [the bus](bus.md) has everything else that is said.
";

const ORDER: &str = "\
The events of an instance (kind `process`) are ordered by `epoch`, and within it by `seq`, without gaps.
A durable consumer sees each event at least once; the same event has the same `id`, also when it was published twice.
The order of the stream is the order in which events were stored. One that waited on a worker without a bus is stored late: `time` is when it happened.
";

const EXTENSION: &str = "\
`dsbus events -o json` adds `sequence`: the place in the stream, by CloudEvents' extension attribute of that name. `dsbus events --from-seq N` goes on from there.
";

/// The document.
pub(super) fn document(examples: &Examples) -> String {
    let schema = schema_for!(Event).to_value();
    let mut text = HEAD.to_owned();
    // Writing to text cannot fail.
    let _ = write!(text, "\n## What every event has\n\n{}", fields::rows(&schema, &schema, &[]));
    let _ = write!(text, "\n{ORDER}\n{EXTENSION}");
    let _ = write!(
        text,
        "\nThe last part of `type` is the major version, v{}: within it fields are only added, and unknown ones are to be ignored.\n",
        version::MAJOR
    );
    subjects(&mut text);
    overview(&mut text);
    for kind in Kind::ALL {
        section(&mut text, examples, &schema, kind);
    }
    text
}

fn subjects(text: &mut String) {
    let tokens = ["<fleet>", "<source>", "<kind>", "<program>", "<index>", "<TYPE>"];
    let [fleet, source, kind, program, index, name] = tokens;
    let address = subject::event_tokens(fleet, source, kind, program, index, name);
    let _ = write!(
        text,
        "\n## Where they are\n\nSubject `{address}`, so that one filter with wildcards is one choice, and one permission.\n\n\
         | token | is |\n| --- | --- |\n"
    );
    for (token, about) in tokens.iter().zip([
        "Name of the fleet; `default` unless set.",
        "Who tells it: the name of a worker; `_fleet` for schedulers, `_user` for people, `_listener` for listeners.",
        "What it is about, as listed below.",
        "The program it is about, or the group or listener, which have their names from the same namespace; `_` for none.",
        "The index of the instance; where an event comes from a user, the name of that user; else `_`.",
        "What happened, in capitals; what users say has TYPEs of their own.",
    ]) {
        let _ = writeln!(text, "| `{token}` | {about} |");
    }
    let days = storage::EVENTS_AGE_MAX.as_secs() / 86_400;
    let gib = storage::EVENTS_BYTES_MAX >> 30;
    let minutes = storage::EVENTS_DUPLICATE_WINDOW.as_secs() / 60;
    let _ = writeln!(
        text,
        "\nThe stream keeps {days} days and {gib} GiB of them, unless it is configured otherwise. Within {minutes} minutes it drops an event whose id it has (`Nats-Msg-Id`)."
    );
}

fn overview(text: &mut String) {
    text.push_str("\n## All of them\n\n| kind | tells | TYPEs |\n| --- | --- | --- |\n");
    for kind in Kind::ALL {
        let types: Vec<&str> = kind.types().iter().map(|info| info.name).collect();
        let types = if types.is_empty() { "of your own".to_owned() } else { types.join(", ") };
        let name = kind.name();
        let _ = writeln!(text, "| [{name}](#{name}) | {} | {types} |", kind.about());
    }
}

fn section(text: &mut String, examples: &Examples, schema: &Value, kind: Kind) {
    let name = kind.name();
    let told: Vec<&str> = kind.told_by().iter().map(|teller| by(*teller)).collect();
    let _ = write!(text, "\n## {name}\n\n{}\nTold by {}.", kind.about(), told.join(" and by "));
    if kind == Kind::User {
        let _ = write!(
            text,
            " `dsbus emit TYPE TEXT` does it, and so may any NATS client that is allowed to publish there. The text may have {} KiB.",
            USER_TEXT_MAX / 1024
        );
    }
    text.push_str("\n\n");
    if !kind.types().is_empty() {
        text.push_str("| TYPE | when |\n| --- | --- |\n");
        for info in kind.types() {
            let _ = writeln!(text, "| `{}` | {} |", info.name, info.when);
        }
        text.push('\n');
    }
    if let Some(fact) = fields::fact(schema, &json!({ "$ref": "#/$defs/Fact" }), name) {
        let own = fact.get("$ref").map_or(Value::Null, |path| json!({ "$ref": path }));
        text.push_str("Its `data`, beside `kind`:\n\n");
        text.push_str(&fields::rows(schema, &own, &["kind"]));
    }
    let told = examples.events(kind);
    if !told.is_empty() {
        text.push('\n');
    }
    for event in &told {
        example(text, kind, event);
    }
    for unrecorded in UNRECORDED.iter().filter(|unrecorded| unrecorded.kind == kind) {
        instead(text, examples, unrecorded);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn by(teller: Teller) -> &'static str {
    match teller {
        Teller::Worker => "the worker where it happens",
        Teller::Fleet => "schedulers (`_fleet`)",
        Teller::User => "whoever wants to (`_user`)",
        Teller::Listener => "the listener itself (`_listener`)",
    }
}

fn example(text: &mut String, kind: Kind, event: &Event) {
    let name = event.data.type_name();
    let at = subject::event(&FleetName::default(), &source(event), &event.data);
    let path = event_path(kind, name);
    let _ = write!(
        text,
        "[{}.{name}](../bus-schema/{path}), on `{at}`:\n\n```json\n{}\n```\n\n",
        kind.name(),
        wrap::filled(&event.data)
    );
}

fn instead(text: &mut String, examples: &Examples, unrecorded: &Unrecorded) {
    let Unrecorded { kind, name, why, golden } = unrecorded;
    let _ = write!(text, "{}.{name} is not recorded from a fleet: {why}.", kind.name());
    if let Some(event) = examples.golden(unrecorded) {
        let _ = write!(
            text,
            " Its [golden message](../bus-schema/golden/v1/{golden}.json) says:\n\n```json\n{}\n```",
            wrap::filled(&event.data)
        );
    }
    text.push_str("\n\n");
}
