//! Reading what a gateway tells monitors, by the libraries of Prometheus itself.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::root;
use crate::served::Gateway;

type Sample = (String, BTreeMap<String, String>, f64);

/// The form that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The text format.
    Text,
    /// `OpenMetrics`.
    Open,
}

/// An answer that was found well-formed.
#[derive(Debug, Deserialize)]
pub(super) struct Scrape {
    /// As it came.
    #[serde(skip)]
    pub(super) text: String,
    /// Types of families, whose names have no `_total`.
    pub(super) families: BTreeMap<String, String>,
    /// All samples.
    pub(super) samples: Vec<Sample>,
}

impl Scrape {
    pub(super) fn get(gateway: &Gateway, form: Form) -> Scrape {
        let (accept, content_type, name) = match form {
            Form::Text => ("text/plain", "text/plain; version=0.0.4; charset=utf-8", "text"),
            Form::Open => (
                "application/openmetrics-text; version=1.0.0",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "open",
            ),
        };
        let answer = gateway.get("/metrics", &[("accept", accept)]);
        assert_eq!(answer.code, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some(content_type));
        let read: Scrape = serde_json::from_str(&check(name, &answer.body)).unwrap();
        Scrape { text: answer.body, ..read }
    }

    /// Samples of this name.
    pub(super) fn all(&self, name: &str) -> Vec<(&BTreeMap<String, String>, f64)> {
        let named = self.samples.iter().filter(|(of, _, _)| of == name);
        named.map(|(_, labels, value)| (labels, *value)).collect()
    }

    /// All of this name added up.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().map(|(_, value)| value).sum()
    }

    /// All of this name added up, where they are whole numbers.
    pub(super) fn whole(&self, name: &str) -> i64 {
        format!("{:.0}", self.sum(name)).parse().unwrap()
    }

    /// The one sample of this name with these labels.
    pub(super) fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |of: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| of.get(*key).is_some_and(|is| is == value))
        };
        let found: Vec<_> = self.all(name).into_iter().filter(|(of, _)| has(of)).collect();
        assert!(found.len() < 2, "{name}: {found:?}");
        found.first().map(|(_, value)| *value)
    }
}

/// Lets `check.py` read something, which must be well-formed; what it says.
pub(super) fn check(kind: &str, input: &str) -> String {
    let fetched = root(".tools/python");
    let given = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let all = std::env::split_paths(&given).chain([fetched]);
    let mut command = Command::new("python3");
    command.arg(root("tests/gateway/metrics/check.py")).arg(kind);
    command.env("PYTHONPATH", std::env::join_paths(all).unwrap());
    given_to(command, input)
}

/// Lets promtool judge something, which must please it.
pub(super) fn promtool(words: &[&str], input: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([root(".tools")]);
    let Some(promtool) = places.map(|at| at.join("promtool")).find(|at| at.is_file()) else {
        panic!("promtool is missing: ./run setup, or apt-get install prometheus");
    };
    let mut command = Command::new(promtool);
    command.args(words);
    given_to(command, input);
}

/// Runs a command with this on its standard input; it must succeed. What it says.
fn given_to(mut command: Command, input: &str) -> String {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let shown = input.clone();
    // One that ends without reading all of it says why.
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}\n{shown}");
    String::from_utf8(output.stdout).unwrap()
}
