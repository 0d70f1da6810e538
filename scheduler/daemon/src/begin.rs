//! A scheduler begins: it looks for an earlier run of its own, begins to touch and to hear the bus, and
//! knows nothing yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsbus_client::{Bus, Entry};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, scheduler_key};
use dsbus_schema::touch::PRESENCE_SECONDS;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::core::{Core, LeaseKey};
use crate::counts::Counts;
use crate::grants::GrantsFile;
use crate::observe::{self, Heard};
use crate::own_touch::{self, OwnTouch, Presence};
use crate::pulse::Pulse;
use crate::restore;
use crate::run::{Scheduler, Shared};
use crate::signers::SignersFile;
use crate::tell::outbox::Outbox;
use crate::turn::Turns;
use crate::twin::Twin;

/// Answers and own touches that wait to be folded.
const SMALL_QUEUE: usize = 256;

/// The ways by which a scheduler learns something, and those who work beside its loop.
pub(crate) struct Ways {
    pub(crate) helpers: JoinSet<()>,
    pub(crate) heard: mpsc::Receiver<(Bucket, Heard)>,
    pub(crate) answered: mpsc::Receiver<WorkerName>,
    pub(crate) looked: mpsc::Receiver<(LeaseKey, Option<Entry>)>,
    pub(crate) own_touches: mpsc::Receiver<OwnTouch>,
    pub(crate) pulse: Pulse,
}

/// Begins.
pub(crate) async fn run(
    bus: &Bus,
    id: &str,
    (signers, grants): (SignersFile, GrantsFile),
) -> (Scheduler, Ways) {
    let (bus, run) = (bus.writing_as(id), Uuid::now_v7());
    let counts = Arc::new(Counts::new());
    let outbox = Outbox::new(bus.clone(), id.to_owned(), run, Arc::clone(&counts));
    let presence = Presence::new(id.to_owned(), run, outbox.clone(), counts);
    let mut core = Core::new(bus.fleet().clone(), id);
    core.set_signers(signers.now().clone());
    // Before the first touch, which takes its place.
    if let Ok(Some(former)) = bus.get(Bucket::Fleet, &scheduler_key(id)).await {
        core.former(&former);
    }
    let (mut helpers, heard) = observe::start(&bus, id);
    let (answers, answered) = mpsc::channel(SMALL_QUEUE);
    let (seen, looked) = mpsc::channel(SMALL_QUEUE);
    let (acks, own_touches) = mpsc::channel(SMALL_QUEUE);
    let (shortest, shortest_seen) = watch::channel(PRESENCE_SECONDS);
    let pulse = Pulse::default();
    helpers.spawn(outbox.clone().run());
    helpers.spawn(pulse.clone().run());
    let touching = own_touch::run(bus.clone(), presence.clone(), shortest_seen, acks);
    let touches = helpers.spawn(touching);
    let shared = Shared::new(core);
    helpers.spawn(restore::run(bus.clone(), shared.clone()));
    let scheduler = Scheduler {
        bus,
        presence,
        twin: Twin::new(run),
        twin_before: None,
        touches,
        outbox,
        shared,
        answers,
        looked: seen,
        shortest,
        held: BTreeMap::new(),
        turns: Turns::default(),
        split: BTreeMap::new(),
        fleet_awaited: None,
        news: true,
        expired: false,
        rests_until: BootTime(0),
        signers,
        grants: Arc::new(grants),
    };
    (scheduler, Ways { helpers, heard, answered, looked, own_touches, pulse })
}
