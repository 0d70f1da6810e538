//! Command lines of what people look at, and of what speaks as others do.

use std::path::PathBuf;

use clap::Args as Group;
use dsbus_schema::ids::Target;

use crate::settings::key::is_bus;

pub(super) const TOP: &str = "\
Keys: arrows, PgUp, PgDn, Home, End or j, k, g, G move; Enter shows all about an
instance, l follows its log; s, x and r start, stop and restart it, after a y;
< and > change the column that sorts, R turns the order; / filters by text, f by
state; e shows or hides the events; ? lists the keys, q leaves.";

/// `dsbus top`.
#[derive(Debug, Group)]
pub(crate) struct Top {
    /// Programs, groups or instances; everything without one
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
}

/// `dsbus supervisorctl`. Its options are Supervisor's.
#[derive(Debug, Group)]
pub(crate) struct Supervisorctl {
    /// Without effect: the fleet holds what is declared
    #[arg(short, long, value_name = "FILE")]
    pub(crate) configuration: Option<PathBuf>,
    /// The bus, if it is a nats:// or tls:// address; others are Supervisor's, and without effect
    #[arg(short, long, value_name = "URL")]
    pub(crate) serverurl: Option<String>,
    /// Without effect: the bus has its own
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Without effect: the bus has its own
    #[arg(short, long, value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Where the shell keeps what was typed; a file in the state directory unless set
    #[arg(short = 'r', long = "history-file", value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Start the shell; it starts without an action anyway
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// What to do, such as status, start NAME, tail -f NAME; help shows all
    #[arg(value_name = "ACTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) action: Vec<String>,
}

impl Supervisorctl {
    /// The bus, if `-s` names one.
    pub(crate) fn bus(&self) -> Option<&str> {
        self.serverurl.as_deref().filter(|url| is_bus(url))
    }
}
