//! Buckets and streams, as data. The client creates them; whoever comes later checks them.

use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use crate::alert::{AlertName, RuleName};
use crate::ids::{
    FleetName, InstanceId, NAME_LEN_MAX, ProgramId, ProgramName, SecretName, WorkerName,
};

/// How long NATS keeps the marker that an expired key leaves behind. Schedulers look at all leases
/// anyway at start and every 30 s; the marker is what makes them quick.
pub const MARKER_TTL: Duration = Duration::from_secs(3600);
/// How long events are kept.
pub const EVENTS_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How many bytes of events are kept.
pub const EVENTS_BYTES_MAX: i64 = 1 << 30;
/// Within this time NATS drops an event that it has already; later, readers drop it by its id.
pub const EVENTS_DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
/// Revisions of a program that are kept; NATS KV allows no more (ADR-8).
pub const PROGRAM_HISTORY: u8 = 64;

/// Revisions of a goal that are kept: what an answer that somebody aimed at its key has displaced is
/// written again from them. More than one, since it can be aimed again before that is done.
pub const GOAL_HISTORY: u8 = 8;

/// Header of every write of a scheduler: its id. Whoever sees the entry knows by it who is to tell of
/// it, and tells in its place when it is lost.
pub const HEADER_SCHEDULER: &str = "Dsbus-Scheduler";

/// A KV bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// What was declared; read by schedulers only.
    Programs,
    /// What people want now.
    Goals,
    /// Placements and touches: they share a stream, so that a move can be guarded by both.
    Fleet,
    /// Workers about themselves.
    Workers,
    /// Last known states.
    Status,
    /// What alerts have not told yet, and what of it could not be delivered.
    Alerts,
    /// Secrets, each sealed to the worker that it is for.
    Secrets,
}

/// How a bucket is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRules {
    /// Revisions kept per key.
    pub history: u8,
    /// Keys may have a TTL of their own, and leave a marker when they expire. Needs history 1:
    /// else the marker's TTL is a floor for every TTL, and an expiry brings the older value back.
    pub ttl: bool,
    /// Atomic batches.
    pub batch: bool,
}

impl Bucket {
    /// All of them.
    pub const ALL: [Bucket; 7] = [
        Bucket::Programs,
        Bucket::Goals,
        Bucket::Fleet,
        Bucket::Workers,
        Bucket::Status,
        Bucket::Alerts,
        Bucket::Secrets,
    ];
    /// Those that schedulers decide by.
    pub const STATE: [Bucket; 5] =
        [Bucket::Programs, Bucket::Goals, Bucket::Fleet, Bucket::Workers, Bucket::Status];

    fn word(self) -> &'static str {
        match self {
            Bucket::Programs => "programs",
            Bucket::Goals => "goals",
            Bucket::Fleet => "fleet",
            Bucket::Workers => "workers",
            Bucket::Status => "status",
            Bucket::Alerts => "alerts",
            Bucket::Secrets => "secrets",
        }
    }

    /// The bucket's name: `dsbus_goals`, or `dsbus_<fleet>_goals` unless the fleet is the default.
    pub fn name(self, fleet: &FleetName) -> String {
        if fleet.is_default() {
            format!("dsbus_{}", self.word())
        } else {
            format!("dsbus_{fleet}_{}", self.word())
        }
    }

    /// The stream behind it.
    pub fn stream(self, fleet: &FleetName) -> String {
        format!("KV_{}", self.name(fleet))
    }

    /// The subject of a key, or of keys when it has wildcards.
    pub fn subject(self, fleet: &FleetName, key: &str) -> String {
        format!("$KV.{}.{key}", self.name(fleet))
    }

    /// How it is configured.
    pub fn rules(self) -> BucketRules {
        match self {
            Bucket::Programs => BucketRules { history: PROGRAM_HISTORY, ttl: false, batch: true },
            Bucket::Goals => BucketRules { history: GOAL_HISTORY, ttl: false, batch: true },
            Bucket::Fleet => BucketRules { history: 1, ttl: true, batch: true },
            Bucket::Workers => BucketRules { history: 1, ttl: false, batch: false },
            Bucket::Status => BucketRules { history: 1, ttl: false, batch: false },
            Bucket::Alerts => BucketRules { history: 1, ttl: true, batch: true },
            Bucket::Secrets => BucketRules { history: 1, ttl: false, batch: false },
        }
    }
}

