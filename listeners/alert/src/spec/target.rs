//! Targets: where what is told goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use dsbus_schema::alert::TargetName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secret::Secret;
use crate::send::mailbox;

/// Where what is told goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// How long one try may take.
    pub timeout: Duration,
    /// How long a letter is tried before it is given up.
    pub retry_for: Duration,
    /// How.
    pub kind: TargetKind,
}

impl Target {
    /// To whom each message goes in a letter of its own; one `None` where all of it is one letter.
    pub fn recipients(&self) -> Vec<Option<String>> {
        match &self.kind {
            TargetKind::Mail(mail) if mail.to.len() > 1 => {
                let mut addresses = BTreeSet::new();
                let new = |to: &&String| addresses.insert(address(to));
                mail.to.iter().filter(new).cloned().map(Some).collect()
            }
            TargetKind::Mail(_) | TargetKind::Webhook(_) | TargetKind::Command(_) => vec![None],
        }
    }

    /// Whether it still goes to this recipient, by whatever name beside the address.
    pub fn reaches(&self, recipient: &str) -> bool {
        let TargetKind::Mail(mail) = &self.kind else { return false };
        mail.to.iter().any(|to| address(to) == address(recipient))
    }
}

/// Without a name; nothing that is in a file is no address.
fn address(text: &str) -> String {
    mailbox(text).map_or_else(|_| text.to_owned(), |mailbox| mailbox.email.to_string())
}

/// How a target is reached.
#[derive(Debug, Clone)]
pub enum TargetKind {
    /// An HTTP request.
    Webhook(WebhookTarget),
    /// A mail.
    Mail(MailTarget),
    /// A command on this machine.
    Command(CommandTarget),
}

/// An HTTP request; any answer from 200 to 299 is good.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// Where to; it may be a secret.
    pub url: Secret,
    /// PUT instead of POST.
    pub put: bool,
    /// Headers.
    pub headers: BTreeMap<String, Secret>,
    /// `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// `Authorization: Basic`: user and password.
    pub basic: Option<(String, Secret)>,
    /// Whom to trust instead of the authorities of the machine.
    pub ca_file: Option<PathBuf>,
    /// What is sent.
    pub body: Body,
}

/// What a webhook sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Everything that is known, as JSON.
    Document,
    /// A JSON value whose texts are templates.
    Json(Value),
    /// A template.
    Text {
        /// The template.
        template: String,
        /// Its media type.
        content_type: String,
    },
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// In the clear, then TLS by STARTTLS; a server that has none is refused.
    #[default]
    Starttls,
    /// TLS from the beginning.
    Tls,
    /// In the clear.
    None,
}

/// A mail.
#[derive(Debug, Clone)]
pub struct MailTarget {
    /// Who gets it.
    pub to: Vec<String>,
    /// Who sends it.
    pub from: String,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: Tls,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// Whom to trust instead of the authorities of the machine.
    pub ca_file: Option<PathBuf>,
    /// Name of this machine, as the server is told.
    pub hello: String,
    /// Template of the subject.
    pub subject: Option<String>,
    /// Template of the text.
    pub text: Option<String>,
}

/// A command; exit code 0 is good.
#[derive(Debug, Clone)]
pub struct CommandTarget {
    /// The words to execute; no shell is between.
    pub words: Vec<String>,
}
