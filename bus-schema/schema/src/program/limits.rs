//! What a child may use, and what it may do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Problem;
use crate::lenient::{self, Size};

/// Smallest `limits.memory`: less does not hold a program's first pages, and kills it in exec.
const MEMORY_MIN: u64 = 1 << 20;

/// Limits of a child with all its descendants, kept by a cgroup (version 2). A worker that has no
/// such controller does not get the instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Memory; beyond it the kernel kills (`memory.max`), and an event says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processors, such as 0.5 or 2 (`cpu.max`).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::factor")]
    pub cpu: Option<f64>,
    /// Processes and threads (`pids.max`).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::some_number")]
    pub pids: Option<u32>,
}

impl Limits {
    pub(super) fn problem(&self) -> Option<Problem> {
        let wrong = |message: String| Some(Problem::new("limits", message));
        match self {
            Limits { memory: Some(size), .. } if size.0 < MEMORY_MIN => {
                wrong(format!("memory must be at least {MEMORY_MIN} bytes, not {}", size.0))
            }
            Limits { cpu: Some(cpu), .. } if !(0.01..=10_000.0).contains(cpu) => {
                wrong(format!("cpu must be 0.01 to 10000 processors, not {cpu}"))
            }
            Limits { pids: Some(0), .. } => wrong("pids must be at least 1".to_owned()),
            _ => None,
        }
    }
}

/// Names of the limits that setrlimit(2) knows, without `RLIMIT_`, in lower case.
pub const RLIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A limit of setrlimit(2): `1024`, `"1024:4096"` (soft and hard), or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// The hard limit; `None` is unlimited.
    pub hard: Option<u64>,
}

impl FromStr for Rlimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Rlimit, String> {
        let one = |part: &str| match part.trim() {
            "unlimited" | "infinity" => Ok(None),
            number => number.parse().map(Some).map_err(|_| {
                format!("expected a number, \"SOFT:HARD\" or \"unlimited\", found {text:?}")
            }),
        };
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let limit = Rlimit { soft: one(soft)?, hard: one(hard)? };
        match limit {
            Rlimit { soft: None, hard: Some(_) } => {
                Err(format!("the soft limit of {text:?} is greater than the hard one"))
            }
            Rlimit { soft: Some(soft), hard: Some(hard) } if soft > hard => {
                Err(format!("the soft limit of {text:?} is greater than the hard one"))
            }
            fine => Ok(fine),
        }
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
        if self.soft == self.hard {
            return f.write_str(&shown(self.soft));
        }
        write!(f, "{}:{}", shown(self.soft), shown(self.hard))
    }
}

impl Serialize for Rlimit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rlimit {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rlimit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rlimit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a number, \"SOFT:HARD\", or \"unlimited\"",
            "type": ["integer", "string"]
        })
    }
}

pub(super) fn rlimit_problem(rlimits: &BTreeMap<String, Rlimit>) -> Option<Problem> {
    let strange = rlimits.keys().find(|name| !RLIMITS.contains(&name.as_str()))?;
    let problem = Problem::new("rlimits", format!("{strange:?} is no limit of setrlimit(2)"));
    Some(problem.hint(format!("one of {}", RLIMITS.join(", "))))
}

/// Linux capabilities by number, without `CAP_` (linux/capability.h).
pub const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A Linux capability that a child keeps although its user is not root (an ambient one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    /// The capability with this number, if it has a name.
    pub fn from_number(number: u8) -> Option<Capability> {
        (usize::from(number) < CAPABILITIES.len()).then_some(Capability(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name, without `CAP_`.
    pub fn name(self) -> &'static str {
        CAPABILITIES[usize::from(self.0)]
    }
}

impl FromStr for Capability {
    type Err = String;
    fn from_str(text: &str) -> Result<Capability, String> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let at = CAPABILITIES.iter().position(|name| *name == bare);
        at.and_then(|at| u8::try_from(at).ok()).map(Capability).ok_or_else(|| {
            format!("expected a capability such as NET_BIND_SERVICE, found {text:?}")
        })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Capability {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Capability".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": CAPABILITIES })
    }
}

/// Permission bits, read as octal digits: `"022"`, `0700`, `22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Mode, String> {
        let digits = text.trim().strip_prefix("0o").unwrap_or(text.trim());
        u32::from_str_radix(digits, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .map(Mode)
            .ok_or_else(|| format!("expected octal digits as text, such as \"022\", found {text}"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "octal digits, such as \"022\"", "type": ["string", "integer"] })
    }
}
