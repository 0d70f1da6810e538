//! Listeners of Supervisor's kind: how many of the events of a boot reach one (`boot`), and how fast
//! one takes what waits for it (`drain`), beside one that reads the events itself.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dsbus_client::{Begin, Bus, DurableOptions, Share};
use dsbus_harness::NatsServer;
use dsbus_schema::event::{Event, Fact, ProcessFact, Source};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::state::State;
use dsbus_schema::subject;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::clock::{look, now, rest, wall};
use crate::fleet::{self, Fleet};
use crate::markers::options;
use crate::report::{Limit, Report, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, float};

/// Programs that boot, each with two changes of state until it is RUNNING; so has the listener.
const PROGRAMS: usize = 20;
const TOLD: usize = 2 * (PROGRAMS + 1);
/// How long the peer has for it; it needs a second.
const BOOT: Duration = Duration::from_secs(6);
/// Longer than a fleet needs on a busy machine.
const BOOT_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Events that wait, and how many of them a second a listener must take.
const QUEUED: usize = 100_000;
const DRAINED_PER_SECOND: f64 = 20_000.0;
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// Publishes on their way at once.
const PUBLISHING: usize = 256;

/// Notes the name of each event in a file.
const RECORDER: &str = r#"
import sys
out = open(sys.argv[1], "a")
while True:
    sys.stdout.write("READY\n"); sys.stdout.flush()
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    payload = sys.stdin.read(int(header["len"]))
    out.write(header["eventname"] + " " + payload.split()[0] + "\n"); out.flush()
    sys.stdout.write("RESULT 2\nOK"); sys.stdout.flush()
"#;

/// Takes so many events, and writes how many nanoseconds that took from the first to the last.
const COUNTER: &str = r#"
import sys, time
count, begun = 0, 0
while True:
    sys.stdout.write("READY\n"); sys.stdout.flush()
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    sys.stdin.read(int(header["len"]))
    count += 1
    if count == 1:
        begun = time.monotonic_ns()
    sys.stdout.write("RESULT 2\nOK"); sys.stdout.flush()
    if count == int(sys.argv[2]):
        with open(sys.argv[1], "w") as out:
            out.write(str(time.monotonic_ns() - begun) + "\n")
"#;

pub(crate) fn boot(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let what = format!("of {TOLD} events of a boot, told to a listener");
    let rounds = setting.rounds(5, 1);
    let ours = (0..rounds).map(|_| boot_ours()).collect::<Outcome<Vec<f64>>>()?;
    if let Some(ours) = report.row(Who::Ours, &what, "events", ours) {
        let (least, all) = (ours.percentile(1), float(TOLD));
        report.goal("told by dsbus, at least", least, Some(Limit::AtLeast(all)));
        report.goal("told by dsbus, at most", ours.percentile(100), Some(Limit::AtMost(all)));
    }
    if setting.peer {
        match (0..rounds).map(|_| boot_peer()).collect::<Outcome<Vec<f64>>>() {
            Ok(theirs) => drop(report.row(Who::Peer, &what, "events", theirs)),
            Err(why) => report.missing.push(format!("Supervisor: {why}")),
        }
    }
    Ok(report)
}

