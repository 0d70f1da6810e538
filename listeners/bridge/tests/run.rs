//! Bridges with real processes, and a bus that only exists in this file.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsbus_bridge::frame::{Len, Tokens};
use dsbus_bridge::pool::{Ended, Rules, Tell};
use dsbus_bridge::{Control, End, Incoming, Options, Program, Source, Subscription, run};
use dsbus_harness::{DEADLINE, wait_for_async};
use dsbus_schema::event::{Event, Fact, ListenerChange, Source as Teller};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::EventName;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// What became of events, by their sequence.
#[derive(Debug, Default, Clone)]
struct Record {
    done: Vec<u64>,
    back: Vec<u64>,
    told: Vec<ListenerChange>,
}

struct Given(u64, Event);

impl Incoming for Given {
    fn event(&self) -> &Event {
        &self.1
    }
    fn seq(&self) -> u64 {
        self.0
    }
}

struct Bus {
    events: mpsc::UnboundedReceiver<Given>,
    record: Arc<Mutex<Record>>,
}

impl Source for Bus {
    type Key = Given;

    async fn next(&mut self) -> Result<Given, String> {
        self.events.recv().await.ok_or_else(|| "the bus is gone".to_owned())
    }
    fn next_here(&mut self) -> Option<Given> {
        self.events.try_recv().ok()
    }
    fn hold(&mut self, _most: NonZeroU16) {}
    fn done(&mut self, key: Given) {
        self.record.lock().unwrap().done.push(key.0);
    }
    fn back(&mut self, key: Given) {
        self.record.lock().unwrap().back.push(key.0);
    }
    fn tell(&mut self, tell: &Tell) {
        self.record.lock().unwrap().told.extend(tell.change);
    }
    async fn flush(&mut self) {}
}

struct Desk {
    directory: tempfile::TempDir,
    events: mpsc::UnboundedSender<Given>,
    control: mpsc::Sender<Control>,
    record: Arc<Mutex<Record>>,
    bridge: JoinHandle<End>,
}

impl Desk {
    /// A bridge whose listener takes these steps.
    fn new(size: usize, restart: bool, steps: &str) -> Desk {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/listener.py");
        let directory = tempfile::tempdir().unwrap();
        let heard = directory.path().join("heard");
        let argv = ["python3", script, heard.to_str().unwrap(), steps];
        Desk::of(directory, size, restart, &argv)
    }

    fn of(directory: tempfile::TempDir, size: usize, restart: bool, argv: &[&str]) -> Desk {
        let argv = argv.iter().map(Into::into).collect();
        let environment = vec![BTreeMap::new(); size];
        let options = Options {
            program: Program { argv, environment },
            subscription: Subscription::new(vec![EventName::RemoteCommunication]),
            tokens: Tokens { server: "fleet".to_owned(), pool: "test".to_owned(), len: Len::Chars },
            extra_tokens: false,
            rules: Rules {
                size,
                startsecs: Duration::ZERO,
                stopwaitsecs: Duration::from_secs(600),
                restart,
            },
            window: NonZeroU16::new(10).unwrap(),
            shared: true,
            stop_signal: Signal::SIGTERM,
            hint: None,
        };
        let (events, heard) = mpsc::unbounded_channel();
        let (control, mut controls) = mpsc::channel(1);
        let record = Arc::new(Mutex::new(Record::default()));
        let source = Bus { events: heard, record: Arc::clone(&record) };
        let bridge = tokio::spawn(async move { run(source, options, &mut controls).await });
        Desk { directory, events, control, record, bridge }
    }

    fn emit(&self, seq: u64, text: &str) {
        self.fact(seq, json!({ "kind": "user", "by": "ann", "type": "t", "text": text }));
    }

    fn fact(&self, seq: u64, fact: serde_json::Value) {
        let fact: Fact = serde_json::from_value(fact).unwrap();
        let time = Timestamp::from_unix_nanos(0);
        let event = Event::new(&FleetName::default(), &Teller::Fleet, Uuid::nil(), time, fact);
        assert!(self.events.send(Given(seq, event)).is_ok());
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, is: impl Fn(&Record) -> bool) -> Record {
        wait_for_async(what, DEADLINE, async || Some(self.record()).filter(&is)).await
    }

    fn heard_file(&self) -> PathBuf {
        self.directory.path().join("heard")
    }

