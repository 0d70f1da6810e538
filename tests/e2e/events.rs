//! What happened, and what one says oneself: `dsbus events` and `dsbus emit`. No scheduler runs: both
//! need the bus only.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};

use dsbus_client::{Bus, From, Item};
use dsbus_harness::wait_for_async;
use dsbus_schema::event::{Event, Fact, Period, Source, TickFact, WorkerChange, WorkerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::subject;
use serde_json::Value;
use uuid::Uuid;

use crate::bus::connect;
use crate::fleet::{DEADLINE, Fleet, said};

/// A bus with the streams of a fleet, and nobody on it.
pub(crate) async fn nobody() -> (Fleet, Bus) {
    let fleet = Fleet::bare();
    let bus = connect(&fleet).await;
    bus.provision(Some(1)).await.unwrap();
    (fleet, bus)
}

fn with_input(fleet: &Fleet, args: &[&str], input: &[u8]) -> Output {
    let mut command = fleet.command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have refused the rest.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn sequences(events: &Value) -> Vec<u64> {
    let events = events.as_array().unwrap().iter();
    events.map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect()
}

async fn worker_event(bus: &Bus, worker: &str, change: WorkerChange) {
    let worker = WorkerName::parse(worker).unwrap();
    let source = Source::Worker(worker.clone());
    let fact =
        Fact::Worker(WorkerFact { worker, change, reason: None, incarnation: None, dropped: None });
    let time = Timestamp::parse("2026-11-26T10:00:00Z").unwrap();
    let event = Event::new(bus.fleet(), &source, Uuid::now_v7(), time, fact);
    publish(bus, &source, &event).await;
}

/// Told again it is the same event: a server may be slow to answer.
async fn publish(bus: &Bus, source: &Source, event: &Event) {
    let publish = async || bus.publish_event(source, event).await.ok();
    wait_for_async("the event to be stored", DEADLINE, publish).await;
}

async fn tick(bus: &Bus, when: i64) {
    let fact = TickFact { tick: Period::Five, when };
    let time = Timestamp::from_unix_nanos(i128::from(when) * 1_000_000_000);
    let event =
        Event::new(bus.fleet(), &Source::Fleet, fact.id(bus.fleet()), time, Fact::Tick(fact));
    publish(bus, &Source::Fleet, &event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_says_something_and_listeners_hear_it() {
    let (fleet, _bus) = nobody().await;
    assert!(fleet.ok(&["--as", "ann", "emit", "deployed", "version 1.4"]).contains("deployed"));
    let told = fleet.json(&["emit", "deployed", "{\"version\": \"1.5\"}", "--json", "-o", "json"]);
    let output = with_input(&fleet, &["emit", "report", "-"], "über\nzwei".as_bytes());
    assert!(output.status.success(), "{}", said(&output));

    let events = fleet.json(&["events", "-o", "json"]);
    assert_eq!(sequences(&events), [1, 2, 3]);
    assert_eq!(events[0]["data"]["by"], "ann");
    assert_eq!(events[0]["data"]["text"], "version 1.4");
    assert_eq!(events[0]["type"], "io.dsbus.user.deployed.v1");
    assert_eq!((&events[1]["id"], &told["seq"]), (&told["id"], &Value::from(2)));
    assert_eq!(events[2]["data"]["text"], "über\nzwei");
    let table = fleet.ok(&["events", "--type", "user.report"]);
    assert!(table.contains("user.report") && table.contains("über ⏎ zwei"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");

    for (args, part) in [
        (&["emit", "deployed", "{", "--json"][..], "the text is not JSON: "),
        (&["emit", "deployed", "", "--json"], "the text is not JSON: "),
    ] {
        assert!(fleet.fails(1, args).contains(part), "{args:?}");
    }
    for name in ["a b", "a.b", "_x", "", "*"] {
        let said = fleet.fails(2, &["emit", name]);
        assert!(said.contains("type of event"), "{said}");
    }
    let output = with_input(&fleet, &["emit", "report", "-"], &vec![b'x'; 256 * 1024 + 1]);
    assert!(said(&output).contains("longer than 256.0 KiB"), "{}", said(&output));
    let output = with_input(&fleet, &["emit", "report", "-"], &[0xff, 0xfe]);
    assert!(said(&output).contains("not UTF-8"), "{}", said(&output));
    assert_eq!(
        sequences(&fleet.json(&["events", "-o", "json"])),
        [1, 2, 3],
        "nothing else was told"
    );
}

/// Plays a stream that takes these subjects: answers what is published there with these words, one
/// after the other, and the last one again and again. Returns when it hears everything.
fn play_stream(fleet: &Fleet, subjects: &str, answers: Vec<Value>) {
    let mut write = TcpStream::connect(("127.0.0.1", fleet.nats.port())).unwrap();
    let mut read = BufReader::new(write.try_clone().unwrap());
    let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subjects} 1\r\nPING\r\n");
    write.write_all(hello.as_bytes()).unwrap();
    let line = move |read: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        read.read_line(&mut line).unwrap();
        line
    };
    while line(&mut read) != "PONG\r\n" {}
    std::thread::spawn(move || {
        let (mut answers, mut answer) = (answers.into_iter(), String::new());
        loop {
            let head = line(&mut read);
            let tokens: Vec<&str> = head.split_whitespace().collect();
            match tokens[..] {
                ["MSG", _, _, reply, bytes] => {
                    let mut body = vec![0; bytes.parse::<usize>().unwrap() + 2];
                    read.read_exact(&mut body).unwrap();
                    answer = answers.next().map_or(answer, |answer| answer.to_string());
                    let said = format!("PUB {reply} {}\r\n{answer}\r\n", answer.len());
                    write.write_all(said.as_bytes()).unwrap();
                }
                ["PING"] => write.write_all(b"PONG\r\n").unwrap(),
                [] => return,
                _ => {}
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_although_its_stream_elects_a_leader_meanwhile() {
    let (fleet, _bus) = nobody().await;
    // The stream is there, and what is published reaches another one.
    let info = fleet.nats.ask("$JS.API.STREAM.INFO.DSBUS_EVENTS");
    let mut config: Value = serde_json::from_str::<Value>(&info).unwrap()["config"].take();
    let subjects = config["subjects"][0].as_str().unwrap().to_owned();
    config["subjects"][0] = "elsewhere".into();
    let answer = fleet.nats.ask_with("$JS.API.STREAM.UPDATE.DSBUS_EVENTS", &config.to_string());
    assert!(answer.contains("elsewhere"), "{answer}");
    let refused = |code: u64| serde_json::json!({ "error": { "code": 503, "err_code": code, "description": "not now" } });
    // The cluster has no leader; a copy is being stored; it is stored.
    let stored = serde_json::json!({ "stream": "DSBUS_EVENTS", "seq": 7, "duplicate": true });
    play_stream(&fleet, &subjects, vec![refused(10008), refused(10158), stored]);
    assert!(fleet.ok(&["emit", "deployed", "x"]).contains("as sequence 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_chosen_by_what_they_are_and_where_they_happened() {
    let (fleet, bus) = nobody().await;
    for n in 1..=10 {
        tick(&bus, n * 5).await;
        let worker = if n % 2 == 0 { "w1" } else { "rack-2" };
        worker_event(&bus, worker, WorkerChange::Started).await;
    }
    worker_event(&bus, "w1", WorkerChange::Stopped).await;
    let of = |args: &[&str]| {
        let mut all = vec!["events", "-o", "json"];
        all.extend(args);
        sequences(&fleet.json(&all))
    };
    let even: Vec<u64> = (1..=10).map(|n| n * 2).chain([21]).collect();
    assert_eq!(of(&[]), even, "ticks are not shown");
    assert_eq!(of(&["--type", "tick", "-n", "3"]), [15, 17, 19]);
    assert_eq!(of(&["--type", "tick,worker.STOPPED", "-n", "3"]), [17, 19, 21]);
    assert_eq!(of(&["--type", "tick", "--type", "stopped", "-n", "2"]), [19, 21]);
    assert_eq!(of(&["--type", "*", "-n", "3"]), [19, 20, 21]);
    assert_eq!(of(&["--worker", "w1"]), [4, 8, 12, 16, 20, 21]);
    // What the wildcard means is found only by looking: further back than two events.
    assert_eq!(of(&["--worker", "r*", "-n", "2"]), [14, 18]);
    assert_eq!(of(&["--worker", "w1,rack-2", "--type", "STOPPED"]), [21]);
    assert_eq!(of(&["--type", "LOST"]), [0; 0]);
    let output = fleet.run(&["events", "--type", "LOST"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "nothing of that happened\n");

    for (args, part) in [
        (&["events", "--type", "FATL"][..], "did you mean \"FATAL\"?"),
        (&["events", "--type", "wroker.LOST"], "did you mean \"worker.LOST\"?"),
        (&["events", "--type", "tick", "web"], "no event of kind tick is about a program"),
        (&["events", "web:x"], "after the colon comes a number or *"),
        (&["events", "--since", "yesterday"], "expected how long ago"),
        (&["events", "--since", "2h", "--from-seq", "3"], "cannot be used with"),
        (&["events", "-f", "--until", "2h"], "cannot be used with"),
    ] {
        let said = fleet.fails(2, args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert!(fleet.ok(&["events", "--help"]).contains("notice     HOOK_DONE HOOK_FAILED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_shown_from_a_sequence_and_from_a_time() {
    let (fleet, bus) = nobody().await;
    for n in 1..=6 {
        worker_event(&bus, "w1", WorkerChange::Started).await;
        if n == 3 {
            // Milliseconds go by meanwhile: the next one is stored at another time.
            assert_eq!(sequences(&fleet.json(&["events", "-n", "1", "-o", "json"])), [3]);
        }
    }
    let of = |args: &[&str]| {
        let mut all = vec!["events", "-o", "json"];
        all.extend(args);
        sequences(&fleet.json(&all))
    };
    assert_eq!(of(&["--from-seq", "5"]), [5, 6]);
    assert_eq!(of(&["--from-seq", "2", "-n", "3"]), [4, 5, 6]);
    assert_eq!(of(&["--from-seq", "00000000000000000006"]), [6], "as it is printed");
    let fourth = stored(&bus, 4).await.to_string();
    assert_eq!(of(&["--since", &fourth]), [4, 5, 6]);
    assert_eq!(of(&["--since", &fourth, "-n", "1"]), [6]);
    assert_eq!(of(&["--until", &fourth]), [1, 2, 3]);
    assert_eq!(of(&["--until", &fourth, "-n", "2"]), [2, 3]);
    assert_eq!(of(&["--since", "1h", "--until", "30m"]), [0; 0]);
    assert_eq!(of(&["--since", "1h"]), [1, 2, 3, 4, 5, 6]);
    let wide = fleet.ok(&["events", "--from-seq", "6", "-o", "wide"]);
    let columns: Vec<&str> = wide.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["6", "2026-11-26T10:00:00.000Z", "w1", "w1", "worker.STARTED"], "{wide}");

    purge(&fleet, 4);
    let output = fleet.run(&["events", "--from-seq", "2", "-o", "json"]);
    assert_eq!(sequences(&serde_json::from_slice(&output.stdout).unwrap()), [4, 5, 6]);
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.starts_with("events before sequence 4 ("), "{note}");
    assert!(note.contains("7 days and 1.0 GiB"), "{note}");
    let output = fleet.run(&["events", "--since", "1h"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("before sequence 4"));
    let output = fleet.run(&["events", "--from-seq", "4"]);
    assert!(output.stderr.is_empty(), "{}", said(&output));
}

/// When an event was stored.
async fn stored(bus: &Bus, seq: u64) -> Timestamp {
    let mut watch = bus.watch_events(&subject::events(bus.fleet()), From::Sequence(seq), "test");
    loop {
        if let Item::Entry(entry) = watch.next().await {
            return entry.time;
        }
    }
}

/// Lets the stream lose what is before a sequence, as its limits do after days.
fn purge(fleet: &Fleet, seq: u64) {
    let ask = serde_json::json!({ "seq": seq }).to_string();
    let answer = fleet.nats.ask_with("$JS.API.STREAM.PURGE.DSBUS_EVENTS", &ask);
    assert!(answer.contains("\"success\":true"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_comes_in_order_and_can_be_taken_up_again() {
    let (fleet, bus) = nobody().await;
    worker_event(&bus, "w1", WorkerChange::Started).await;
    worker_event(&bus, "w2", WorkerChange::Started).await;
    let follow = |args: &[&str]| {
        let mut command = fleet.command();
        command.args(["events", "-f", "-o", "json", "--type", "worker,user.*"]).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        (child, events)
    };
    let (mut first, mut events) = follow(&["-n", "1"]);
    let mut seen = vec![events.next().unwrap()];
    for n in 0..20 {
        tick(&bus, n * 5).await;
        worker_event(&bus, "w1", WorkerChange::Stopped).await;
        fleet.ok(&["emit", "note", &n.to_string()]);
    }
    seen.extend(events.by_ref().take(20));
    first.kill().unwrap();
    first.wait().unwrap();
    let last: u64 = seen.last().unwrap()["sequence"].as_str().unwrap().parse().unwrap();
    let (mut second, events) = follow(&["--from-seq", &(last + 1).to_string()]);
    seen.extend(events.take(20));
    second.kill().unwrap();
    second.wait().unwrap();
    let seen = sequences(&Value::from(seen));
    let wanted: Vec<u64> =
        [2].into_iter().chain((0..20).flat_map(|n| [3 * n + 4, 3 * n + 5])).collect();
    assert_eq!(seen, wanted, "every one once, ticks left out");
}
