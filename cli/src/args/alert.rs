//! The command line of `dsbus alert`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use dsbus_schema::alert::{AlertName, RuleName, TargetName};

use super::Format;

/// What `dsbus alert --help` says behind the options.
const ALERT_HELP: &str = "\
A file has rules and targets:

  [[rule]]
  name = \"fatal\"
  events = [\"FATAL\", \"worker.LOST\"]   # which events
  programs = [\"web*\"]                 # of which programs; of all without it
  quiet = \"10m\"                       # at most one message in so long
  rate_limit = \"10/1h\"
  flap = { count = 5, within = \"10m\" }
  send = [\"ops\"]                      # to whom

  [target.ops]
  type = \"mail\"                       # or \"webhook\", or \"command\"
  to = [\"ops@example.org\"]
  host = \"mail.example.org\"

examples/alert.toml has every key. First check it, then try a rule, then run it:

  dsbus alert check alert.toml
  dsbus alert test alert.toml fatal
  dsbus alert alert.toml

What is to be told is kept on the bus until it has arrived: nothing is lost when
this process or its machine dies. Run it on two machines; one of them works, and
the other one takes over. As a program of the fleet:

  [program.alert]
  command = \"dsbus alert /etc/dsbus/alert.toml\"
  numprocs = 2

HUP reads the file again.";

/// Longest name: the consumer is `alert-NAME`, and its name is no longer than any other.
const NAME_LEN_MAX: usize = dsbus_schema::ids::NAME_LEN_MAX - "alert-".len();

pub(super) fn name(text: &str) -> Result<AlertName, String> {
    if text.len() > NAME_LEN_MAX {
        return Err(format!("is longer than {NAME_LEN_MAX} characters"));
    }
    AlertName::parse(text).map_err(|e| e.to_string())
}

/// `dsbus alert`.
#[derive(Debug, Group)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = ALERT_HELP
)]
pub(crate) struct Alert {
    #[command(subcommand)]
    pub(crate) verb: Option<AlertVerb>,
    /// Rules and targets
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Name of this set of rules, where a fleet has several; processes of one name share its work
    #[arg(long, value_name = "NAME", default_value = "alert", value_parser = name)]
    pub(crate) name: AlertName,
}

/// What is done about alerts besides running them.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertVerb {
    /// Check a file: every mistake is told, with its line
    Check {
        /// Rules and targets
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Send a made-up event to the targets of a rule, now, past its limits; needs no bus
    Test(AlertTest),
    /// Show what is on its way, and what could not be delivered
    Letters(AlertLetters),
}

/// `dsbus alert test`.
#[derive(Debug, Group)]
pub(crate) struct AlertTest {
    /// Rules and targets
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The rule
    #[arg(value_name = "RULE", value_parser = RuleName::parse)]
    pub(crate) rule: RuleName,
    /// Only to this target; several times for several
    #[arg(long = "to", value_name = "TARGET", value_parser = TargetName::parse)]
    pub(crate) targets: Vec<TargetName>,
    /// Only show what would be sent
    #[arg(long)]
    pub(crate) print: bool,
}

/// `dsbus alert letters`.
#[derive(Debug, Group)]
pub(crate) struct AlertLetters {
    /// Dead letters by the beginning of their ids: everything about each; all without one
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Try the dead letters again
    #[arg(long, conflicts_with = "drop")]
    pub(crate) retry: bool,
    /// Forget the dead letters
    #[arg(long)]
    pub(crate) drop: bool,
    /// Name of the set of rules
    #[arg(long, value_name = "NAME", default_value = "alert", value_parser = name)]
    pub(crate) name: AlertName,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}