fn script(directory: &Path, text: &str) -> Outcome<PathBuf> {
    let path = directory.join("listener.py");
    std::fs::write(&path, text)?;
    Ok(path)
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn boot_ours() -> Outcome<f64> {
    let fleet = Fleet::start(1, 3)?;
    let (heard, script) = (fleet.path().join("heard"), script(fleet.path(), RECORDER)?);
    let command = ["python3".to_owned(), script.display().to_string(), heard.display().to_string()];
    let mut declared = fleet::program("recorder", &command, "events = \"PROCESS_STATE\"\n")
        .replace("[program.", "[eventlistener.");
    let sleep = ["sleep".to_owned(), "1000".to_owned()];
    for number in 0..PROGRAMS {
        declared += &fleet::program(&format!("p{number}"), &sleep, "");
    }
    fleet.apply(&declared)?;
    look("the events of the boot", BOOT_MAX, LOOK, || Ok((lines(&heard) >= TOLD).then_some(())))?;
    // One that comes twice comes soon.
    rest(Duration::from_secs(1));
    Ok(float(lines(&heard)))
}

fn boot_peer() -> Outcome<f64> {
    supervisor::version()?;
    let directory = tempfile::tempdir()?;
    let (heard, script) = (directory.path().join("heard"), script(directory.path(), RECORDER)?);
    let mut declared = format!(
        "[eventlistener:recorder]\ncommand=python3 {} {}\nevents=PROCESS_STATE\n",
        script.display(),
        heard.display()
    );
    let sleep = ["sleep".to_owned(), "1000".to_owned()];
    for number in 0..PROGRAMS {
        declared += &supervisor::program(&format!("p{number}"), &sleep, "");
    }
    let _supervisor = Supervisor::start(&declared)?;
    rest(BOOT);
    Ok(float(lines(&heard)))
}

/// A listener that was away for 100,000 events.
pub(crate) fn drain(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let queued = setting.rounds(QUEUED, QUEUED / 20);
    let nats = NatsServer::start();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut itself, mut bridged) = (Vec::new(), Vec::new());
    let bus = runtime.block_on(Bus::connect(options(&nats.url(), "bench-drain")))?;
    look("JetStream", BOOT_MAX, LOOK, || Ok(runtime.block_on(bus.provision(None)).ok()))?;
    let stored = runtime.block_on(async {
        let begun = now();
        publish(&bus, queued).await?;
        Outcome::Ok(float(queued) / now().since(begun).as_secs_f64())
    })?;
    for round in 0..setting.rounds(5, 1) {
        itself.push(runtime.block_on(take(&bus, &format!("itself-{round}"), queued))?);
        bridged.push(bridge(&nats.url(), &format!("bridged-{round}"), queued)?);
    }
    report.row(Who::Ours, "events stored", "/s", vec![stored]);
    report.row(Who::Ours, "queued events read, durable, in order", "/s", itself);
    let what = "queued events taken by a listener in Python, durable, in order";
    if let Some(rates) = report.row(Who::Ours, what, "/s", bridged) {
        let limit = Some(Limit::AtLeast(DRAINED_PER_SECOND));
        report.goal("taken by the listener per second, p50", rates.median(), limit);
    }
    Ok(report)
}

async fn publish(bus: &Bus, count: usize) -> Outcome<()> {
    let worker = WorkerName::parse("w1")?;
    let source = Source::Worker(worker.clone());
    let (name, id) = (InstanceId::new(ProgramName::parse("web")?, 0), ProgramId(Uuid::now_v7()));
    let mut sending = FuturesUnordered::new();
    for number in 1..=count {
        if sending.len() == PUBLISHING {
            sending.next().await.transpose()?;
        }
        let fact = ProcessFact {
            name: name.clone(),
            id,
            group: None,
            process: None,
            worker: Some(worker.clone()),
            epoch: Epoch(1),
            seq: u64::try_from(number)?,
            revision: 1,
            from: State::Starting,
            state: State::Running,
            pid: Some(1000),
            exit: None,
            usage: None,
            expected: None,
            reason: None,
            spawnerr: None,
            stderr_line: None,
            attempt: Some(1),
        };
        let event = Event::new(bus.fleet(), &source, Uuid::now_v7(), wall(), Fact::Process(fact));
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

/// What must not outlive the bench.
struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The same by a listener of Supervisor's kind.
fn bridge(url: &str, name: &str, count: usize) -> Outcome<f64> {
    let directory = tempfile::tempdir()?;
    let (result, script) = (directory.path().join("result"), script(directory.path(), COUNTER)?);
    let listening = Command::new(crate::beside("dsbus")?)
        .args(["--nats", url, "listen", "--from-seq", "1", "--startsecs", "0", "--name", name])
        .args(["--events", "PROCESS_STATE", "--", "python3"])
        .args([&script, &result])
        .arg(count.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _listening = Listening(listening);
    let nanos = look("the listener to take all", DRAIN_MAX, LOOK, || {
        let said = std::fs::read_to_string(&result).unwrap_or_default();
        Ok(said.strip_suffix('\n').map(str::to_owned))
    })?;
    Ok(float(count) / Duration::from_nanos(nanos.parse()?).as_secs_f64())
}
