//! Working: events in, letters out, and everything written before anybody relies on it.
//!
//! Whatever goes wrong with what is written ends in beginning anew, as after a crash: what is on
//! the bus is read again, and what was not acknowledged comes again.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::time::Duration;

use dsbus_client::{Begin, Bus, Durable, DurableOptions, Error as BusError, Heard, Share, Watch};
use dsbus_schema::alert::{AlertName, DeadLetter};
use dsbus_schema::filter::Filter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::{AlertKey, Bucket};
use dsbus_schema::subject::alert_consumer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::tell::{self, Teller};
use super::{Error, Ready};
use crate::clock;
use crate::core::Core;
use crate::group;
use crate::lease::{Held, Lease};
use crate::post::{Outcome, Posts};
use crate::spec::{Rule, Spec};
use crate::store::{self, Foreign, Store};

/// Events that are taken in before anything is written: one write for all of them. Not more than a
/// group remembers, so that it knows each of them when it comes again.
const HEARD_AT_ONCE: NonZeroU16 = match NonZeroU16::new(group::IDS_MAX) {
    Some(number) => number,
    None => NonZeroU16::MIN,
};
/// After a write that failed.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// The clock is looked at so often at least: the time of day may jump.
const LOOK: Duration = Duration::from_secs(30);
/// How long tries that are under way are waited for at the end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// And then how long until the last events are stored; the next one tells what is left.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// Why working ended.
pub(super) enum End {
    /// It was to stop.
    Stopped,
    /// What is known must be read anew, or another one works now.
    Again(&'static str),
}

pub(super) struct Lead<'a> {
    pub(super) bus: &'a Bus,
    pub(super) name: &'a AlertName,
    pub(super) ready: &'a mut Ready,
    pub(super) changes: &'a mut mpsc::Receiver<Spec>,
}

/// What is at hand while working.
struct Work {
    store: Store,
    core: Core,
    posts: Posts,
    teller: Teller,
    durable: Durable,
    lease: Lease,
    watch: Watch,
    /// Events that are in the core, and not written yet.
    held: Vec<Heard>,
    /// How many events belong to no rule any more, and nobody was told of that.
    dropped: u64,
    /// No write before this.
    write_at: Instant,
}

/// What happened.
enum Wake {
    Heard(Box<Result<Heard, BusError>>),
    Outcome(Outcome),
    /// The event of this id, or about the dead letter of this id, is stored.
    Told(Uuid),
    Foreign(Option<Foreign>),
    Renew,
    Time,
    Change(Spec),
    Stop,
}

