//! How long after a child's end its event is in a subscriber's hands (`told`), and how fast a
//! listener takes what waits for it (`drain`).
//!
//! Ours is heard by a plain subscription, as any NATS client has one, and through a durable consumer,
//! which has it from the stream, stored. The peer's is heard by an event listener in Python, which is
//! the only way to hear it. The floor is `waitpid` in the parent.

use std::num::NonZeroU16;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_client::{Begin, Bus, DurableOptions, Share};
use dsbus_harness::NatsServer;
use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::state::State;
use dsbus_schema::subject;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::births::Births;
use crate::clock::{Moment, millis, now, rest, wall};
use crate::fleet::{self, Fleet};
use crate::floor::{self, Floor};
use crate::markers::options;
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, float};

/// Children that take turns, so that each has run for more than a second before it is ended.
const CHILDREN: usize = 20;
/// Between two rounds.
const REST: Duration = Duration::from_millis(60);
/// The peer takes a second to start its child again.
const PEER_EVERY: usize = 10;
/// No event takes that long.
const HEAR_MAX: Duration = Duration::from_secs(20);
/// From the end of the child to the subscriber's hands, in milliseconds.
const GOALS: [(usize, f64); 2] = [(50, 2.0), (99, 10.0)];

/// Events that wait, and how many of them a second a listener must take.
const QUEUED: usize = 100_000;
const DRAINED_PER_SECOND: f64 = 20_000.0;
/// Until JetStream is ready.
const AGAIN: Duration = Duration::from_millis(50);
/// Publishes on their way at once.
const PUBLISHING: usize = 256;

const WHAT: &str = "a child's end to its event";

/// A listener of Supervisor's kind that says when it has got an event.
const LISTENER: &str = r#"
import socket, sys, time
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    sys.stdout.write("READY\n"); sys.stdout.flush()
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    sys.stdin.read(int(header["len"]))
    if header["eventname"] == "PROCESS_STATE_EXITED":
        to.sendto(f"told 0 {time.monotonic_ns()}".encode(), sys.argv[1])
    sys.stdout.write("RESULT 2\nOK"); sys.stdout.flush()
"#;

/// What hears ours, aside.
struct Ears {
    plain: Receiver<Moment>,
    durable: Receiver<Moment>,
    _runtime: Runtime,
}

impl Ears {
    fn listen(fleet: &Fleet) -> Outcome<Ears> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let bus = runtime.block_on(Bus::connect(options(&fleet.nats.url(), "bench-told")))?;
        let subjects = vec![subject::events(bus.fleet())];
        let mut feed = runtime.block_on(bus.event_feed(&subjects[0]))?;
        let entered = runtime.enter();
        let mut reader = bus.durable(DurableOptions {
            name: "bench".to_owned(),
            subjects,
            begin: Begin::New,
            share: Share::One,
            window: NonZeroU16::MAX,
        });
        drop(entered);
        let ended = |event: &Event| matches!(&event.data, Fact::Process(fact) if fact.state == State::Exited);
        let (plain, durable) = (channel(), channel());
        runtime.spawn(async move {
            while let Some(event) = feed.next().await {
                if ended(&event) && plain.0.send(now()).is_err() {
                    return;
                }
            }
        });
        runtime.spawn(async move {
            while let Ok(heard) = reader.next().await {
                if ended(&heard.event) && durable.0.send(now()).is_err() {
                    return;
                }
                heard.ack();
            }
        });
        Ok(Ears { plain: plain.1, durable: durable.1, _runtime: runtime })
    }
}

/// The peer, its child, and what its listener says.
struct Peer {
    _supervisor: Supervisor,
    births: Births,
    victim: i32,
}

impl Peer {
    fn start() -> Outcome<Peer> {
        supervisor::version()?;
        let births = Births::listen()?;
        let command = births.command("peer", &[]);
        let script = births.directory().join("listener.py");
        std::fs::write(&script, LISTENER)?;
        let listener = format!(
            "[eventlistener:told]\ncommand=python3 {} {}\nevents=PROCESS_STATE_EXITED\n",
            script.display(),
            command[1]
        );
        let victim = supervisor::program("victim", &command, "autorestart=true");
        let supervisor = Supervisor::start(&format!("{victim}{listener}"))?;
        let victim = births.next("peer")?.pid;
        Ok(Peer { _supervisor: supervisor, births, victim })
    }

