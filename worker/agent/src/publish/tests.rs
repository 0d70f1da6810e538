use dsbus_schema::event::{WorkerChange, WorkerFact};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Incarnation, ProgramId};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use uuid::Uuid;

use super::*;

fn name(index: u32) -> InstanceId {
    format!("web:{index}").parse().unwrap()
}

fn status(seq: u64) -> Status {
    Status {
        id: ProgramId(Uuid::nil()),
        epoch: Epoch(1),
        revision: 1,
        wanted: Wanted::default(),
        state: State::Running,
        rests: false,
        since: Timestamp::from_unix_nanos(0),
        pid: None,
        restarts: 0,
        exit: None,
        usage: None,
        note: None,
        reason: None,
        spawnerr: None,
        refused: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        seq,
        event: None,
        incarnation: Incarnation(Uuid::nil()),
    }
}

fn instance(number: u64, index: u32) -> Report {
    let status = Box::new(status(number));
    Report { number, what: Reported::Instance { name: name(index), status, event: None } }
}

fn gone(number: u64, index: u32) -> Report {
    Report { number, what: Reported::Gone { name: name(index), epoch: Epoch(1) } }
}

fn worker(number: u64) -> Report {
    let worker = WorkerName::parse("w1").unwrap();
    let change = WorkerChange::Stopping;
    let fact = WorkerFact { worker, change, reason: None, incarnation: None, dropped: None };
    let (id, time) = (Uuid::from_u128(number.into()), Timestamp::from_unix_nanos(0));
    Report { number, what: Reported::Worker { id, time, fact } }
}

fn publisher(reports: impl IntoIterator<Item = Report>) -> Publisher {
    let worker = WorkerName::parse("w1").unwrap();
    let mut p = Publisher::new(FleetName::default(), worker, Incarnation(Uuid::nil()));
    reports.into_iter().for_each(|report| p.push(report));
    p
}

/// Everything that may be begun now.
fn begun(p: &mut Publisher) -> Vec<Delivery> {
    std::iter::from_fn(|| p.begin()).collect()
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().filter_map(|delivery| delivery.number).collect()
}

fn end(p: &mut Publisher, delivery: &Delivery, seq: Option<u64>) {
    p.done(&Outcome { number: delivery.number, name: delivery.name.clone(), seq });
}

#[test]
fn instances_go_side_by_side_and_each_in_order() {
    let mut p = publisher([instance(1, 0), instance(2, 0), instance(3, 1), instance(4, 0)]);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [1, 3]);
    end(&mut p, &deliveries[1], None);
    assert_eq!(p.through(), 0, "the first one is not published yet");
    end(&mut p, &deliveries[0], None);
    assert_eq!(p.through(), 1);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [2]);
    end(&mut p, &deliveries[0], None);
    assert_eq!(p.through(), 3);
    assert_eq!(numbers(&begun(&mut p)), [4]);
}

#[test]
fn only_the_latest_status_is_written() {
    let mut p = publisher([instance(1, 0), instance(2, 0)]);
    let first = begun(&mut p);
    assert_eq!(first[0].entry, None);
    end(&mut p, &first[0], None);
    let second = begun(&mut p);
    assert_eq!(second[0].entry, Some(Entry::Write { status: Arc::new(status(2)), seq: 0 }));
    end(&mut p, &second[0], Some(40));
    p.push(instance(3, 0));
    let third = begun(&mut p);
    assert_eq!(third[0].entry, Some(Entry::Write { status: Arc::new(status(3)), seq: 40 }));
}

#[test]
fn what_an_earlier_incarnation_reported_is_no_status_of_this_one() {
    let mut earlier = instance(1, 0);
    if let Reported::Instance { status, .. } = &mut earlier.what {
        status.incarnation = Incarnation(Uuid::from_u128(9));
    }
    let mut p = publisher([earlier.clone()]);
    let delivery = p.begin().unwrap();
    assert_eq!((delivery.number, delivery.entry.as_ref()), (Some(1), None));
    end(&mut p, &delivery, None);
    p.write_again();
    assert_eq!(p.begin(), None);
    // Its own stands beside it.
    let mut p = publisher([earlier, instance(2, 0)]);
    let delivery = p.begin().unwrap();
    end(&mut p, &delivery, None);
    let delivery = p.begin().unwrap();
    assert_eq!(delivery.entry, Some(Entry::Write { status: Arc::new(status(2)), seq: 0 }));
}

#[test]
fn a_report_about_the_worker_goes_alone() {
    let mut p = publisher([instance(1, 0), worker(2), instance(3, 1)]);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [1]);
    end(&mut p, &deliveries[0], None);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [2]);
    assert!(deliveries[0].event.is_some() && deliveries[0].entry.is_none());
    end(&mut p, &deliveries[0], None);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [3]);
    end(&mut p, &deliveries[0], None);
    assert!(p.idle() && p.through() == 3);
}

