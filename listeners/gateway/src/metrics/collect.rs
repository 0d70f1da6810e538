//! All that is known, as series.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use dsbus_client::Used;
use dsbus_schema::event::MoveCause;
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::InstanceRow;

use super::Metrics;
use super::daemons::Answered;
use super::families::{
    BROWSERS, BUILD, DESIRED, EVENTS, EVENTS_MISSED, EVENTS_STORED, FAILOVER_DURATION, FAILOVERS,
    INSTANCE_CPU, INSTANCE_MEMORY, INSTANCES, MOVES, READY, REQUESTS, RESTARTS, ROLLOUTS,
    ROUND_TRIP, SCHEDULER_EVENTS, SCHEDULER_EVENTS_DROPPED, SCHEDULER_EVENTS_QUEUED,
    SCHEDULER_PLAN, SCHEDULER_TOUCH, SCHEDULER_TOUCH_FAILURES, SCHEDULER_UP, SILENT, WORKER_EVENTS,
    WORKER_EVENTS_DROPPED, WORKER_EVENTS_QUEUED, WORKER_INSTANCES, WORKER_LAST_TOUCH, WORKER_TOUCH,
    WORKER_TOUCH_FAILURES, WORKER_UP, WORKERS,
};
use super::sheet::{Sheet, seconds};
use super::tally;
use crate::fleet::Known;

/// All states of workers.
const STATES: [WorkerState; 7] = [
    WorkerState::Ready,
    WorkerState::Cordoned,
    WorkerState::Draining,
    WorkerState::Suspect,
    WorkerState::Lost,
    WorkerState::Stopping,
    WorkerState::Stopped,
];

/// Whether a worker touches.
fn is_up(state: WorkerState) -> bool {
    match state {
        WorkerState::Ready
        | WorkerState::Cordoned
        | WorkerState::Draining
        | WorkerState::Stopping => true,
        WorkerState::Suspect | WorkerState::Lost | WorkerState::Stopped => false,
    }
}

/// Whether an instance that should run does, or has done what it was to do.
fn is_ready(row: &InstanceRow) -> bool {
    match row.state {
        State::Running => true,
        State::Exited => row.ok,
        State::Stopped
        | State::Pending
        | State::Starting
        | State::Backoff
        | State::Stopping
        | State::Fatal
        | State::Unknown => false,
    }
}

fn text(value: &impl ToString) -> Cow<'static, str> {
    value.to_string().into()
}

impl Metrics {
    /// Everything, as it stands now.
    pub(super) async fn collect(&self) -> Sheet {
        let inner = &self.0;
        let workers: BTreeSet<WorkerName> = {
            let known = inner.fleet.known();
            let up = known.workers().values().filter(|row| is_up(row.state));
            up.map(|row| row.name.clone()).collect()
        };
        let asking = inner.daemons.ask(inner.fleet.bus(), &workers);
        let ((answered, anew), ()) = tokio::join!(asking, inner.usage.look_at_all());
        if let Some((_, took)) = answered.stored.filter(|_| anew) {
            inner.round_trip.add(took);
        }
        let mut sheet = Sheet::new();
        let used = inner.usage.now();
        {
            let known = inner.fleet.known();
            fleet(&mut sheet, &known);
            usage(&mut sheet, &known, &used);
            sheet.add(&SILENT, [], known.silent().is_some());
        }
        daemons(&mut sheet, &answered);
        self.counted(&mut sheet);
        sheet
    }

    /// What this gateway has counted.
    fn counted(&self, sheet: &mut Sheet) {
        {
            let tally = self.tally();
            for (program, count) in &tally.restarts {
                sheet.add(&RESTARTS, [text(program)], *count);
            }
            for ((program, cause), count) in &tally.moves {
                let failover = tally::FAILOVERS.contains(cause);
                let family = if failover { &FAILOVERS } else { &MOVES };
                sheet.add(family, [text(program), cause.name().into()], *count);
            }
            for (cause, took) in tally::FAILOVERS.iter().zip(&tally.took) {
                sheet.add(&FAILOVER_DURATION, [MoveCause::name(*cause).into()], took.read());
            }
            for ((kind, name), count) in &tally.events {
                sheet.add(&EVENTS, [(*kind).into(), name.clone().into()], *count);
            }
            sheet.add(&EVENTS_MISSED, [], tally.missed);
        }
        let inner = &self.0;
        sheet.add(&BUILD, [env!("CARGO_PKG_VERSION").into()], 1_u64);
        sheet.add(&BROWSERS, [], inner.browsers.load(Ordering::Relaxed));
        for ((route, code), count) in inner.requests.read() {
            sheet.add(&REQUESTS, [route.into(), text(&code)], count);
        }
        sheet.add(&ROUND_TRIP, [], inner.round_trip.read());
    }
}

