//! The AsyncAPI 3 document.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::channels::{Channel, Usage, channels};
use super::messages::MESSAGES;
use crate::version;

/// The whole document. Operations are told from the fleet's side: it receives commands and sends
/// events.
pub(super) fn document() -> Value {
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
        "components": components(),
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
    }
    let mut object = json!({
        "address": channel.address,
        "description": channel.about,
        "messages": messages,
    });
    let parameters: Map<String, Value> =
        parameter_names(&channel.address).map(|n| (n.to_owned(), about_parameter(n))).collect();
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

fn components() -> Value {
    // AsyncAPI's own schema language is a superset of draft 07.
    let settings = SchemaSettings::draft07().with(|settings| {
        "/components/schemas".clone_into(settings.definitions_path.to_mut());
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut messages = Map::new();
    for message in MESSAGES {
        let payload = (message.part)(&mut generator);
        messages.insert(message.name.to_owned(), json!({ "payload": payload }));
    }
    messages.insert("empty".to_owned(), json!({ "summary": "No body." }));
    json!({ "messages": messages, "schemas": generator.take_definitions(true) })
}

fn parameter_names(address: &str) -> impl Iterator<Item = &str> {
    address.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

fn about_parameter(name: &str) -> Value {
    let about = match name {
        "fleet" => "Name of the fleet; `default` unless set.",
        "user" => "Who sends it; `anonymous` on a bus without authentication.",
        "worker" => "Name of a worker.",
        "program" => "Name of a program; `_` for an event that is about none.",
        "index" => "Which copy, from 0; the user, for an event from one; else `_`.",
        "source" => {
            "Who tells it: a worker; `_fleet` for schedulers, `_user` for people, `_listener` for listeners."
        }
        "kind" => {
            "What it is about: `process`, `placement`, `worker`, `notice`, `output`, `rollout`, `program`, `group`, `command`, `scheduler`, `tick`, `user` or `listener`."
        }
        "type" => "The new state, or what was done, in capitals.",
        "group" => "Name of a group.",
        "seconds" => "The lease, in whole seconds.",
        _ => "Made up by its owner.",
    };
    json!({ "description": about })
}
