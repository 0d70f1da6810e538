//! Delivering one letter to one target.

mod command;
mod mail;
pub(crate) mod tls;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::alert::Letter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;

use crate::spec::{Hidden, Spec, Target, TargetKind};
use crate::texts::{Said, Texts};

/// Longest reason that is kept of a failure, in characters.
const WHY_MAX: usize = 300;

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It arrived.
    Delivered,
    /// It may arrive later.
    Later {
        /// Why it did not now.
        why: String,
        /// How long the target asked to be left alone, if it did.
        after: Option<Duration>,
    },
    /// It will never arrive.
    Never {
        /// Why.
        why: String,
    },
}

impl Fate {
    pub(crate) fn later(why: impl Into<String>) -> Fate {
        Fate::Later { why: short(&why.into()), after: None }
    }

    pub(crate) fn never(why: impl Into<String>) -> Fate {
        Fate::Never { why: short(&why.into()) }
    }
}

/// One target, ready to be sent to.
#[derive(Debug, Clone)]
pub struct Sender {
    fleet: FleetName,
    spec: Arc<Spec>,
    texts: Arc<Texts>,
    target: Target,
    webhook: Option<webhook::Client>,
}

impl Sender {
    /// Makes ready what can be made ready once.
    ///
    /// # Errors
    /// When the authorities that the target trusts cannot be read.
    pub fn new(
        fleet: &FleetName,
        spec: &Arc<Spec>,
        texts: &Arc<Texts>,
        target: &Target,
    ) -> Result<Sender, String> {
        let webhook = match &target.kind {
            TargetKind::Webhook(webhook) => Some(webhook::Client::new(webhook, target.timeout)?),
            TargetKind::Mail(_) | TargetKind::Command(_) => None,
        };
        let (fleet, spec, texts) = (fleet.clone(), Arc::clone(spec), Arc::clone(texts));
        Ok(Sender { fleet, spec, texts, target: target.clone(), webhook })
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What a letter would say.
    ///
    /// # Errors
    /// When a template fails.
    pub fn say(&self, letter: &Letter) -> Result<Said, String> {
        let rule = self.spec.rule(&letter.news.rule);
        self.texts.say(&self.fleet, rule, &self.target, letter).map_err(|e| e.to_string())
    }

    /// Tries once; `now` is what a mail is dated by.
    pub async fn send(&self, letter: &Letter, now: Timestamp) -> Fate {
        let said = match self.say(letter) {
            Ok(said) => said,
            Err(why) => return Fate::never(format!("the template {why}")),
        };
        let sending = async {
            match (&self.target.kind, &self.webhook) {
                (TargetKind::Webhook(target), Some(client)) => {
                    client.send(target, letter, said, now).await
                }
                (TargetKind::Webhook(_), None) => Fate::later("there is no HTTP client"),
                (TargetKind::Mail(target), _) => {
                    mail::send(target, &self.fleet, letter, &said, now).await
                }
                (TargetKind::Command(target), _) => {
                    command::run(target, &self.fleet, letter, &said).await
                }
            }
        };
        let timeout = self.target.timeout;
        match tokio::time::timeout(timeout, sending).await {
            Ok(fate) => fate,
            Err(_) => {
                let within = dsbus_schema::lenient::Span(timeout);
                Fate::later(format!("{} within {within}", self.unanswered()))
            }
        }
    }

    fn unanswered(&self) -> &'static str {
        match self.target.kind {
            TargetKind::Webhook(_) | TargetKind::Mail(_) => "no answer",
            TargetKind::Command(_) => "the command did not end, and was killed,",
        }
    }
}

/// An error with what it was caused by, on one line.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let said = e.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = e.source();
    }
    text
}

/// On one line, without what could speak to a terminal, and not too long.
fn short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    match line.char_indices().nth(WHY_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether this may be a header of a request.
pub(crate) fn is_header(name: &str, value: &str) -> bool {
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && reqwest::header::HeaderValue::from_str(value).is_ok()
}

/// An address for requests.
pub(crate) fn url(text: &Hidden) -> Result<reqwest::Url, String> {
    let wrong = |why: &dyn fmt::Display| format!("is no address of a web server: {why}");
    let url: reqwest::Url = text.shown().trim().parse().map_err(|e| wrong(&e))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(&format_args!("its scheme is {}", url.scheme())));
    }
    Ok(url)
}

/// An address for mail.
pub(crate) fn mailbox(text: &str) -> Result<lettre::message::Mailbox, String> {
    text.parse().map_err(|_| format!("{text:?} is no mail address"))
}