fn fleet(sheet: &mut Sheet, known: &Known) {
    let mut states: BTreeMap<(&ProgramName, State), u64> = BTreeMap::new();
    // Programs without an instance have none that is desired.
    let mut wanted: BTreeMap<&ProgramName, (u64, u64)> =
        known.programs().keys().map(|program| (program, (0, 0))).collect();
    for row in known.rows().values() {
        *states.entry((&row.program, row.state)).or_default() += 1;
        if row.wanted.run {
            let (desired, ready) = wanted.entry(&row.program).or_default();
            *desired += 1;
            *ready += u64::from(is_ready(row));
        }
    }
    for ((program, state), count) in states {
        sheet.add(&INSTANCES, [text(program), state.name().into()], count);
    }
    for (program, (desired, ready)) in wanted {
        sheet.add(&DESIRED, [text(program)], desired);
        sheet.add(&READY, [text(program)], ready);
    }
    for (state, name) in [
        (RolloutState::Rolling, "rolling"),
        (RolloutState::Paused, "paused"),
        (RolloutState::Failed, "failed"),
    ] {
        let rollouts = known.programs().values().filter_map(|program| program.rollout.as_ref());
        let count = rollouts.filter(|rollout| rollout.state == state).count();
        sheet.add(&ROLLOUTS, [name.into()], count);
    }
    for state in STATES {
        let count = known.workers().values().filter(|row| row.state == state).count();
        sheet.add(&WORKERS, [state.name().into()], count);
    }
    for row in known.workers().values() {
        let name = || [text(&row.name)];
        sheet.add(&WORKER_UP, name(), is_up(row.state));
        sheet.add(&WORKER_INSTANCES, name(), row.instances);
        if let Some(at) = row.last_touch {
            sheet.add(&WORKER_LAST_TOUCH, name(), since_1970(at));
        }
    }
}

fn since_1970(at: Timestamp) -> f64 {
    seconds(u64::try_from(at.unix_nanos() / 1_000).unwrap_or(0))
}

fn usage(sheet: &mut Sheet, known: &Known, used: &BTreeMap<InstanceId, Used>) {
    for (name, used) in used {
        let Some(row) = known.rows().get(name) else { continue };
        let Some(worker) = &row.worker else { continue };
        let labels = || [text(&row.program), text(name), text(worker)];
        sheet.add(&INSTANCE_CPU, labels(), seconds(used.cpu_ms * 1_000));
        // Without a child it uses none.
        let memory = if row.pid.is_some() { used.memory } else { 0 };
        sheet.add(&INSTANCE_MEMORY, labels(), memory);
    }
}

fn daemons(sheet: &mut Sheet, answered: &Answered) {
    if let Some((stored, _)) = answered.stored {
        sheet.add(&EVENTS_STORED, [], stored);
    }
    for (worker, stats) in &answered.workers {
        let name = || [text(worker)];
        sheet.add(&WORKER_TOUCH, name(), stats.touches.clone());
        sheet.add(&WORKER_TOUCH_FAILURES, name(), stats.touches_failed);
        sheet.add(&WORKER_EVENTS, name(), stats.events_stored);
        sheet.add(&WORKER_EVENTS_QUEUED, name(), stats.events_queued);
        sheet.add(&WORKER_EVENTS_DROPPED, name(), stats.events_dropped);
    }
    for (scheduler, stats) in &answered.schedulers {
        let name = || [text(scheduler)];
        sheet.add(&SCHEDULER_UP, name(), stats.is_some());
        let Some(stats) = stats else { continue };
        sheet.add(&SCHEDULER_PLAN, name(), stats.plans.clone());
        sheet.add(&SCHEDULER_TOUCH, name(), stats.touches.clone());
        sheet.add(&SCHEDULER_TOUCH_FAILURES, name(), stats.touches_failed);
        sheet.add(&SCHEDULER_EVENTS, name(), stats.events_stored);
        sheet.add(&SCHEDULER_EVENTS_QUEUED, name(), stats.events_queued);
        sheet.add(&SCHEDULER_EVENTS_DROPPED, name(), stats.events_dropped);
    }
}
