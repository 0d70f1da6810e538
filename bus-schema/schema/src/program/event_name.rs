//! The names of Supervisor's events (its manual, "Events"), which its listeners subscribe to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How alike a word must be to a name to ask whether that was meant, of 1.
const LIKENESS_MIN: f64 = 0.85;

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(below $parent:ident)?),* $(,)?) => {
        /// Name of an event, or of several below it: whoever subscribes to one has all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName {
            $($(#[$doc])* $variant,)*
        }

        impl EventName {
            /// All of them, parents before what is below them.
            pub const ALL: &[EventName] = &[$(EventName::$variant),*];

            /// As Supervisor writes it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(EventName::$variant => $name,)*
                }
            }

            /// The name just above it.
            pub fn parent(self) -> Option<EventName> {
                match self {
                    $(EventName::$variant => names!(@parent $($parent)?),)*
                }
            }
        }
    };
    (@parent) => { None };
    (@parent $parent:ident) => { Some(EventName::$parent) };
}

names! {
    /// Every event.
    Event = "EVENT",
    /// Every change of state of a process.
    ProcessState = "PROCESS_STATE" below Event,
    /// A process is being started.
    ProcessStateStarting = "PROCESS_STATE_STARTING" below ProcessState,
    /// A process runs.
    ProcessStateRunning = "PROCESS_STATE_RUNNING" below ProcessState,
    /// A start failed, and is tried again after a pause.
    ProcessStateBackoff = "PROCESS_STATE_BACKOFF" below ProcessState,
    /// A process is being stopped.
    ProcessStateStopping = "PROCESS_STATE_STOPPING" below ProcessState,
    /// A process ended by itself.
    ProcessStateExited = "PROCESS_STATE_EXITED" below ProcessState,
    /// A process was stopped.
    ProcessStateStopped = "PROCESS_STATE_STOPPED" below ProcessState,
    /// A process was given up.
    ProcessStateFatal = "PROCESS_STATE_FATAL" below ProcessState,
    /// Nobody knows how a process stands.
    ProcessStateUnknown = "PROCESS_STATE_UNKNOWN" below ProcessState,
    /// What processes said in capture mode.
    ProcessCommunication = "PROCESS_COMMUNICATION" below Event,
    /// The same on standard output.
    ProcessCommunicationStdout = "PROCESS_COMMUNICATION_STDOUT" below ProcessCommunication,
    /// The same on standard error.
    ProcessCommunicationStderr = "PROCESS_COMMUNICATION_STDERR" below ProcessCommunication,
    /// What processes log, where `*_events_enabled` is on.
    ProcessLog = "PROCESS_LOG" below Event,
    /// The same on standard output.
    ProcessLogStdout = "PROCESS_LOG_STDOUT" below ProcessLog,
    /// The same on standard error.
    ProcessLogStderr = "PROCESS_LOG_STDERR" below ProcessLog,
    /// What somebody said on the bus.
    RemoteCommunication = "REMOTE_COMMUNICATION" below Event,
    /// Supervisors that come and go.
    SupervisorStateChange = "SUPERVISOR_STATE_CHANGE" below Event,
    /// One has started.
    SupervisorStateChangeRunning = "SUPERVISOR_STATE_CHANGE_RUNNING" below SupervisorStateChange,
    /// One was told to stop.
    SupervisorStateChangeStopping = "SUPERVISOR_STATE_CHANGE_STOPPING" below SupervisorStateChange,
    /// Time went by.
    Tick = "TICK" below Event,
    /// Every five seconds.
    Tick5 = "TICK_5" below Tick,
    /// Every minute.
    Tick60 = "TICK_60" below Tick,
    /// Every hour.
    Tick3600 = "TICK_3600" below Tick,
    /// Groups of processes that come and go.
    ProcessGroup = "PROCESS_GROUP" below Event,
    /// One was declared.
    ProcessGroupAdded = "PROCESS_GROUP_ADDED" below ProcessGroup,
    /// One was removed.
    ProcessGroupRemoved = "PROCESS_GROUP_REMOVED" below ProcessGroup,
}