impl Lead<'_> {
    pub(super) async fn run<S: Future<Output = ()>>(
        mut self,
        lease: Lease,
        mut shutdown: Pin<&mut S>,
    ) -> Result<End, Error> {
        let mut watch = self.bus.watch(Bucket::Alerts, &AlertKey::all(self.name), "alert");
        let loading = Store::load(self.bus, self.name, &mut watch);
        let (store, core) = tokio::select! {
            loaded = loading => loaded,
            () = &mut shutdown => {
                lease.release().await;
                return Ok(End::Stopped);
            }
        };
        let begin = lease.taken().await.map_or(Begin::New, Begin::Time);
        let (posts, durable) =
            (Posts::start(&self.ready.senders, lease.until()), self.durable(begin));
        let teller = Teller::start(self.bus);
        let (held, dropped, write_at) = (Vec::new(), 0, Instant::now());
        let mut work =
            Work { store, core, posts, teller, durable, lease, watch, held, dropped, write_at };
        self.adopt(&mut work);
        let (letters, dead) = work.core.counts();
        let rules = self.ready.spec.rules.len();
        tracing::info!(name = %self.name, rules, letters, dead, "works");
        let end = self.work(&mut work, shutdown).await;
        // What is held comes again, to whoever goes on: in order, and at once.
        work.held.clear();
        let Work { durable, lease, .. } = work;
        durable.close().await;
        if matches!(end, Ok(End::Stopped) | Err(_)) {
            lease.release().await;
        }
        end
    }

    async fn work<S: Future<Output = ()>>(
        &mut self,
        work: &mut Work,
        mut shutdown: Pin<&mut S>,
    ) -> Result<End, Error> {
        loop {
            work.core.tick(clock::wall());
            if let Some(end) = self.write(work).await? {
                return Ok(end);
            }
            match work.wake(self.changes, shutdown.as_mut()).await {
                Wake::Heard(heard) => work.hear((*heard)?),
                Wake::Outcome(outcome) => work.come_of(outcome),
                Wake::Told(id) => work.core.told(id),
                Wake::Foreign(None) | Wake::Time => {}
                Wake::Foreign(Some(foreign)) => {
                    if let Some(end) = work.foreign(foreign) {
                        return Ok(end);
                    }
                }
                Wake::Renew => {
                    if work.lease.renew().await? == Held::No {
                        return Ok(End::Again("the lease is lost"));
                    }
                    work.posts.allow(work.lease.until());
                }
                Wake::Change(spec) => match Ready::make(self.bus.fleet(), spec) {
                    Ok(ready) => {
                        self.settle(work).await?;
                        *self.ready = ready;
                        return Ok(End::Again("the file has changed"));
                    }
                    Err(e) => tracing::error!("the rules stay as they are: {e}"),
                },
                Wake::Stop => {
                    self.settle(work).await?;
                    return Ok(End::Stopped);
                }
            }
        }
    }

    /// `begin` counts only when the consumer is made, by the first of all.
    fn durable(&self, begin: Begin) -> Durable {
        self.bus.durable(DurableOptions {
            name: alert_consumer(self.name),
            subjects: subjects(&self.ready.spec, self.bus.fleet()),
            begin,
            share: Share::One,
            window: HEARD_AT_ONCE,
        })
    }

    /// The core goes on with the rules as they are now.
    fn adopt(&self, work: &mut Work) {
        let dropped = work.core.adopt(self.ready.spec.clone(), clock::wall());
        if dropped > 0 {
            tracing::warn!(dropped, "events that belong to no rule any more are dropped");
        }
        work.dropped = dropped;
    }

    /// Writes what changed; then what depends on it is done. `Some` when somebody else wrote.
    async fn write(&self, work: &mut Work) -> Result<Option<End>, Error> {
        if !work.core.dirty().is_empty() {
            if Instant::now() < work.write_at {
                return Ok(None);
            }
            match work.store.write(&mut work.core).await {
                Ok(()) => {}
                Err(BusError::LostRace { .. }) => {
                    return Ok(Some(End::Again("somebody else wrote")));
                }
                Err(e @ BusError::Denied { .. }) => return Err(e.into()),
                Err(e) => {
                    tracing::warn!("what is to be told cannot be written yet: {e}");
                    work.write_at = Instant::now() + WRITE_AGAIN;
                    return Ok(None);
                }
            }
        }
        work.held.drain(..).for_each(Heard::ack);
        for (id, letter) in work.core.take_outbox() {
            if let Err(why) = work.posts.give(id, letter) {
                work.core.died(id, why, false, clock::wall());
            }
        }
        if work.dropped > 0 && work.core.dirty().is_empty() {
            let count = std::mem::take(&mut work.dropped);
            let event = tell::dropped(self.bus.fleet(), self.name, count, clock::wall());
            work.teller.tell(event.id, event);
        }
        for (id, dead) in work.core.take_deaths() {
            self.tell_of(work, id, &dead);
        }
        Ok(None)
    }

    /// A dead letter is an event, unless it was about one.
    fn tell_of(&self, work: &Work, id: Uuid, dead: &DeadLetter) {
        let DeadLetter { why, letter, told, .. } = dead;
        let (rule, to) = (&letter.news.rule, letter.to.as_deref());
        tracing::error!(%rule, target = %letter.target, to, "a letter is given up: {why}");
        if !told {
            work.teller.tell(id, tell::event(self.bus.fleet(), self.name, id, dead));
        }
    }

    /// Ends in order: what became of the last letters is written.
    async fn settle(&self, work: &mut Work) -> Result<(), Error> {
        let posts = std::mem::replace(&mut work.posts, Posts::start(&[], Instant::now()));
        for outcome in posts.stop(STOP_WITHIN).await {
            come_of(&mut work.core, outcome);
        }
        work.write_at = Instant::now();
        // Who cannot write now lets the next one find what is there.
        if self.write(work).await?.is_some() {
            return Ok(());
        }
        let teller = std::mem::replace(&mut work.teller, Teller::start(self.bus));
        for id in teller.stop(TELL_WITHIN).await {
            work.core.told(id);
        }
        self.write(work).await.map(drop)
    }
}