    /// What the listeners were given: pid, serial, poolserial, and the rest of each line.
    fn heard(&self) -> Vec<(u32, u64, u64, String)> {
        let text = std::fs::read_to_string(self.heard_file()).unwrap_or_default();
        // The last line may be on its way.
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(|line| {
                let mut parts = line.splitn(4, ' ');
                let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
                let (pid, serial, pool) = (number(), number(), number());
                (u32::try_from(pid).unwrap(), serial, pool, parts.next().unwrap().to_owned())
            })
            .collect()
    }

    async fn stop(self) -> (End, Record) {
        self.control.send(Control::Stop(Signal::SIGTERM)).await.unwrap();
        let end = self.bridge.await.unwrap();
        let record = self.record.lock().unwrap().clone();
        (end, record)
    }
}

#[tokio::test]
async fn events_are_done_when_they_are_accepted() {
    let desk = Desk::new(1, true, "ok");
    let tick = json!({ "kind": "tick", "tick": "TICK_5", "when": 5 });
    desk.emit(11, "a");
    desk.fact(12, tick);
    desk.emit(13, &"grüße 🦀\r\n".repeat(30_000));
    let record = desk.until("all are done", |r| r.done.len() == 3).await;
    assert_eq!(record.done.iter().max(), Some(&13));
    let heard = desk.heard();
    assert_eq!(heard.len(), 2, "what it has not subscribed to is done without it: {heard:?}");
    assert_eq!((heard[0].1, heard[0].2), (11, 0));
    assert_eq!(heard[0].3, r"REMOTE_COMMUNICATION 8 'type:t\na'");
    assert_eq!((heard[1].1, heard[1].2), (13, 1));
    assert!(heard[1].3.contains(&format!(" {} ", 8 * 30_000 + 7)), "{heard:?}");
    let (end, record) = desk.stop().await;
    assert_eq!((end, record.back), (End::Stopped, vec![]));
}

#[tokio::test]
async fn what_it_fails_or_dies_with_comes_again() {
    let desk = Desk::new(1, true, "fail,fail,die,ok,ok-and-die");
    for seq in 1..=4 {
        desk.emit(seq, "x");
    }
    let record = desk.until("all are done", |r| r.done.len() == 4).await;
    assert_eq!(record.done, [1, 2, 3, 4]);
    let told = [ListenerChange::Died, ListenerChange::Rejected, ListenerChange::Accepted];
    assert_eq!(record.told, told, "in all it rejected the first one four times");
    let heard = desk.heard();
    let first: Vec<_> = heard.iter().filter(|(_, serial, ..)| *serial == 1).collect();
    // Failed twice, died with, and accepted by the next life, each time with its numbers.
    assert_eq!(first.len(), 6, "{heard:?}");
    assert!(first.iter().all(|(_, _, pool, _)| *pool == 0));
    desk.stop().await;
}

#[tokio::test]
async fn whoever_leaves_the_protocol_is_replaced() {
    let desk = Desk::new(1, true, "garbage");
    desk.emit(1, "x");
    desk.until("it is done", |r| r.done == [1]).await;
    let record = desk.record();
    assert_eq!(record.told, [ListenerChange::Unknown]);
    let pids: Vec<u32> = desk.heard().iter().map(|(pid, ..)| *pid).collect();
    assert!(pids.len() == 2 && pids[0] != pids[1], "{pids:?}");
    desk.stop().await;

    let desk = Desk::new(1, true, "close");
    desk.emit(1, "x");
    let record = desk.until("it is done", |r| r.done == [1]).await;
    assert_eq!(record.told, [ListenerChange::Unknown]);
    desk.stop().await;
}

#[tokio::test]
async fn one_that_floods_its_output_is_replaced_and_does_not_keep_a_bridge_from_ending() {
    let directory = || tempfile::tempdir().unwrap();
    let desk = Desk::of(directory(), 1, true, &["yes"]);
    let unknown = |r: &Record| r.told.iter().filter(|c| **c == ListenerChange::Unknown).count();
    desk.until("it is ended, and its successor, too", |r| unknown(r) >= 3).await;
    let (end, _) = timeout(DEADLINE, desk.stop()).await.expect("a stop ends it");
    assert_eq!(end, End::Stopped);

    // One that does not heed the request is not read any more, and is killed; others of its pool work
    // meanwhile.
    let script = "import os, select, signal, sys
first, listener, *words = sys.argv[1:]
try: os.mkdir(first)
except FileExistsError: os.execvp('python3', ['python3', listener, *words])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.set_blocking(1, False)
left, found = 64 << 20, 'all of it was read'
while left > 0:
    if not select.select([], [1], [], 2)[1]:
        found = 'nobody reads it'
        break
    left -= os.write(1, b'y\\n' * 2048)
os.mkdir(first + '/' + found)
signal.pause()";
    let place = directory();
    let (first, heard) = (place.path().join("first"), place.path().join("heard"));
    let listener = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/listener.py");
    let words = [first.to_str().unwrap(), listener, heard.to_str().unwrap(), "ok"];
    let argv = [&["python3", "-c", script][..], &words].concat();
    let desk = Desk::of(place, 2, true, &argv);
    desk.until("it has left", |r| unknown(r) == 1).await;
    desk.emit(1, "x");
    desk.until("the other one takes it", |r| r.done == [1]).await;
    let found = wait_for_async("what it finds", DEADLINE, async || {
        std::fs::read_dir(&first).unwrap().next().map(|entry| entry.unwrap().file_name())
    })
    .await;
    assert_eq!(found, "nobody reads it");
    desk.control.send(Control::Stop(Signal::SIGTERM)).await.unwrap();
    let (end, _) = timeout(DEADLINE, desk.stop()).await.expect("a second stop kills it");
    assert_eq!(end, End::Stopped);
}

