//! The command line of `dsbus secret`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use dsbus_schema::ids::SecretName;
use glob::Pattern;

use super::Format;

/// What `dsbus secret --help` says behind the options.
const SECRET_HELP: &str = "\
A program names a secret, and its child finds the value in its environment:

  [program.web]
  command = \"web\"
  environment = { DB_PASSWORD = { secret = \"db-password\" } }

A value is sealed to the key of each worker that gets it: nobody else can read
it on the bus, and nobody can read it back. A worker that joins later has none
until the secret is set again; `dsbus secret list` says who lacks what.";

/// `dsbus secret`.
#[derive(Debug, Group)]
#[command(after_help = SECRET_HELP)]
pub(crate) struct Secret {
    #[command(subcommand)]
    pub(crate) verb: SecretVerb,
}

/// What is done about secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Give workers a value: from standard input, a file, or typed unseen; never from the command line
    Set(SecretSet),
    /// Show which secrets there are, and which workers have or lack them; never a value
    List(SecretList),
    /// Take a secret away from workers
    Remove(SecretRemove),
}

/// `dsbus secret set`.
#[derive(Debug, Group)]
pub(crate) struct SecretSet {
    /// Name of the secret
    #[arg(value_name = "SECRET", value_parser = SecretName::parse)]
    pub(crate) name: SecretName,
    /// Only for workers of these names, or patterns; several times for several. All without it
    #[arg(long, value_name = "WORKER", value_delimiter = ',', value_parser = Pattern::new)]
    pub(crate) workers: Vec<Pattern>,
    /// File that holds the value; - is standard input. Without it the value is typed, or read from
    /// standard input where that is no terminal
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// `dsbus secret list`.
#[derive(Debug, Group)]
pub(crate) struct SecretList {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus secret remove`.
#[derive(Debug, Group)]
pub(crate) struct SecretRemove {
    /// Name of the secret
    #[arg(value_name = "SECRET", value_parser = SecretName::parse)]
    pub(crate) name: SecretName,
    /// Only from workers of these names, or patterns; several times for several. All without it
    #[arg(long, value_name = "WORKER", value_delimiter = ',', value_parser = Pattern::new)]
    pub(crate) workers: Vec<Pattern>,
}
