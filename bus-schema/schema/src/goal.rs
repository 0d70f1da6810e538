//! What people want now. Everything that was commanded is here and nowhere else, so that a
//! placement can be lost without losing a command (DESIGN.md section 5, rule 9).

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Epoch, UserName, WorkerName};
use crate::moment::Timestamp;
use crate::worker::Refusal;

/// How many answered commands a goal remembers, so that a retry acts once.
pub const COMMANDS_MAX: usize = 64;

/// What an instance should do, as its placement carries it and as its status echoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Run, or stay stopped.
    pub run: bool,
    /// How many starts were asked for: a greater number starts an instance that does not run, and
    /// leaves one that does alone.
    #[serde(default)]
    pub starts: u64,
    /// How many restarts were asked for: a greater number stops and starts the child.
    #[serde(default)]
    pub restarts: u64,
    /// How many reloads were asked for: a greater number reloads the child, where there is one. A
    /// status echoes it when the reload has ended; see [`crate::status::RELOAD_FAILED`].
    #[serde(default)]
    pub reloads: u64,
}

/// A command that was answered, kept so that the same id is answered the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answered {
    /// The command's id.
    pub id: Uuid,
    /// Its verb.
    pub verb: String,
    /// Who sent it; nobody, when a scheduler decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// When it acted, in seconds since 1970 by the clock of NATS: whether it is so recent that it may
    /// not be in the audit log yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
}

/// Who sent a command, and when it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender<'a> {
    /// Who.
    pub by: &'a UserName,
    /// When, in seconds since 1970 by the clock of NATS.
    pub at: i64,
}

/// Arguments that were given with a start, after those of the declaration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Arguments {
    /// The words.
    pub words: Vec<String>,
    /// Of which start: how many starts and restarts had been asked for, with this one. Of an
    /// instance's goal those of its program's goal are counted in.
    pub of: u64,
}

/// Most workers of which a goal remembers that they refused: after so many, nobody else is asked
/// until a person asks for something new. It bounds the goal's size.
pub const REFUSED_MAX: usize = 256;

/// A worker that refused to run an instance. It is not asked again while it has the same policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RefusedBy {
    /// Which.
    pub worker: WorkerName,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Why, and by which policy.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// Goal of a program (key `<program>._all`) or of one instance (key `<program>.<index>`). Of the
/// two, the one with the greater stamp says whether the instance runs; the counters add up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Goal {
    /// Run, or stay stopped.
    pub run: bool,
    /// Grows with every command that changes `run`; greater than every stamp it overrules.
    pub stamp: u64,
    /// See [`Wanted::starts`].
    #[serde(default)]
    pub starts: u64,
    /// See [`Wanted::restarts`].
    #[serde(default)]
    pub restarts: u64,
    /// See [`Wanted::reloads`].
    #[serde(default)]
    pub reloads: u64,
    /// Workers on which this instance ended FATAL since the last start that a person asked for.
    #[serde(default)]
    pub failed_on: Vec<WorkerName>,
    /// How often it ended FATAL since then.
    #[serde(default)]
    pub fails: u32,
    /// The epoch of the last failure counted, so that each counts once.
    #[serde(default)]
    pub failed_epoch: Epoch,
    /// How often a person had asked for something new (starts, restarts and revisions, added up)
    /// when `fails` began to count: a later request begins a new count.
    #[serde(default)]
    pub fails_since: u64,
    /// Workers that refused to run it since a person last asked for something new; one entry for
    /// each, at most [`REFUSED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedBy>,
    /// As `fails_since`, for `refused`.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub refused_since: u64,
    /// The last restart that was asked for is a rolling one: instances are restarted one after the
    /// other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolling: bool,
    /// It refuses to be started; `run` is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// It is to leave the place that it has under this epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leave: Epoch,
    /// What the last start or restart was given besides the declared command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Arguments>,
    /// Of a program with a schedule: the due time of the last run that was fired or skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_due: Option<Timestamp>,
    /// The commands that acted on this goal.
    #[serde(default)]
    pub commands: Commands,
}

