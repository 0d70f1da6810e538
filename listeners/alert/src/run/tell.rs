//! Events about what is not told, beside the loop: a bus that is slow to take them holds up no lease.

use std::time::Duration;

use dsbus_client::Bus;
use dsbus_schema::alert::{AlertName, DeadLetter};
use dsbus_schema::event::{Event, Fact, ListenerChange, ListenerFact, Source};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::core::DEAD_LETTERS_MAX;

/// Events that wait: as many as there are dead letters. What is beyond is told after the records were
/// read anew.
const EVENTS_MAX: usize = DEAD_LETTERS_MAX;
/// Pause before an event is told again that the bus did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells one after the other, each until it is stored.
#[derive(Debug)]
pub(super) struct Teller {
    line: mpsc::Sender<(Uuid, Event)>,
    stored: mpsc::Receiver<Uuid>,
    // Dropping it ends the task; what it has not told is told by whoever reads the records next.
    task: JoinSet<()>,
}

impl Teller {
    /// Must be called on a tokio runtime.
    pub(super) fn start(bus: &Bus) -> Teller {
        let (line, events) = mpsc::channel(EVENTS_MAX);
        let (told, stored) = mpsc::channel(EVENTS_MAX);
        let mut task = JoinSet::new();
        task.spawn(tell_all(bus.clone(), events, told));
        Teller { line, stored, task }
    }

    /// Takes an event, which is known by this id: that of the dead letter that it is about, if it is.
    pub(super) fn tell(&self, id: Uuid, event: Event) {
        // It is in the record that it was not told.
        let _ = self.line.try_send((id, event));
    }

    /// The id of the next event that is stored. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> Uuid {
        match self.stored.recv().await {
            Some(id) => id,
            None => std::future::pending().await,
        }
    }

    /// Takes no more, and waits until all are stored, but not for longer than `within`; which were.
    pub(super) async fn stop(self, within: Duration) -> Vec<Uuid> {
        let Teller { line, mut stored, task } = self;
        drop(line);
        let mut ids = Vec::new();
        let all = async {
            while let Some(id) = stored.recv().await {
                ids.push(id);
            }
        };
        drop(timeout(within, all).await);
        drop(task);
        ids
    }
}

async fn tell_all(bus: Bus, mut events: mpsc::Receiver<(Uuid, Event)>, stored: mpsc::Sender<Uuid>) {
    while let Some((id, event)) = events.recv().await {
        let mut complained = false;
        while let Err(e) = bus.publish_event(&Source::Listener, &event).await {
            if !complained {
                tracing::warn!("an event about what is not told is not published yet: {e}");
                complained = true;
            }
            tokio::time::sleep(AGAIN).await;
        }
        if stored.send(id).await.is_err() {
            return;
        }
    }
}

/// The event about a dead letter. It has the same id whoever tells it, so that it is stored once.
pub(super) fn event(fleet: &FleetName, name: &AlertName, id: Uuid, dead: &DeadLetter) -> Event {
    let (letter, news) = (&dead.letter, &dead.letter.news);
    let to = letter.to.as_ref().map_or(String::new(), |to| format!("to {to}: "));
    let fact = Fact::Listener(ListenerFact {
        listener: name.clone(),
        change: ListenerChange::DeadLetter,
        event: news.bundle.events.last().map(|of| of.event.id),
        target: Some(letter.target.to_string()),
        count: Some(u64::from(letter.tries)),
        reason: format!("rule {}: {to}{}", news.rule, dead.why),
    });
    Event::new(fleet, &Source::Listener, Uuid::new_v5(&id, b"dead"), dead.died, fact)
}

/// The event about events that belong to no rule any more.
pub(super) fn dropped(fleet: &FleetName, name: &AlertName, count: u64, now: Timestamp) -> Event {
    let fact = Fact::Listener(ListenerFact {
        listener: name.clone(),
        change: ListenerChange::Dropped,
        event: None,
        target: None,
        count: Some(count),
        reason: "the rules that they were to be told by are not in the file any more".to_owned(),
    });
    Event::new(fleet, &Source::Listener, Uuid::now_v7(), now, fact)
}
