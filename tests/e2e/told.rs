//! What schedulers tell: each of it once, however many there are, and whoever is killed.

mod once;

use std::collections::{BTreeMap, BTreeSet};

use crate::bus::connect;
use crate::fleet::{DEADLINE, Fleet};
use dsbus_client::{Error, Item};
use dsbus_harness::{wait_for_async, wait_until};
use dsbus_schema::command::{Act, Acted, Envelope, Verb};
use dsbus_schema::ids::{FleetName, Target};
use dsbus_schema::placement::Placement;
use dsbus_schema::storage::{Bucket, FleetKey, events_stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event["data"][key].as_str().unwrap_or_default()
}

/// The wall clock, in seconds since 1970.
fn clock() -> i64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).unwrap().tv_sec()
}

/// The TYPE of an event, from its CloudEvents type.
fn type_of(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap();
    kind.rsplit('.').nth(1).unwrap().to_uppercase()
}

/// What of the events of schedulers is told more than once: two that differ by no more than their
/// ids, times, and who told them.
fn repeats(events: &[Value]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    for event in events.iter().filter(|e| e["source"].as_str().unwrap().ends_with("/_fleet")) {
        let mut data = event["data"].clone();
        // A group is well, or a worker is back, more than once.
        let again = ["group", "scheduler", "worker", "process"].contains(&text(event, "kind"));
        for key in ["schedulers", "reason"] {
            data.as_object_mut().unwrap().remove(key);
        }
        if !again {
            *seen.entry(format!("{} {} {data}", event["subject"], type_of(event))).or_insert(0) +=
                1;
        }
    }
    seen.into_iter().filter(|(_, n)| *n > 1).map(|(what, n)| format!("{n} times {what}")).collect()
}

/// How often each TYPE was told of one thing.
fn count(events: &[Value], kind: &str, about: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|e| text(e, "kind") == kind && e["subject"] == about) {
        *counts.entry(type_of(event)).or_insert(0) += 1;
    }
    counts
}

fn counted(all: &[(&str, usize)]) -> BTreeMap<String, usize> {
    all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_in_the_audit_log_too() {
    let fleet = Fleet::start(2, 1);
    let bus = connect(&fleet).await;
    let id = Uuid::now_v7();
    for (verb, mut body, code) in [
        (Verb::Start, json!({"id": id, "names": ["nobody"]}), 404),
        (Verb::Start, json!({"id": id, "names": ["nobody"]}), 404),
        (Verb::Stop, json!({"names": "web"}), 400),
        (Verb::Restart, json!({"version": 2, "names": ["web"]}), 400),
        (Verb::Apply, json!({"programs": {"all": {"command": "x"}}}), 400),
    ] {
        // As one does who wants an answer: again, with the same id, until there is one.
        if body["id"].is_null() {
            body["id"] = json!(Uuid::now_v7());
        }
        let got = wait_for_async("an answer", DEADLINE, async || {
            match bus.command::<_, Value>(verb, &body).await {
                Err(Error::Refused { code, .. }) => Some(code),
                Err(Error::Timeout | Error::NoScheduler) => None,
                other => panic!("{body}: {other:?}"),
            }
        });
        assert_eq!(got.await, code, "{body}");
    }
    // These change nothing.
    fleet.status();
    let file = fleet.file("web.toml", "[program.web]\ncommand = \"x\"\n");
    fleet.ok(&["apply", &file, "--dry-run"]);
    // Each scheduler tells what it has refused for itself, and mostly before it answers.
    let told = wait_until("four commands to be told", DEADLINE, || {
        let mut told = fleet.events();
        told.retain(|e| text(e, "kind") == "command");
        if told.len() >= 4 { Ok(told) } else { Err(told) }
    });
    let mut shown: Vec<String> = told
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                type_of(e),
                text(e, "verb"),
                e["data"]["names"],
                e["data"]["code"]
            )
        })
        .collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            "REFUSED apply [\"all\"] 400",
            "REFUSED restart [\"web\"] 400",
            "REFUSED start [\"nobody\"] 404",
            "REFUSED stop null 400"
        ],
        "one that is sent again is one event"
    );
    let start = told.iter().find(|e| text(e, "verb") == "start").unwrap();
    assert_eq!(start["data"]["command"], json!(id));
    assert!(text(start, "reason").contains("nobody"), "{start}");
}

