//! `loglevel`.

use serde::{Deserialize, Deserializer, Serialize};

/// How much the worker tells. Supervisor's names; those that tracing does not have are the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Critical,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    Blather,
}

impl LogLevel {
    const ALL: [LogLevel; 7] = [
        LogLevel::Critical,
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
        LogLevel::Blather,
    ];

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LogLevel::Critical => "critical",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
            LogLevel::Blather => "blather",
        }
    }

    /// As tracing's filter. The client of the bus talks much, and rarely of what matters here; that it
    /// cannot connect is told by dsbus, with what to do about it.
    pub(crate) const fn filter(self) -> &'static str {
        match self {
            LogLevel::Critical | LogLevel::Error => "error,async_nats::connector=off",
            LogLevel::Warn => "warn,async_nats::connector=off",
            LogLevel::Info => "info,async_nats=warn,async_nats::connector=off",
            LogLevel::Debug => "debug,async_nats=info,async_nats::connector=off",
            LogLevel::Trace | LogLevel::Blather => "trace",
        }
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<LogLevel, D::Error> {
        let text = String::deserialize(d)?;
        let wanted = text.trim().to_ascii_lowercase();
        LogLevel::ALL.into_iter().find(|level| level.name() == wanted).ok_or_else(|| {
            let names = LogLevel::ALL.map(LogLevel::name).join(", ");
            serde::de::Error::custom(format!("expected one of {names}; found {text:?}"))
        })
    }
}
