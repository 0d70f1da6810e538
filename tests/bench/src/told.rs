//! How long after a child's end its event is in a subscriber's hands.
//!
//! Ours is heard by a plain subscription, as any NATS client has one, and through a durable consumer,
//! which has it from the stream, stored. The peer's is heard by an event listener in Python, which is
//! the only way to hear it. The floor is `waitpid` in the parent.

use std::num::NonZeroU16;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_client::{Begin, Bus, DurableOptions, Share};
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::state::State;
use dsbus_schema::subject;
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::births::Births;
use crate::clock::{Moment, millis, now, rest};
use crate::fleet::{self, Fleet};
use crate::floor::{self, Floor};
use crate::markers::options;
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting};

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
