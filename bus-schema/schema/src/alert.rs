//! What `dsbus alert` keeps on the bus, so that another one can go on where one ended: groups of
//! events that are not told yet, letters that are on their way, and letters that could not be
//! delivered.
//!
//! Several sets of rules may run in one fleet, each under a name of its own, which begins its keys.

mod names;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Event;
use crate::ids::ProgramName;
use crate::moment::Timestamp;

pub use names::{RuleName, TargetName};

/// Whose letters and groups these are: one set of rules, which one of several processes works at.
pub type AlertName = ProgramName;

/// An event, and its place in the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertEvent {
    /// Sequence in the stream of events.
    pub seq: u64,
    /// The event; long texts in it are cut.
    pub event: Event,
}

/// What is known of one group of a rule: events that are told together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertGroup {
    /// The rule.
    pub rule: RuleName,
    /// What its events have in common, by the words of `group_by`.
    pub labels: BTreeMap<String, String>,
    /// Sequences of the last events that went into it, for daemons that know events by these: others
    /// have the same where the stream was made anew.
    pub seqs: Vec<u64>,
    /// Ids of the same events, where whoever wrote this knows events by their ids: one that comes
    /// again is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Uuid>,
    /// When something was last told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Timestamp>,
    /// When its last events were stored, oldest first: as many as flapping is counted by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Timestamp>,
    /// What there is to tell.
    pub stage: AlertStage,
}

/// What there is to tell of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum AlertStage {
    /// Nothing.
    Quiet,
    /// Events, at `due`.
    Waiting {
        /// When they are told.
        due: Timestamp,
        /// What waits.
        bundle: AlertBundle,
    },
    /// It is told that it flaps; what comes is only counted.
    Flapping {
        /// When it is calm again, if nothing more comes.
        due: Timestamp,
        /// What came since it was told.
        bundle: AlertBundle,
    },
}

/// Events that are told together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AlertBundle {
    /// How many there are.
    pub count: u64,
    /// When the first of them happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// The last ones, oldest first.
    pub events: Vec<AlertEvent>,
}

/// How often a rule has told something, where that is limited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AlertRate {
    /// When it did, within the time of the limit, oldest first.
    pub told: Vec<Timestamp>,
    /// Messages that were over the limit, and are told of in the next one.
    #[serde(default)]
    pub held: u64,
    /// The events that would have been in them.
    #[serde(default)]
    pub bundle: AlertBundle,
}

/// Why something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewsKind {
    /// Events happened.
    Events,
    /// Events come so often that only their number is told from now on.
    Flapping,
    /// They no longer do.
    Calm,
    /// Messages were over the limit of the rule, and it allows one again.
    Held,
    /// Somebody tries whether it arrives.
    Test,
}

impl NewsKind {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            NewsKind::Events => "events",
            NewsKind::Flapping => "flapping",
            NewsKind::Calm => "calm",
            NewsKind::Held => "held",
            NewsKind::Test => "test",
        }
    }
}

/// What a rule has to tell; it becomes one letter to each of its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct News {
    /// Id, the same in every letter and every try: who gets it twice can see that.
    pub id: Uuid,
    /// The rule.
    pub rule: RuleName,
    /// Why it is told.
    pub kind: NewsKind,
    /// When it was written.
    pub made: Timestamp,
    /// What its events have in common, by the words of `group_by`.
    pub labels: BTreeMap<String, String>,
    /// Its events.
    pub bundle: AlertBundle,
    /// Messages of the rule before this one that were over its limit.
    #[serde(default)]
    pub held: u64,
    /// Events in those.
    #[serde(default)]
    pub held_events: u64,
}

/// A message to one target, on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    /// Where it goes.
    pub target: TargetName,
    /// To which recipient of the target, where it has several: each has a letter of its own, so that
    /// none waits for another, nor misses what another one refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When it was posted: from then on counts how long it is tried.
    pub posted: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it says.
    pub news: News,
}

/// A letter that could not be delivered, and is no longer tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// When it was given up.
    pub died: Timestamp,
    /// Why.
    pub why: String,
    /// The letter.
    pub letter: Letter,
    /// Whether the event about it is stored, or there is none to be. Left out where it is so.
    #[serde(default = "so", skip_serializing_if = "is_so")]
    pub told: bool,
}

/// What those who do not know of `told` have written was told, or never will be.
fn so() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_so(so: &bool) -> bool {
    *so
}

/// Dead letters of which only the number is left: the oldest make room for new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LostLetters {
    /// How many.
    pub count: u64,
}

/// Who works at a set of rules; a lease, whose key has a TTL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertLease {
    /// Which process: made up anew at each start.
    pub id: Uuid,
    /// Its machine, for people.
    pub host: String,
    /// Its process id there, for people.
    pub pid: u32,
}
