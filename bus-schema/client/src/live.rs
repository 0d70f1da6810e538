//! What a fleet stands at, kept current: everything is asked for at the beginning and now and then;
//! events say which instances have changed meanwhile, and only these are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::command::{Ask, Verb};
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::ids::{Epoch, InstanceId, Target};
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, WorkerRow};
use dsbus_schema::subject;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::{Bus, Error, From, Item, Watch};

/// So many instances are many: all of them are asked for less often.
const MANY: usize = 1_000;
/// How often everything is asked for, in case an event was missed: of few, and of many.
const ALL_EVERY: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// Soonest after that, when something was added or removed: of few, and of many.
const ALL_AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(3)];
/// How often those are asked for that events have told of. A person sees no delay of this.
const CHANGED_EVERY: Duration = Duration::from_millis(100);
/// Instances that are asked for at once; the others wait.
const CHANGED_MAX: usize = 500;
/// Instances that wait to be asked for; of more, everything is.
const CHANGED_WAIT_MAX: usize = 20_000;
/// How often an instance is asked for that does not stand yet as its event says: its worker tells
/// first, and writes it down then.
const TRIES_MAX: u8 = 20;
/// How often workers are asked for, who tell of what their machines are busy with: few, and many.
const WORKERS_EVERY: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];
/// So many workers are many.
const MANY_WORKERS: usize = 50;
/// How long after a refusal or a silence it is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// News that a slow reader may be behind; then nothing is asked.
const NEWS_MAX: usize = 256;

/// What has changed.
#[derive(Debug)]
pub enum News {
    /// Every instance that is followed: whatever is not among them is gone.
    All(Vec<InstanceRow>),
    /// Instances as they stand now.
    Changed(Vec<InstanceRow>),
    /// Every worker there is.
    Workers(Vec<WorkerRow>),
    /// What happened; all events but output and ticks.
    Event(Box<Event>),
    /// No scheduler answers, and why: what was told before grows old. [`News::All`] ends it.
    Silent(Error),
}

/// See [`Bus::live`]. Dropping it ends it.
#[derive(Debug)]
pub struct Live(mpsc::Receiver<News>);

impl Live {
    /// The next news. Cancelling this loses nothing.
    pub async fn next(&mut self) -> News {
        match self.0.recv().await {
            Some(news) => news,
            // The runtime is shutting down.
            None => std::future::pending().await,
        }
    }
}

impl Bus {
    /// Keeps up with what `names` mean, or with everything when there are none, for ever. Events are
    /// told from `begin` on; `name` begins the name of their consumer, as NATS shows it to its
    /// administrator. Must be called on a tokio runtime.
    pub fn live(&self, names: Vec<Target>, begin: From, name: &str) -> Live {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        let events = self.watch_events(&subject::events(self.fleet()), begin, name);
        let follower = Follower::new(self.clone(), names, sender.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = follower.run(events) => {}
                () = sender.closed() => {}
            }
        });
        Live(receiver)
    }
}

/// What an event told of an instance.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The state, and under which epoch.
    state: Option<(Epoch, State)>,
    /// How often it was asked for since.
    tries: u8,
}

impl Told {
    /// Whether a row is older than the event.
    fn is_ahead(&self, row: &InstanceRow) -> bool {
        self.state.is_some_and(|(epoch, state)| {
            row.epoch < epoch || (row.epoch == epoch && row.state != state)
        })
    }
}

/// An answer.
enum Answer {
    All(Result<Vec<InstanceRow>, Error>),
    Changed(BTreeMap<InstanceId, Told>, Result<Vec<InstanceRow>, Error>),
    Workers(Result<Vec<WorkerRow>, Error>),
}

struct Follower {
    bus: Bus,
    /// What is followed; everything when there are none.
    names: Vec<Target>,
    sender: mpsc::Sender<News>,
    /// Those that were told.
    known: BTreeSet<InstanceId>,
    /// Those that events have told of since.
    told_of: BTreeMap<InstanceId, Told>,
    all_due: Instant,
    changed_due: Instant,
    workers_due: Instant,
    /// 1 when there are many workers.
    many_workers: usize,
}

impl Follower {
    fn new(bus: Bus, names: Vec<Target>, sender: mpsc::Sender<News>) -> Follower {
        let now = Instant::now();
        Follower {
            bus,
            names,
            sender,
            known: BTreeSet::new(),
            told_of: BTreeMap::new(),
            all_due: now,
            changed_due: now,
            workers_due: now,
            many_workers: 0,
        }
    }