#[test]
fn an_instance_that_is_gone_is_removed_and_not_written_again() {
    let mut p = publisher([instance(1, 0), instance(2, 1)]);
    for delivery in begun(&mut p) {
        end(&mut p, &delivery, Some(delivery.number.unwrap() + 10));
    }
    p.push(gone(3, 0));
    let delivery = p.begin().unwrap();
    assert_eq!(delivery.entry, Some(Entry::Remove { epoch: Epoch(1) }));
    end(&mut p, &delivery, None);
    p.write_again();
    let deliveries = begun(&mut p);
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].entry, Some(Entry::Write { status: Arc::new(status(2)), seq: 12 }));
    assert_eq!((&deliveries[0].name, deliveries[0].number), (&Some(name(1)), None));
}

#[test]
fn a_status_is_not_written_again_while_a_report_about_it_waits() {
    let mut p = publisher([instance(1, 0)]);
    let delivery = p.begin().unwrap();
    p.write_again();
    p.push(instance(2, 0));
    assert_eq!(p.begin(), None);
    end(&mut p, &delivery, Some(5));
    let delivery = p.begin().unwrap();
    assert_eq!(delivery.number, Some(2));
    end(&mut p, &delivery, Some(6));
    assert_eq!(
        p.begin().unwrap().entry,
        Some(Entry::Write { status: Arc::new(status(2)), seq: 6 })
    );
}

#[test]
fn no_more_than_the_limit_at_once() {
    let mut p = publisher((1..=200).map(|n| instance(n, u32::try_from(n).unwrap())));
    let deliveries = begun(&mut p);
    assert_eq!(deliveries.len(), DELIVERIES_MAX);
    end(&mut p, &deliveries[9], None);
    assert_eq!(numbers(&begun(&mut p)), [65]);
}

#[test]
fn one_busy_instance_does_not_hold_up_the_others() {
    let mut p = publisher((1..=300).map(|n| instance(n, 0)).chain([instance(301, 1)]));
    assert_eq!(numbers(&begun(&mut p)), [1, 301]);
}

#[test]
fn who_lost_the_name_writes_no_status() {
    let mut p = publisher([instance(1, 0), gone(2, 1)]);
    p.stop_statuses();
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [1, 2]);
    assert!(deliveries.iter().all(|delivery| delivery.entry.is_none()));
}

#[test]
fn what_is_published_holds_nothing_up_while_an_older_report_is_on_its_way() {
    let mut p = publisher([instance(1, 0), instance(2, 1), instance(3, 1)]);
    let deliveries = begun(&mut p);
    assert_eq!(numbers(&deliveries), [1, 2]);
    end(&mut p, &deliveries[1], None);
    assert_eq!((numbers(&begun(&mut p)), p.through()), (vec![3], 0));
}

#[test]
fn a_bus_that_is_away_for_long_makes_the_oldest_void_behind_those_on_their_way() {
    let mut p = publisher([instance(1, 0)]);
    let stuck = p.begin().unwrap();
    for n in 2..=REPORTS_MAX as u64 + 10 {
        p.push(instance(n, 1));
    }
    assert_eq!(p.queue.len(), REPORTS_MAX);
    end(&mut p, &stuck, None);
    assert_eq!(numbers(&begun(&mut p)), [12], "those before it are void");
    assert_eq!(p.through(), 1);
}

#[test]
fn what_an_earlier_agent_told_is_written_where_it_is_lacking() {
    let mut p = publisher([]);
    p.stands(name(0), Box::new(status(3)));
    p.stands(name(1), Box::new(status(4)));
    let other = Incarnation(Uuid::from_u128(9));
    p.stands(name(2), Box::new(Status { incarnation: other, ..status(1) }));
    assert_eq!(p.known().count(), 2, "an earlier run is not this one's to tell");
    assert!(begun(&mut p).is_empty(), "nothing is told by that");
    // Its own word about one of them comes first.
    p.push(instance(5, 1));
    let first = begun(&mut p);
    assert!(matches!(&first[0].entry, Some(Entry::Write { status, .. }) if status.seq == 5));
    end(&mut p, &first[0], Some(8));
    p.write_again();
    let again = begun(&mut p);
    let lacking = |d: &&Delivery| matches!(d.entry, Some(Entry::Lacking { .. }));
    let (lacking, written): (Vec<_>, Vec<_>) = again.iter().partition(lacking);
    assert_eq!((lacking.len(), lacking[0].name.as_ref()), (1, Some(&name(0))));
    assert!(lacking[0].event.is_none() && lacking[0].number.is_none());
    assert!(matches!(written[0].entry, Some(Entry::Write { seq: 8, .. })));
    // Once it was looked for, it is as any other.
    for delivery in &again {
        end(&mut p, delivery, Some(9));
    }
    p.write_again();
    let all = begun(&mut p);
    assert!(all.iter().all(|d| matches!(d.entry, Some(Entry::Write { seq: 9, .. }))), "{all:?}");
    // One that is gone is not written again.
    for delivery in &all {
        end(&mut p, delivery, Some(9));
    }
    p.push(gone(6, 0));
    p.write_again();
    assert!(begun(&mut p).iter().all(|d| !matches!(&d.entry, Some(Entry::Lacking { .. }))));
}
