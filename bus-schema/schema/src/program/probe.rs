//! Whether a child that lives is well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::command::{self, Command};
use crate::lenient::{self, Span};

/// A question that is asked of a child again and again. Exactly one of `exec`, `http` and `tcp` is
/// set. While the worker has no agent, `http` and `tcp` are not asked, and nothing is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Probe {
    /// A command that ends with code 0 when all is well; run as the child's user, in its
    /// directory and environment.
    #[serde(deserialize_with = "command::read_some", skip_serializing_if = "Option::is_none")]
    pub exec: Option<Command>,
    /// An `http://` address that answers a GET with a status of 200 to 399 when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `host:port` that accepts a connection when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// How long after the start (of the child, for readiness; of RUNNING, for liveness) it is first
    /// asked.
    pub delay: Span,
    /// From one answer to the next question.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// How many bad answers in a row make the child unwell. Readiness has no such limit: it is
    /// asked until `start_timeout`.
    #[serde(deserialize_with = "lenient::number")]
    pub failures: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            exec: None,
            http: None,
            tcp: None,
            delay: Span::from_secs(0),
            interval: Span::from_secs(10),
            timeout: Span::from_secs(1),
            failures: 3,
        }
    }
}

impl Probe {
    pub(super) fn problem(&self, key: &str) -> Option<Problem> {
        let asked = [self.exec.is_some(), self.http.is_some(), self.tcp.is_some()];
        if asked.iter().filter(|set| **set).count() != 1 {
            return Some(Problem::new(key, "must have exactly one of exec, http and tcp"));
        }
        if let Some(Err(why)) = self.exec.as_ref().map(|words| words.argv(false)) {
            return Some(Problem::new(key, format!("exec {why}")));
        }
        if let Some(url) = &self.http
            && url.strip_prefix("http://").is_none_or(str::is_empty)
        {
            let problem = Problem::new(key, format!("http must begin with http://, found {url:?}"));
            return Some(problem.hint("ask an https service by exec, with curl"));
        }
        if self
            .http
            .as_deref()
            .and_then(|url| url.split('/').nth(2))
            .is_some_and(|a| a.contains('@'))
        {
            let problem = Problem::new(key, "http cannot carry a user and a password");
            return Some(problem.hint("ask by exec, with curl"));
        }
        if let Some(address) = &self.tcp
            && !address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && (port.parse::<u16>().is_ok() || port.contains("%("))
            })
        {
            return Some(Problem::new(key, format!("tcp must be host:port, found {address:?}")));
        }
        if self.interval.0.is_zero() || self.timeout.0.is_zero() || self.failures == 0 {
            return Some(Problem::new(key, "interval, timeout and failures must be more than 0"));
        }
        None
    }
}
