//! The settings there are, what each is called, and what it may be.

use clap::ValueEnum;
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::lenient::Span;

use crate::args::Format;

/// Schemes of addresses that the client connects to.
const SCHEMES: [&str; 2] = ["nats", "tls"];
/// Longest text of a setting, in bytes: more than any list of servers.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A setting.
#[expect(clippy::enum_variant_names, reason = "one of them is the key of a certificate")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Servers of the bus, with commas.
    Nats,
    /// A context of the `nats` tool, which has a bus and credentials.
    Context,
    /// File of credentials.
    Creds,
    /// File of an nkey's seed.
    Nkey,
    /// User of the bus.
    NatsUser,
    /// His password.
    NatsPassword,
    /// Token.
    NatsToken,
    /// Who vouches for servers.
    TlsCa,
    /// Our certificate.
    TlsCert,
    /// Its key.
    TlsKey,
    /// TLS from the first byte on.
    TlsFirst,
    /// What answers come to.
    InboxPrefix,
    /// Fleet.
    Fleet,
    /// Who asks.
    User,
    /// How answers are printed.
    Output,
    /// When there are colours.
    Color,
    /// Only errors, and what was asked for.
    Quiet,
    /// How long verbs wait.
    Timeout,
}

impl Key {
    /// All of them, as they are shown.
    pub(crate) const ALL: [Key; 18] = [
        Key::Nats,
        Key::Context,
        Key::Creds,
        Key::Nkey,
        Key::NatsUser,
        Key::NatsPassword,
        Key::NatsToken,
        Key::TlsCa,
        Key::TlsCert,
        Key::TlsKey,
        Key::TlsFirst,
        Key::InboxPrefix,
        Key::Fleet,
        Key::User,
        Key::Output,
        Key::Color,
        Key::Quiet,
        Key::Timeout,
    ];

