use serde_json::{Value, json};

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A moment, so many seconds after another one.
fn at(second: i128) -> Timestamp {
    Timestamp::from_unix_nanos((1_800_000_000 + second) * 1_000_000_000)
}

fn event(second: i128, data: &Value) -> Event {
    serde_json::from_value(json!({
        "specversion": "1.0", "id": ID, "source": "/dsbus/default/w1", "type": "x", "subject": "x",
        "time": at(second), "datacontenttype": "application/json", "data": data,
    }))
    .unwrap()
}

fn process(second: i128, state: &str, (epoch, seq): (u64, u64)) -> Event {
    let data = json!({
        "kind": "process", "name": "web:0", "id": ID, "worker": "w1", "epoch": epoch, "seq": seq,
        "revision": 1, "from": "STOPPED", "state": state, "pid": null, "exit": null, "reason": null,
    });
    event(second, &data)
}

fn moved(second: i128, epoch: u64, reason: &str) -> Event {
    let data = json!({
        "kind": "placement", "name": "web:0", "id": ID, "change": "MOVED", "from": "w1", "to": "w2",
        "epoch": epoch, "reason": reason, "scheduler": "s1",
    });
    event(second, &data)
}

fn worker(second: i128, change: &str) -> Event {
    let data = json!({
        "kind": "worker", "worker": "w1", "change": change, "reason": null, "incarnation": null,
    });
    event(second, &data)
}

/// Durations of failovers, in seconds, after these events: how many, and all of them together.
fn took(events: &[Event], last_touch: Option<i128>) -> [(u64, u64); 2] {
    let mut tally = Tally::default();
    for event in events {
        tally.count(event, |_| last_touch.map(at));
    }
    tally.took.each_ref().map(|meter| {
        let read = meter.read();
        (read.counts.iter().sum(), read.sum_us / 1_000_000)
    })
}

const LOST: &str = "w1 is lost: no touch for 3 s, no answer";
const FATAL: &str = "it ended FATAL on w1";

#[test]
fn a_failover_is_as_long_as_the_instance_was_down() {
    let lost = [
        worker(10, "LOST"),
        moved(11, 2, LOST),
        process(12, "STARTING", (2, 1)),
        // A late word of the worker that is lost.
        process(12, "RUNNING", (1, 3)),
        process(13, "RUNNING", (2, 2)),
        // It is up, and what happens later is no part of it.
        process(90, "RUNNING", (2, 4)),
    ];
    assert_eq!(took(&lost, Some(6)), [(1, 7), (0, 0)]);
    // Nobody knows when it touched; or it has touched since.
    assert_eq!(took(&lost, None), [(1, 3), (0, 0)]);
    assert_eq!(took(&lost, Some(20)), [(1, 3), (0, 0)]);

    let fatal = [process(5, "FATAL", (1, 7)), moved(6, 2, FATAL), process(9, "RUNNING", (2, 2))];
    assert_eq!(took(&fatal, Some(1)), [(0, 0), (1, 4)]);

    // Its move may be told after it is up, and is no part of what happens later either.
    let late = [&lost[..1], &lost[2..5], &lost[1..2], &lost[5..]].concat();
    assert_eq!(took(&late, Some(6)), [(1, 7), (0, 0)]);
    // Nor is it hidden by a late word of where it was.
    let word = process(11, "RUNNING", (1, 3));
    let late = [&lost[..1], &lost[4..5], &[word], &lost[1..2], &lost[5..]].concat();
    assert_eq!(took(&late, Some(6)), [(1, 7), (0, 0)]);
    let late = [0, 2, 1].map(|which| fatal[which].clone());
    assert_eq!(took(&late, Some(1)), [(0, 0), (1, 4)]);

    // One that falls again before it is up is down from its first fall on.
    let twice = [&lost[..2], &[moved(20, 3, LOST), process(25, "RUNNING", (3, 2))]].concat();
    assert_eq!(took(&twice, Some(6)), [(1, 19), (0, 0)]);

    // One that is not to run any more, and one that was moved because somebody asked.
    let stopped =
        [&lost[..2], &[process(12, "STOPPED", (2, 1)), process(50, "RUNNING", (2, 3))]].concat();
    assert_eq!(took(&stopped, None), [(0, 0), (0, 0)]);
    let drained = [moved(1, 2, "w1 is drained"), process(2, "RUNNING", (2, 2))];
    assert_eq!(took(&drained, None), [(0, 0), (0, 0)]);
}

#[test]
fn a_first_start_is_no_restart_and_what_is_removed_is_forgotten() {
    let mut tally = Tally::default();
    let mut count = |event: &Event| {
        tally.count(event, |_| None);
        tally.restarts.values().sum::<u64>()
    };
    assert_eq!(count(&process(1, "STARTING", (1, 1))), 0);
    assert_eq!(count(&process(2, "STARTING", (1, 3))), 1);
    assert_eq!(count(&process(3, "STARTING", (2, 1))), 1);
    assert_eq!(count(&process(4, "STARTING", (2, 4))), 2);
    let removed = json!({
        "kind": "program", "program": "web", "id": ID, "change": "REMOVED", "revision": 3, "by": "ann",
    });
    assert_eq!(count(&event(5, &removed)), 0);
    assert_eq!(tally.events[&("process", "STARTING".to_owned())], 4);
}

#[test]
fn types_that_users_make_up_are_counted_as_one() {
    let mut tally = Tally::default();
    for name in ["HELLO", "WORLD"] {
        let data = json!({ "kind": "user", "type": name, "by": "ann", "text": "x" });
        tally.count(&event(1, &data), |_| None);
    }
    assert_eq!(tally.events.into_iter().collect::<Vec<_>>(), [(("user", String::new()), 2)]);
}
