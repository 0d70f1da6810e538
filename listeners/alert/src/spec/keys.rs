//! The keys of targets, as they stand in the file.

use std::collections::BTreeMap;

use dsbus_schema::alert::TargetName;
use dsbus_schema::lenient::{self, Span};
use dsbus_schema::program::{Command, Problem};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::making::Making;
use super::read::Around;
use super::secret::{Hidden, Secret};
use super::target::{Body, CommandTarget, MailTarget, Target, TargetKind, Tls, WebhookTarget};

/// How long a letter is tried unless its target says it.
const RETRY_FOR: Span = Span::from_secs(6 * 3600);

/// The keys of a webhook, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WebhookKeys {
    url: Option<String>,
    url_file: Option<String>,
    url_env: Option<String>,
    method: String,
    #[serde(deserialize_with = "lenient::environment")]
    headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient::environment")]
    header_files: BTreeMap<String, String>,
    token_file: Option<String>,
    token_env: Option<String>,
    username: Option<String>,
    password_file: Option<String>,
    password_env: Option<String>,
    ca_file: Option<String>,
    body: Option<String>,
    content_type: Option<String>,
    json: Option<Value>,
    timeout: Span,
    retry_for: Span,
}

impl Default for WebhookKeys {
    fn default() -> WebhookKeys {
        WebhookKeys {
            url: None,
            url_file: None,
            url_env: None,
            method: "POST".to_owned(),
            headers: BTreeMap::new(),
            header_files: BTreeMap::new(),
            token_file: None,
            token_env: None,
            username: None,
            password_file: None,
            password_env: None,
            ca_file: None,
            body: None,
            content_type: None,
            json: None,
            timeout: Span::from_secs(10),
            retry_for: RETRY_FOR,
        }
    }
}

/// The keys of a mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MailKeys {
    #[serde(deserialize_with = "lenient::list")]
    to: Vec<String>,
    from: Option<String>,
    host: String,
    #[serde(deserialize_with = "lenient::some_number")]
    port: Option<u16>,
    tls: Tls,
    username: Option<String>,
    password_file: Option<String>,
    password_env: Option<String>,
    ca_file: Option<String>,
    subject: Option<String>,
    text: Option<String>,
    timeout: Span,
    retry_for: Span,
}

impl Default for MailKeys {
    fn default() -> MailKeys {
        MailKeys {
            to: Vec::new(),
            from: None,
            host: "localhost".to_owned(),
            port: None,
            tls: Tls::Starttls,
            username: None,
            password_file: None,
            password_env: None,
            ca_file: None,
            subject: None,
            text: None,
            timeout: Span::from_secs(30),
            retry_for: RETRY_FOR,
        }
    }
}

/// The keys of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CommandKeys {
    #[serde(deserialize_with = "words")]
    command: Vec<String>,
    timeout: Span,
    retry_for: Span,
}

impl Default for CommandKeys {
    fn default() -> CommandKeys {
        CommandKeys { command: Vec::new(), timeout: Span::from_secs(30), retry_for: RETRY_FOR }
    }
}

/// A command line, split like a shell would, or a list of words.
fn words<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let command = match Value::deserialize(d)? {
        Value::String(line) => Command::Line(line),
        other => serde_json::from_value(other).map(Command::Words).map_err(|_| {
            D::Error::custom("expected a command line, or a list of its words, each of them text")
        })?,
    };
    command.argv(false).map_err(D::Error::custom)
}

/// The keys of a target of some type.
pub(crate) enum Keys {
    Webhook(Box<WebhookKeys>),
    Mail(Box<MailKeys>),
    Command(CommandKeys),
}

impl Keys {
    /// The target, or everything that is wrong with it beyond single keys.
    pub(crate) fn target(
        self,
        name: TargetName,
        around: &Around<'_>,
    ) -> Result<Target, Vec<Problem>> {
        let mut making = Making { around, found: Vec::new() };
        let (timeout, retry_for) = match &self {
            Keys::Webhook(keys) => (keys.timeout, keys.retry_for),
            Keys::Mail(keys) => (keys.timeout, keys.retry_for),
            Keys::Command(keys) => (keys.timeout, keys.retry_for),
        };
        making.times(timeout, retry_for);
        let kind = match self {
            Keys::Webhook(keys) => keys.make(&mut making).map(TargetKind::Webhook),
            Keys::Mail(keys) => Some(TargetKind::Mail(keys.make(&mut making))),
            Keys::Command(keys) if keys.command.is_empty() => {
                making.wrong("command", "is missing: say what to run", "");
                None
            }
            Keys::Command(keys) => Some(TargetKind::Command(CommandTarget { words: keys.command })),
        };
        match kind {
            Some(kind) if making.found.is_empty() => {
                Ok(Target { name, timeout: timeout.0, retry_for: retry_for.0, kind })
            }
            Some(_) | None => Err(making.found),
        }
    }
}

