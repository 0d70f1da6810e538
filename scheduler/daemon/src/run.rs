//! The loop: select a wake-up, fold it in, plan, enact.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Error, Item};
use dsbus_planner::{Action, invariants, plan};
use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::{ProgramId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, touch_key};
use dsbus_schema::touch::PRESENCE_SECONDS;
use tokio::sync::{Notify, mpsc, watch};

use crate::commands;
use crate::config::Config;
use crate::core::{Core, LeaseKey, News};
use crate::enact::{Enactor, Folded};
use crate::own_touch::{self, OwnTouch};
use crate::pulse::Pulse;
use crate::writes::hold_key;
use crate::{clock, observe, verify};

/// Answers and own touches that wait to be folded.
const SMALL_QUEUE: usize = 256;
/// How often leases are judged; a verdict is late by at most this.
const JUDGE_EVERY: Duration = Duration::from_millis(50);
/// An action that the bus refused is not tried again for this long: the watch will first have
/// shown who won.
const HOLD_AFTER_REFUSAL: Duration = Duration::from_millis(250);
/// Writes on their way at once; when one of them fails, no further ones are sent.
const WRITES_AT_ONCE: usize = 64;
/// Most items folded before planning: beyond it, planning once per item would be the bottleneck.
const FOLDS_BEFORE_PLAN_MAX: usize = 2048;
/// After a plan one rests for so many times as long as it took: a thousand instances that start at
/// once tell three thousand things, and each asks for a plan over all of them.
const RESTS_AFTER_PLAN: u32 = 3;
/// But not for longer than this.
const REST_MAX: Duration = Duration::from_millis(50);
/// Pause after the buckets could not be created or checked.
const PROVISION_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What this scheduler knows, shared with those who answer commands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    core: Arc<Mutex<Core>>,
    /// Told whenever something was folded.
    pub(crate) folded: Arc<Notify>,
}

impl Shared {
    /// Never held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while folding leaves nothing half done that the next entry would not mend.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Wake {
    Heard(Bucket, Item),
    Answered(WorkerName),
    OwnTouch(OwnTouch),
    Judge,
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
    let bus = tokio::select! {
        bus = Bus::connect(config.connect.clone()) => bus?,
        () = &mut shutdown => return Ok(()),
    };
    tokio::select! {
        provisioned = provision(&bus, config.replicas) => provisioned?,
        () = &mut shutdown => return Ok(()),
    }
    let shared = Shared::default();
    let (mut helpers, mut heard) = observe::start(&bus, &config.id);
    let (answers, mut answered) = mpsc::channel(SMALL_QUEUE);
    let (acks, mut own_touches) = mpsc::channel(SMALL_QUEUE);
    let (shortest, shortest_seen) = watch::channel(PRESENCE_SECONDS);
    helpers.spawn(own_touch::run(bus.clone(), config.id.clone(), shortest_seen, acks));
    let pulse = Pulse::default();
    helpers.spawn(pulse.clone().run());
    let mut scheduler = Scheduler {
        bus,
        id: config.id,
        shared,
        answers,
        shortest,
        held: BTreeMap::new(),
        fleet_awaited: None,
        news: true,
        rests_until: BootTime(0),
    };
    let mut served = None;
    let mut ticks = tokio::time::interval(JUDGE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let wake = tokio::select! {
            biased;
            () = &mut shutdown => Wake::Shutdown,
            // None of them ever ends by itself, and without one this scheduler is blind.
            Some(_) = helpers.join_next() => return Err(Error::Disconnected),
            Some(touch) = own_touches.recv() => Wake::OwnTouch(touch),
            Some(worker) = answered.recv() => Wake::Answered(worker),
            _ = ticks.tick() => Wake::Judge,
            Some((bucket, item)) = heard.recv() => Wake::Heard(bucket, item),
            () = tokio::time::sleep(scheduler.rest()), if scheduler.news => Wake::Rested,
        };
        if matches!(wake, Wake::Shutdown) {
            return Ok(());
        }
        scheduler.fold(wake);
        for _ in 0..FOLDS_BEFORE_PLAN_MAX {
            let Ok((bucket, item)) = heard.try_recv() else { break };
            scheduler.fold(Wake::Heard(bucket, item));
        }
        scheduler.shared.folded.notify_waiters();
        if scheduler.shared.lock().ready() {
            if served.is_none() {
                let (bus, shared) = (scheduler.bus.clone(), scheduler.shared.clone());
                served = Some(commands::serve(&bus, shared, pulse.clone(), &scheduler.id).await?);
                tracing::info!("scheduler {} is ready", scheduler.id);
            }
            scheduler.plan_if_due().await;
        }
    }
}