    /// In a file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Key::Nats => "nats",
            Key::Context => "context",
            Key::Creds => "creds",
            Key::Nkey => "nkey",
            Key::NatsUser => "nats_user",
            Key::NatsPassword => "nats_password",
            Key::NatsToken => "nats_token",
            Key::TlsCa => "tls_ca",
            Key::TlsCert => "tls_cert",
            Key::TlsKey => "tls_key",
            Key::TlsFirst => "tls_first",
            Key::InboxPrefix => "inbox_prefix",
            Key::Fleet => "fleet",
            Key::User => "user",
            Key::Output => "output",
            Key::Color => "color",
            Key::Quiet => "quiet",
            Key::Timeout => "timeout",
        }
    }

    /// The one of this name.
    pub(crate) fn parse(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Its own variable. Not `DSBUS_NATS_URL`: that is between a process and those it starts.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Key::Nats => "DSBUS_NATS",
            Key::Context => "DSBUS_CONTEXT",
            Key::Creds => "DSBUS_CREDS",
            Key::Nkey => "DSBUS_NKEY",
            Key::NatsUser => "DSBUS_NATS_USER",
            Key::NatsPassword => "DSBUS_NATS_PASSWORD",
            Key::NatsToken => "DSBUS_NATS_TOKEN",
            Key::TlsCa => "DSBUS_TLS_CA",
            Key::TlsCert => "DSBUS_TLS_CERT",
            Key::TlsKey => "DSBUS_TLS_KEY",
            Key::TlsFirst => "DSBUS_TLS_FIRST",
            Key::InboxPrefix => "DSBUS_INBOX_PREFIX",
            Key::Fleet => "DSBUS_FLEET",
            Key::User => "DSBUS_USER",
            Key::Output => "DSBUS_OUTPUT",
            Key::Color => "DSBUS_COLOR",
            Key::Quiet => "DSBUS_QUIET",
            Key::Timeout => "DSBUS_TIMEOUT",
        }
    }

    /// What the `nats` tool calls its variable.
    pub(crate) fn nats_variable(self) -> Option<&'static str> {
        match self {
            Key::Nats => Some("NATS_URL"),
            Key::Context => Some("NATS_CONTEXT"),
            Key::Creds => Some("NATS_CREDS"),
            Key::Nkey => Some("NATS_NKEY"),
            Key::NatsUser => Some("NATS_USER"),
            Key::NatsPassword => Some("NATS_PASSWORD"),
            Key::NatsToken => Some("NATS_TOKEN"),
            Key::TlsCa => Some("NATS_CA"),
            Key::TlsCert => Some("NATS_CERT"),
            Key::TlsKey => Some("NATS_KEY"),
            Key::TlsFirst
            | Key::InboxPrefix
            | Key::Fleet
            | Key::User
            | Key::Output
            | Key::Color
            | Key::Quiet
            | Key::Timeout => None,
        }
    }

    /// Whether it is the path of a file.
    pub(crate) fn is_path(self) -> bool {
        matches!(self, Key::Creds | Key::Nkey | Key::TlsCa | Key::TlsCert | Key::TlsKey)
    }

    /// Whether it goes with the bus beside which it was named.
    pub(crate) fn is_access(self) -> bool {
        self.is_path()
            || matches!(
                self,
                Key::NatsUser
                    | Key::NatsPassword
                    | Key::NatsToken
                    | Key::TlsFirst
                    | Key::InboxPrefix
            )
    }

    /// As it is shown.
    pub(crate) fn shown(self, text: &str) -> String {
        match self {
            Key::NatsPassword | Key::NatsToken => "...".to_owned(),
            Key::Nats => {
                servers(text).iter().map(|url| without_secret(url)).collect::<Vec<_>>().join(",")
            }
            _ => text.to_owned(),
        }
    }

    /// Whether it can be so.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("is {} bytes long, and may be {TEXT_BYTES_MAX}", text.len()));
        }
        match self {
            Key::Nats => check_servers(text),
            Key::Fleet => FleetName::parse(text).map(drop).map_err(|e| e.to_string()),
            Key::User => UserName::parse(text).map(drop).map_err(|e| e.to_string()),
            Key::Output => {
                Format::from_str(text, false).map(drop).map_err(|_| one_of::<Format>(text))
            }
            Key::Color => Color::from_str(text, false).map(drop).map_err(|_| one_of::<Color>(text)),
            Key::Quiet | Key::TlsFirst => truth(text).map(drop),
            Key::Timeout => text.parse::<Span>().map(drop),
            Key::InboxPrefix if text.contains(['*', '>', ' ']) || text.ends_with('.') => {
                Err(format!("{text:?} is no beginning of a subject, such as _INBOX.ann"))
            }
            Key::Context
            | Key::Creds
            | Key::Nkey
            | Key::NatsUser
            | Key::NatsPassword
            | Key::NatsToken
            | Key::TlsCa
            | Key::TlsCert
            | Key::TlsKey
            | Key::InboxPrefix => Ok(()),
        }
    }
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` or TERM=dumb say otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn one_of<T: ValueEnum>(text: &str) -> String {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
    format!("expected one of {}, found {text:?}", names.join(", "))
}

/// Reads a yes or no.
///
/// # Errors
/// When it is neither.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        other => Err(format!("expected true or false, found {other:?}")),
    }
}

/// The addresses in a list with commas.
pub(crate) fn servers(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

fn check_servers(text: &str) -> Result<(), String> {
    let urls = servers(text);
    if urls.is_empty() {
        return Err(format!("no address of a bus in {text:?}"));
    }
    match urls.iter().find_map(|url| strange_scheme(url)) {
        Some(scheme) => {
            let known = SCHEMES.join(", ");
            Err(format!("{scheme}:// is no address of a bus; a scheme is one of {known}"))
        }
        None => Ok(()),
    }
}

/// The scheme of an address, if it is none that is spoken here. Without one it is `nats`.
fn strange_scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    (!SCHEMES.contains(&scheme)).then_some(scheme)
}

/// Whether an address says by its scheme that it is that of a bus.
pub(crate) fn is_bus(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// `nats://ann:secret@host` is shown as `nats://ann:...@host`.
pub(crate) fn without_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let Some((who, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let who = who.split_once(':').map_or("...".to_owned(), |(user, _)| format!("{user}:..."));
    if scheme.is_empty() { format!("{who}@{host}") } else { format!("{scheme}://{who}@{host}") }
}
