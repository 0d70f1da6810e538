//! Which events of a fleet those are that a listener subscribed to by Supervisor's names.

use dsbus_schema::filter::Filter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::program::EventName;

/// What a listener subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription(Vec<EventName>);

impl Subscription {
    /// To all of these, and what is below them.
    pub fn new(names: Vec<EventName>) -> Subscription {
        Subscription(names)
    }

    /// Whether it has this event.
    pub fn has(&self, name: EventName) -> bool {
        self.0.iter().any(|above| name.is(*above))
    }

    /// The names.
    pub fn names(&self) -> &[EventName] {
        &self.0
    }

    /// Subjects of all events that may be meant; no two hold the same event.
    pub fn subjects(&self, fleet: &FleetName) -> Vec<String> {
        let sent = EventName::ALL.iter().filter(|name| name.is_sent() && self.has(**name));
        let words: Vec<&str> = sent.flat_map(|name| words(*name)).copied().collect();
        let none: [&str; 0] = [];
        // The words are fixed, and a test reads each.
        let filter = Filter::parse(words.as_slice(), &none, &none).unwrap_or_default();
        filter.subjects(fleet)
    }
}

/// The events of a fleet that become this one of Supervisor.
fn words(name: EventName) -> &'static [&'static str] {
    match name {
        EventName::ProcessStateStarting => &["process.STARTING"],
        EventName::ProcessStateRunning => &["process.RUNNING"],
        EventName::ProcessStateBackoff => &["process.BACKOFF"],
        EventName::ProcessStateStopping => &["process.STOPPING"],
        EventName::ProcessStateExited => &["process.EXITED"],
        EventName::ProcessStateStopped => &["process.STOPPED"],
        EventName::ProcessStateFatal => &["process.FATAL"],
        EventName::ProcessStateUnknown => &["process.UNKNOWN"],
        EventName::ProcessCommunicationStdout => &["output.COMMUNICATION_STDOUT"],
        EventName::ProcessCommunicationStderr => &["output.COMMUNICATION_STDERR"],
        EventName::ProcessLogStdout => &["output.LOG_STDOUT"],
        EventName::ProcessLogStderr => &["output.LOG_STDERR"],
        EventName::RemoteCommunication => &["user"],
        EventName::SupervisorStateChangeRunning => &["worker.STARTED"],
        EventName::SupervisorStateChangeStopping => &["worker.STOPPING"],
        EventName::Tick5 => &["tick.TICK_5"],
        EventName::Tick60 => &["tick.TICK_60"],
        EventName::Tick3600 => &["tick.TICK_3600"],
        EventName::ProcessGroupAdded => &["program.ADDED", "group.ADDED"],
        EventName::ProcessGroupRemoved => &["program.REMOVED", "group.REMOVED"],
        EventName::Event
        | EventName::ProcessState
        | EventName::ProcessCommunication
        | EventName::ProcessLog
        | EventName::SupervisorStateChange
        | EventName::Tick
        | EventName::ProcessGroup => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(names: &[EventName]) -> Vec<String> {
        Subscription::new(names.to_vec()).subjects(&FleetName::default())
    }

    #[test]
    fn every_event_that_is_sent_has_subjects_of_its_own() {
        let none: [&str; 0] = [];
        let mut all = Vec::new();
        for name in EventName::ALL.iter().filter(|name| name.is_sent()) {
            let words = words(*name);
            assert!(!words.is_empty() && Filter::parse(words, &none, &none).is_ok(), "{name}");
            all.extend(subjects(&[*name]));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
        assert!(EventName::ALL.iter().all(|name| name.is_sent() != words(*name).is_empty()));
    }

    #[test]
    fn a_parent_has_the_subjects_of_what_is_below_it() {
        let event = |rest: &str| format!("dsbus.default.event.*.{rest}");
        let log = ["output.*.*.LOG_STDERR", "output.*.*.LOG_STDOUT"].map(event);
        assert_eq!(subjects(&[EventName::ProcessLog]), log);
        let exits = [EventName::ProcessStateExited, EventName::Tick60];
        let wanted = ["process.*.*.EXITED", "tick.*.*.TICK_60"].map(event);
        assert_eq!(subjects(&exits), wanted);
        let states = subjects(&[EventName::ProcessState, EventName::ProcessStateFatal]);
        assert_eq!(states.len(), 8, "{states:?}");
        assert!(!states.iter().any(|subject| subject.ends_with("PENDING")));
        let has = |above: EventName, name| Subscription::new(vec![above]).has(name);
        assert!(has(EventName::Tick, EventName::Tick5));
        assert!(!has(EventName::Tick5, EventName::Tick60));
    }
}
