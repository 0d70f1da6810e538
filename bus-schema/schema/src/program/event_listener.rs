//! A program that is an event listener of Supervisor's kind (its manual, "`[eventlistener:x]`
//! Section Settings").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EventName, Facility, Problem, ProgramSpec};
use crate::lenient;

/// Most events that may wait for the answers of one listener at once: they are held in memory, and
/// an event of output has up to 64 KiB.
pub const BUFFER_SIZE_MAX: u16 = 10_000;
/// What a worker is that can run event listeners.
pub const EVENT_LISTENERS: &str = "eventlistener";
/// The only one there is.
const RESULT_HANDLER: &str = "supervisor.dispatchers:default_handler";

/// What an event listener of Supervisor's kind is given on its standard input: the events of the
/// whole fleet, from its first declaration on, each until it has answered `RESULT 2\nOK`. All
/// copies share them. An event that it fails, or that it dies with, comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["events"]))]
pub struct EventListener {
    /// Supervisor's names of the events, such as `PROCESS_STATE` (all below it), `PROCESS_STATE_EXITED`, `TICK_60`.
    /// Required.
    #[serde(deserialize_with = "lenient::list")]
    pub events: Vec<EventName>,
    /// How many events may be on their way to it at once, over all copies. The others wait on the bus, and none is
    /// ever dropped. Unset: as many as keep a fast listener busy.
    #[serde(deserialize_with = "lenient::some_number", skip_serializing_if = "Option::is_none")]
    pub buffer_size: Option<u16>,
    /// Without effect: a result of `OK` accepts an event, and every other one rejects it.
    pub result_handler: String,
}

impl Default for EventListener {
    fn default() -> EventListener {
        EventListener {
            events: Vec::new(),
            buffer_size: None,
            result_handler: RESULT_HANDLER.to_owned(),
        }
    }
}

impl ProgramSpec {
    pub(super) fn event_listener_problems(&self) -> Vec<Problem> {
        let Some(listener) = &self.eventlistener else { return Vec::new() };
        let mut found = Vec::new();
        if listener.events.is_empty() {
            let problem = Problem::new("eventlistener", "events: is missing: say which it hears");
            found.push(problem.hint("every change of state is PROCESS_STATE, everything is EVENT"));
        }
        if listener.buffer_size.is_some_and(|size| size == 0 || size > BUFFER_SIZE_MAX) {
            let message = format!("buffer_size: must be 1 to {BUFFER_SIZE_MAX}");
            found.push(Problem::new("eventlistener", message));
        }
        let mut wrong = |is: bool, key: &str, message: &str| {
            if is {
                found.push(Problem::new(key, message));
            }
        };
        wrong(
            self.redirect_stderr,
            "redirect_stderr",
            "cannot be true for an event listener: its standard output is what it answers with",
        );
        wrong(self.daemon, "daemon", "cannot be true for an event listener");
        wrong(
            self.stdin,
            "stdin",
            "cannot be true for an event listener: its standard input is where events come from",
        );
        wrong(
            self.socket.is_some(),
            "socket",
            "cannot be given to an event listener: its standard input is where events come from",
        );
        found
    }

    pub(super) fn event_listener_warnings(&self) -> Option<Problem> {
        let listener = self.eventlistener.as_ref()?;
        (listener.result_handler != RESULT_HANDLER).then(|| {
            let message = format!(
                "result_handler: {:?} has no effect: it would be Python code inside of Supervisor",
                listener.result_handler
            );
            let problem = Problem::new("eventlistener", message);
            problem.hint("a result of OK accepts an event, every other one rejects it")
        })
    }

    pub(super) fn event_listener_need(&self) -> Option<Facility> {
        self.eventlistener.is_some().then(|| EVENT_LISTENERS.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(listener: &Value, key: &str, value: Value) -> Result<ProgramSpec, String> {
        let mut keys = json!({ "command": "x", "eventlistener": listener });
        keys[key] = value;
        let all = |problems: Vec<Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        ProgramSpec::read(keys.as_object().unwrap()).map_err(all)
    }

    #[test]
    fn events_are_read_as_people_write_them() {
        let listed = json!({ "events": ["PROCESS_STATE", "TICK_60"] });
        let text = json!({ "events": "process_state,TICK_60", "buffer_size": "10" });
        let [listed, text] = [listed, text].map(|l| read(&l, "numprocs", json!(1)).unwrap());
        let events = |spec: &ProgramSpec| spec.eventlistener.clone().unwrap().events;
        assert_eq!(events(&listed), [EventName::ProcessState, EventName::Tick60]);
        assert_eq!(events(&listed), events(&text));
        assert_eq!(text.eventlistener.as_ref().unwrap().buffer_size, Some(10));
        assert_eq!(text.needs(), ["eventlistener"]);
        assert!(text.warnings().is_empty());
    }

    #[test]
    fn a_child_is_replaced_when_it_is_not_alone_any_more() {
        let of =
            |copies: u32| read(&json!({ "events": "EVENT" }), "numprocs", json!(copies)).unwrap();
        assert!(!of(1).same_child(&of(2)) && of(2).same_child(&of(5)));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let good = json!({ "events": "EVENT" });
        for (listener, key, value, said) in [
            (json!({}), "numprocs", json!(1), "events: is missing"),
            (
                json!({ "events": "PROCES_STATE" }),
                "numprocs",
                json!(1),
                "did you mean PROCESS_STATE?",
            ),
            (json!({ "events": "EVENT", "buffer_size": 0 }), "numprocs", json!(1), "1 to 10000"),
            (good.clone(), "redirect_stderr", json!(true), "redirect_stderr"),
            (good.clone(), "socket", json!("tcp://:1"), "socket"),
            (good.clone(), "stdin", json!(true), "stdin"),
            (good, "daemon", json!(true), "daemon"),
        ] {
            let wrong = read(&listener, key, value).unwrap_err();
            assert!(wrong.contains(said), "{wrong}");
        }
        let handler = json!({ "events": "EVENT", "result_handler": "my.module:handler" });
        let spec = read(&handler, "numprocs", json!(1)).unwrap();
        assert!(spec.warnings()[0].to_string().contains("has no effect"));
    }
}
