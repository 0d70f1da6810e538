//! No event is lost, whatever dies while the bus is away.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use dsbus_client::{From, Item};
use dsbus_harness::wait_until;
use dsbus_schema::event::{Event, Fact, ProcessFact, WorkerChange, WorkerFact};
use dsbus_schema::state::State::{self, Exited, Fatal, Running, Starting};
use dsbus_schema::subject;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bus::connect;
use crate::fleet::{DEADLINE, Fleet, number, wait_dead};

/// A program that notes each of its children in its directory.
const WEB: &str = "[program.web]
command = \"echo $$ >> pids; exec sleep 1000\"
shell = true
numprocs = 3
startsecs = 0
";

/// What stands on the stream, in its order.
async fn stored(fleet: &Fleet) -> Vec<Event> {
    let bus = connect(fleet).await;
    let mut watch = bus.watch_events(&subject::events(bus.fleet()), From::All, "test");
    let mut found = Vec::new();
    loop {
        match tokio::time::timeout(DEADLINE, watch.next()).await.unwrap() {
            Item::Entry(entry) => found.push(entry.json::<Event>().unwrap().unwrap()),
            Item::CaughtUp => return found,
            Item::Reset => found.clear(),
        }
    }
}

/// The changes of state that a worker told, each once, by instance.
fn told(events: &[Event]) -> BTreeMap<String, Vec<ProcessFact>> {
    let mut ids = HashSet::new();
    let mut told: BTreeMap<String, Vec<ProcessFact>> = BTreeMap::new();
    for event in events {
        if let Fact::Process(fact) = &event.data
            && fact.seq > 0
        {
            assert!(ids.insert(event.id), "stored twice: {event:?}");
            told.entry(fact.name.to_string()).or_default().push(fact.clone());
        }
    }
    for facts in told.values() {
        let follows = |two: &[ProcessFact]| {
            let ((epoch, seq), next) = ((two[0].epoch, two[0].seq), &two[1]);
            (next.epoch, next.seq) == (epoch, seq + 1) || (next.epoch > epoch && next.seq == 1)
        };
        assert!(facts[0].seq == 1 && facts.windows(2).all(follows), "{facts:#?}");
    }
    told
}

fn states(facts: &[ProcessFact]) -> Vec<State> {
    facts.iter().map(|fact| fact.state).collect()
}

fn workers(events: &[Event], change: WorkerChange) -> Vec<&WorkerFact> {
    let of = |event: &'_ Event| matches!(&event.data, Fact::Worker(fact) if fact.change == change);
    let facts = events.iter().filter(|event| of(event)).map(|event| match &event.data {
        Fact::Worker(fact) => fact,
        other => panic!("{other:?}"),
    });
    facts.collect()
}

fn file(fleet: &Fleet, worker: &str, instance: &str, file: &str) -> PathBuf {
    fleet.worker_directory(worker).join("instances").join(instance).join(file)
}

/// Process ids of the children of `web:<index>`, in their order.
fn pids(fleet: &Fleet, index: usize) -> Vec<i32> {
    let text = std::fs::read_to_string(file(fleet, "w1", &format!("web.{index}"), "pids"));
    text.unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
}

/// Each child is killed, and started again, so many times.
fn crash(fleet: &Fleet, times: usize) {
    for _ in 0..times {
        for index in 0..3 {
            // One runs a moment before it notes that.
            let before = wait_until("a child", DEADLINE, || {
                let now = pids(fleet, index);
                if now.is_empty() { Err("none") } else { Ok(now) }
            });
            kill(Pid::from_raw(*before.last().unwrap()), Signal::SIGKILL).unwrap();
            wait_until("a new child", DEADLINE, || {
                let now = pids(fleet, index);
                if now.len() > before.len() { Ok(()) } else { Err(now) }
            });
        }
    }
}

fn kill_agent(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_dead(pid);
}

