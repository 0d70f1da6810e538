//! Verbs that speak to no fleet.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

use super::Format;

pub(super) const CONFIG: &str = "\
What the programs of a fleet are declared as is printed by dsbus export.
docs/settings.md tells every setting, and which word wins.";

pub(super) const DOCTOR: &str = "\
Nothing is changed. Exits 0 when all is well, also with warnings, and 1 when
something is wrong.";

pub(super) const COMPLETION: &str = "\
bash:  echo 'source <(dsbus completion bash)' >> ~/.bashrc
zsh:   echo 'source <(dsbus completion zsh)' >> ~/.zshrc
fish:  dsbus completion fish > ~/.config/fish/completions/dsbus.fish";

/// `dsbus completion`.
#[derive(Debug, Group)]
pub(crate) struct Completion {
    /// Which shell
    pub(crate) shell: Shell,
}

/// A shell that can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// `dsbus man`.
#[derive(Debug, Group)]
pub(crate) struct Man {
    /// The verb whose page is printed; that of dsbus without one
    #[arg(value_name = "VERB")]
    pub(crate) verb: Option<String>,
    /// Write the pages of all verbs into this directory, such as /usr/local/share/man/man1
    #[arg(long = "dir", value_name = "DIR", conflicts_with = "verb")]
    pub(crate) directory: Option<PathBuf>,
    /// Print the reference of all verbs as Markdown
    #[arg(long, hide = true, conflicts_with_all = ["verb", "directory"])]
    pub(crate) markdown: bool,
}

/// `dsbus import`.
#[derive(Debug, Group)]
pub(crate) struct Import {
    /// supervisord.conf, with all that it includes; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `dsbus config`.
#[derive(Debug, Group)]
pub(crate) struct Settings {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus version`.
#[derive(Debug, Group)]
pub(crate) struct Version {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus doctor`.
#[derive(Debug, Group)]
pub(crate) struct Doctor {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus init`.
#[derive(Debug, Group)]
pub(crate) struct Init {
    /// Where to
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Overwrite what is there
    #[arg(short, long)]
    pub(crate) force: bool,
}