/// Every placement that ever stood on the bus: instance and epoch.
async fn hear_placements(fleet: &Fleet) -> tokio::task::JoinHandle<BTreeSet<(String, u64)>> {
    let bus = connect(fleet).await;
    tokio::spawn(async move {
        let mut watch = bus.watch(Bucket::Fleet, ">", "test");
        let mut all = BTreeSet::new();
        loop {
            let Item::Entry(entry) = watch.next().await else { continue };
            match FleetKey::parse(&entry.key) {
                Some(FleetKey::Placement(_, name)) => {
                    if let Ok(Some(placement)) = entry.json::<Placement>() {
                        all.insert((name.to_string(), placement.epoch.0));
                    }
                }
                // The test says so when it has seen enough.
                Some(FleetKey::Scheduler(id)) if id == "enough" => return all,
                Some(FleetKey::Touch(..) | FleetKey::Scheduler(_)) | None => {}
            }
        }
    })
}

/// Commands are answered, and who may have answered is killed at once, again and again.
async fn killed(schedulers: usize) {
    const ROUNDS: usize = 8;
    let mut fleet = Fleet::start(schedulers, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let heard = hear_placements(&fleet).await;
    let bus = connect(&fleet).await;
    let mut accepted = BTreeSet::new();
    for round in 0..ROUNDS {
        // As one does who wants an answer: again, with the same id, until there is one.
        let id = Uuid::now_v7();
        let name = format!("web{round}");
        let program = json!({"command": "sleep 1000", "startsecs": 0});
        let create = json!({"id": id, "name": name, "program": program});
        wait_for_async("an answer", DEADLINE, async || {
            bus.command::<_, Value>(Verb::Create, &create).await.ok()
        })
        .await;
        accepted.insert(id.to_string());
        let act = Act::new(
            Envelope { id: Some(Uuid::now_v7()), version: None },
            vec![Target::parse("web").unwrap()],
        );
        wait_for_async("an answer", DEADLINE, async || {
            bus.command::<_, Acted>(Verb::Restart, &act).await.ok()
        })
        .await;
        accepted.insert(act.envelope.id.unwrap().to_string());
        let victim = format!("s{}", 1 + round % schedulers);
        fleet.kill(&victim);
        fleet.scheduler(&victim);
    }
    fleet.wait_ready(2);
    wait_until("all copies to run", DEADLINE, || {
        let rows = fleet.status();
        if rows.iter().all(|r| r["state"] == "RUNNING") { Ok(()) } else { Err(rows) }
    });
    let enough = dsbus_client::Write::put("_scheduler.enough", &json!({})).unwrap().ttl(60);
    bus.write(Bucket::Fleet, enough).await.unwrap();
    let placed = heard.await.unwrap();
    assert!(placed.len() > ROUNDS, "{placed:?}");
    wait_until("every command and every place to be told", DEADLINE, || {
        let events = fleet.events();
        let told: BTreeSet<String> = events
            .iter()
            .filter(|e| text(e, "kind") == "command" && type_of(e) == "ACCEPTED")
            .map(|e| text(e, "command").to_owned())
            .collect();
        let known: BTreeSet<(String, u64)> = events
            .iter()
            .filter(|e| ["PLACED", "MOVED"].contains(&type_of(e).as_str()))
            .map(|e| {
                (e["subject"].as_str().unwrap().to_owned(), e["data"]["epoch"].as_u64().unwrap())
            })
            .collect();
        let commands: Vec<_> = accepted.difference(&told).collect();
        let missing: Vec<_> = placed.difference(&known).collect();
        if commands.is_empty() && missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{commands:?} {missing:?}"))
        }
    });
    let events = fleet.events();
    assert_eq!(repeats(&events), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_scheduler_that_is_killed_loses_no_event() {
    killed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_are_killed_lose_no_event() {
    killed(3).await;
}

#[test]
fn schedulers_come_and_go() {
    let mut fleet = Fleet::start(3, 1);
    fleet.signal("s1", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("s1"), Some(0));
    fleet.kill("s2");
    let of = |fleet: &Fleet, id: &str| count(&fleet.events(), "scheduler", id);
    let is = |fleet: &Fleet, id: &str, all: &[(&str, usize)]| {
        wait_until(&format!("{id} to be {all:?}"), DEADLINE, || {
            let told = of(fleet, id);
            if told == counted(all) { Ok(()) } else { Err(told) }
        });
    };
    is(&fleet, "s1", &[("JOINED", 1), ("LEFT", 1)]);
    is(&fleet, "s2", &[("JOINED", 1), ("LOST", 1)]);
    // One of the same name, and one that takes the place of one that was killed a moment ago.
    fleet.scheduler("s2");
    is(&fleet, "s2", &[("JOINED", 2), ("LOST", 1)]);
    fleet.kill("s2");
    fleet.scheduler("s2");
    is(&fleet, "s2", &[("JOINED", 3), ("LOST", 2)]);
    // Nobody is left who sees that the last two die: whoever comes next tells it.
    fleet.kill("s2");
    fleet.kill("s3");
    fleet.scheduler("s2");
    is(&fleet, "s2", &[("JOINED", 4), ("LOST", 3)]);
    is(&fleet, "s3", &[("JOINED", 1), ("LOST", 1)]);
    is(&fleet, "s1", &[("JOINED", 1), ("LEFT", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stores_no_events_holds_no_command_up() {
    let fleet = Fleet::start(2, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let bus = connect(&fleet).await;
    fleet.nats.ask(&format!("$JS.API.STREAM.DELETE.{}", events_stream(&FleetName::default())));
    // A worker tells a state before it writes it, so nobody waits for one here.
    fleet.ok(&["scale", "web=2", "--no-wait"]);
    fleet.fails(1, &["start", "nobody"]);
    bus.provision(None).await.unwrap();
    fleet.wait_event("the command", |e| text(e, "verb") == "scale" && type_of(e) == "ACCEPTED");
    fleet.wait_event("the change", |e| text(e, "kind") == "program" && type_of(e) == "CHANGED");
    fleet.wait_event("the place", |e| e["subject"] == "web:1" && type_of(e) == "PLACED");
}

#[test]
fn after_the_bus_was_away_events_follow() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.nats.kill();
    let back = clock() + 12;
    wait_until("two ticks to be missed", DEADLINE, || {
        let now = clock();
        if now > back { Ok(()) } else { Err(now) }
    });
    fleet.nats.restart();
    let now = clock();
    fleet.wait_ready(2);
    fleet.ok(&["scale", "web=2"]);
    fleet.wait_event("the place", |e| e["subject"] == "web:1" && type_of(e) == "PLACED");
    fleet.wait_event("a tick", |e| e["data"]["when"].as_i64().is_some_and(|when| when > now));
    let events = fleet.events();
    assert_eq!(repeats(&events), [""; 0]);
    let missed = |e: &&Value| {
        type_of(e) == "TICK_5"
            && e["data"]["when"].as_i64().is_some_and(|when| when > back - 12 && when <= back - 5)
    };
    assert_eq!(events.iter().filter(missed).count(), 0, "no backlog of ticks");
    for id in ["s1", "s2"] {
        assert_eq!(count(&events, "scheduler", id), counted(&[("JOINED", 1)]), "nobody was lost");
    }
}

#[test]
fn time_is_told_once_whoever_is_killed() {
    const SLICES: i64 = 5;
    let mut fleet = Fleet::start(3, 1);
    let whens = |fleet: &Fleet| -> Vec<i64> {
        let events = fleet.events();
        let ticks = events.iter().filter(|e| type_of(e) == "TICK_5");
        ticks.map(|e| e["data"]["when"].as_i64().unwrap()).collect()
    };
    let wait = |fleet: &Fleet, count: usize| {
        wait_until(&format!("{count} ticks"), DEADLINE, || {
            let ticks = whens(fleet);
            if ticks.len() >= count { Ok(()) } else { Err(ticks) }
        });
    };
    wait(&fleet, 2);
    fleet.kill("s1");
    wait(&fleet, 3);
    fleet.scheduler("s1");
    fleet.kill("s2");
    wait(&fleet, 4);
    // Who is to tell the next one has begun.
    wait_until("s1 to be ready again", DEADLINE, || {
        let log = std::fs::read_to_string(fleet.log("s1")).unwrap_or_default();
        if log.matches("scheduler s1 is ready").count() == 2 { Ok(()) } else { Err(log) }
    });
    fleet.kill("s3");
    wait(&fleet, usize::try_from(SLICES).unwrap());
    let mut ticks = whens(&fleet);
    ticks.sort_unstable();
    assert!(ticks.iter().all(|when| when % 5 == 0), "{ticks:?}");
    let steps: Vec<i64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step == 5), "{ticks:?}");
}