impl Work {
    async fn wake<S: Future<Output = ()>>(
        &mut self,
        changes: &mut mpsc::Receiver<Spec>,
        shutdown: Pin<&mut S>,
    ) -> Wake {
        let now = Instant::now();
        let wakes = self.core.wakes().map(|at| now + at.since(clock::wall()));
        let write = (!self.core.dirty().is_empty()).then_some(self.write_at);
        let time = wakes.into_iter().chain(write).fold(now + LOOK, Instant::min);
        tokio::select! {
            () = shutdown => Wake::Stop,
            () = sleep_until(self.lease.due()) => Wake::Renew,
            Some(spec) = changes.recv() => Wake::Change(spec),
            item = self.watch.next() => Wake::Foreign(self.store.news(item)),
            outcome = self.posts.next() => Wake::Outcome(outcome),
            id = self.teller.next() => Wake::Told(id),
            heard = self.durable.next(), if self.held.is_empty() => Wake::Heard(Box::new(heard)),
            () = sleep_until(time) => Wake::Time,
        }
    }

    /// Takes in an event, and those that are here already.
    fn hear(&mut self, heard: Heard) {
        let now = clock::wall();
        let mut next = Some(heard);
        while let Some(heard) = next {
            self.core.heard(&heard.event, heard.seq, heard.time, now);
            self.held.push(heard);
            let more = self.held.len() < usize::from(HEARD_AT_ONCE.get());
            next = if more { self.durable.next_here() } else { None };
        }
    }

    fn come_of(&mut self, outcome: Outcome) {
        let mut next = Some(outcome);
        while let Some(outcome) = next {
            come_of(&mut self.core, outcome);
            next = self.posts.next_here();
        }
    }

    /// Somebody else wrote. Dead letters and letters are written by people who look after them;
    /// groups and limits by nobody else, though they expire.
    fn foreign(&mut self, foreign: Foreign) -> Option<End> {
        let (key, body) = match foreign {
            Foreign::Reset => return Some(End::Again("the bucket was made anew")),
            Foreign::Entry(key, body) => (key, body),
        };
        match (&key, &body) {
            (AlertKey::Lease, Some(body)) if self.lease.is_of_another(body) => {
                return Some(End::Again("another one works at it now"));
            }
            (AlertKey::Lease, Some(_)) => {}
            (AlertKey::Lease, None) => self.lease.hurry(),
            (AlertKey::Letter(_) | AlertKey::Dead(_) | AlertKey::Lost, _)
            | (AlertKey::Group(..) | AlertKey::Rate(_), None) => {
                store::fold(&mut self.core, &key, body.as_deref());
            }
            (AlertKey::Group(..) | AlertKey::Rate(_), Some(_)) => {
                return Some(End::Again("somebody else wrote"));
            }
        }
        None
    }
}

fn come_of(core: &mut Core, outcome: Outcome) {
    match outcome {
        Outcome::Delivered(id) => core.delivered(id),
        Outcome::Failed(id, why) => core.failed(id, why),
        Outcome::Died(id, why) => core.died(id, why, true, clock::wall()),
    }
}

/// Subjects that hold what any of the rules is about; each rule then looks for itself.
fn subjects(spec: &Spec, fleet: &FleetName) -> Vec<String> {
    let filters = || spec.rules.iter().map(|rule: &Rule| &rule.filter);
    // A list that is empty means all.
    let events: Vec<_> = filters().flat_map(|filter| filter.events().to_vec()).collect();
    let programs: Vec<_> = filters().flat_map(|filter| filter.programs().to_vec()).collect();
    let workers: Vec<_> = filters().flat_map(|filter| filter.workers().to_vec()).collect();
    let any = |all: fn(&Filter) -> bool| filters().any(all);
    let all = Filter::new(
        if any(|filter| filter.events().is_empty()) { Vec::new() } else { events },
        if any(|filter| filter.programs().is_empty()) { Vec::new() } else { programs },
        if any(|filter| filter.workers().is_empty()) { Vec::new() } else { workers },
    );
    let subjects = all.unwrap_or_default().subjects(fleet);
    BTreeSet::from_iter(subjects).into_iter().collect()
}
