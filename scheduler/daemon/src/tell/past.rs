//! What was written in the last minutes before this scheduler started, and may not have been told:
//! whoever wrote it, and all who saw it, may be dead. Only here events are read, to find out whether
//! something was told.

use std::time::Duration;

use dsbus_client::{Bus, Entry, Error, From, Item};
use dsbus_schema::event::{Fact, PlacementChange, PlacementFact, SchedulerChange, WorkerChange};
use dsbus_schema::ids::{FleetName, ProgramName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::Program;
use dsbus_schema::storage::Bucket;
use dsbus_schema::subject;
use tokio::time::{sleep, timeout};

use super::derive::{self, At};
use super::{Check, Told};
use crate::clock;
use crate::run::Shared;
use crate::tell::outbox::Outbox;

/// How long the events of a kind may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How often the history of a program is read that cannot be read.
const READS_MAX: u32 = 25;
/// Pause between two.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Whether an event was told already, where NATS may not know.
///
/// # Errors
/// When the events cannot be read.
pub(crate) async fn is_told(bus: &Bus, told: &Told) -> Result<bool, Error> {
    match (told.check, &told.fact) {
        (Check::Instance, Fact::Placement(fact)) => {
            let subject = subject::placement_events(bus.fleet(), &fact.name);
            let last = match bus.last_event(&subject).await {
                // Somebody of another version told it.
                Err(Error::Malformed { .. }) => None,
                last => last?,
            };
            match last {
                Some(last) if last.id == told.id => Ok(true),
                // Of two schedulers the later one may have been the first to tell.
                Some(last) if is_later(&last.data, fact) => {
                    is_among(bus, &subject, From::All, told).await
                }
                Some(_) | None => Ok(false),
            }
        }
        (Check::Since(time) | Check::LikeSince(time), fact) => {
            let subject = subject::fleet_events(bus.fleet(), fact.kind());
            is_among(bus, &subject, From::Time(time), told).await
        }
        (Check::Id | Check::Instance, _) => Ok(false),
    }
}

/// Whether it is among these events.
async fn is_among(bus: &Bus, subject: &str, from: From, told: &Told) -> Result<bool, Error> {
    let mut watch = bus.watch_events(subject, from, "is-told");
    let looked = async {
        loop {
            match watch.next().await {
                Item::Entry(entry) if tells(&entry, told) => return true,
                Item::Entry(_) | Item::Reset => {}
                Item::CaughtUp => return false,
            }
        }
    };
    timeout(READ_WITHIN, looked).await.map_err(|_| Error::Timeout)
}

/// Whether an event about the same instance tells of what came later.
fn is_later(event: &Fact, fact: &PlacementFact) -> bool {
    let Fact::Placement(event) = event else { return false };
    let removed = |fact: &PlacementFact| fact.change == PlacementChange::Removed;
    (event.epoch, removed(event)) > (fact.epoch, removed(fact))
}

/// Whether an event is this one, or as good as this one.
fn tells(entry: &Entry, told: &Told) -> bool {
    let Ok(Some(event)) = entry.event() else { return false };
    if event.id == told.id || !matches!(told.check, Check::LikeSince(_)) {
        return event.id == told.id;
    }
    match (&event.data, &told.fact) {
        (Fact::Scheduler(known), Fact::Scheduler(fact)) => {
            let gone = matches!(known.change, SchedulerChange::Lost | SchedulerChange::Left);
            gone && known.scheduler == fact.scheduler
        }
        (Fact::Worker(known), Fact::Worker(fact)) => {
            known.change == WorkerChange::Lost && known.worker == fact.worker
        }
        _ => false,
    }
}

/// Tells what was done with these programs since then, if nobody is there to tell it. The bucket keeps
/// every record of them, so nothing of it is guessed.
pub(crate) async fn programs(
    bus: Bus,
    shared: Shared,
    outbox: Outbox,
    (names, since): (Vec<ProgramName>, Timestamp),
) {
    for name in names {
        let mut reads = 0;
        let entries = loop {
            match bus.history(Bucket::Programs, name.as_str()).await {
                Ok(entries) => break entries,
                Err(e) if reads >= READS_MAX => {
                    tracing::warn!("what was done with {name} is not told again: {e}");
                    break Vec::new();
                }
                Err(_) => sleep(READ_AGAIN_AFTER).await,
            }
            reads += 1;
        };
        let due = {
            let mut core = shared.lock();
            for (by, told) in steps(bus.fleet(), &entries, since) {
                core.tell_past(&by, told, clock::now());
            }
            core.take_told()
        };
        outbox.push(due);
    }
}

/// What each of these records of one program stands for, and who wrote it; oldest first, those before
/// `since` left out.
fn steps(fleet: &FleetName, entries: &[Entry], since: Timestamp) -> Vec<(String, Told)> {
    let (mut all, mut before) = (Vec::new(), None::<Program>);
    for entry in entries {
        let after = entry.json::<Program>().ok().flatten();
        // The first record that is kept may have had one before it.
        let known = before.is_some() || after.as_ref().is_some_and(|after| after.revision == 1);
        if entry.time >= since
            && known
            && let (Some(by), Some(after)) = (&entry.by, &after)
        {
            let told = derive::program(At::entry(fleet, entry), before.as_ref(), after);
            all.extend(told.into_iter().map(|told| (by.clone(), told)));
        }
        before = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_client::Value;
    use dsbus_schema::event::Event;
    use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, UserName, WorkerName};
    use dsbus_schema::program::ProgramSpec;
    use uuid::Uuid;

    fn fact(change: PlacementChange, epoch: u64) -> PlacementFact {
        PlacementFact {
            name: InstanceId::new(ProgramName::parse("web").unwrap(), 0),
            id: ProgramId(Uuid::nil()),
            change,
            from: None,
            to: WorkerName::parse("w1").ok(),
            epoch: Epoch(epoch),
            reason: String::new(),
            scheduler: "s1".to_owned(),
        }
    }

    #[test]
    fn an_instance_has_a_place_before_it_has_none() {
        use PlacementChange::{Moved, Placed, Removed};
        for (event, epoch, change, of, later) in [
            (Placed, 5, Placed, 5, false),
            (Placed, 5, Placed, 6, false),
            (Moved, 7, Placed, 6, true),
            (Placed, 5, Removed, 5, false),
            (Removed, 5, Placed, 5, true),
            (Removed, 5, Moved, 6, false),
        ] {
            let event = Fact::Placement(fact(event, epoch));
            assert_eq!(is_later(&event, &fact(change, of)), later, "{event:?} {change:?} {of}");
        }
    }

    #[test]
    fn what_was_told_is_known_by_its_id_or_by_what_it_says() {
        use dsbus_schema::event::{Source, WorkerFact};
        let (fleet, time) = (FleetName::default(), Timestamp::from_unix_nanos(0));
        let lost = |worker: &str, seq, check| {
            let worker = WorkerName::parse(worker).unwrap();
            let told = Told::worker(&fleet, (&worker, WorkerChange::Lost), seq, time, "why");
            Told { check, ..told }
        };
        let back = WorkerFact {
            worker: WorkerName::parse("w1").unwrap(),
            change: WorkerChange::Back,
            reason: None,
            incarnation: None,
            dropped: None,
        };
        let entry = |told: &Told| {
            let value = serde_json::to_vec(&told.event(&fleet)).unwrap();
            Entry { value: Value::Put(value.into()), ..entry(1, None) }
        };
        let known = lost("w1", 7, Check::Id);
        let (by_id, alike) = (Check::Since(time), Check::LikeSince(time));
        for (worker, seq, check, is) in [
            ("w1", 7, by_id, true),
            ("w1", 9, by_id, false),
            ("w1", 0, alike, true),
            ("w2", 0, alike, false),
        ] {
            assert_eq!(tells(&entry(&known), &lost(worker, seq, check)), is, "{worker} {seq}");
        }
        let back = Event::new(&fleet, &Source::Fleet, Uuid::nil(), time, Fact::Worker(back));
        let other =
            Entry { value: Value::Put(serde_json::to_vec(&back).unwrap().into()), ..entry(&known) };
        assert!(!tells(&other, &lost("w1", 0, alike)), "it was back");
    }

    fn entry(seq: u64, program: Option<&Program>) -> Entry {
        let value = match program {
            Some(program) => Value::Put(serde_json::to_vec(program).unwrap().into()),
            None => Value::Deleted,
        };
        Entry {
            key: "web".to_owned(),
            seq,
            value,
            time: Timestamp::from_unix_nanos(i128::from(seq) * 1_000_000_000),
            by: Some("s1".to_owned()),
            note: bytes::Bytes::new(),
            seal: None,
        }
    }

    #[test]
    fn what_was_done_with_a_program_is_read_off_its_records() {
        let name = ProgramName::parse("web").unwrap();
        let mut program =
            Program::new(ProgramId(Uuid::from_u128(1)), name.clone(), ProgramSpec::default());
        let mut records = vec![entry(1, Some(&program))];
        program.revision = 2;
        program.spec.priority = 7;
        program.by = UserName::parse("ann").ok();
        records.push(entry(2, Some(&program)));
        records.push(entry(3, None));
        let anew = Program::new(ProgramId(Uuid::from_u128(2)), name, ProgramSpec::default());
        records.push(entry(4, Some(&anew)));
        let told = |since: i128| -> Vec<String> {
            let since = Timestamp::from_unix_nanos(since * 1_000_000_000);
            let steps = steps(&FleetName::default(), &records, since);
            steps.iter().map(|(by, t)| format!("{by} {}", t.fact.type_name())).collect()
        };
        assert_eq!(told(0), ["s1 ADDED", "s1 CHANGED", "s1 ADDED"]);
        assert_eq!(told(2), ["s1 CHANGED", "s1 ADDED"]);
        assert_eq!(told(5), [""; 0]);
        let cut = steps(&FleetName::default(), &records[1..2], Timestamp::from_unix_nanos(0));
        assert_eq!(cut, [], "what was before it is not kept");
    }
}