async fn provision(bus: &Bus, replicas: Option<usize>) -> Result<(), Error> {
    loop {
        match bus.provision(replicas).await {
            Err(Error::Timeout | Error::Disconnected | Error::NoResponders) => {
                tracing::debug!("the bus is not there yet");
                tokio::time::sleep(PROVISION_AGAIN_AFTER).await;
            }
            done => return done,
        }
    }
}

struct Scheduler {
    bus: Bus,
    id: String,
    shared: Shared,
    answers: mpsc::Sender<WorkerName>,
    shortest: watch::Sender<u64>,
    /// Until when actions of a kind about an instance are held back.
    held: BTreeMap<String, BootTime>,
    /// Up to where touches and placements must be heard before anything is enacted.
    fleet_awaited: Option<u64>,
    /// Something is known that was not planned with yet.
    news: bool,
    rests_until: BootTime,
}

impl Scheduler {
    fn fold(&mut self, wake: Wake) {
        let now = clock::now();
        self.news |= matches!(wake, Wake::Heard(..) | Wake::Answered(_));
        match wake {
            Wake::Heard(bucket, Item::Entry(entry)) => {
                let folded = {
                    let mut core = self.shared.lock();
                    core.heard(bucket, entry.seq);
                    core.fold(bucket, &entry, now)
                };
                match folded {
                    Ok(Some(News::Back(worker, seq))) => {
                        tracing::info!("worker {worker} is back");
                        verify::tell(
                            &self.bus,
                            worker,
                            WorkerChange::Back,
                            seq,
                            "it touched again",
                        );
                    }
                    Ok(None) => {}
                    Err(e) => tracing::error!("left out {bucket:?} {}: {e}", entry.key),
                }
            }
            Wake::Heard(bucket, Item::CaughtUp) => self.shared.lock().caught_up(bucket),
            Wake::Heard(bucket, Item::Reset) => {
                tracing::warn!("the {bucket:?} bucket begins anew");
                self.shared.lock().reset(bucket);
                self.fleet_awaited = None;
            }
            Wake::Answered(worker) => self.shared.lock().answered(&worker),
            Wake::OwnTouch((sent, acked)) => self.shared.lock().judge.own_touch(sent, acked),
            Wake::Judge => self.judge(now),
            Wake::Rested | Wake::Shutdown => {}
        }
    }

    /// How long until one may plan again.
    fn rest(&self) -> Duration {
        self.rests_until.since(clock::now())
    }

    async fn plan_if_due(&mut self) {
        let begin = clock::now();
        let held = self.held.len();
        self.held.retain(|_, until| *until > begin);
        self.news |= self.held.len() < held;
        if !self.news || begin < self.rests_until {
            return;
        }
        self.news = false;
        let actions = self.plan();
        let now = clock::now();
        self.rests_until = now + (now.since(begin) * RESTS_AFTER_PLAN).min(REST_MAX);
        if !actions.is_empty() {
            self.enact_all(actions).await;
        }
    }

    fn judge(&mut self, now: BootTime) {
        let (lost, ask, shortest) = {
            let mut core = self.shared.lock();
            if !core.ready() {
                return;
            }
            let (lost, ask, changed) = core.judge_all(now);
            self.news |= changed;
            (lost, ask, core.shortest_lease())
        };
        self.shortest.send_if_modified(|s| std::mem::replace(s, shortest) != shortest);
        let workers: std::collections::BTreeSet<_> = ask.into_iter().map(|(w, _)| w).collect();
        for worker in workers {
            verify::ask(&self.bus, worker, self.answers.clone());
        }
        for key in lost {
            self.tell_lost(&key);
        }
    }

    fn tell_lost(&self, key: &LeaseKey) {
        let (worker, seconds) = key;
        let seq = self.shared.lock().view.leases.get(key).map_or(0, |lease| lease.seq);
        let reason = format!("no touch for {seconds} s, and no answer");
        tracing::warn!("worker {worker} is lost: {reason}");
        if *seconds == PRESENCE_SECONDS {
            verify::tell(&self.bus, worker.clone(), WorkerChange::Lost, seq, &reason);
        }
    }

