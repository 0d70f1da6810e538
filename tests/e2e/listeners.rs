//! Examples of listeners in other languages, on a real bus: nothing is missed, whatever is killed.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use dsbus_client::Bus;
use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uuid::Uuid;

use crate::events::nobody;
use crate::fleet::{DEADLINE, Fleet};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

async fn tell(bus: &Bus, change: WorkerChange, number: u32) {
    let worker = WorkerName::parse("w1").unwrap();
    let source = Source::Worker(worker.clone());
    let reason = Some(format!("n{number}"));
    let fact = WorkerFact { worker, change, reason, incarnation: None, dropped: None };
    let time = Timestamp::parse("2026-11-26T10:00:00Z").unwrap();
    let event = Event::new(bus.fleet(), &source, Uuid::now_v7(), time, Fact::Worker(fact));
    // The server may just be starting.
    while let Err(e) = bus.publish_event(&source, &event).await {
        assert!(bus.connected() || e == dsbus_client::Error::Disconnected, "{e}");
        tokio::task::yield_now().await;
    }
}

/// A listener that runs, and the lines that it prints.
struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn start(mut command: Command) -> Listener {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        Listener { child, lines }
    }

    /// The number in the next line.
    fn next(&self) -> u32 {
        let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|e| panic!("no line: {e}"));
        let (start, number) = line.rsplit_once(" n").unwrap_or_else(|| panic!("{line}"));
        assert_eq!(start, "2026-11-26T10:00:00.000Z w1 LOST");
        number.parse().unwrap()
    }

    /// The number in the next line; an event that it was killed with comes once more.
    fn next_after(&self, last: u32) -> u32 {
        let number = self.next();
        if number == last { self.next() } else { number }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What every example must hold.
async fn nothing_is_missed(fleet: &mut Fleet, bus: &Bus, command: impl Fn(&Fleet) -> Command) {
    for number in 1..=3 {
        tell(bus, WorkerChange::Lost, number).await;
        // It asks for what went wrong only.
        tell(bus, WorkerChange::Started, 0).await;
    }
    let first = Listener::start(command(fleet));
    for number in 1..=3 {
        assert_eq!(first.next(), number, "it begins with what was before it");
    }
    drop(first);
    // Whatever else somebody publishes there is left out, and comes once.
    let stored = fleet.nats.ask("dsbus.default.event.w1.worker._._.LOST");
    assert!(stored.contains("DSBUS_EVENTS"), "{stored}");
    for number in 4..=6 {
        tell(bus, WorkerChange::Lost, number).await;
    }
    let mut second = Listener::start(command(fleet));
    assert_eq!(second.next_after(3), 4, "it goes on where it was killed");
    assert_eq!((second.next(), second.next()), (5, 6));
    fleet.nats.restart();
    for number in 7..=9 {
        tell(bus, WorkerChange::Lost, number).await;
    }
    assert_eq!(second.next_after(6), 7, "it goes on after the server came back");
    assert_eq!((second.next(), second.next()), (8, 9));
    kill(Pid::from_raw(i32::try_from(second.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(second.child.wait().unwrap().success(), "it stops when it is asked to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_in_python_misses_nothing() {
    let (mut fleet, bus) = nobody().await;
    let found = Command::new("python3").args(["-c", "import nats"]).output().unwrap();
    assert!(found.status.success(), "run the tests by ./run test, which fetches nats-py");
    nothing_is_missed(&mut fleet, &bus, |fleet| {
        let mut python = Command::new("python3");
        python.arg(example("listen.py")).env("NATS_URL", fleet.nats.url());
        python
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_in_node_misses_nothing() {
    let Some(modules) = std::env::var_os("DSBUS_NODE_MODULES") else {
        let hint =
            "SKIPPED: DSBUS_NODE_MODULES is not set; ./run test fetches Node and its packages\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), hint.as_bytes());
        return;
    };
    let (mut fleet, bus) = nobody().await;
    // Node looks for packages beside the script.
    std::fs::copy(example("listen.mjs"), fleet.path().join("listen.mjs")).unwrap();
    symlink(modules, fleet.path().join("node_modules")).unwrap();
    nothing_is_missed(&mut fleet, &bus, |fleet| {
        let mut node = Command::new("node");
        node.arg(fleet.path().join("listen.mjs")).env("NATS_URL", fleet.nats.url());
        node
    })
    .await;
}
