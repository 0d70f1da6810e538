//! The TYPEs of each kind, and when each is told.

/// A TYPE of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeInfo {
    /// Its name: the last token of the subject.
    pub name: &'static str,
    /// When it is told, for people.
    pub when: &'static str,
}

const fn on(name: &'static str, when: &'static str) -> TypeInfo {
    TypeInfo { name, when }
}

pub(super) const PROCESS: &[TypeInfo] = &[
    on("PENDING", "No worker can take the instance; `reason` says why each of them cannot."),
    on("STARTING", "A child was started. It counts as RUNNING when it has lived for `startsecs`."),
    on("RUNNING", "The child has lived for `startsecs`, and is ready where the program asks that."),
    on("BACKOFF", "A start failed, or the child ended too early; another try follows."),
    on("STOPPING", "The child was asked to stop."),
    on("STOPPED", "The child has ended because it was asked to."),
    on(
        "EXITED",
        "The child ended by itself. `expected` says whether its exit is one of `exitcodes`; \
         `autorestart` decides whether STARTING follows.",
    ),
    on("FATAL", "All tries to start it have failed: on this worker, or (told by `_fleet`) on all."),
    on(
        "UNKNOWN",
        "Reserved: an instance whose worker is lost is shown as UNKNOWN by `dsbus status`; \
         what is told is `worker.LOST`.",
    ),
];

pub(super) const PLACEMENT: &[TypeInfo] = &[
    on("PLACED", "The instance has a place where it had none."),
    on(
        "MOVED",
        "It was moved to another worker; `reason` says why, `epoch` is greater than before.",
    ),
    on("REMOVED", "Its place was taken away: its program was removed or scaled down, or it rests."),
];

pub(super) const WORKER: &[TypeInfo] = &[
    on("STARTED", "Its supervisor and its first agent have started, and it is on the bus."),
    on(
        "AGENT_STARTED",
        "Its agent was replaced beside a supervisor that lives; no child was touched.",
    ),
    on("STOPPING", "It was told to stop, and stops its children."),
    on("STOPPED", "It has stopped; no child is left."),
    on("LOST", "Its lease ran out and it answers nobody: its instances are moved."),
    on(
        "AWAITED",
        "It would be lost, but so many workers are silent at once that all are given more time.",
    ),
    on("BACK", "It is back after it was lost."),
    on(
        "FENCED",
        "A lease was not renewed in time: an exclusive child was stopped at its deadline.",
    ),
    on(
        "SECRET_CHANGED",
        "A secret that programs there use was set, or taken away; `reason` says which. The next start of each of them has it.",
    ),
    on(
        "UPGRADED",
        "Another version took its place without a stop; no child was touched. `reason` says from which version to which.",
    ),
    on(
        "UPGRADE_FAILED",
        "Another version was to take its place and cannot; `reason` says why. The one that ran goes on, and no child was touched.",
    ),
    on("NAME_TAKEN", "Another worker holds its name; this one ends."),
    on(
        "EVENTS_DROPPED",
        "The bus was away for so long that events had to be dropped; `dropped` says how many.",
    ),
    on(
        "EVENTS_UNSAVED",
        "Events that wait for the bus cannot be written to the worker's disk, and would be lost \
         with its process.",
    ),
    on("REFUSED", "It was told to run something that it must not, and does not."),
    on("CORDONED", "Somebody asked that it takes no new instances."),
    on("DRAINING", "Somebody asked that it gives its instances away."),
    on("DRAINED", "It is draining, and has no instance any more; once for each drain."),
    on("UNCORDONED", "It takes instances again."),
];

pub(super) const NOTICE: &[TypeInfo] = &[
    on("HOOK_DONE", "A hook (`pre_start`, ...) ended well."),
    on("HOOK_FAILED", "A hook could not be started, or ended badly."),
    on("HOOK_TIMED_OUT", "A hook took longer than its timeout, and was killed."),
    on("PROBE_FAILED", "`readiness` or `liveness` was answered badly."),
    on("OOM_KILL", "The kernel killed a process of it, because its memory ran out."),
    on("RELOADED", "It was asked by a signal to read its configuration anew."),
    on("RELOAD_STARTED", "A reload began that starts a new child before it stops the old one."),
    on(
        "RELOAD_SWITCHED",
        "The new child of a reload is RUNNING, and the old one is being stopped.",
    ),
    on("RELOAD_FAILED", "The new child of a reload failed; the old one stays."),
    on("BINARY_CHANGED", "Its executable file changed, and the program asks that this is told."),
    on("RECYCLED", "Its child was older than `max_age`: it is stopped, and another one started."),
    on("OUTPUT_LOST", "Its output cannot be written; what is lost is counted."),
    on(
        "OUTPUT_WRITTEN_AGAIN",
        "Its output is written again; `reason` says how many bytes were lost.",
    ),
    on("DOES_NOT_DIE", "A process of it does not die of SIGKILL."),
    on("SIGNALLED", "Somebody sent it a signal (`dsbus signal`): `signal` says which, `by` who."),
    on("STDIN_CLOSED", "Somebody closed its standard input: `by` says who."),
];

pub(super) const OUTPUT: &[TypeInfo] = &[
    on("LOG_STDOUT", "Standard output, where `stdout_events_enabled` is on."),
    on("LOG_STDERR", "Standard error, where `stderr_events_enabled` is on."),
    on("COMMUNICATION_STDOUT", "What stood on standard output between the marks of capture mode."),
    on("COMMUNICATION_STDERR", "What stood on standard error between the marks of capture mode."),
];

