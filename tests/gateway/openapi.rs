//! Whether answers are what the document at `/api/v1/openapi.json` says.

use dsbus_harness::wait_until;
use serde_json::{Value, json};

use crate::fleet::DEADLINE;
use crate::served::{Answer, Gateway, SILENT};

const JSON: (&str, &str) = ("content-type", "application/json");

/// One that is refused at the door may find its connection closed: nobody has read its body.
const ONCE: (&str, &str) = ("connection", "close");

/// A gateway, every answer of which is held against its document.
pub(crate) struct Api<'a> {
    gateway: &'a Gateway,
    document: Value,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Api<'a> {
    pub(crate) fn new(gateway: &'a Gateway) -> Api<'a> {
        Api::with(gateway, &[])
    }

    /// Whatever it asks has these headers, too.
    pub(crate) fn with(gateway: &'a Gateway, headers: &[(&'a str, &'a str)]) -> Api<'a> {
        let answer = gateway.get("/api/v1/openapi.json", headers);
        let document = serde_json::from_str(&answer.body).unwrap();
        Api { gateway, document, headers: [headers, &[JSON, ONCE]].concat() }
    }

    /// What a route that is there answers.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.gateway.send(method, &format!("/api/v1{path}"), &self.headers, body);
        self.check(method, path, &answer);
        answer
    }

    /// The same, again as long as nobody answers in time: for what changes nothing.
    fn ask_again(&self, method: &str, path: &str, body: &str) -> Answer {
        wait_until(&format!("an answer to {method} {path}"), DEADLINE, || {
            let answer = self.ask(method, path, body);
            if answer.code == SILENT { Err(answer.body) } else { Ok(answer) }
        })
    }

    /// JSON by GET, of which there is some.
    pub(crate) fn get(&self, path: &str) -> Value {
        good(path, &self.ask_again("GET", path, ""))
    }

    /// JSON by POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        good(path, &self.ask("POST", path, &body.to_string()))
    }

    /// A refusal with this code; what it says, and the first key that it names.
    pub(crate) fn refused(&self, code: u16, method: &str, path: &str, body: &str) -> [String; 2] {
        let answer = self.ask_again(method, path, body);
        assert_eq!(answer.code, code, "{method} {path}: {}", answer.body);
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(said["code"], code);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [text(&said["error"]), text(&said["problems"][0]["key"])]
    }

    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let path = format!("/api/v1{}", path.split('?').next().unwrap());
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &&String| {
            let (one, other) = (template.split('/'), path.split('/'));
            one.clone().count() == other.clone().count()
                && one.zip(other).all(|(one, other)| one == other || one.starts_with('{'))
        };
        // The one with fewer names in it is meant.
        let template =
            paths.keys().filter(fits).min_by_key(|template| template.matches('{').count());
        let template = template.unwrap_or_else(|| panic!("the document lacks {path}"));
        let operation = &paths[template][method.to_lowercase()];
        let mut response = &operation["responses"][answer.code.to_string()];
        if let Some(there) = response["$ref"].as_str() {
            response = self.document.pointer(&there[1..]).unwrap();
        }
        let media = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
        let schema = &response["content"][media]["schema"];
        assert!(
            !schema.is_null(),
            "{method} {template} {}: no {media} in {operation:#}",
            answer.code
        );
        if media == "application/json" {
            let mut schema = schema.clone();
            schema["components"] = self.document["components"].clone();
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let wrong: Vec<String> = validator
                .iter_errors(&body)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert_eq!(wrong, [""; 0], "{method} {template} {}: {body:#}", answer.code);
        }
    }

    /// Every operation: its method and its path.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, operations): (&String, &Value)| -> Vec<(String, String)> {
            let methods = operations.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect()
        };
        paths.iter().flat_map(of).collect()
    }
}

fn good(path: &str, answer: &Answer) -> Value {
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_document_is_one() {
    let mut fleet = crate::fleet::Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let document = gateway.json("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    // Each reference leads somewhere, each schema is one, and no operation has the name of another.
    let mut references = Vec::new();
    find(&document, &mut references);
    for there in &references {
        assert!(document.pointer(&there[1..]).is_some(), "{there}");
    }
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        let mut schema = schema.clone();
        if schema.is_object() {
            schema["components"] = document["components"].clone();
        }
        jsonschema::validator_for(&schema).unwrap();
    }
    let operations = document["paths"].as_object().unwrap().values();
    let ids = operations.flat_map(|path| path.as_object().unwrap().values());
    let mut ids: Vec<&str> = ids.map(|one| one["operationId"].as_str().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(!document.to_string().contains("[`"), "a link that leads nowhere");
    assert_eq!(
        document["paths"]["/api/v1/me"]["get"]["responses"]["200"]["content"],
        json!({
            "application/json": { "schema": { "$ref": "#/components/schemas/Me" } }
        })
    );
}

fn find(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| find(item, references)),
        Value::Object(map) => {
            if let Some(there) = map.get("$ref").and_then(Value::as_str) {
                references.push(there.to_owned());
            }
            map.values().for_each(|value| find(value, references));
        }
        _ => {}
    }
}