    fn measure(&mut self) -> Outcome<f64> {
        let begun = now();
        floor::shoot(self.victim)?;
        let told = self.births.next("told")?;
        self.victim = self.births.next("peer")?.pid;
        Ok(millis(told.at.since(begun)))
    }
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let births = Births::listen()?;
    let floor = Floor::new(&births.command("floor", &[]))?;
    let fleet = Fleet::start(1, 1)?;
    let copies = format!("numprocs = {CHILDREN}");
    fleet.apply(&fleet::program("victim", &births.command("ours", &[]), &copies))?;
    let mut victims: Vec<i32> =
        births.take("ours", CHILDREN)?.iter().map(|born| born.pid).collect();
    let mut report = Report::default();
    let mut peer = if setting.peer { Some(Peer::start()) } else { None };
    if let Some(Err(why)) = &peer {
        report.missing.push(format!("Supervisor: {why}"));
    }
    let ears = Ears::listen(&fleet)?;
    // After the warmth of the start.
    rest(Duration::from_secs(2));
    let [mut plain, mut durable, mut theirs, mut least] = [const { Vec::new() }; 4];
    for round in 0..setting.rounds(300, 10) {
        let child = floor.spawn()?;
        births.next("floor")?;
        let begun = now();
        floor::end(child)?;
        least.push(millis(now().since(begun)));
        rest(REST);
        let victim = &mut victims[round % CHILDREN];
        let begun = now();
        floor::shoot(*victim)?;
        plain.push(millis(ears.plain.recv_timeout(HEAR_MAX)?.since(begun)));
        durable.push(millis(ears.durable.recv_timeout(HEAR_MAX)?.since(begun)));
        *victim = births.next("ours")?.pid;
        rest(REST);
        if let Some(Ok(peer)) = &mut peer
            && round % PEER_EVERY == 0
        {
            // What the others did is over; its own child has had its second.
            theirs.push(peer.measure()?);
        }
    }
    let ours = report.row(Who::Ours, &format!("{WHAT}, subscribed"), "ms", plain);
    report.row(Who::Ours, &format!("{WHAT}, durable"), "ms", durable);
    let theirs = if theirs.is_empty() { None } else { report.row(Who::Peer, WHAT, "ms", theirs) };
    report.row(Who::Floor, "a child's end to waitpid", "ms", least);
    for (percent, limit) in GOALS {
        if let Some(ours) = &ours {
            let what = format!("dsbus, p{percent}, ms");
            report.goal(&what, ours.percentile(percent), Some(Limit::AtMost(limit)));
        }
    }
    if theirs.is_some() {
        let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
        report.ratio("dsbus / Supervisor, p50", (median(&ours), median(&theirs)), None);
    }
    Ok(report)
}

/// A listener that was away for 100,000 events.
pub(crate) fn drain(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let queued = setting.rounds(QUEUED, QUEUED / 20);
    let nats = NatsServer::start();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rates = Vec::new();
    let stored = runtime.block_on(async {
        let bus = Bus::connect(options(&nats.url(), "bench-drain")).await?;
        while bus.provision(None).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
        let begun = now();
        publish(&bus, queued).await?;
        let stored = float(queued) / now().since(begun).as_secs_f64();
        for round in 0..setting.rounds(5, 1) {
            rates.push(take(&bus, &format!("bench-{round}"), queued).await?);
        }
        Outcome::Ok(stored)
    })?;
    report.row(Who::Ours, "events stored", "/s", vec![stored]);
    let rates = report.row(Who::Ours, "queued events taken, durable, in order", "/s", rates);
    if let Some(rates) = rates {
        let limit = Some(Limit::AtLeast(DRAINED_PER_SECOND));
        report.goal("taken per second, p50", rates.median(), limit);
    }
    Ok(report)
}

async fn publish(bus: &Bus, count: usize) -> Outcome<()> {
    let worker = WorkerName::parse("w1")?;
    let source = Source::Worker(worker.clone());
    let mut sending = FuturesUnordered::new();
    for _ in 0..count {
        if sending.len() == PUBLISHING {
            sending.next().await.transpose()?;
        }
        let fact = WorkerFact {
            worker: worker.clone(),
            change: WorkerChange::Started,
            reason: Some("as long as reasons are for a program that does not run".to_owned()),
            incarnation: None,
        };
        let event = Event::new(bus.fleet(), &source, Uuid::now_v7(), wall(), Fact::Worker(fact));
        let (bus, source) = (bus.clone(), source.clone());
        sending.push(async move { bus.publish_event(&source, &event).await });
    }
    while let Some(sent) = sending.next().await {
        sent?;
    }
    Ok(())
}

/// Takes so many events as a new listener that begins at the first; how many a second.
async fn take(bus: &Bus, name: &str, count: usize) -> Outcome<f64> {
    let worker = WorkerName::parse("w1")?;
    let begun = now();
    let mut reader = bus.durable(DurableOptions {
        name: name.to_owned(),
        subjects: vec![subject::events_from(bus.fleet(), &Source::Worker(worker))],
        begin: Begin::All,
        share: Share::One,
        window: NonZeroU16::new(1024).ok_or("a window")?,
    });
    let mut last = 0;
    for _ in 0..count {
        let heard = reader.next().await?;
        if heard.seq <= last {
            return Err(format!("{} came after {last}", heard.seq).into());
        }
        last = heard.seq;
        heard.ack();
    }
    let rate = float(count) / now().since(begun).as_secs_f64();
    reader.close().await;
    Ok(rate)
}