impl EventName {
    /// Whether whoever subscribed to `above` has this one.
    pub fn is(self, above: EventName) -> bool {
        self == above || self.parent().is_some_and(|parent| parent.is(above))
    }

    /// Whether events have this name, and not only others below it.
    pub fn is_sent(self) -> bool {
        !EventName::ALL.iter().any(|other| other.parent() == Some(self))
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no name of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEvent {
    /// The word.
    pub word: String,
    /// The name that was probably meant.
    pub near: Option<EventName>,
}

impl std::error::Error for UnknownEvent {}

impl fmt::Display for UnknownEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no event of Supervisor", self.word)?;
        if let Some(near) = self.near {
            return write!(f, "; did you mean {near}?");
        }
        let parents = EventName::ALL
            .iter()
            .filter(|name| name.parent() == Some(EventName::Event) || name.parent().is_none());
        let known: Vec<&str> = parents.map(|name| name.as_str()).collect();
        write!(f, "; known are {}, and what is below them", known.join(", "))
    }
}

impl FromStr for EventName {
    type Err = UnknownEvent;

    /// Reads a name, in capitals or not, as Supervisor does.
    fn from_str(text: &str) -> Result<EventName, UnknownEvent> {
        let word = text.trim().to_ascii_uppercase();
        if let Some(name) = EventName::ALL.iter().find(|name| name.as_str() == word) {
            return Ok(*name);
        }
        let alike = |name: &EventName| {
            let whole = strsim::jaro_winkler(&word, name.as_str());
            // `EXITED` is meant as often as `PROCESS_STATE_EXITED` is misspelt.
            let tail = name.as_str().strip_suffix(&word).is_some_and(|head| head.ends_with('_'));
            if tail && !word.is_empty() { 1.0 } else { whole }
        };
        let best = EventName::ALL
            .iter()
            .map(|name| (alike(name), *name))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        Err(UnknownEvent { word: text.trim().to_owned(), near: best.map(|(_, name)| name) })
    }
}

impl Serialize for EventName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<EventName, D::Error> {
        Cow::<'_, str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for EventName {
    fn schema_name() -> Cow<'static, str> {
        "EventName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = EventName::ALL.iter().map(|name| name.as_str()).collect();
        json_schema!({
            "description": "Supervisor's name of an event, or of all that are below it.",
            "type": "string",
            "enum": names
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_has_all_that_is_below_it() {
        for name in EventName::ALL {
            assert_eq!(name.as_str().parse(), Ok(*name));
            assert!(name.is(EventName::Event));
            // The names themselves say what is below what, but for the root.
            for above in EventName::ALL.iter().filter(|above| **above != EventName::Event) {
                let longer = format!("{above}_");
                let below = name == above || name.as_str().starts_with(&longer);
                assert_eq!(name.is(*above), below, "{name} {above}");
            }
        }
        let sent = EventName::ALL.iter().filter(|name| name.is_sent()).count();
        assert_eq!((EventName::ALL.len(), sent), (27, 20));
    }

    #[test]
    fn slips_are_answered() {
        assert_eq!(" process_state ".parse(), Ok(EventName::ProcessState));
        for (slip, near) in [
            ("PROCES_STATE", Some("PROCESS_STATE")),
            ("PROCESS_STATE_EXITTED", Some("PROCESS_STATE_EXITED")),
            ("EXITED", Some("PROCESS_STATE_EXITED")),
            ("FATAL", Some("PROCESS_STATE_FATAL")),
            ("TICK_50", Some("TICK_5")),
            ("tick60", Some("TICK_60")),
            ("PROCESS_ADDED", Some("PROCESS_GROUP_ADDED")),
            ("zebra", None),
            ("", None),
        ] {
            let wrong = slip.parse::<EventName>().unwrap_err();
            assert_eq!(wrong.near.map(EventName::as_str), near, "{slip}");
        }
        let said = "zebra".parse::<EventName>().unwrap_err().to_string();
        assert!(said.contains("known are EVENT, PROCESS_STATE, PROCESS_COMM"), "{said}");
    }
}
