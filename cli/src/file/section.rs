//! What a section of a file declares.

use dsbus_schema::program::{Problem, ProgramSpec};
use serde_json::{Map, Value};

/// What a section declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// A program.
    Program,
    /// A program too, with the keys of [`LISTENER`] beside the others, and a priority of its own.
    EventListener,
}

/// The key of a program whose table stands open in a section of an event listener.
const LISTENER: &str = "eventlistener";
/// Event listeners are started first, and stopped last, as Supervisor's are.
const LISTENER_PRIORITY: i32 = -1;

impl Section {
    /// All of them.
    pub(super) const ALL: [Section; 2] = [Section::Program, Section::EventListener];

    /// What stands before the point in its header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Program => "program",
            Section::EventListener => LISTENER,
        }
    }

    /// How it is told what it declares.
    pub(super) fn what(self) -> &'static str {
        match self {
            Section::Program => "a program",
            Section::EventListener => "an event listener",
        }
    }

    /// The one of this name.
    pub(super) fn parse(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Every key that it may have.
    pub(super) fn keys(self) -> Vec<String> {
        let mut keys = ProgramSpec::keys().to_vec();
        if self == Section::EventListener {
            keys.retain(|key| key != LISTENER);
            keys.extend(ProgramSpec::keys_inside(LISTENER));
        }
        keys
    }

    /// Its keys as those of a program.
    pub(super) fn as_program(self, mut keys: Map<String, Value>) -> Map<String, Value> {
        if self == Section::EventListener {
            let open = ProgramSpec::keys_inside(LISTENER);
            let inside = open.into_iter().filter_map(|key| keys.remove_entry(&key)).collect();
            keys.insert(LISTENER.to_owned(), Value::Object(inside));
            keys.entry("priority").or_insert_with(|| LISTENER_PRIORITY.into());
        }
        keys
    }

    /// Everything that is wrong with its keys.
    pub(super) fn problems(self, keys: &Map<String, Value>) -> Vec<Problem> {
        let read = |keys: Map<String, Value>| {
            let found = ProgramSpec::read(&self.as_program(keys)).err().unwrap_or_default();
            found.into_iter().map(|problem| self.own(problem))
        };
        let mut found: Vec<Problem> = read(keys.clone()).collect();
        // Of a table the first slip is told, and these look like keys of their own.
        for key in self.keys().into_iter().filter(|key| !ProgramSpec::keys().contains(key)) {
            let Some(value) = keys.get(&key) else { continue };
            let alone = read(Map::from_iter([(key.clone(), value.clone())]));
            let known = |problem: &Problem| found.iter().any(|told| told.key == problem.key);
            let new: Vec<Problem> = alone.filter(|p| p.key == key && !known(p)).collect();
            found.extend(new);
        }
        found
    }

    /// A problem of the program as one of this section.
    fn own(self, mut problem: Problem) -> Problem {
        if self == Section::EventListener
            && problem.key == LISTENER
            && let Some((inside, message)) = problem.message.split_once(": ")
        {
            (problem.key, problem.message) = (inside.to_owned(), message.to_owned());
        }
        problem
    }
}
