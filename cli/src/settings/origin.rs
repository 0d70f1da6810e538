//! Where a setting is from.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a setting is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option: `--nats`.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// The process that started this one: a worker its agent, `dsbus dev` its fleet.
    Parent,
    /// A file that `dsbus dev` wrote.
    Dev(PathBuf),
    /// A file of settings, and the line in it.
    File(PathBuf, usize),
    /// A context of the `nats` tool, and what named it.
    Context(String, Box<Origin>),
    /// The context that is selected in the `nats` tool.
    Selected(String),
    /// Nothing said it.
    Default,
}

impl Origin {
    /// The path as seen from `directory`, when it is below it.
    pub(crate) fn nearer(path: &Path, directory: &Path) -> PathBuf {
        path.strip_prefix(directory).unwrap_or(path).to_owned()
    }

    /// Without "from".
    pub(crate) fn place(&self) -> String {
        match self {
            Origin::Flag(name) => (*name).to_owned(),
            Origin::Variable(name) => (*name).to_owned(),
            Origin::Parent => "the process that started this one".to_owned(),
            Origin::Dev(path) => path.display().to_string(),
            Origin::File(path, line) => format!("{}:{line}", path.display()),
            Origin::Context(name, by) => format!("NATS context {name} ({})", by.place()),
            Origin::Selected(name) => format!("NATS context {name} (selected)"),
            Origin::Default => "default".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            said => write!(f, "from {}", said.place()),
        }
    }
}
