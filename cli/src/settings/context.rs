//! Contexts of the `nats` tool (ADR-21), as it writes them: one JSON file each.

use std::path::{Path, PathBuf};

use dsbus_client::{Access, Credentials, Secret, Tls};
use dsbus_schema::reading;
use serde::Deserialize;

use super::file::home;
use crate::config::Surroundings;
use crate::failure::Failure;
use crate::file::{did_you_mean, text_of};

/// The bus of a context that names none.
const URL: &str = "nats://127.0.0.1:4222";
/// Ways to name a secret that only the `nats` tool knows.
const SCHEMES: [&str; 4] = ["op", "nsc", "env", "data"];

/// A bus, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// Servers, with commas.
    pub(crate) urls: String,
    /// Credentials and TLS.
    pub(crate) access: Access,
}

/// What stands in the file. What is not here is about how the `nats` tool itself looks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    user_jwt: String,
    user_seed: String,
    inbox_prefix: String,
    tls_first: bool,
    nsc: String,
    socks_proxy: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    windows_cert_store: String,
}

/// The name of the context that is selected there.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn selected(around: &Surroundings) -> Result<Option<String>, Failure> {
    let Some(path) = home(around).map(|home| home.join("nats/context.txt")) else {
        return Ok(None);
    };
    if !path.exists() {
        return Ok(None);
    }
    let text =
        text_of(&path).map_err(|why| Failure::failed(format!("{} {why}", path.display())))?;
    Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Reads a context, by its name or the whole path of its file. `by` is what named it.
///
/// # Errors
/// When there is none, or it asks for what dsbus does not do.
pub(crate) fn read(name: &str, by: &str, around: &Surroundings) -> Result<Context, Failure> {
    let directory = home(around).map(|home| home.join("nats/context"));
    let path = match (Path::new(name).is_absolute(), &directory) {
        (true, _) => PathBuf::from(name),
        (false, _) if name.contains(['/', '\\']) || name.contains("..") => {
            return Err(Failure::usage(format!("{name:?} is no name of a NATS context ({by})")));
        }
        (false, Some(directory)) => directory.join(format!("{name}.json")),
        (false, None) => {
            let said =
                format!("NATS context {name} ({by}): neither HOME nor XDG_CONFIG_HOME is set");
            return Err(Failure::usage(said));
        }
    };
    if !path.exists() {
        let said =
            format!("there is no NATS context {name} ({by}): {} is not there", path.display());
        let failure = Failure::usage(said);
        let known = directory.map(|directory| names(&directory)).unwrap_or_default();
        return Err(match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(hint) => failure.hint(hint),
            None if known.is_empty() => failure.hint("nats context add makes one"),
            None => failure.hint(format!("there are {}", known.join(", "))),
        });
    }
    let wrong = |why: String| Failure::usage(format!("{}: {why} ({by})", path.display()));
    let text = text_of(&path).map_err(&wrong)?;
    let keys: Keys = reading::message(text.as_bytes()).map_err(|what| wrong(what.to_string()))?;
    understood(keys, around).map_err(wrong)
}

/// All contexts.
fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

fn understood(keys: Keys, around: &Surroundings) -> Result<Context, String> {
    let foreign = [
        (
            "nsc",
            &keys.nsc,
            "write the credentials into a file, nsc generate creds, and name it as creds",
        ),
        ("socks_proxy", &keys.socks_proxy, "dsbus connects without a proxy"),
        (
            "jetstream_domain",
            &keys.jetstream_domain,
            "dsbus speaks to the JetStream of its own account",
        ),
        ("jetstream_api_prefix", &keys.jetstream_api_prefix, "dsbus speaks to $JS.API"),
        ("windows_cert_store", &keys.windows_cert_store, "name files: cert, key, ca"),
    ];
    if let Some((key, _, why)) = foreign.iter().find(|(_, value, _)| !value.is_empty()) {
        return Err(format!("{key} is not understood by dsbus: {why}"));
    }
    let path = |key: &str, text: &str| -> Result<Option<PathBuf>, String> {
        secret(key, text)?;
        let text = expanded(text.strip_prefix("file://").unwrap_or(text), around);
        Ok((!text.is_empty()).then(|| around.directory.join(text)))
    };
    for (key, text) in [("user", &keys.user), ("password", &keys.password), ("token", &keys.token)]
    {
        secret(key, text)?;
    }
    let (cert, key) = (path("cert", &keys.cert)?, path("key", &keys.key)?);
    let own = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (_, _) => return Err("cert and key are one without the other".to_owned()),
    };
    let (creds, nkey) = (path("creds", &keys.creds)?, path("nkey", &keys.nkey)?);
    // The order of the nats tool.
    let credentials = if !keys.user.is_empty() {
        Credentials::Password { user: keys.user, password: Secret::new(keys.password) }
    } else if let Some(creds) = creds {
        Credentials::File(creds)
    } else if let Some(nkey) = nkey {
        Credentials::Nkey(nkey)
    } else if !keys.user_jwt.is_empty() {
        if keys.user_seed.is_empty() {
            return Err("user_jwt needs user_seed, which signs what the server asks".to_owned());
        }
        Credentials::Jwt { jwt: Secret::new(keys.user_jwt), seed: Secret::new(keys.user_seed) }
    } else if !keys.token.is_empty() {
        Credentials::Token(Secret::new(keys.token))
    } else {
        Credentials::Address
    };
    let urls = if keys.url.is_empty() { URL.to_owned() } else { keys.url };
    super::Key::Nats.check(&urls).map_err(|why| format!("url: {why}"))?;
    let tls = Tls { ca: path("ca", &keys.ca)?, own, first: keys.tls_first };
    let inbox_prefix = Some(keys.inbox_prefix).filter(|prefix| !prefix.is_empty());
    Ok(Context { urls, access: Access { credentials, tls, inbox_prefix } })
}

/// Refuses what only the `nats` tool can look up.
fn secret(key: &str, text: &str) -> Result<(), String> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    if SCHEMES.contains(&scheme) {
        return Err(format!("{key}: {scheme}: is looked up by the nats tool only; name a file"));
    }
    Ok(())
}

/// `~` at the beginning is the home directory, and `$NAME` or `${NAME}` a variable: nothing, where it
/// is not set.
fn expanded(text: &str, around: &Surroundings) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(found) => found,
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !word(c)).unwrap_or(after.len()))
            }
        };
        out.push_str(around.variable(name).unwrap_or_default());
        rest = next;
    }
    out.push_str(rest);
    match (out.strip_prefix('~'), around.variable("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{home}{rest}")
        }
        (_, _) => out,
    }
}