    /// Until nobody wants to know any more.
    async fn run(mut self, mut events: Watch) {
        let mut asking: Option<BoxFuture<'static, Answer>> = None;
        loop {
            if asking.is_none() {
                asking = self.question();
            }
            let (due, idle) = (self.due(), asking.is_none());
            let answer = async {
                match &mut asking {
                    Some(asking) => asking.await,
                    None => std::future::pending().await,
                }
            };
            let news = tokio::select! {
                item = events.next() => self.heard(item),
                answer = answer => {
                    asking = None;
                    self.answered(answer)
                }
                () = sleep_until(due), if idle => None,
            };
            if let Some(news) = news
                && self.sender.send(news).await.is_err()
            {
                return;
            }
        }
    }

    /// When the next question is due.
    fn due(&self) -> Instant {
        let changed = (!self.told_of.is_empty()).then_some(self.changed_due);
        [Some(self.all_due), Some(self.workers_due), changed]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.all_due)
    }

    fn many(&self) -> usize {
        usize::from(self.known.len() > MANY)
    }

    /// What is due to be asked: what has changed first, since people wait for it.
    fn question(&mut self) -> Option<BoxFuture<'static, Answer>> {
        let (now, bus) = (Instant::now(), self.bus.clone());
        if !self.told_of.is_empty() && self.changed_due <= now {
            self.changed_due = now + CHANGED_EVERY;
            let mut asked = BTreeMap::new();
            while asked.len() < CHANGED_MAX
                && let Some((name, told)) = self.told_of.pop_first()
            {
                asked.insert(name, told);
            }
            let names: Vec<Target> = asked.keys().cloned().map(Target::Instance).collect();
            return Some(async move { Answer::Changed(asked, bus.status(&names).await) }.boxed());
        }
        if self.all_due <= now {
            self.all_due = now + ALL_EVERY[self.many()];
            let names = self.names.clone();
            return Some(async move { Answer::All(bus.status(&names).await) }.boxed());
        }
        if self.workers_due <= now {
            self.workers_due = now + WORKERS_EVERY[self.many_workers];
            let ask = async move { bus.command(Verb::Workers, &Ask::default()).await };
            return Some(async move { Answer::Workers(ask.await) }.boxed());
        }
        None
    }

    fn answered(&mut self, answer: Answer) -> Option<News> {
        match answer {
            Answer::All(Ok(rows)) => {
                self.known = rows.iter().map(|row| row.name.clone()).collect();
                Some(News::All(rows))
            }
            Answer::Changed(asked, Ok(rows)) => {
                for row in &rows {
                    let Some(told) = asked.get(&row.name).filter(|told| told.is_ahead(row)) else {
                        continue;
                    };
                    if told.tries < TRIES_MAX {
                        let again = Told { tries: told.tries + 1, ..*told };
                        self.told_of.entry(row.name.clone()).or_insert(again);
                    }
                }
                Some(News::Changed(rows))
            }
            // One of them is gone.
            Answer::Changed(_, Err(Error::Refused { .. })) => {
                self.all_due = Instant::now();
                None
            }
            Answer::Workers(Ok(workers)) => {
                self.many_workers = usize::from(workers.len() > MANY_WORKERS);
                Some(News::Workers(workers))
            }
            Answer::All(Err(e)) | Answer::Changed(_, Err(e)) | Answer::Workers(Err(e)) => {
                self.all_due = Instant::now() + AGAIN;
                Some(News::Silent(e))
            }
        }
    }

    /// Everything is to be asked for soon.
    fn soon(&mut self) {
        self.all_due = self.all_due.min(Instant::now() + ALL_AGAIN[self.many()]);
    }

    fn heard(&mut self, item: Item) -> Option<News> {
        let entry = match item {
            Item::Entry(entry) => entry,
            // What happened before the consumer was there, or while it was not, was told by nobody.
            Item::CaughtUp | Item::Reset => {
                self.soon();
                return None;
            }
        };
        // What cannot be read is of a newer version, and changes what is asked for now and then.
        let event = entry.event().ok().flatten()?;
        match &event.data {
            Fact::Output(_) | Fact::Tick(_) => return None,
            Fact::Process(fact) => self.changed(&fact.name, Some((fact.epoch, fact.state))),
            Fact::Placement(fact) => self.changed(&fact.name, None),
            Fact::Notice(fact) => self.changed(&fact.name, None),
            Fact::Program(_) | Fact::Command(_) | Fact::Rollout(_) => self.soon(),
            Fact::Worker(_) => {
                self.workers_due = self.workers_due.min(Instant::now() + CHANGED_EVERY);
                self.soon();
            }
            Fact::Group(_) | Fact::Scheduler(_) | Fact::User(_) | Fact::Listener(_) => {}
        }
        Some(News::Event(Box::new(event)))
    }

    fn changed(&mut self, name: &InstanceId, state: Option<(Epoch, State)>) {
        if self.known.contains(name) && self.told_of.len() < CHANGED_WAIT_MAX {
            let told = self.told_of.entry(name.clone()).or_default();
            told.tries = 0;
            told.state = state.or(told.state);
        } else {
            self.soon();
        }
    }
}