impl Goal {
    /// How many starts and restarts it has asked for.
    pub fn asked(&self) -> u64 {
        self.starts.saturating_add(self.restarts)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none_yet(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(epoch: &Epoch) -> bool {
    epoch.0 == 0
}

/// The last commands that acted on a record, newest last; at most [`COMMANDS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Commands(VecDeque<Answered>);

impl Commands {
    /// Whether the command with this id has already acted here.
    pub fn has_acted(&self, id: Uuid) -> bool {
        self.0.iter().any(|c| c.id == id)
    }

    /// The id of the last command that acted here.
    pub fn last(&self) -> Option<Uuid> {
        self.latest().map(|c| c.id)
    }

    /// The last command that acted here.
    pub fn latest(&self) -> Option<&Answered> {
        self.0.back()
    }

    /// The commands that acted here since it was as `before`, oldest first.
    pub fn since<'a>(&'a self, before: &'a Commands) -> impl Iterator<Item = &'a Answered> {
        self.0.iter().filter(|answered| !before.has_acted(answered.id))
    }

    /// The commands of people that acted here at that time or later, oldest first.
    pub fn recent(&self, since: i64) -> impl Iterator<Item = &Answered> {
        self.0.iter().filter(move |answered| answered.at.is_some_and(|at| at >= since))
    }

    /// Remembers that the command acted here; a scheduler's own decision has no sender.
    pub fn remember(&mut self, id: Uuid, verb: &str, sender: Option<Sender<'_>>) {
        if self.0.len() >= COMMANDS_MAX {
            self.0.pop_front();
        }
        let (by, at) = (sender.map(|s| s.by.clone()), sender.map(|s| s.at));
        self.0.push_back(Answered { id, verb: verb.to_owned(), by, at });
    }
}

/// What one instance should do, from its program's goal and its own; `autostart` decides when
/// nobody has commanded anything yet.
pub fn wanted(all: Option<&Goal>, one: Option<&Goal>, autostart: bool) -> Wanted {
    let run = match decisive(all, one) {
        None => autostart,
        Some((goal, _)) => goal.run,
    };
    let disabled = all.into_iter().chain(one).any(|goal| goal.disabled);
    let sum = |f: fn(&Goal) -> u64| all.map_or(0, f) + one.map_or(0, f);
    Wanted {
        run: run && !disabled,
        starts: sum(|g| g.starts),
        restarts: sum(|g| g.restarts),
        reloads: sum(|g| g.reloads),
    }
}

/// The goal of the last command, and how many starts and restarts the other one adds to it.
fn decisive<'a>(all: Option<&'a Goal>, one: Option<&'a Goal>) -> Option<(&'a Goal, u64)> {
    // A goal with stamp 0 only counts failures: nobody has commanded anything by it.
    let commanded = |goal: &&Goal| goal.stamp > 0;
    match (all.filter(commanded), one.filter(commanded)) {
        (None, None) => None,
        (Some(all), Some(one)) if all.stamp <= one.stamp => Some((one, all.asked())),
        (Some(all), _) => Some((all, 0)),
        (None, Some(one)) => Some((one, all.map_or(0, Goal::asked))),
    }
}

/// The arguments that an instance was started with, besides those of its declaration. They are gone
/// with the next start that has none, also with one that a schedule asks for.
pub fn arguments<'a>(all: Option<&'a Goal>, one: Option<&'a Goal>) -> &'a [String] {
    let given = decisive(all, one).and_then(|(goal, others)| {
        goal.arguments.as_ref().filter(|given| given.of == goal.asked() + others)
    });
    given.map_or(&[], |given| &given.words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(run: bool, stamp: u64, starts: u64, restarts: u64) -> Goal {
        Goal { run, stamp, starts, restarts, ..Goal::default() }
    }

    #[test]
    fn the_latest_command_decides() {
        let w = |all: Option<&Goal>, one: Option<&Goal>| wanted(all, one, true).run;
        assert!(w(None, None));
        assert!(!wanted(None, None, false).run);
        assert!(!w(Some(&goal(false, 1, 0, 0)), None));
        // stop web:0, then start web, then stop web:0 again
        assert!(!w(Some(&goal(true, 1, 0, 0)), Some(&goal(false, 2, 0, 0))));
        assert!(w(Some(&goal(true, 3, 0, 0)), Some(&goal(false, 2, 0, 0))));
        assert!(!w(Some(&goal(true, 3, 0, 0)), Some(&goal(false, 4, 0, 0))));
    }

    #[test]
    fn what_is_disabled_does_not_run() {
        let off = |stamp| Goal { disabled: true, ..goal(false, stamp, 0, 0) };
        let (on, late) = (goal(true, 1, 0, 0), goal(true, 3, 0, 0));
        assert!(!wanted(Some(&off(2)), Some(&late), true).run);
        assert!(!wanted(Some(&late), Some(&off(2)), true).run, "a start of all leaves it out");
        assert!(wanted(Some(&late), Some(&on), true).run);
    }

    #[test]
    fn arguments_are_those_of_the_last_start() {
        let given = |words: &str, of, goal: Goal| {
            let words = vec![words.to_owned()];
            Goal { arguments: Some(Arguments { words, of }), ..goal }
        };
        let said = |all: Option<&Goal>, one: Option<&Goal>| arguments(all, one).join(" ");
        let (all, one) = (given("-a", 2, goal(true, 5, 1, 1)), given("-o", 5, goal(true, 6, 3, 0)));
        assert_eq!(said(None, None), "");
        assert_eq!(said(Some(&all), None), "-a");
        assert_eq!(said(Some(&all), Some(&one)), "-o", "3 and those 2 of the program");
        assert_eq!(said(Some(&all), Some(&goal(false, 0, 9, 0))), "-a", "nobody commanded by it");
        // A schedule fires: no new stamp, one more start.
        let fired = Goal { starts: 2, ..all.clone() };
        assert_eq!(said(Some(&fired), None), "");
        assert_eq!(said(Some(&fired), Some(&one)), "");
        // A plain start of all is the last word.
        let plain = Goal { arguments: None, stamp: 7, starts: 2, ..all };
        assert_eq!(said(Some(&plain), Some(&one)), "");
    }

    #[test]
    fn counters_add_up() {
        let w = wanted(Some(&goal(true, 1, 2, 1)), Some(&goal(true, 2, 1, 4)), true);
        assert_eq!((w.starts, w.restarts), (3, 5));
    }

    #[test]
    fn only_the_last_commands_are_remembered() {
        let mut g = Commands::default();
        for n in 0..100u128 {
            g.remember(Uuid::from_u128(n), "start", None);
        }
        assert_eq!(g.0.len(), COMMANDS_MAX);
        assert!(!g.has_acted(Uuid::from_u128(35)) && g.has_acted(Uuid::from_u128(36)));
    }
}