/// The stream of events: `DSBUS_EVENTS`, or `DSBUS_EVENTS_<fleet>`.
pub fn events_stream(fleet: &FleetName) -> String {
    if fleet.is_default() { "DSBUS_EVENTS".to_owned() } else { format!("DSBUS_EVENTS_{fleet}") }
}

/// What a server answers by itself: who somebody is to it.
pub const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// A key of the fleet bucket, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetKey {
    /// `<worker>.<program>.<index>`.
    Placement(WorkerName, InstanceId),
    /// `<worker>._touch.<seconds>`.
    Touch(WorkerName, u64),
    /// `_scheduler.<id>`.
    Scheduler(String),
}

impl FleetKey {
    /// Reads a key; `None` for one that is not ours.
    pub fn parse(key: &str) -> Option<FleetKey> {
        let tokens: Vec<&str> = key.split('.').collect();
        match tokens.as_slice() {
            ["_scheduler", id] => Some(FleetKey::Scheduler((*id).to_owned())),
            [worker, "_touch", seconds] => {
                Some(FleetKey::Touch(WorkerName::parse(worker).ok()?, number(seconds)?))
            }
            _ => parse_instance_key(key).map(|(w, i)| FleetKey::Placement(w, i)),
        }
    }
}

/// A key of the alerts bucket. Before it stands the name of the set of rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKey {
    /// `<name>.lease`: who works at it.
    Lease,
    /// `<name>.group.<rule>.<id>`; the id is made of what the group's events have in common.
    Group(RuleName, Uuid),
    /// `<name>.rate.<rule>`.
    Rate(RuleName),
    /// `<name>.letter.<id>`.
    Letter(Uuid),
    /// `<name>.dead.<id>`: a letter that could not be delivered.
    Dead(Uuid),
    /// `<name>.lost`: how many of those are gone.
    Lost,
}

impl AlertKey {
    /// As text.
    pub fn of(&self, name: &AlertName) -> String {
        match self {
            AlertKey::Lease => format!("{name}.lease"),
            AlertKey::Group(rule, id) => format!("{name}.group.{rule}.{}", id.simple()),
            AlertKey::Rate(rule) => format!("{name}.rate.{rule}"),
            AlertKey::Letter(id) => format!("{name}.letter.{}", id.simple()),
            AlertKey::Dead(id) => format!("{name}.dead.{}", id.simple()),
            AlertKey::Lost => format!("{name}.lost"),
        }
    }

    /// Reads a key; `None` for one that is not ours.
    pub fn parse(key: &str) -> Option<(AlertName, AlertKey)> {
        let tokens: Vec<&str> = key.split('.').collect();
        let (name, rest) = tokens.split_first()?;
        let key = match rest {
            ["lease"] => AlertKey::Lease,
            ["group", rule, id] => AlertKey::Group(RuleName::parse(rule).ok()?, simple(id)?),
            ["rate", rule] => AlertKey::Rate(RuleName::parse(rule).ok()?),
            ["letter", id] => AlertKey::Letter(simple(id)?),
            ["dead", id] => AlertKey::Dead(simple(id)?),
            ["lost"] => AlertKey::Lost,
            _ => return None,
        };
        Some((AlertName::parse(name).ok()?, key))
    }

    /// The keys of a set of rules.
    pub fn all(name: &AlertName) -> String {
        format!("{name}.>")
    }
}

/// A number as keys have it: `+5` and `05` would be other keys of the same thing.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// An id as keys have it, for the same reason.
fn simple(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.simple().to_string() == text)
}

