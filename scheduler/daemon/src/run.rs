//! The loop: select a wake-up, fold it in, plan, enact.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Entry, Error, Item, Served, Value};
use dsbus_planner::{Action, Now, invariants, plan};
use dsbus_schema::command::code;
use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::{ProgramId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, scheduler_key};
use dsbus_schema::touch::SchedulerTouch;
use dsbus_starter::{Stage, Starter};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};

use crate::commands;
use crate::config::Config;
use crate::core::{Core, LeaseKey, News};
use crate::grants::GrantsFile;
use crate::held::Held;
use crate::observe::Heard;
use crate::own_touch::{OwnTouch, Presence};
use crate::pulse::Pulse;
use crate::signers::SignersFile;
use crate::tell::outbox::Outbox;
use crate::tell::{Told, past, ticks};
use crate::turn::Turns;
use crate::twin::Twin;
use crate::writes::hold_key;
use crate::{begin, clock, leave, restock};

/// How often leases are looked at that are overdue, and of whose end nothing was heard (DESIGN.md
/// section 5, "Declaring a loss").
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often leases are judged, besides when one expires; a verdict is late by at most this.
const JUDGE_EVERY: Duration = Duration::from_millis(50);
/// Most items folded before planning: beyond it, planning once per item would be the bottleneck.
const FOLDS_BEFORE_PLAN_MAX: usize = 2048;
/// After a plan one rests for so many times as long as it took: a thousand instances that start at
/// once tell three thousand things, and each asks for a plan over all of them.
const RESTS_AFTER_PLAN: u32 = 3;
/// But not for longer than this.
const REST_MAX: Duration = Duration::from_millis(50);

/// What this scheduler knows, shared with those who answer commands.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    core: Arc<Mutex<Core>>,
    /// Told whenever something was folded.
    pub(crate) folded: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Shared {
        Shared { core: Arc::new(Mutex::new(core)), folded: Arc::default() }
    }

    /// Never held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while folding leaves nothing half done that the next entry would not mend.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Wake {
    Heard(Bucket, Heard),
    Answered(WorkerName),
    /// What stands under the key of a lease that is overdue; nothing, when it is gone.
    Looked(LeaseKey, Option<Box<Entry>>),
    OwnTouch(OwnTouch),
    Judge,
    /// It is time to look at leases that are overdue.
    Look,
    /// It is time to plan again.
    Rested,
    Shutdown,
}

/// Runs a scheduler until `shutdown`.
///
/// # Errors
/// When the bus can never be used: its server is too old, or its buckets are not dsbus's.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    tokio::pin!(shutdown);
    let mut starter = Starter::here();
    let found = async {
        let bus = Bus::connect(config.connect.clone()).await?;
        restock::provision(&bus, config.replicas).await?;
        Ok::<_, Error>(bus)
    };
    starter.stands(Stage::Starting, "waits for the bus");
    let bus = tokio::select! {
        bus = found => bus?,
        () = beats(&mut starter) => return Ok(()),
        () = &mut shutdown => return Ok(()),
    };
    starter.stands(Stage::Starting, "reads what is on the bus");
    let bus = bus.signing_by(&config.connect.access)?;
    let signers = SignersFile::open(&bus, config.signers)?;
    let grants = GrantsFile::open(config.grants)?;
    let (mut scheduler, mut ways) = begin::run(&bus, &config.id, (signers, grants)).await;
    let restock = restock::run(bus.clone(), scheduler.presence.clone(), config.replicas);
    ways.helpers.spawn(restock);
    let mut served = None;
    let (mut looks, mut ticks) = (every(LOOK_EVERY), every(JUDGE_EVERY));
    loop {
        let wake = tokio::select! {
            biased;
            () = &mut shutdown => Wake::Shutdown,
            // None of them ever ends by itself, and without one this scheduler is blind.
            Some(_) = ways.helpers.join_next() => return Err(Error::Disconnected),
            Some(touch) = ways.own_touches.recv() => Wake::OwnTouch(touch),
            Some(worker) = ways.answered.recv() => Wake::Answered(worker),
            Some((key, entry)) = ways.looked.recv() => Wake::Looked(key, entry.map(Box::new)),
            _ = looks.tick() => Wake::Look,
            _ = ticks.tick() => Wake::Judge,
            Some((bucket, item)) = ways.heard.recv() => Wake::Heard(bucket, item),
            () = tokio::time::sleep(scheduler.rest()), if scheduler.news => Wake::Rested,
        };
        if matches!(wake, Wake::Shutdown) {
            tracing::info!("scheduler {} is told to stop", scheduler.presence.id);
            starter.stands(Stage::Stopping, "tells what is left to tell");
            leave::run(&scheduler, served, ways.helpers).await;
            return Ok(());
        }
        starter.beat(Duration::from_nanos(clock::now().0));
        scheduler.fold(wake);
        for _ in 0..FOLDS_BEFORE_PLAN_MAX {
            let Ok((bucket, item)) = ways.heard.try_recv() else { break };
            scheduler.fold(Wake::Heard(bucket, item));
        }
        if std::mem::take(&mut scheduler.expired) {
            scheduler.judge(clock::now());
        }
        if let Some(other) = scheduler.twin_before.take() {
            // Without a word to the others: what it would say would be said of the other one.
            return Err(scheduler.refused(&other));
        }
        scheduler.shared.folded.notify_waiters();
        if scheduler.shared.lock().ready() {
            scheduler.look_back(&mut ways.helpers);
            if served.is_none() {
                served = Some(scheduler.serve(ways.pulse.clone()).await?);
                ways.helpers.spawn(ticks::run(scheduler.bus.clone()));
                scheduler.look_over_grants();
                starter.stands(Stage::Ready, &format!("schedules as {}", scheduler.presence.id));
            }
            scheduler.tell();
            scheduler.plan_if_due().await;
        }
    }
}

