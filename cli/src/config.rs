//! Which bus, which fleet, who: resolved once from the command line, the environment and the
//! directory. No other file reads the environment.

mod surroundings;

use std::ffi::OsString;

use dsbus_client::{ConnectOptions, Credentials};

use crate::args::Globals;
use crate::failure::Failure;
use crate::settings::key::without_secret;
use crate::settings::{self, Settled, Wrong};

pub(crate) use surroundings::{LOG, Surroundings};

/// Where `dsbus dev` writes its bus, below the directory it was started in.
pub(crate) const URL_FILE: &str = ".dsbus/url";
/// The bus, as a process tells it to those that it starts: a worker its agent and its listeners,
/// `dsbus dev` its fleet. Not `NATS_URL`, which is the listener's business, and not an argument, which
/// everybody can see.
pub(crate) const PARENT_URL: &str = "DSBUS_NATS_URL";
/// Credentials and TLS that go with it.
pub(crate) const PARENT_ACCESS: &str = "DSBUS_NATS_ACCESS";

/// Everything a verb needs to know before it connects.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What is settled.
    pub(crate) settled: Settled,
    /// The rest of the surroundings.
    pub(crate) around: Surroundings,
}

impl std::ops::Deref for Config {
    type Target = Settled;

    fn deref(&self) -> &Settled {
        &self.settled
    }
}

impl Config {
    /// Resolves the configuration.
    ///
    /// # Errors
    /// When something is given that cannot be, or a file of settings has a mistake.
    pub(crate) fn resolve(globals: &Globals, around: Surroundings) -> Result<Config, Wrong> {
        let settled = settings::settle(globals.layer(&around.directory), &around)?;
        // Other processes of ours are told of it in a variable.
        serde_json::to_string(&settled.access).map_err(|_| {
            Failure::usage("the path of a file of credentials or of TLS is no UTF-8")
        })?;
        Ok(Config { settled, around })
    }

    /// How to connect; `label` is what the server lists the connection as.
    pub(crate) fn connect(&self, label: &str, wait: bool) -> ConnectOptions {
        ConnectOptions {
            urls: self.urls.clone(),
            fleet: self.fleet.clone(),
            user: self.user.clone(),
            access: self.access.clone(),
            label: label.to_owned(),
            wait,
        }
    }

    /// Whether anything says who asks.
    pub(crate) fn says_who(&self) -> bool {
        self.access.credentials != Credentials::Address
            || self.urls.iter().any(|url| without_secret(url) != *url)
    }

    /// The servers as text without passwords.
    pub(crate) fn shown(&self) -> String {
        self.urls.iter().map(|url| without_secret(url)).collect::<Vec<_>>().join(",")
    }

    /// ` --fleet NAME` for a command that is suggested, where it is needed.
    pub(crate) fn fleet_option(&self) -> String {
        if self.fleet.is_default() { String::new() } else { format!(" --fleet {}", self.fleet) }
    }

    /// The options by which another `dsbus` process finds the same fleet, beside
    /// [`Config::as_environment`]: everybody can see them.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let words = ["--fleet", self.fleet.as_str(), "--as", self.user.as_str()];
        words.iter().map(OsString::from).collect()
    }

    /// The variables by which another `dsbus` process finds the same bus: they may hold secrets, and
    /// go to our own processes only.
    pub(crate) fn as_environment(&self) -> Vec<(String, String)> {
        let access = serde_json::to_string(&self.access).unwrap_or_default();
        vec![(PARENT_URL.to_owned(), self.urls.join(",")), (PARENT_ACCESS.to_owned(), access)]
    }

    /// What is said, and goes with another bus than this one, in one sentence.
    pub(crate) fn unused(&self) -> Option<String> {
        let unused = self.rows.iter().filter(|row| !row.used);
        let places: Vec<&str> = unused.map(|row| row.from.as_str()).collect();
        let (origin, are) = (&self.origin, if places.len() == 1 { "is" } else { "are" });
        (!places.is_empty()).then(|| {
            format!(
                "{} {are} not used: the bus is {origin}, and credentials go only to the bus beside \
                 which they are named, or to one that is farther away",
                places.join(", ")
            )
        })
    }
}
