//! Which keys Supervisor knows in which section (its manual, "Configuration File"), and what is made
//! of their values.

use serde_json::{Map, Value};

/// What declares processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// `[program:NAME]`
    Program,
    /// `[fcgi-program:NAME]`
    Fcgi,
    /// `[eventlistener:NAME]`
    Listener,
}

impl Sort {
    /// What Supervisor gives without being told: every child has a pipe, whether anybody writes to it or not,
    /// unless that is where its socket or its events are.
    pub(super) fn unsaid(self) -> Option<(String, Value)> {
        match self {
            Sort::Program => Some((STDIN.to_owned(), true.into())),
            Sort::Fcgi | Sort::Listener => None,
        }
    }

    /// The sort and the name of a section.
    pub(super) fn of(section: &str) -> Option<(Sort, &str)> {
        let (sort, name) = section.split_once(':')?;
        let sort = match sort {
            "program" => Sort::Program,
            "fcgi-program" => Sort::Fcgi,
            "eventlistener" => Sort::Listener,
            _ => return None,
        };
        Some((sort, name.trim()))
    }

    /// Its own keys beside those of all.
    fn own(self) -> &'static [(&'static str, Kind)] {
        match self {
            Sort::Program => &[],
            Sort::Fcgi => FCGI,
            Sort::Listener => LISTENER,
        }
    }

    /// What is made of a key; `None` for one that Supervisor does not know.
    pub(super) fn kind(self, key: &str) -> Option<Kind> {
        let mut all = PROGRAM.iter().chain(self.own());
        all.find(|(known, _)| *known == key).map(|(_, kind)| *kind)
    }

    /// Every key that it may have.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        PROGRAM.iter().chain(self.own()).map(|(key, _)| *key)
    }
}

/// What is made of the value of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Text in which names are expanded on the worker.
    Later,
    /// Text in which they are expanded when the file is read.
    Now,
    /// A whole number.
    Number,
    /// Bytes: a number, or one with kb, mb or gb.
    Size,
    /// yes or no.
    Truth,
    /// `autorestart`.
    Restart,
    /// Numbers with commas.
    Codes,
    /// Words with commas.
    Words,
    /// A path that is expanded on the worker.
    Path,
    /// A path, AUTO, NONE or `syslog`.
    Log,
    /// `KEY="value"` with commas.
    Pairs,
    /// AUTO, or text.
    Url,
    /// It has no meaning here.
    Nothing {
        /// Whether a value says what is so here, anyhow.
        but: fn(&str) -> bool,
        /// Why not.
        why: &'static str,
    },
}

const PROGRAM: &[(&str, Kind)] = &[
    ("command", Kind::Later),
    ("process_name", Kind::Later),
    ("numprocs", Kind::Number),
    ("numprocs_start", Kind::Number),
    ("priority", Kind::Number),
    ("autostart", Kind::Truth),
    ("startsecs", Kind::Number),
    ("startretries", Kind::Number),
    ("autorestart", Kind::Restart),
    ("exitcodes", Kind::Codes),
    ("stopsignal", Kind::Now),
    ("stopwaitsecs", Kind::Number),
    ("stopasgroup", Kind::Truth),
    (
        "killasgroup",
        Kind::Nothing {
            but: |text| truth(text).unwrap_or(false),
            why: "SIGKILL always ends everything that a child has started",
        },
    ),
    ("user", Kind::Now),
    ("umask", Kind::Now),
    ("directory", Kind::Path),
    ("redirect_stderr", Kind::Truth),
    ("stdout_logfile", Kind::Log),
    ("stdout_logfile_maxbytes", Kind::Size),
    ("stdout_logfile_backups", Kind::Number),
    ("stdout_capture_maxbytes", Kind::Size),
    ("stdout_events_enabled", Kind::Truth),
    ("stdout_syslog", Kind::Truth),
    ("stderr_logfile", Kind::Log),
    ("stderr_logfile_maxbytes", Kind::Size),
    ("stderr_logfile_backups", Kind::Number),
    ("stderr_capture_maxbytes", Kind::Size),
    ("stderr_events_enabled", Kind::Truth),
    ("stderr_syslog", Kind::Truth),
    ("environment", Kind::Pairs),
    ("serverurl", Kind::Url),
];

const FCGI: &[(&str, Kind)] = &[
    ("socket", Kind::Later),
    ("socket_owner", Kind::Now),
    ("socket_mode", Kind::Now),
    ("socket_backlog", Kind::Number),
];

const LISTENER: &[(&str, Kind)] = &[
    ("events", Kind::Words),
    ("buffer_size", Kind::Number),
    (
        "result_handler",
        Kind::Nothing {
            but: |text| text == "supervisor.dispatchers:default_handler",
            why: "a result of OK accepts an event, and every other one rejects it",
        },
    ),
];

/// Keys of `[supervisord]` that every program is given, unless it has its own.
pub(in super::super) const INHERITED: &[&str] = &["environment", "umask", "strip_ansi"];

/// What every program of Supervisor has without saying so.
pub(in super::super) const STDIN: &str = "stdin";

/// Keys of `[supervisord]` that a worker has, too.
pub(super) const WORKER: &[&str] = &[
    "logfile",
    "logfile_maxbytes",
    "logfile_backups",
    "loglevel",
    "pidfile",
    "umask",
    "nodaemon",
    "silent",
    "minfds",
    "minprocs",
    "nocleanup",
    "childlogdir",
    "user",
    "directory",
    "strip_ansi",
    "environment",
    "identifier",
];

/// Where a key stands among others: as in Supervisor's manual, and what it does not know at the end.
pub(in super::super) fn rank(key: &str) -> usize {
    let mut all = PROGRAM.iter().chain(FCGI).chain(LISTENER);
    all.position(|(known, _)| *known == key).unwrap_or(usize::MAX)
}

/// Yes or no, as Supervisor reads it.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(format!("expected yes, true, on, 1, no, false, off or 0, found {text:?}")),
    }
}

/// A whole number.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn number(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("expected a whole number, found {text:?}"))
}

/// The value of a key that is known by now, as TOML has it.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn value(kind: Kind, text: &str) -> Result<Value, String> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(match kind {
        Kind::Truth => truth(text)?.into(),
        Kind::Number => number(text)?.into(),
        Kind::Size => number(text).map_or_else(|_| text.into(), Value::from),
        Kind::Restart if text.eq_ignore_ascii_case("unexpected") => "unexpected".into(),
        Kind::Restart => truth(text)
            .map_err(|_| format!("expected unexpected, true or false, found {text:?}"))?
            .into(),
        Kind::Codes => {
            Value::Array(parts().map(|n| number(n).map(Value::from)).collect::<Result<_, _>>()?)
        }
        Kind::Words => Value::Array(parts().map(|word| word.to_uppercase().into()).collect()),
        _ => text.into(),
    })
}

/// A table of text.
pub(super) fn table(pairs: impl IntoIterator<Item = (String, String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key, value.into())).collect::<Map<_, _>>())
}
