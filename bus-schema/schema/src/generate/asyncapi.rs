//! The AsyncAPI 3 document.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::channels::{Channel, Usage, channels, event_name};
use super::messages::MESSAGES;
use super::{Examples, bus, fields};
use crate::event::Kind;
use crate::version;

/// The whole document. Operations are told from the fleet's side: it receives commands and sends
/// events.
pub(super) fn document(examples: &Examples) -> Value {
    let channels = channels().unwrap_or_default();
    let mut said = Map::new();
    let mut operations = Map::new();
    for channel in &channels {
        said.insert(channel.name.clone(), channel_object(channel));
        if let Usage::Answers { answer, .. } = channel.usage {
            said.insert(reply_name(&channel.name), reply_object(answer));
        }
        operations.insert(channel.name.clone(), operation(channel));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "dsbus",
            "version": format!("{}.0.0", version::MAJOR),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": said,
        "operations": operations,
        "components": components(examples),
    })
}

const DESCRIPTION: &str = "\
What is said on the bus of a dsbus fleet. Bodies are JSON; unknown fields are ignored, and a message \
that names another major version is refused. Buckets and streams are shown with the names of the \
fleet `default`; those of another fleet carry its name (`dsbus_<fleet>_goals`, `DSBUS_EVENTS_<fleet>`). \
What a scheduler writes into a bucket has the header `Dsbus-Scheduler`, with its id. \
An answer that is a refusal has the headers `Nats-Service-Error-Code` and `Nats-Service-Error`.";

fn reply_name(channel: &str) -> String {
    format!("{channel}.reply")
}

fn message_reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/messages/{name}") })
}

fn channel_object(channel: &Channel) -> Value {
    let mut messages = Map::new();
    match channel.usage {
        Usage::Answers { request: Some(name), .. } | Usage::Sends(name) => {
            messages.insert(name.to_owned(), message_reference(name));
        }
        Usage::Answers { request: None, .. } => {
            messages.insert("empty".to_owned(), message_reference("empty"));
        }
        Usage::Tells(kind) => {
            messages.insert(event_name(kind), message_reference(&event_name(kind)));
        }
    }
    let mut object = json!({
        "address": channel.address,
        "description": channel.about,
        "messages": messages,
    });
    let mut parameters: Map<String, Value> =
        parameter_names(&channel.address).map(|n| (n.to_owned(), about_parameter(n))).collect();
    if let (Usage::Tells(kind), Some(name)) = (&channel.usage, parameters.get_mut("type"))
        && !kind.types().is_empty()
    {
        name["enum"] = kind.types().iter().map(|info| info.name).collect();
    }
    if !parameters.is_empty() {
        object["parameters"] = Value::Object(parameters);
    }
    if let Some(kept) = &channel.kept {
        object["x-jetstream"] = kept.clone();
    }
    object
}

fn reply_object(answer: &str) -> Value {
    json!({
        "address": null,
        "description": "The reply subject of the request.",
        "messages": {
            answer: message_reference(answer),
            "refused": message_reference("refused"),
        },
    })
}

fn operation(channel: &Channel) -> Value {
    let at = |name: &str| json!({ "$ref": format!("#/channels/{name}") });
    let over = |channel: &str, message: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{message}") });
    match channel.usage {
        Usage::Sends(message) => json!({
            "action": "send",
            "channel": at(&channel.name),
            "messages": [over(&channel.name, message)],
        }),
        Usage::Tells(kind) => json!({
            "action": "send",
            "channel": at(&channel.name),
            "messages": [over(&channel.name, &event_name(kind))],
        }),
        Usage::Answers { request, answer } => {
            let reply = reply_name(&channel.name);
            json!({
                "action": "receive",
                "channel": at(&channel.name),
                "messages": [over(&channel.name, request.unwrap_or("empty"))],
                "reply": {
                    "channel": at(&reply),
                    "messages": [over(&reply, answer), over(&reply, "refused")],
                },
            })
        }
    }
}

fn components(examples: &Examples) -> Value {
    // AsyncAPI's own schema language is a superset of draft 07.
    let settings = SchemaSettings::draft07().with(|settings| {
        "/components/schemas".clone_into(settings.definitions_path.to_mut());
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut messages = Map::new();
    for message in MESSAGES {
        let payload = (message.part)(&mut generator);
        let mut object = json!({ "payload": payload });
        let told = bus::of_message(examples, message.name);
        if !told.is_empty() {
            object["examples"] = told.into();
        }
        // Of events each kind is a message of its own.
        if message.name != "event" {
            messages.insert(message.name.to_owned(), object);
        }
    }
    messages.insert("empty".to_owned(), json!({ "summary": "No body." }));
    let root = json!({ "components": { "schemas": generator.take_definitions(true) } });
    for kind in Kind::ALL {
        messages.insert(event_name(kind), event(&root, kind, examples));
    }
    json!({ "messages": messages, "schemas": root["components"]["schemas"] })
}

/// The message of a kind of events: an event with that kind of fact.
fn event(root: &Value, kind: Kind, examples: &Examples) -> Value {
    let schemas = &root["components"]["schemas"];
    let mut payload = schemas["Event"].clone();
    let fact = fields::fact(root, &schemas["Fact"], kind.name()).cloned().unwrap_or_default();
    payload["properties"]["data"] = Value::Object(fact);
    let told: Vec<Value> = examples
        .events(kind)
        .into_iter()
        .map(|event| json!({ "name": event.data.type_name(), "payload": event }))
        .collect();
    let mut message = json!({
        "summary": kind.about(),
        "contentType": "application/cloudevents+json",
        "payload": payload,
    });
    if !told.is_empty() {
        message["examples"] = told.into();
    }
    message
}

fn parameter_names(address: &str) -> impl Iterator<Item = &str> {
    address.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

fn about_parameter(name: &str) -> Value {
    let about = match name {
        "fleet" => "Name of the fleet; `default` unless set.",
        "user" => "Who sends it; `anonymous` on a bus without authentication.",
        "worker" => "Name of a worker.",
        "program" => "Name of a program, or of a group or listener.",
        "index" => "Which copy, from 0.",
        "source" => {
            "Who tells it: a worker; `_fleet` for schedulers, `_user` for people, `_listener` for listeners."
        }
        "type" => "The new state, or what was done, in capitals; of users whatever they say.",
        "group" => "Name of a group.",
        "seconds" => "The lease, in whole seconds.",
        _ => "Made up by its owner.",
    };
    json!({ "description": about })
}
