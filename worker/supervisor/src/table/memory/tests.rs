use std::time::Duration;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Incarnation, ProgramId, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::{Rest, RestState};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;
use uuid::Uuid;

use super::*;
use crate::handover::specs::with_list;
use crate::instance::{Effect, Files};
use crate::protocol::{EPOCHS_KEPT_MAX, Order};

fn name(index: u32) -> InstanceId {
    format!("one:{index}").parse().unwrap()
}

fn now() -> Now {
    Now { boot: BootTime(5), wall: Timestamp::from_unix_nanos(0) }
}

fn order(index: u32, epoch: u64) -> Order {
    let spec = ProgramSpec { exclusive: true, ..ProgramSpec::default() };
    let wanted = Wanted { run: true, ..Wanted::default() };
    let placement = Placement::new(ProgramId(Uuid::nil()), 1, Epoch(epoch), wanted, spec);
    Order { name: name(index), placement, last: None }
}

fn table() -> Table {
    Table::new(WorkerName::parse("w1").unwrap(), Incarnation(Uuid::nil()))
}

fn refuses(table: &mut Table, order: Order) -> bool {
    let effects = table.place(order, Files::default(), now());
    effects.iter().any(|(_, effect)| matches!(effect, Effect::Worker { .. }))
}

#[test]
fn nothing_begins_again_under_the_epoch_of_what_was_taken_away() {
    let mut table = table();
    assert!(!refuses(&mut table, order(0, 40)));
    assert_eq!(table.memory(), Memory::default(), "the agent is told of what is placed otherwise");
    let _ = table.unplace(&name(0), now());
    assert_eq!(table.memory().epochs, [(name(0), Epoch(41))]);
    assert!(refuses(&mut table, order(0, 40)), "an old copy may name it");
    assert!(table.get(&name(0)).is_none());
    assert!(!refuses(&mut table, order(0, 57)));
    // What waited for its turn was placed, too.
    table.over(&name(1), Epoch(12));
    assert!(refuses(&mut table, order(1, 12)) && !refuses(&mut table, order(1, 13)));
}

#[test]
fn what_was_let_go_is_remembered_until_a_word_about_it() {
    let mut table = table();
    for index in 0..3 {
        assert!(!refuses(&mut table, order(index, 40 + u64::from(index))));
        let _ = table.let_go(&name(index), now());
    }
    let let_go = |table: &Table| {
        table.all_let_go().map(|(name, placed)| (name.index, placed.epoch.0)).collect::<Vec<_>>()
    };
    assert_eq!((let_go(&table), table.memory().let_go), (vec![(0, 40), (1, 41), (2, 42)], 3));
    assert!(table.held().is_empty() && table.statuses().next().is_none());
    // Another version of the worker has it, too.
    let (text, list) = with_list(Vec::new(), || serde_json::to_string(&table).unwrap());
    let (mut table, _) = with_list(list, || serde_json::from_str::<Table>(&text).unwrap());
    assert_eq!(let_go(&table).len(), 3);
    // It is placed again, taken away, or said not to be so any more.
    assert!(!refuses(&mut table, order(0, 40)), "the bus may find its placement again");
    let _ = table.unplace(&name(1), now());
    assert_eq!(let_go(&table), [(2, 42)]);
    assert!(refuses(&mut table, order(1, 41)));
    table.keep_let_go(&BTreeSet::new());
    assert_eq!(let_go(&table), []);
}

#[test]
fn what_rests_has_nothing_to_stop_when_it_is_let_go_and_does_not_run_again() {
    for state in [RestState::Exited, RestState::Fatal] {
        let (exit, reason, since) = (None, None, Timestamp::from_unix_nanos(0));
        let mut rests = order(0, 40);
        rests.placement.rest = Some(Rest { state, exit, reason, since });
        let mut table = table();
        let spawns = |effects: Effects| {
            effects.iter().any(|(_, effect)| matches!(effect, Effect::Spawn { .. }))
        };
        let place = |table: &mut Table, order| spawns(table.place(order, Files::default(), now()));
        assert!(!place(&mut table, rests));
        assert!(table.let_go(&name(0), now()).is_empty());
        let told = |table: &Table| table.statuses().next().map(|(_, status)| status.state);
        assert_eq!(told(&table), Some(State::from(state)));
        assert_eq!((table.held().len(), table.all_let_go().count()), (1, 0));
        // Neither a lease nor its placement of before it had ended starts it.
        let until = BootTime(0) + Duration::from_secs(15);
        assert!(!spawns(table.lease(15, until, now())));
        assert!(!place(&mut table, order(0, 40)));
        assert_eq!(told(&table), Some(State::from(state)));
        // More is wanted: without a lease that waits, and the next lease must not start what is let go.
        let mut more = order(0, 40);
        more.placement.wanted.starts = 1;
        let mut waits = table.clone();
        waits.leases.clear();
        assert!(!place(&mut waits, more.clone()));
        let _ = waits.let_go(&name(0), now());
        assert_eq!((waits.held().len(), waits.all_let_go().count()), (0, 1));
        assert!(!spawns(waits.lease(15, until, now())));
        assert!(place(&mut table, more));
    }
}

#[test]
fn of_many_that_were_let_go_the_latest_stay() {
    let mut table = table();
    for index in 0..=u32::try_from(LET_GO_MAX).unwrap() {
        assert!(!refuses(&mut table, order(index, 1 + u64::from(index))));
        let _ = table.let_go(&name(index), now());
    }
    let first = table.all_let_go().map(|(_, placed)| placed.epoch).min();
    assert_eq!((table.memory().let_go, first), (LET_GO_MAX, Some(Epoch(2))));
    assert_eq!(table.memory().epochs.len(), EPOCHS_TOLD_MAX);
}

#[test]
fn of_many_that_were_taken_away_the_latest_are_remembered() {
    let mut table = table();
    let first = order(u32::MAX, 9);
    assert!(!refuses(&mut table, first.clone()));
    // Each is a new one, and so is under the first epoch of its own.
    let count = u32::try_from(EPOCHS_KEPT_MAX).unwrap() + 1;
    for index in 0..count {
        table.over(&name(index), Epoch(1));
    }
    assert_eq!(table.epochs.len(), EPOCHS_TOLD_MAX + 1);
    assert!(refuses(&mut table, order(count - 1, 1)), "a copy may name it");
    assert!(!table.epochs.contains_key(&name(0)));
    assert_eq!(table.memory().epochs[0], (name(count - 1), Epoch(2)));
    let _ = table.unplace(&first.name, now());
    assert!(refuses(&mut table, first), "what is here is not forgotten for being old");
}
