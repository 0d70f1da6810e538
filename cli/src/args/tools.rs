//! Verbs that speak to no fleet.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

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
    /// Where the pages of all verbs are written, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// `dsbus import`.
#[derive(Debug, Group)]
pub(crate) struct Import {
    /// supervisord.conf, with all that it includes; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