/// The agent of a worker, while nobody on the bus can tell.
fn agent(fleet: &Fleet, worker: &str) -> i32 {
    let supervisor = fleet.pid(worker);
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    wait_until("an agent", DEADLINE, || {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        let is_agent = |pid: &&str| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word == "agent")
        };
        children.split(' ').find(is_agent).map(|pid| pid.parse().unwrap()).ok_or(children.clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_stored_once_and_in_order_whatever_dies_while_the_bus_is_away() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(WEB);
    fleet.nats.kill();
    crash(&fleet, 3);
    kill_agent(agent(&fleet, "w1"));
    crash(&fleet, 2);
    kill_agent(agent(&fleet, "w1"));
    // The supervisor, and its children with it; then a run that meets nobody, with its agent.
    fleet.kill("w1");
    fleet.worker("w1");
    kill_agent(agent(&fleet, "w1"));
    fleet.kill("w1");
    fleet.worker("w1");
    fleet.nats.restart();
    for index in 0..3 {
        fleet.wait_row(&format!("web:{index}"), "running anew", |row| {
            row["state"] == "RUNNING"
                && pids(&fleet, index).get(6).is_some_and(|p| row["pid"] == *p)
        });
    }
    crash(&fleet, 1);
    for index in 0..3 {
        fleet.wait_row(&format!("web:{index}"), "running once more", |row| {
            row["state"] == "RUNNING"
                && pids(&fleet, index).get(7).is_some_and(|p| row["pid"] == *p)
        });
    }
    let events = stored(&fleet).await;
    // Five crashes, the end of its worker, and one more crash.
    let expected: Vec<State> = [Starting, Running]
        .into_iter()
        .chain((0..7).flat_map(|_| [Exited, Starting, Running]))
        .collect();
    let told = told(&events);
    assert_eq!(told.len(), 3);
    for (name, facts) in told {
        assert_eq!(states(&facts), expected, "{name}");
        let ends: Vec<_> = facts.iter().filter(|fact| fact.state == Exited).collect();
        assert!(ends[4].exit.is_some() && ends[5].exit.is_none() && ends[6].exit.is_some());
    }
    assert!(workers(&events, WorkerChange::EventsDropped).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_leaves_nothing_that_runs_for_ever() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\ntouch_timeout = 9\nstartsecs = 0\n");
    let before = fleet.row("web:0");
    let (first, epoch) = (before["worker"].as_str().unwrap().to_owned(), number(&before["epoch"]));
    fleet.kill_worker(&first);
    fleet.wait_row("web:0", "elsewhere", |row| {
        row["state"] == "RUNNING" && row["worker"] != first.as_str()
    });
    fleet.worker(&first);
    let end =
        fleet.wait_event("the end of the first child", |event| event["data"]["state"] == "EXITED");
    let data = &end["data"];
    assert_eq!((data["worker"].as_str(), number(&data["epoch"])), (Some(first.as_str()), epoch));
    assert_eq!((&data["from"], &data["pid"]), (&"RUNNING".into(), &before["pid"]));
    assert!(data["reason"].as_str().unwrap().contains("its worker ended"), "{data}");
    // It is an event, and no status: the one that counts is elsewhere.
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
    let of = |data: &ProcessFact| data.epoch.0 == u64::try_from(epoch).unwrap();
    let events = stored(&fleet).await;
    let facts = events.iter().filter_map(|event| match &event.data {
        Fact::Process(fact) if of(fact) => Some((fact.seq, fact.state)),
        _ => None,
    });
    assert_eq!(facts.collect::<Vec<_>>(), [(1, Starting), (2, Running), (3, Exited)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_while_the_bus_is_away_pushes_out_no_change_of_state_and_is_counted() {
    let mut fleet = Fleet::start(1, 1);
    // Each is quiet until it is killed.
    let quiet = |name: &str, then: &str, rest: &str| {
        let words = format!("if [ -e first ]; then {then}; fi; echo $$ > first; exec sleep 1000");
        format!("[program.{name}]\ncommand = {words:?}\nshell = true\n{rest}\n")
    };
    let flood = "head -c 30000000 /dev/zero | tr '\\\\0' x; echo > told; exec sleep 1000";
    let loud = quiet("loud", flood, "startsecs = 0\nstdout_events_enabled = true")
        .replace("\\\\\\\\", "\\\\");
    let bad = quiet("bad", "echo > told; exit 1", "startsecs = 1\nstartretries = 0");
    fleet.apply(&format!("{loud}{bad}"));
    let first = |name: &str| file(&fleet, "w1", &format!("{name}.0"), "first");
    let told_file = |name: &str| file(&fleet, "w1", &format!("{name}.0"), "told");
    let pid = |name: &str| -> i32 {
        wait_until("its first child", DEADLINE, || {
            std::fs::read_to_string(first(name)).unwrap_or_default().trim().parse::<i32>()
        })
    };
    let pids = [pid("bad"), pid("loud")];
    let exists = [told_file("bad"), told_file("loud")];
    fleet.nats.kill();
    for (pid, told) in pids.into_iter().zip(exists) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        wait_until("its second child", DEADLINE, || {
            if told.exists() { Ok(()) } else { Err(told.clone()) }
        });
    }
    fleet.nats.restart();
    fleet.wait_state("bad:0", "FATAL");
    let dropped = wait_until("what was dropped", DEADLINE, || {
        let text = fleet.run(&["events", "--worker", "w1", "-n", "100000", "-o", "json"]);
        let events: Vec<Event> = serde_json::from_slice(&text.stdout).map_err(|e| e.to_string())?;
        let told = workers(&events, WorkerChange::EventsDropped);
        let dropped = told.first().map(|fact| fact.dropped.clone().unwrap());
        dropped.ok_or_else(|| events.len().to_string())
    });
    assert_eq!(dropped.kinds.keys().collect::<Vec<_>>(), ["output"], "{dropped:?}");
    assert!(dropped.events > 100 && dropped.from <= dropped.to, "{dropped:?}");
    let told = told(&stored(&fleet).await);
    assert_eq!(told["bad:0"].last().unwrap().state, Fatal);
    assert!(states(&told["loud:0"]).ends_with(&[Exited, Starting, Running]));
}
