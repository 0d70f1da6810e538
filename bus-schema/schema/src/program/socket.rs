//! Sockets and files that a child finds open.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where the worker listens for a child: `unix:///path` or `tcp://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketAddress {
    /// A path.
    Unix(String),
    /// `host:port`; an empty host is every address of the machine.
    Tcp(String),
}

impl FromStr for SocketAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<SocketAddress, String> {
        let text = text.trim();
        let wrong = || format!("expected unix:///path or tcp://host:port, found {text:?}");
        if let Some(path) = text.strip_prefix("unix://") {
            let fine = path.starts_with('/') && !path.contains('\0');
            return if fine { Ok(SocketAddress::Unix(path.to_owned())) } else { Err(wrong()) };
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (_, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        if port == "0" {
            return Err(format!("{text:?}: nobody would know which port 0 becomes; name one"));
        }
        let fine = port.contains("%(") || port.parse::<u16>().is_ok();
        if fine { Ok(SocketAddress::Tcp(rest.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketAddress::Unix(path) => write!(f, "unix://{path}"),
            SocketAddress::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// How a file is opened for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// `r`
    Read,
    /// `w`: begun anew; made if it does not exist.
    Write,
    /// `a`: appended to; made if it does not exist.
    Append,
    /// `rw`; made if it does not exist.
    ReadWrite,
}

/// A file that a child finds open: `/path`, or `/path:MODE` with `r` (unless said), `w`, `a`, `rw`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtraFile {
    /// Absolute path.
    pub path: String,
    /// How it is opened.
    pub mode: FileMode,
}

const MODES: [(&str, FileMode); 4] = [
    ("r", FileMode::Read),
    ("w", FileMode::Write),
    ("a", FileMode::Append),
    ("rw", FileMode::ReadWrite),
];

impl FromStr for ExtraFile {
    type Err = String;
    fn from_str(text: &str) -> Result<ExtraFile, String> {
        let text = text.trim();
        let named = text.rsplit_once(':').and_then(|(path, name)| {
            let mode = MODES.iter().find(|(known, _)| *known == name)?;
            Some((path, mode.1))
        });
        let (path, mode) = named.unwrap_or((text, FileMode::Read));
        if !path.starts_with('/') || path.contains('\0') {
            return Err(format!("expected an absolute path, found {text:?}"));
        }
        Ok(ExtraFile { path: path.to_owned(), mode })
    }
}

impl fmt::Display for ExtraFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = MODES.iter().find(|(_, mode)| *mode == self.mode).map_or("r", |(name, _)| name);
        write!(f, "{}:{name}", self.path)
    }
}

macro_rules! as_text {
    ($type:ident, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $description, "type": "string" })
            }
        }
    };
}

as_text!(SocketAddress, "unix:///path or tcp://host:port");
as_text!(ExtraFile, "an absolute path; /path:r (the default), :w, :a or :rw");