/// Says that this process goes round, for ever.
async fn beats(starter: &mut Starter) {
    loop {
        let now = Duration::from_nanos(clock::now().0);
        starter.beat(now);
        tokio::time::sleep(starter.pause(now)).await;
    }
}

/// A timer that leaves out what it missed.
fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

pub(crate) struct Scheduler {
    pub(crate) bus: Bus,
    pub(crate) presence: Presence,
    /// Who else has this one's id.
    pub(crate) twin: Twin,
    /// Where one is that had it before this one.
    pub(crate) twin_before: Option<String>,
    /// The task that touches.
    pub(crate) touches: AbortHandle,
    pub(crate) outbox: Outbox,
    pub(crate) shared: Shared,
    pub(crate) answers: mpsc::Sender<WorkerName>,
    pub(crate) looked: mpsc::Sender<(LeaseKey, Option<Entry>)>,
    pub(crate) shortest: watch::Sender<u64>,
    /// Until when actions of a kind about an instance are held back.
    pub(crate) held: BTreeMap<String, Held>,
    pub(crate) turns: Turns,
    /// Into how small batches moves away from a lost worker are split, after a refusal.
    pub(crate) split: BTreeMap<LeaseKey, usize>,
    /// Up to where touches and placements must be heard before anything is enacted.
    pub(crate) fleet_awaited: Option<u64>,
    /// Something is known that was not planned with yet.
    pub(crate) news: bool,
    /// A lease has expired, and was not judged yet.
    pub(crate) expired: bool,
    pub(crate) rests_until: BootTime,
    /// Whose placements count.
    pub(crate) signers: SignersFile,
    /// Who may command what.
    pub(crate) grants: Arc<GrantsFile>,
}

impl Scheduler {
    /// Begins to answer commands.
    async fn serve(&self, pulse: Pulse) -> Result<Served, Error> {
        let (bus, shared, outbox) = (self.bus.clone(), self.shared.clone(), self.outbox.clone());
        let (presence, fleet) = (self.presence.clone(), bus.fleet().clone());
        let grants = Arc::clone(&self.grants);
        let stats = move || serde_json::to_value(presence.stats(&fleet)).unwrap_or_default();
        let served =
            commands::serve(bus, (shared, outbox, pulse), (&self.presence.id, grants), stats)
                .await?;
        self.presence.set_ready();
        tracing::info!("scheduler {} is ready", self.presence.id);
        Ok(served)
    }

    /// What was written before this scheduler knew anything may not have been told.
    fn look_back(&self, helpers: &mut JoinSet<()>) {
        let past = self.shared.lock().take_past(clock::now());
        if let Some(past) = past {
            let (bus, shared) = (self.bus.clone(), self.shared.clone());
            let read = past::programs(bus, shared, self.outbox.clone(), past);
            // A helper that ends is a scheduler that is blind; this one comes to its end.
            helpers.spawn(async move {
                read.await;
                std::future::pending::<()>().await;
            });
        }
    }

    /// What was folded is told.
    fn tell(&self) {
        self.outbox.push(self.shared.lock().take_told());
    }

