//! `compose/compose.yaml`, as it is read by whoever starts containers.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// How deep what is merged in has merges of its own, at most.
const MERGES_MAX: usize = 4;

/// The directory of the file.
pub(super) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../compose").canonicalize().unwrap()
}

/// The file, with its merges done, and variables that have a default replaced by that.
pub(super) fn read() -> Value {
    let text = fs::read_to_string(directory().join("compose.yaml")).unwrap();
    let mut yaml: serde_norway::Value = serde_norway::from_str(&interpolated(&text)).unwrap();
    // Each pass merges one level: what is merged in may have merges of its own.
    for _ in 0..MERGES_MAX {
        yaml.apply_merge().unwrap();
    }
    serde_json::to_value(yaml).unwrap()
}

/// Replaces `${NAME:-default}`, the only kind that the file has.
fn interpolated(text: &str) -> String {
    let mut parts = text.split("${");
    let mut all = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        let (_, default) = variable.split_once(":-").unwrap();
        all += default;
        all += rest;
    }
    all
}

/// What others must have done before a service is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Started,
    Healthy,
    Completed,
}

/// A service that is started without a profile.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: String,
    /// Source and target.
    pub(super) mounts: Vec<(String, String)>,
    pub(super) needs: Vec<(String, Need)>,
    pub(super) check: Vec<String>,
}

pub(super) fn services(file: &Value) -> Vec<Service> {
    let all = file["services"].as_object().unwrap();
    all.iter().filter(|(_, of)| of["profiles"].is_null()).map(|(n, of)| service(n, of)).collect()
}

fn texts(list: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().unwrap().to_owned();
    list.as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default()
}

fn service(name: &str, of: &Value) -> Service {
    let environment = of["environment"].as_object().cloned().unwrap_or_default();
    let needs = of["depends_on"].as_object().cloned().unwrap_or_default();
    let need = |of: &Value| match of["condition"].as_str().unwrap() {
        "service_started" => Need::Started,
        "service_healthy" => Need::Healthy,
        "service_completed_successfully" => Need::Completed,
        other => panic!("{name}: the condition {other}"),
    };
    let mount = |text: String| {
        let mut parts = text.split(':');
        (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
    };
    let mut check = texts(&of["healthcheck"]["test"]);
    if !check.is_empty() {
        assert_eq!(check.remove(0), "CMD", "{name}: there is no shell in these images");
    }
    Service {
        name: name.to_owned(),
        image: of["image"].as_str().unwrap().to_owned(),
        command: texts(&of["command"]),
        environment: environment
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        directory: of["working_dir"].as_str().unwrap().to_owned(),
        mounts: texts(&of["volumes"]).into_iter().map(mount).collect(),
        needs: needs.iter().map(|(name, of)| (name.clone(), need(of))).collect(),
        check,
    }
}
