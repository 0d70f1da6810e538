//! A simulated worker: what an agent says on the bus, and no processes. It has a connection of its
//! own, joins with a record, holds its leases, answers pings, watches its placements, and tells of
//! each what an agent tells: the events STARTING and RUNNING, then the status.
//!
//! It is shorter than an agent where only faults would show it: it takes over no name, fences
//! nothing, and keeps nothing while the bus is away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_client::{Bus, Entry, Error, Item, Refusal, Served, Value, Watch, Write};
use dsbus_schema::call::{Pong, WorkerVerb};
use dsbus_schema::event::{Fact, WorkerChange, WorkerFact};
use dsbus_schema::ids::{Incarnation, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::storage::{Bucket, FleetKey, touch_key, worker_keys};
use dsbus_schema::touch::{PRESENCE_SECONDS, Touch};
use dsbus_schema::worker::{Capacity, Facts, Labels, Worker};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::clock::{boot, wall};
use crate::markers::options;
use crate::teller::{Said, Teller, tell};

/// After a touch that failed: as an agent's first retry.
const TOUCH_AGAIN: Duration = Duration::from_millis(100);
/// Between two records of a worker whose machine does nothing new: as an agent's.
const RECORD_EVERY: Duration = Duration::from_secs(60);
/// Capacity that nothing in a bench uses up.
const CPU: f64 = 64.0;
const MEMORY: u64 = 256 << 30;

/// A lease that it holds.
#[derive(Debug)]
struct Lease {
    /// Of the last entry, own or marker.
    seq: u64,
    due: tokio::time::Instant,
    in_flight: bool,
}

enum Done {
    Touched { seconds: u64, result: Result<u64, Error> },
    Told(InstanceId, Result<Said, Error>),
    Recorded(Result<u64, Error>),
}

/// One that lives until it is dropped.
struct Member {
    bus: Bus,
    name: WorkerName,
    me: Worker,
    leases: BTreeMap<u64, Lease>,
    attempt: u64,
    said: BTreeMap<InstanceId, Said>,
    /// What came while something was being told of the same instance.
    waiting: BTreeMap<InstanceId, Option<Placement>>,
    busy: BTreeSet<InstanceId>,
    errands: JoinSet<Done>,
    record_due: tokio::time::Instant,
}

/// Lives until it is aborted, and tells `ready` when it has joined.
///
/// # Errors
/// When the bus refuses it.
pub(crate) async fn live(
    url: String,
    name: WorkerName,
    ready: tokio::sync::oneshot::Sender<()>,
) -> Result<(), Error> {
    let bus = Bus::connect(options(&url, &format!("worker-{name}"))).await?;
    let me = described(&name);
    let mut watch = bus.watch(Bucket::Fleet, &worker_keys(&name), &format!("worker-{name}"));
    let mut member = Member {
        bus,
        name,
        me,
        leases: BTreeMap::new(),
        attempt: 0,
        said: BTreeMap::new(),
        waiting: BTreeMap::new(),
        busy: BTreeSet::new(),
        errands: JoinSet::new(),
        record_due: tokio::time::Instant::now(),
    };
    while member.heard(watch.next().await) {}
    let _served = member.join().await?;
    // Whoever waits for it may have given up.
    let _ = ready.send(());
    member.run(&mut watch).await
}

impl Member {
    async fn join(&mut self) -> Result<Served, Error> {
        let pong = Pong {
            incarnation: self.me.incarnation,
            host: self.me.host.clone(),
            machine: self.me.machine.clone(),
            directory: self.me.directory.clone(),
            supervisor_pid: self.me.supervisor_pid,
        };
        let pong = serde_json::to_value(pong).map_err(|_| Error::Disconnected)?;
        let serving = self.bus.serve_worker(
            &self.name,
            || serde_json::Value::Null,
            move |request| {
                let pong = pong.clone();
                async move {
                    match request.verb {
                        WorkerVerb::Ping => Ok(pong),
                        WorkerVerb::Log
                        | WorkerVerb::LogBulk
                        | WorkerVerb::LogWindow
                        | WorkerVerb::Clear
                        | WorkerVerb::Usage
                        | WorkerVerb::Signal
                        | WorkerVerb::Stdin
                        | WorkerVerb::Inventory => Err(Refusal::silent()),
                    }
                }
            },
        );
        let served = serving.await?;
        self.hold(PRESENCE_SECONDS);
        self.record()?;
        let fact = WorkerFact {
            worker: self.name.clone(),
            change: WorkerChange::Started,
            reason: None,
            incarnation: Some(self.me.incarnation),
            dropped: None,
        };
        tell(&self.bus, &self.name, Fact::Worker(fact)).await?;
        Ok(served)
    }

    async fn run(&mut self, watch: &mut Watch) -> Result<(), Error> {
        loop {
            self.touch();
            if self.record_due <= tokio::time::Instant::now() {
                self.record()?;
            }
            let due = self.leases.values().filter(|l| !l.in_flight).map(|l| l.due).min();
            let due = due.unwrap_or_else(|| tokio::time::Instant::now() + TOUCH_AGAIN);
            tokio::select! {
                item = watch.next() => {
                    self.heard(item);
                }
                Some(done) = self.errands.join_next() => {
                    if let Ok(done) = done {
                        self.done(done)?;
                    }
                }
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// Tells of itself.
    fn record(&mut self) -> Result<(), Error> {
        self.me.facts.at = Some(wall());
        self.record_due = tokio::time::Instant::now() + RECORD_EVERY;
        let (bus, write) = (self.bus.clone(), Write::put(self.name.as_str(), &self.me)?);
        self.errands.spawn(async move { Done::Recorded(bus.write(Bucket::Workers, write).await) });
        Ok(())
    }

    /// Takes what the watch tells; says whether more of what was there is to come.
    fn heard(&mut self, item: Item) -> bool {
        match item {
            Item::CaughtUp => return false,
            Item::Reset => {}
            Item::Entry(entry) => match FleetKey::parse(&entry.key) {
                Some(FleetKey::Touch(_, seconds)) => {
                    if let Some(lease) = self.leases.get_mut(&seconds) {
                        lease.seq = lease.seq.max(entry.seq);
                    }
                }
                Some(FleetKey::Placement(_, name)) => self.placed(name, &entry),
                Some(FleetKey::Scheduler(_)) | None => {}
            },
        }
        true
    }

    fn placed(&mut self, name: InstanceId, entry: &Entry) {
        let placement = match &entry.value {
            Value::Put(_) => entry.json::<Placement>().ok().flatten(),
            Value::Deleted | Value::Expired | Value::Copied => None,
        };
        if let Some(placement) = &placement {
            self.hold(placement.spec.touch_seconds());
        }
        self.waiting.insert(name.clone(), placement);
        self.tell_next(name);
    }

    fn tell_next(&mut self, name: InstanceId) {
        if self.busy.contains(&name) {
            return;
        }
        let Some(placement) = self.waiting.remove(&name) else { return };
        self.busy.insert(name.clone());
        let said = self.said.get(&name).copied().unwrap_or_default();
        let teller = Teller { bus: self.bus.clone(), worker: self.name.clone(), name, said };
        let incarnation = self.me.incarnation;
        self.errands.spawn(async move {
            let name = teller.name.clone();
            Done::Told(name, teller.tell(placement, incarnation).await)
        });
    }

    fn done(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Touched { seconds, result } => {
                let Some(lease) = self.leases.get_mut(&seconds) else { return Ok(()) };
                lease.in_flight = false;
                match result {
                    Ok(seq) => lease.seq = lease.seq.max(seq),
                    Err(_) => lease.due = tokio::time::Instant::now() + TOUCH_AGAIN,
                }
            }
            Done::Told(name, said) => {
                self.said.insert(name.clone(), said?);
                self.busy.remove(&name);
                self.tell_next(name);
            }
            Done::Recorded(written) => {
                written?;
            }
        }
        Ok(())
    }

    /// Holds the lease of so many seconds from now on.
    fn hold(&mut self, seconds: u64) {
        let due = tokio::time::Instant::now();
        self.leases.entry(seconds).or_insert(Lease { seq: 0, due, in_flight: false });
    }

    /// Renews what is due.
    fn touch(&mut self) {
        let now = tokio::time::Instant::now();
        for (&seconds, lease) in &mut self.leases {
            if lease.in_flight || lease.due > now {
                continue;
            }
            self.attempt += 1;
            let touch = Touch {
                machine: self.me.machine.clone(),
                boot: self.me.boot,
                directory: self.me.directory.clone(),
                host: self.me.host.clone(),
                incarnation: self.me.incarnation,
                attempt: self.attempt,
                sent: boot(),
            };
            let Ok(write) = Write::put(touch_key(&self.name, seconds), &touch) else { continue };
            let (bus, write) = (self.bus.clone(), write.expect(lease.seq).ttl(seconds));
            (lease.in_flight, lease.due) = (true, now + Duration::from_secs(seconds) / 3);
            let patience = Duration::from_millis(500).min(Duration::from_secs(seconds) / 6);
            self.errands.spawn(async move {
                let result = bus.write_within(Bucket::Fleet, write, patience).await;
                Done::Touched { seconds, result }
            });
        }
    }
}

fn described(name: &WorkerName) -> Worker {
    Worker {
        name: name.clone(),
        machine: Uuid::now_v7().simple().to_string(),
        boot: Uuid::now_v7(),
        directory: "/var/lib/dsbus".to_owned(),
        host: name.to_string(),
        incarnation: Incarnation(Uuid::now_v7()),
        agent_pid: 2,
        supervisor_pid: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: wall(),
        facilities: Vec::new(),
        labels: Labels::default(),
        capacity: Capacity { cpu: CPU, memory: MEMORY },
        policy: None,
        refuses: None,
        seal_key: None,
        facts: Facts { at: Some(wall()), cores: 64, memory_total: MEMORY, ..Facts::default() },
        draining: false,
        stopping: false,
    }
}
