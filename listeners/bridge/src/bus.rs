//! The bus: events come through a durable consumer, and what people should know is an event.

use std::num::NonZeroU16;
use std::time::Duration;

use dsbus_client::{Bus, Durable, Heard};
use dsbus_schema::event::{Event, Fact, ListenerFact, Source as Teller};
use dsbus_schema::ids::ProgramName;
use dsbus_schema::moment::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::pool::Tell;
use crate::source::{Incoming, Source};

/// Most things to tell that wait for the bus; more are only logged.
const TELLS_MAX: usize = 64;
/// How long the end waits for the bus to hear the rest.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Pause before something is told again that the bus did not take.
const RETRY: Duration = Duration::from_secs(1);

/// Events of a fleet.
#[derive(Debug)]
pub struct BusSource {
    durable: Option<Durable>,
    name: ProgramName,
    told: Option<mpsc::Sender<ListenerFact>>,
    teller: tokio::task::JoinHandle<()>,
}

impl BusSource {
    /// The events that `durable` reads, for a listener of this name. `now` is the clock on the wall.
    pub fn new(bus: Bus, durable: Durable, name: ProgramName, now: fn() -> Timestamp) -> BusSource {
        let (told, facts) = mpsc::channel(TELLS_MAX);
        let teller = tokio::spawn(tell_all(bus, facts, now));
        BusSource { durable: Some(durable), name, told: Some(told), teller }
    }
}

impl Incoming for Heard {
    fn event(&self) -> &Event {
        &self.event
    }
    fn seq(&self) -> u64 {
        self.seq
    }
}

impl Source for BusSource {
    type Key = Heard;

    async fn next(&mut self) -> Result<Heard, String> {
        let Some(durable) = &mut self.durable else { return std::future::pending().await };
        let heard = durable.next().await;
        heard.map_err(|e| format!("the events of the fleet cannot be read: {e}"))
    }

    fn next_here(&mut self) -> Option<Heard> {
        self.durable.as_mut()?.next_here()
    }

    fn hold(&mut self, most: NonZeroU16) {
        if let Some(durable) = &self.durable {
            durable.hold(most);
        }
    }

    fn done(&mut self, heard: Heard) {
        heard.ack();
    }

    fn back(&mut self, heard: Heard) {
        heard.back();
    }

    fn tell(&mut self, tell: &Tell) {
        let (Some(change), Some(told)) = (tell.change, &self.told) else { return };
        let fact = ListenerFact {
            listener: self.name.clone(),
            change,
            event: tell.event,
            target: None,
            count: tell.count,
            reason: tell.text.clone(),
        };
        // It has been logged; a bus that is away for long is not told everything.
        let _ = told.try_send(fact);
    }

    async fn flush(&mut self) {
        self.told = None;
        let teller = &mut self.teller;
        let durable = self.durable.take();
        let rest = async {
            if let Some(durable) = durable {
                durable.close().await;
            }
            let _ = teller.await;
        };
        let _ = timeout(FLUSH_MAX, rest).await;
    }
}

/// Publishes one after the other, each until it is stored.
async fn tell_all(bus: Bus, mut facts: mpsc::Receiver<ListenerFact>, now: fn() -> Timestamp) {
    while let Some(fact) = facts.recv().await {
        let event =
            Event::new(bus.fleet(), &Teller::Listener, Uuid::now_v7(), now(), Fact::Listener(fact));
        while let Err(e) = bus.publish_event(&Teller::Listener, &event).await {
            if matches!(e, dsbus_client::Error::Denied { .. }) {
                tracing::warn!("what becomes of events here is told nobody: {e}");
                // Whoever has something to tell goes on without.
                while facts.recv().await.is_some() {}
                return;
            }
            tracing::debug!("not told yet: {e}");
            tokio::time::sleep(RETRY).await;
        }
    }
}
