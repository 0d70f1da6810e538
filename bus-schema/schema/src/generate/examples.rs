//! Examples: what a real fleet said once (`./run catalogue` records it), and golden messages for
//! what could not be recorded.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::Source;
use crate::event::{Event, Kind};
use crate::ids::WorkerName;

/// Files of examples, by their paths inside `bus-schema/`.
#[derive(Debug, Default)]
pub struct Examples(BTreeMap<String, String>);

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Exchange {
    /// Where it was asked.
    pub subject: String,
    /// What was asked; nothing is an empty body.
    pub request: Value,
    /// Headers of the answer, where they say something.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// What was answered.
    pub answer: Value,
}

/// A key of a bucket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Kept {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// What stood there.
    pub value: Value,
}

/// A TYPE of which no example is recorded.
#[derive(Debug)]
pub struct Unrecorded {
    /// Its kind.
    pub kind: Kind,
    /// The TYPE.
    pub name: &'static str,
    /// Why not.
    pub why: &'static str,
    /// The golden message that is shown instead.
    pub golden: &'static str,
}

/// All TYPEs of which no example is recorded.
pub const UNRECORDED: &[Unrecorded] = &[
    Unrecorded {
        kind: Kind::Process,
        name: "UNKNOWN",
        why: "it is reserved, and nobody tells it",
        golden: "event-process-unknown",
    },
    Unrecorded {
        kind: Kind::Notice,
        name: "OOM_KILL",
        why: "it needs a machine whose cgroups count memory",
        golden: "event-notice-oom",
    },
    Unrecorded {
        kind: Kind::Notice,
        name: "DOES_NOT_DIE",
        why: "it needs a process that hangs in the kernel",
        golden: "event-notice-immortal",
    },
    Unrecorded {
        kind: Kind::Scheduler,
        name: "EVENTS_DROPPED",
        why: "it needs a bus that is away for longer than schedulers remember",
        golden: "event-scheduler-dropped",
    },
    Unrecorded {
        kind: Kind::Tick,
        name: "TICK_3600",
        why: "it needs a full hour to begin meanwhile",
        golden: "event-tick-hour",
    },
];

impl Examples {
    /// Examples of files, whose paths are inside `bus-schema/`.
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Examples {
        Examples(files.into_iter().collect())
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Option<T> {
        serde_json::from_str(self.0.get(path)?).ok()
    }

    /// An event that was recorded.
    pub fn event(&self, kind: Kind, name: &str) -> Option<Event> {
        self.read(&event_path(kind, name))
    }

    /// The golden message that stands for an event.
    pub fn golden(&self, unrecorded: &Unrecorded) -> Option<Event> {
        self.read(&format!("golden/v1/{}.json", unrecorded.golden))
    }

    /// The events of a kind that were recorded, in the order of its TYPEs; of users all.
    pub fn events(&self, kind: Kind) -> Vec<Event> {
        if kind == Kind::User {
            let start = event_path(kind, "").replace(".json", "");
            let all = self.0.keys().filter(|path| path.starts_with(&start));
            return all.filter_map(|path| self.read(path)).collect();
        }
        kind.types().iter().filter_map(|info| self.event(kind, info.name)).collect()
    }

    /// A command and its answer: `apply`, or `refused`.
    pub fn command(&self, name: &str) -> Option<Exchange> {
        self.read(&format!("examples/commands/{name}.json"))
    }

    /// A call to a worker and its answer.
    pub fn call(&self, name: &str) -> Option<Exchange> {
        self.read(&format!("examples/calls/{name}.json"))
    }

    /// A key and what stood there.
    pub fn key(&self, name: &str) -> Option<Kept> {
        self.read(&format!("examples/keys/{name}.json"))
    }
}

/// Where the example of an event is.
pub fn event_path(kind: Kind, name: &str) -> String {
    format!("examples/events/{}.{name}.json", kind.name())
}

/// Who told an event.
pub(super) fn source(event: &Event) -> Source {
    match event.source.rsplit('/').next().unwrap_or_default() {
        "_user" => Source::User,
        "_listener" => Source::Listener,
        name => WorkerName::parse(name).map_or(Source::Fleet, Source::Worker),
    }
}
