//! What every verb has.

use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Args as Group, ValueEnum};
use dsbus_schema::ids::{FleetName, UserName};

use crate::settings::{Color, Key, Layer};

/// Its heading in the help of each verb.
const GLOBALS: &str = "Global options";

/// What every verb has: which fleet, on which bus, as whom, and how it speaks.
#[derive(Debug, Clone, Default, Group)]
pub(crate) struct Globals {
    /// The bus; several servers with commas
    ///
    /// `nats://127.0.0.1:4222` where nothing says it; `dsbus config` shows what holds, and where it
    /// is said.
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBALS)]
    pub(crate) nats: Option<String>,
    /// A context of the nats tool, which has a bus and credentials
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBALS, conflicts_with = "nats")]
    pub(crate) context: Option<String>,
    /// The fleet
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBALS)]
    pub(crate) fleet: Option<FleetName>,
    /// Who asks; "anonymous" where nothing says it
    #[arg(long = "as", id = "as", global = true, value_name = "NAME", help_heading = GLOBALS)]
    pub(crate) user: Option<UserName>,
    /// Credentials, as nsc writes them
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBALS, hide_short_help = true)]
    pub(crate) creds: Option<String>,
    /// The seed of an nkey
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBALS, hide_short_help = true)]
    pub(crate) nkey: Option<String>,
    /// Who vouches for the servers; what this machine trusts, unless set
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBALS, hide_short_help = true)]
    pub(crate) tls_ca: Option<String>,
    /// Our certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBALS, hide_short_help = true)]
    pub(crate) tls_cert: Option<String>,
    /// Its key
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBALS, hide_short_help = true)]
    pub(crate) tls_key: Option<String>,
    /// When there are colours: auto, always or never
    ///
    /// auto is on a terminal, unless `NO_COLOR` or TERM=dumb say otherwise.
    #[arg(long, global = true, value_name = "WHEN", help_heading = GLOBALS, hide_possible_values = true)]
    pub(crate) color: Option<Color>,
    /// Only errors, and what was asked for
    #[arg(short, long, global = true, help_heading = GLOBALS)]
    pub(crate) quiet: bool,
}

impl Globals {
    /// As the nearest place where something is said; paths are relative to `directory`.
    pub(crate) fn layer(&self, directory: &Path) -> Layer {
        let mut layer = Layer::default();
        let fleet = self.fleet.as_ref().map(FleetName::as_str);
        let user = self.user.as_ref().map(UserName::as_str);
        let color = self.color.as_ref().and_then(ValueEnum::to_possible_value);
        for (key, flag, text) in [
            (Key::Nats, "--nats", self.nats.as_deref()),
            (Key::Context, "--context", self.context.as_deref()),
            (Key::Fleet, "--fleet", fleet),
            (Key::User, "--as", user),
            (Key::Creds, "--creds", self.creds.as_deref()),
            (Key::Nkey, "--nkey", self.nkey.as_deref()),
            (Key::TlsCa, "--tls-ca", self.tls_ca.as_deref()),
            (Key::TlsCert, "--tls-cert", self.tls_cert.as_deref()),
            (Key::TlsKey, "--tls-key", self.tls_key.as_deref()),
            (Key::Color, "--color", color.as_ref().map(PossibleValue::get_name)),
            (Key::Quiet, "--quiet", self.quiet.then_some("true")),
        ] {
            layer.flag(key, flag, text, directory);
        }
        layer
    }
}