pub(super) const ROLLOUT: &[TypeInfo] = &[
    on("STARTED", "A change was declared that needs new children."),
    on("PAUSED", "Somebody paused it."),
    on("RESUMED", "Somebody let it go on."),
    on("PROMOTED", "The canaries were found good: the others follow."),
    on("FAILED", "A changed instance ended FATAL: nothing more is changed."),
    on("REVERTED", "It goes back to the declaration before."),
    on("DONE", "Every instance is changed."),
];

pub(super) const PROGRAM: &[TypeInfo] = &[
    on("ADDED", "It was declared for the first time."),
    on("CHANGED", "It was declared otherwise: its revision grew. `changed` names the keys."),
    on("REMOVED", "It was removed; its instances are stopped."),
];

pub(super) const GROUP: &[TypeInfo] = &[
    on("ADDED", "Its first program was declared."),
    on("REMOVED", "Its last program was removed."),
    on("OK", "Every member that should run does, after some did not."),
    on("DEGRADED", "A member has failed that is not required: a minor failure."),
    on("FAILED", "A required member has failed: a major failure."),
];

pub(super) const COMMAND: &[TypeInfo] = &[
    on("ACCEPTED", "A command that changes something was written, and answered with success."),
    on(
        "REFUSED",
        "A command that would change something was refused: nothing was written, unless its `code` is \
         503, the bus: then that is not known.",
    ),
];

pub(super) const SCHEDULER: &[TypeInfo] = &[
    on("JOINED", "It knows all that is on the bus, and answers commands."),
    on("LEFT", "It was told to stop."),
    on("LOST", "Its lease ran out, and it did not come back; the others go on."),
    on(
        "EVENTS_DROPPED",
        "Events could not be stored for so long that some had to be dropped; they are counted.",
    ),
];

pub(super) const TICK: &[TypeInfo] = &[
    on("TICK_5", "Every 5 s, once in the fleet."),
    on("TICK_60", "Every minute, once in the fleet."),
    on("TICK_3600", "Every hour, once in the fleet."),
];

pub(super) const LISTENER: &[TypeInfo] = &[
    on(
        "UNKNOWN",
        "It left the protocol of event listeners, and is started anew; its event comes again.",
    ),
    on("DIED", "It ended while it had an event, which comes again."),
    on("REJECTED", "It has rejected an event (`RESULT FAIL`) several times; it comes again."),
    on("ACCEPTED", "It has taken an event that it had rejected before."),
    on("DEAD_LETTER", "Something could not be delivered, and is kept among the dead letters."),
    on(
        "DROPPED",
        "Events that an alert was to tell belong to no rule any more, because its file has changed; `count` says how many.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::{JsonSchema, schema_for};
    use serde_json::Value;

    use super::super::{
        Fact, GroupChange, Kind, ListenerChange, Notice, Period, PlacementChange, ProgramChange,
        SchedulerChange, Verdict, WorkerChange,
    };
    use crate::rollout::RolloutChange;
    use crate::state::State;

    /// The values of an enumeration, as its JSON Schema lists them: none can be forgotten.
    fn values<T: JsonSchema>() -> BTreeSet<String> {
        fn collect(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("const").and_then(Value::as_str).map(str::to_owned));
                    let listed = map.get("enum").and_then(Value::as_array);
                    found.extend(
                        listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
                    );
                    map.values().for_each(|value| collect(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        collect(&schema_for!(T).to_value(), &mut found);
        found
    }

    #[test]
    fn every_type_of_every_kind_is_listed_and_said_in_a_sentence() {
        for kind in Kind::ALL {
            let wanted = match kind {
                Kind::Process => values::<State>(),
                Kind::Placement => values::<PlacementChange>(),
                Kind::Worker => values::<WorkerChange>(),
                Kind::Notice => values::<Notice>(),
                Kind::Output => ["LOG", "COMMUNICATION"]
                    .iter()
                    .flat_map(|kind| {
                        ["STDOUT", "STDERR"].map(|channel| format!("{kind}_{channel}"))
                    })
                    .collect(),
                Kind::Rollout => values::<RolloutChange>(),
                Kind::Program => values::<ProgramChange>(),
                Kind::Group => values::<GroupChange>(),
                Kind::Command => values::<Verdict>(),
                Kind::Scheduler => values::<SchedulerChange>(),
                Kind::Tick => values::<Period>(),
                Kind::User => BTreeSet::new(),
                Kind::Listener => values::<ListenerChange>(),
            };
            let listed = kind.types().iter().map(|info| info.name.to_owned());
            assert_eq!(listed.collect::<BTreeSet<_>>(), wanted, "{}", kind.name());
            assert!(kind.about().ends_with(['.', '>']), "{}", kind.name());
            for info in kind.types() {
                assert!(info.when.ends_with('.'), "{}: {}", info.name, info.when);
            }
        }
    }

    #[test]
    fn the_kinds_are_those_of_the_facts() {
        let schema = schema_for!(Fact).to_value();
        let facts = schema["oneOf"].as_array().unwrap().iter();
        let kinds = facts.map(|fact| fact["properties"]["kind"]["const"].as_str().unwrap());
        assert_eq!(kinds.collect::<Vec<_>>(), Kind::ALL.map(Kind::name));
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
    }

    #[test]
    fn no_word_is_a_kind_and_a_type() {
        for info in Kind::ALL.iter().flat_map(|kind| kind.types()) {
            assert_eq!(Kind::parse(&info.name.to_lowercase()), None, "{}", info.name);
        }
    }
}
