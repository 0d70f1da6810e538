//! Names, keys of buckets, subjects, and values as people write them.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use super::{refused, text};

use crate::ids::{FleetName, InstanceId, ProgramName, Target, UserName, WorkerName};
use crate::lenient::{Size, Span};
use crate::moment::Timestamp;
use crate::program::expand::{self, Variables};
use crate::program::{
    Capability, Command, EventName, ExtraFile, LabelRule, LogTarget, MissedRun, Mode, Retries,
    Rlimit, Schedule, Signal, SocketAddress, StopSignal,
};
use crate::storage::{self, AlertKey, FleetKey};
use crate::subject;

/// How far ahead the first due times of a schedule are looked at.
const DUE_TIMES: usize = 3;
/// Longest line of cron that is looked at: each costs a search of a calendar.
const CRON_BYTES_MAX: usize = 256;

/// Reads one text as each of the words there are.
///
/// # Panics
/// When one that is read prints as another one, or a refusal says nothing.
pub fn words(data: &[u8]) {
    let Some(text) = text(data) else { return };
    names(text);
    keys(text);
    values(text);
    templates(text);
    schedule(text);
}

/// What parses prints as what parses to the same.
fn again<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(read) => {
            let printed = read.to_string();
            match printed.parse::<T>() {
                Ok(once_more) => assert_eq!(once_more, read, "{text:?} prints as {printed:?}"),
                Err(e) => panic!("{text:?} prints as {printed:?}, which is refused: {e}"),
            }
            Some(read)
        }
        Err(e) => {
            refused(&e.to_string(), text.as_bytes());
            None
        }
    }
}

fn names(text: &str) {
    // A name is a token of a subject, and stands for itself.
    let same = |printed: Option<String>| {
        if let Some(printed) = printed {
            assert_eq!(printed, text);
            assert!(!printed.contains(['.', '*', '>', ' ', '/']) && printed.is_ascii(), "{text:?}");
        }
    };
    same(again::<ProgramName>(text).map(|name| name.to_string()));
    same(again::<WorkerName>(text).map(|name| name.to_string()));
    same(again::<FleetName>(text).map(|name| name.to_string()));
    same(again::<UserName>(text).map(|name| name.to_string()));
    again::<InstanceId>(text);
    match Target::parse(text) {
        Ok(target) => assert_eq!(Target::parse(&target.to_string()), Ok(target)),
        Err(why) => refused(&why, text.as_bytes()),
    }
}

/// A key that is read is the key of what was read: no two keys are about the same thing.
fn keys(text: &str) {
    if let Some(key) = FleetKey::parse(text) {
        let written = match key {
            FleetKey::Placement(worker, instance) => storage::instance_key(&worker, &instance),
            FleetKey::Touch(worker, seconds) => storage::touch_key(&worker, seconds),
            FleetKey::Scheduler(id) => storage::scheduler_key(&id),
        };
        assert_eq!(written, text);
    }
    if let Some((name, key)) = AlertKey::parse(text) {
        assert_eq!(key.of(&name), text);
    }
    if let Some((worker, instance)) = storage::parse_instance_key(text) {
        assert_eq!(storage::instance_key(&worker, &instance), text);
    }
    if let Some(instance) = storage::parse_fleet_status_key(text) {
        assert_eq!(storage::fleet_status_key(&instance), text);
    }
    if let Some(group) = storage::parse_group_key(text) {
        assert_eq!(storage::group_key(&group), text);
    }
    if let Some(worker) = storage::parse_worker_goal_key(text) {
        assert_eq!(storage::worker_goal_key(&worker), text);
    }
    if let Some((program, index)) = storage::parse_goal_key(text) {
        assert_eq!(storage::goal_key(&program, index), text);
    }
    if let Some(fleet) = subject::parse_fleet(text) {
        assert_eq!(text.split('.').nth(1), Some(fleet.as_str()));
    }
    if let Some((user, verb)) = subject::parse_command(text) {
        let mut tokens = text.split('.').skip(3);
        assert_eq!((tokens.next(), tokens.next()), (Some(user.as_str()), Some(verb.name())));
    }
}

fn values(text: &str) {
    again::<Span>(text);
    if let Ok(Size(bytes)) = text.parse::<Size>() {
        assert_eq!(bytes.to_string().parse(), Ok(Size(bytes)));
    }
    again::<Signal>(text);
    again::<LabelRule>(text);
    again::<SocketAddress>(text);
    again::<ExtraFile>(text);
    again::<LogTarget>(text);
    again::<StopSignal>(text);
    again::<Rlimit>(text);
    again::<Capability>(text);
    again::<Mode>(text);
    again::<EventName>(text);
    again::<Retries>(text);
    match Timestamp::parse(text) {
        Ok(time) => {
            assert_eq!(
                Timestamp::parse(&time.to_string()).map(|t| t.to_string()),
                Ok(time.to_string())
            );
            let _ = time + Duration::MAX;
            let _ = time.since(Timestamp::from_unix_nanos(0));
        }
        Err(why) => refused(&why, text.as_bytes()),
    }
}

/// Expansions, and command lines.
fn templates(text: &str) {
    match expand::check(text) {
        Ok(()) => {}
        Err(why) => refused(&why, text.as_bytes()),
    }
    let variables: Variables = expand::VARIABLES
        .iter()
        .map(|name| ((*name).to_owned(), "7".to_owned()))
        .chain([("ENV_A".to_owned(), "%(worker)s".to_owned())])
        .collect();
    match expand::expand(text, &variables) {
        // The widest expansion has a hundred characters for its ten.
        Ok(expanded) => assert!(expanded.len() <= 16 * text.len(), "{} bytes", expanded.len()),
        Err(why) => refused(&why, text.as_bytes()),
    }
    if !text.contains("%(") {
        assert_eq!(expand::expand(text, &variables).as_deref(), Ok(text));
    }
    let command = Command::Line(text.to_owned());
    for shell in [false, true] {
        match command.argv(shell) {
            Ok(argv) => assert!(!argv.is_empty(), "a command of no words"),
            Err(why) => refused(&why, text.as_bytes()),
        }
    }
}

/// `line of cron` or `line of cron@zone`: its due times come one after the other.
fn schedule(text: &str) {
    if text.len() > CRON_BYTES_MAX {
        return;
    }
    let (cron, zone) = match text.split_once('@') {
        Some((cron, zone)) if !cron.is_empty() => (cron, Some(zone)),
        _ => (text, None),
    };
    let schedule = match Schedule::new(cron, zone, MissedRun::Skip) {
        Ok(schedule) => schedule,
        Err(why) => return refused(&why, text.as_bytes()),
    };
    let once_more = Schedule::new(schedule.cron(), Some(schedule.timezone()), MissedRun::Skip);
    assert!(once_more.is_ok(), "{text:?} is read once only");
    let begin = Timestamp::from_unix_nanos(1_750_000_000_000_000_000);
    let mut at = begin;
    for _ in 0..DUE_TIMES {
        let Some(next) = schedule.next_after(at) else { break };
        assert!(next > at, "{text:?}: {next} is not after {at}");
        let last = schedule.last_before(at, next);
        assert_eq!(last, Some(next), "{text:?}: looked for from {at} to {next}");
        at = next;
    }
}