    /// What is to be done now, with the identity of the program that it is about.
    fn plan(&self) -> Vec<(Action, Option<ProgramId>)> {
        let core = self.shared.lock();
        for broken in invariants::broken(&core.view) {
            tracing::error!("invariant broken: {broken}");
        }
        plan(&core.view)
            .into_iter()
            .filter(|action| !self.held.contains_key(&hold_key(action)))
            .map(|action| {
                let id = action
                    .instance()
                    .and_then(|name| core.view.programs.get(&name.program))
                    .map(|program| program.value.id);
                (action, id)
            })
            .collect()
    }

    async fn enact_all(&mut self, actions: Vec<(Action, Option<ProgramId>)>) {
        if !self.view_is_current().await {
            // What is missing is on its way, and wakes this loop up.
            return;
        }
        // Whatever comes of it, it is planned again.
        self.news = true;
        let mut actions = actions.into_iter();
        loop {
            let some: Vec<_> = actions.by_ref().take(WRITES_AT_ONCE).collect();
            if some.is_empty() {
                return;
            }
            let results = self.enact(some).await;
            let now = clock::now();
            let lost_race = |e: &Error| matches!(e, Error::LostRace { .. });
            let troubled = results.iter().any(|(_, r)| r.as_ref().is_err_and(|e| !lost_race(e)));
            for (action, result) in results {
                if matches!(&result, Err(e) if lost_race(e)) {
                    self.look_for_aged_marker(&action).await;
                }
                self.settle(&action, result, now);
            }
            if troubled {
                // The bus is not well: what is left is planned again, after it was listened to.
                return;
            }
        }
    }

    /// Whether the view has every declaration, command and worker that is on the bus. Buckets are
    /// watched apart from each other, so a placement may be heard of before the goal it came from:
    /// whoever acted on that would take back what another scheduler has just done. Of touches,
    /// which never rest, it must only have those that were there when it was first asked.
    async fn view_is_current(&mut self) -> bool {
        let mut last = Vec::new();
        for bucket in [Bucket::Programs, Bucket::Goals, Bucket::Workers, Bucket::Fleet] {
            if bucket == Bucket::Fleet
                && let Some(seq) = self.fleet_awaited
            {
                last.push((bucket, seq));
                continue;
            }
            match self.bus.get(bucket, ">").await {
                Ok(entry) => last.extend(entry.map(|entry| (bucket, entry.seq))),
                Err(e) => {
                    tracing::debug!("the bus cannot be read: {e}");
                    return false;
                }
            }
        }
        let current = self.shared.lock().has_heard(&last);
        let fleet = last.iter().find(|(bucket, _)| *bucket == Bucket::Fleet);
        self.fleet_awaited = if current { None } else { fleet.map(|(_, seq)| *seq) };
        current
    }

    async fn enact(
        &self,
        actions: Vec<(Action, Option<ProgramId>)>,
    ) -> Vec<(Action, Result<Vec<Folded>, Error>)> {
        let enactor = Enactor { bus: &self.bus, id: &self.id };
        let enacting = actions.into_iter().map(|(action, id)| {
            let enactor = &enactor;
            async move {
                let result = enactor.enact(&action, id).await;
                (action, result)
            }
        });
        futures::future::join_all(enacting).await
    }

    /// A marker goes away by its own age, of which nobody is told: then what stands on it must
    /// stand on nothing.
    async fn look_for_aged_marker(&self, action: &Action) {
        let Some((worker, lease)) = action.lease() else { return };
        let key = touch_key(worker, lease.seconds);
        if let Ok(None) = self.bus.get(Bucket::Fleet, &key).await
            && let Some(known) =
                self.shared.lock().view.leases.get_mut(&(worker.clone(), lease.seconds))
            && known.seq == lease.seq
        {
            known.seq = 0;
        }
    }

    fn settle(&mut self, action: &Action, result: Result<Vec<Folded>, Error>, now: BootTime) {
        match result {
            Ok(folded) if folded.is_empty() => {
                self.held.insert(hold_key(action), now + HOLD_AFTER_REFUSAL);
            }
            Ok(folded) => {
                let mut core = self.shared.lock();
                for (bucket, entry) in folded {
                    if let Err(e) = core.fold(bucket, &entry, now) {
                        tracing::error!("left out own {bucket:?} {}: {e}", entry.key);
                    }
                }
            }
            Err(e) => {
                match e {
                    Error::LostRace { .. } => tracing::debug!("lost the race: {action:?}"),
                    ref other => tracing::warn!("not done, will be planned again: {other}"),
                }
                self.held.insert(hold_key(action), now + HOLD_AFTER_REFUSAL);
            }
        }
    }
}