/// Key of an instance's placement (fleet bucket) or status (status bucket) on a worker.
pub fn instance_key(worker: &WorkerName, instance: &InstanceId) -> String {
    format!("{worker}.{}.{}", instance.program, instance.index)
}

/// Name of the durable consumer of a program that is an event listener. One that is removed and
/// declared again begins anew, and so its name has the program's identity in it.
pub fn listener_consumer(program: &ProgramName, id: ProgramId) -> String {
    let id = id.0.simple().to_string();
    let room = NAME_LEN_MAX - id.len() - 1;
    let name: String = program.as_str().chars().take(room).collect();
    format!("{name}-{id}")
}

/// Reads such a key.
pub fn parse_instance_key(key: &str) -> Option<(WorkerName, InstanceId)> {
    let (worker, rest) = key.split_once('.')?;
    Some((WorkerName::parse(worker).ok()?, parse_instance(rest)?))
}

fn parse_instance(text: &str) -> Option<InstanceId> {
    let (program, index) = text.split_once('.')?;
    Some(InstanceId::new(ProgramName::parse(program).ok()?, number(index)?))
}

/// Key of what schedulers say of an instance, in the status bucket.
pub fn fleet_status_key(instance: &InstanceId) -> String {
    format!("_fleet.{}.{}", instance.program, instance.index)
}

/// Reads such a key.
pub fn parse_fleet_status_key(key: &str) -> Option<InstanceId> {
    parse_instance(key.strip_prefix("_fleet.")?)
}

/// Key of what was last told of a group, in the status bucket.
pub fn group_key(group: &ProgramName) -> String {
    format!("_group.{group}")
}

/// Reads such a key.
pub fn parse_group_key(key: &str) -> Option<ProgramName> {
    ProgramName::parse(key.strip_prefix("_group.")?).ok()
}

/// Keys of the placements of an instance, on whatever worker. Every write to one of them is
/// guarded by this very text: on three nodes two guards that differ in text do not see each other
/// in flight (measured).
pub fn placement_guard(instance: &InstanceId) -> String {
    format!("*.{}.{}", instance.program, instance.index)
}

/// Key of a worker's lease of `seconds`.
pub fn touch_key(worker: &WorkerName, seconds: u64) -> String {
    format!("{worker}._touch.{seconds}")
}

/// Keys that a worker watches: its placements and its own touches.
pub fn worker_keys(worker: &WorkerName) -> String {
    format!("{worker}.>")
}

/// Key of a secret of a worker, in the secrets bucket.
pub fn secret_key(worker: &WorkerName, name: &SecretName) -> String {
    format!("{worker}.{name}")
}

/// Reads such a key.
pub fn parse_secret_key(key: &str) -> Option<(WorkerName, SecretName)> {
    let (worker, name) = key.split_once('.')?;
    Some((WorkerName::parse(worker).ok()?, SecretName::parse(name).ok()?))
}

/// Key of a scheduler's lease.
pub fn scheduler_key(id: &str) -> String {
    format!("_scheduler.{id}")
}

/// Key of what people want of a worker, in the goals bucket.
pub fn worker_goal_key(worker: &WorkerName) -> String {
    format!("_worker.{worker}")
}

/// Reads such a key.
pub fn parse_worker_goal_key(key: &str) -> Option<WorkerName> {
    WorkerName::parse(key.strip_prefix("_worker.")?).ok()
}

/// Key of a program's goal (`None`) or of one instance's, in the goals bucket.
pub fn goal_key(program: &ProgramName, index: Option<u32>) -> String {
    match index {
        None => format!("{program}._all"),
        Some(index) => format!("{program}.{index}"),
    }
}

/// Reads such a key.
pub fn parse_goal_key(key: &str) -> Option<(ProgramName, Option<u32>)> {
    let (program, rest) = key.split_once('.')?;
    let index = if rest == "_all" { None } else { Some(number(rest)?) };
    Some((ProgramName::parse(program).ok()?, index))
}

#[cfg(test)]
mod tests;
