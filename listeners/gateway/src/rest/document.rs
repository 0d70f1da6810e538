//! The `OpenAPI` document: pure, out of schemas.

use axum::http::Method;
use schemars::Schema;
use serde_json::{Map, Value, json};

/// Which route it is about.
pub(super) struct Route<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) summary: &'a str,
}

/// An operation of a path.
pub(super) fn operation(
    route: &Route<'_>,
    query: &Schema,
    body: Option<Schema>,
    answers: Vec<(&'static str, Schema)>,
) -> Value {
    let Route { method, path, summary } = route;
    let mut parameters: Vec<Value> = names(path).map(|name| in_path(path, name)).collect();
    parameters.extend(in_query(query.as_value()));
    let content: Map<String, Value> = answers
        .into_iter()
        .map(|(media, schema)| (media.to_owned(), json!({ "schema": schema })))
        .collect();
    let changes = **method != Method::GET;
    let mut codes = vec!["400", "401", "503"];
    codes.extend((names(path).next().is_some() || changes).then_some("404"));
    codes.extend((names(path).next().is_some() || changes).then_some("409"));
    if changes {
        codes.push("403");
    }
    if body.is_some() {
        codes.extend(["413", "415"]);
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
    for code in codes {
        responses
            .insert(code.to_owned(), json!({ "$ref": format!("#/components/responses/{code}") }));
    }
    let mut operation = json!({
        "operationId": id(method, path),
        "tags": [path.split('/').nth(1).unwrap_or_default()],
        "summary": summary,
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body {
        let content = json!({ "application/json": { "schema": body } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// The names in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// `get_instances_name_log`.
fn id(method: &Method, path: &str) -> String {
    let words = path.split(['/', '{', '}']).filter(|word| !word.is_empty());
    words.fold(method.as_str().to_lowercase(), |id, word| format!("{id}_{word}"))
}

fn in_path(path: &str, name: &str) -> Value {
    let schema = match path.split('/').nth(1) {
        Some("instances") => "InstanceId",
        Some("workers") => "WorkerName",
        _ => "ProgramName",
    };
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

fn in_query(query: &Value) -> Vec<Value> {
    let required = |name: &str| {
        query["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
    };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        without_null(&mut schema);
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({
            "name": name, "in": "query", "required": required(name), "schema": schema,
            "description": about.unwrap_or_default(),
        })
    };
    query["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

/// A word of a query that may be left out is never null.
fn without_null(schema: &mut Value) {
    let Some(keys) = schema.as_object_mut() else { return };
    keys.remove("default");
    if let Some(Value::Array(types)) = keys.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            keys.insert("type".to_owned(), one);
        }
    }
    let real = keys.get("anyOf").and_then(Value::as_array).and_then(|all| {
        all.iter().find(|one| one["type"] != "null").and_then(Value::as_object).cloned()
    });
    if let Some(real) = real {
        keys.remove("anyOf");
        keys.extend(real);
    }
}

/// All of it, as text.
pub(super) fn whole(
    paths: Map<String, Value>,
    schemas: &Map<String, Value>,
    refusal: &Schema,
) -> String {
    let paths: Map<String, Value> = paths
        .into_iter()
        .map(|(path, operations)| (format!("{}{path}", super::BELOW), operations))
        .collect();
    let refused = |about: &str| {
        let content = json!({ "application/json": { "schema": refusal } });
        json!({ "description": about, "content": content })
    };
    let door = |about: &str| {
        let content = json!({ "text/plain": { "schema": { "type": "string" } } });
        json!({ "description": about, "content": content })
    };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dsbus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A fleet of processes: what runs where, what is declared, and what is wanted of it.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "basic": [] }, { "cookie": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "dsbus" },
            },
            "responses": {
                "400": refused("What was sent is wrong; the problems name its fields."),
                "401": door("Nobody has said who he is."),
                "403": door("A viewer may not do that, or a page of another site asks."),
                "404": refused("There is no such thing."),
                "409": refused("It lives, is disabled, or was changed meanwhile."),
                "413": refused("The body is too long."),
                "415": refused("The body is not JSON."),
                "503": refused("No scheduler or worker answers, or the fleet is not known yet."),
            },
        },
    });
    dsbus_schema::generate::without_links(&mut document);
    format!("{document:#}\n")
}