#[tokio::test]
async fn each_event_goes_to_one_of_a_pool() {
    let desk = Desk::new(3, true, "ok");
    // The first three, one for each listener, are held until all have one.
    for seq in 1..=60 {
        desk.emit(seq, "x");
    }
    let mut record = desk.until("all are done", |r| r.done.len() >= 60).await;
    record.done.sort_unstable();
    assert_eq!(record.done, (1..=60).collect::<Vec<_>>());
    let mut serials: Vec<u64> = desk.heard().iter().map(|(_, serial, ..)| *serial).collect();
    serials.sort_unstable();
    assert_eq!(serials, record.done, "each once");
    desk.stop().await;

    let desk = Desk::new(3, true, "hang");
    for seq in 1..=4 {
        desk.emit(seq, "x");
    }
    let heard = wait_for_async("three are with listeners", DEADLINE, async || {
        Some(desk.heard()).filter(|heard| heard.len() >= 3)
    })
    .await;
    let pids: std::collections::BTreeSet<u32> = heard.iter().map(|(pid, ..)| *pid).collect();
    assert_eq!((heard.len(), pids.len()), (3, 3), "{heard:?}");
    // The last one waits for the first that is free; none is, and it goes back.
    desk.control.send(Control::Stop(Signal::SIGTERM)).await.unwrap();
    desk.until("what waits goes back", |r| r.back == [4]).await;
    let (end, mut record) = desk.stop().await;
    record.back.sort_unstable();
    assert_eq!((end, record.back), (End::Stopped, vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn one_that_is_not_started_again_ends_the_bridge() {
    let desk = Desk::new(1, false, "die");
    desk.emit(1, "x");
    assert_eq!(desk.bridge.await.unwrap(), End::Over(Ended::Code(3)));
    assert_eq!(desk.record.lock().unwrap().back, [1]);

    let desk = Desk::new(1, false, "garbage");
    desk.emit(1, "x");
    assert_eq!(desk.bridge.await.unwrap(), End::Over(Ended::LeftProtocol));

    let desk = Desk::of(tempfile::tempdir().unwrap(), 1, true, &["/no/such/listener"]);
    let End::NotStarted(why) = desk.bridge.await.unwrap() else { panic!() };
    assert!(why.contains("/no/such/listener") && why.contains("No such file"), "{why}");
}

#[tokio::test]
async fn signals_are_passed_on_and_a_stop_has_its_signal() {
    let directory = tempfile::tempdir().unwrap();
    let heard = directory.path().join("heard");
    let script = "import signal, sys
def say(word):
    with open(sys.argv[1], 'a') as out: out.write(word + '\\n')
def end(*_):
    say('int')
    sys.exit(0)
signal.signal(signal.SIGUSR1, lambda *_: say('usr1'))
signal.signal(signal.SIGINT, end)
say('begun')
while True: signal.pause()";
    let argv = ["python3", "-c", script, heard.to_str().unwrap()];
    let desk = Desk::of(directory, 1, true, &argv);
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    wait_for_async("it begins", DEADLINE, async || lines().contains("begun").then_some(())).await;
    desk.control.send(Control::Pass(Signal::SIGUSR1)).await.unwrap();
    wait_for_async("it hears the signal", DEADLINE, async || {
        lines().contains("usr1").then_some(())
    })
    .await;
    desk.control.send(Control::Stop(Signal::SIGINT)).await.unwrap();
    assert_eq!(desk.bridge.await.unwrap(), End::Stopped);
    assert!(lines().ends_with("int\n"));
}