    fn fold(&mut self, wake: Wake) {
        let now = clock::now();
        self.news |= matches!(wake, Wake::Heard(..) | Wake::Answered(_));
        match wake {
            Wake::Heard(bucket, Heard::Item(Item::Entry(entry))) => {
                self.meet(bucket, &entry);
                self.meet_twin(bucket, &entry);
                self.expired |= bucket == Bucket::Fleet && entry.value == Value::Expired;
                let folded = {
                    let mut core = self.shared.lock();
                    core.heard(bucket, entry.seq);
                    core.fold(bucket, &entry, now)
                };
                match folded {
                    Ok(Some(News::Back(worker, seq))) => {
                        tracing::info!("worker {worker} is back");
                        let what = (&worker, WorkerChange::Back);
                        let (fleet, reason) = (self.bus.fleet(), "it touched again");
                        let told = Told::worker(fleet, what, seq, clock::wall(), reason);
                        self.outbox.push(vec![told]);
                    }
                    Ok(None) => {}
                    Err(e) => tracing::error!("left out {bucket:?} {}: {e}", entry.key),
                }
            }
            Wake::Heard(bucket, Heard::Item(Item::CaughtUp)) => {
                self.shared.lock().caught_up(bucket);
            }
            Wake::Heard(bucket, Heard::Item(Item::Reset)) => {
                tracing::warn!("the {bucket:?} bucket begins anew; everything is heard anew");
                let mut core = self.shared.lock();
                core.reset(bucket);
                core.doubt_others(bucket);
                self.fleet_awaited = None;
            }
            Wake::Heard(bucket, Heard::Again) => {
                self.shared.lock().reset(bucket);
                self.fleet_awaited = None;
            }
            Wake::Answered(worker) => self.shared.lock().answered(&worker),
            Wake::OwnTouch((sent, acked)) => self.shared.lock().judge.own_touch(sent, acked),
            Wake::Looked(key, entry) => {
                let mut core = self.shared.lock();
                if let Err(e) = core.looked(&key, entry.as_deref(), now) {
                    tracing::error!("left out the lease of {} s of {}: {e}", key.1, key.0);
                }
                self.expired = true;
            }
            Wake::Look => {
                self.read_signers();
                self.look_over_grants();
                self.look();
            }
            Wake::Judge => self.judge(now),
            Wake::Rested | Wake::Shutdown => {}
        }
    }

    /// Looks whether somebody else touches under this one's key.
    fn meet_twin(&mut self, bucket: Bucket, entry: &Entry) {
        let id = &self.presence.id;
        if bucket != Bucket::Fleet || entry.key != scheduler_key(id) {
            return;
        }
        let touch = entry.json::<SchedulerTouch>().ok().flatten();
        match touch.and_then(|touch| self.twin.heard(&touch)) {
            Some(met) if met.later => self.twin_before = Some(met.other),
            Some(met) => tracing::error!(
                "another scheduler ({}) was started with the id {id}, which is this one's; it ends",
                met.other
            ),
            None => {}
        }
    }

    /// Why this one ends.
    fn refused(&self, other: &str) -> Error {
        let id = &self.presence.id;
        let text = format!(
            "another scheduler of this fleet ({other}) has the id {id} and lives: give each an id of its own"
        );
        Error::Refused { code: code::CONFLICT, text, problems: Vec::new() }
    }

    /// How long until one may plan again.
    fn rest(&self) -> Duration {
        self.rests_until.since(clock::now())
    }

    async fn plan_if_due(&mut self) {
        let begin = clock::now();
        {
            // What was held back is planned for again, and what time has come for.
            let mut core = self.shared.lock();
            let over = self.held.iter().filter(|(_, held)| held.until <= begin);
            over.for_each(|(_, held)| held.note(&mut core.view));
            self.news |=
                core.view.has_news() || core.view.next_wake().is_some_and(|at| at <= begin);
        }
        self.held.retain(|_, held| held.until > begin);
        if !self.news || begin < self.rests_until {
            return;
        }
        self.news = false;
        let actions = self.plan(Now { boot: begin, wall: clock::wall() });
        let now = clock::now();
        self.presence.counts.plans.add(now.since(begin));
        self.rests_until = now + (now.since(begin) * RESTS_AFTER_PLAN).min(REST_MAX);
        if !actions.is_empty() {
            self.enact_all(actions).await;
        }
    }

    /// What is to be done now, with the identity of the program that it is about. What is another
    /// scheduler's turn is held back.
    fn plan(&mut self, now: Now) -> Vec<(Action, Option<ProgramId>)> {
        let mut core = self.shared.lock();
        for broken in invariants::broken(&core.view) {
            tracing::error!("invariant broken: {broken}");
        }
        let mut due = Vec::new();
        for action in plan(&mut core.view, now) {
            let what = hold_key(&action);
            if self.held.contains_key(&what) {
                continue;
            }
            let program = action.program();
            let patience = program.map(|program| core.patience(&self.presence.id, program));
            if let Some(at) = self.turns.wait(&what, patience.unwrap_or_default(), now.boot) {
                self.held.insert(what, Held::new(&action, at));
                continue;
            }
            let id = program.and_then(|name| core.view.program(name)).map(|program| program.id);
            due.push((action, id));
        }
        due
    }

    /// What was decided and not done is decided again, from what is known by then.
    pub(crate) fn note(&mut self, actions: impl IntoIterator<Item = Action>) {
        let mut core = self.shared.lock();
        for action in actions {
            Held::new(&action, BootTime(0)).note(&mut core.view);
        }
    }
}