impl WebhookKeys {
    fn make(self, making: &mut Making<'_>) -> Option<WebhookTarget> {
        let url = self.url(making);
        let put = match self.method.to_ascii_uppercase().as_str() {
            "POST" => false,
            "PUT" => true,
            _ => {
                making.wrong(
                    "method",
                    format!("expected POST or PUT; found {:?}", self.method),
                    "",
                );
                false
            }
        };
        let mut headers = BTreeMap::new();
        for (name, text) in &self.headers {
            if !crate::send::is_header(name, text) {
                making.wrong("headers", format!("{name:?} cannot be a header with this value"), "");
            }
            if name.eq_ignore_ascii_case("authorization") {
                let hint = "use token_file, or header_files = { Authorization = \"FILE\" }";
                making.wrong("headers", "Authorization is a secret", hint);
            }
            headers.insert(name.clone(), Secret::Known(Hidden::new(text.clone())));
        }
        for (name, file) in &self.header_files {
            if !crate::send::is_header(name, "") {
                making.wrong("header_files", format!("{name:?} cannot be a header"), "");
            }
            if let Some(secret) = making.secret_file("header_files", file) {
                headers.insert(name.clone(), secret);
            }
        }
        let token = making.secret("token", self.token_file.as_deref(), self.token_env.as_deref());
        let (file, variable) = (self.password_file.as_deref(), self.password_env.as_deref());
        let basic = making.login(self.username.clone(), file, variable);
        if token.is_some() && basic.is_some() {
            making.wrong("username", "stands beside a token", "keep one of the two");
        }
        let ca_file = making.ca(self.ca_file.as_deref());
        let body = self.body(making);
        Some(WebhookTarget { url: url?, put, headers, token, basic, ca_file, body })
    }

    fn url(&self, making: &mut Making<'_>) -> Option<Secret> {
        let (key, secret) = match (&self.url, &self.url_file, &self.url_env) {
            (Some(url), None, None) => ("url", Some(Secret::Known(Hidden::new(url.clone())))),
            (None, None, None) => {
                let hint = "url = \"https://...\"; or url_file or url_env, where it is a secret";
                making.wrong("url", "is missing: say where to", hint);
                ("url", None)
            }
            (None, file, variable) => {
                let key = if file.is_some() { "url_file" } else { "url_env" };
                (key, making.secret("url", file.as_deref(), variable.as_deref()))
            }
            (Some(_), _, _) => {
                making.wrong("url", "stands beside url_file or url_env", "keep one of them");
                ("url", None)
            }
        };
        let secret = secret?;
        if let Err(why) = secret.read().map(|url| crate::send::url(&url)).ok()? {
            making.wrong(key, why, "it begins with https:// or http://");
        }
        Some(secret)
    }

    fn body(&self, making: &mut Making<'_>) -> Body {
        match (&self.body, &self.json) {
            (Some(_), Some(_)) => {
                making.wrong("json", "stands beside body", "keep one of the two");
                Body::Document
            }
            (Some(template), None) => {
                let content_type = self.content_type.as_deref().unwrap_or("application/json");
                Body::Text { template: template.clone(), content_type: content_type.to_owned() }
            }
            (None, json) => {
                if self.content_type.is_some() {
                    let hint = "without body, what is sent is JSON";
                    making.wrong("content_type", "goes with body", hint);
                }
                json.clone().map_or(Body::Document, Body::Json)
            }
        }
    }
}

impl MailKeys {
    fn make(self, making: &mut Making<'_>) -> MailTarget {
        if self.to.is_empty() {
            making.wrong("to", "is missing: say to whom", "to = [\"ops@example.org\"]");
        }
        let from = self.from.unwrap_or_else(|| format!("dsbus@{}", making.around.host));
        for (key, address) in self.to.iter().map(|to| ("to", to)).chain([("from", &from)]) {
            if let Err(why) = crate::send::mailbox(address) {
                making.wrong(key, why, "such as ops@example.org, or Ops <ops@example.org>");
            }
        }
        let (file, variable) = (self.password_file.as_deref(), self.password_env.as_deref());
        let login = making.login(self.username, file, variable);
        if self.tls == Tls::None && login.is_some() {
            let hint = "tls = \"starttls\" or \"tls\"";
            making.wrong("username", "a password is not sent in the clear", hint);
        }
        let ca_file = making.ca(self.ca_file.as_deref());
        let port = self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Tls => 465,
            Tls::None => 25,
        });
        MailTarget {
            to: self.to,
            from,
            host: self.host,
            port,
            tls: self.tls,
            login,
            ca_file,
            hello: making.around.host.clone(),
            subject: self.subject,
            text: self.text,
        }
    }
}
