//! A bus, what a scheduler would put on it, and looks at what the agent does there.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::{Bus, ConnectOptions, Entry, From, Item, Watch, Write};
use dsbus_harness::{DEADLINE, NatsServer, wait_for_async};
use dsbus_schema::event::Event;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, FleetName, InstanceId, ProgramId, UserName, WorkerName};
use dsbus_schema::lenient::Span;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::storage::{Bucket, instance_key, placement_guard, touch_key};
use dsbus_schema::subject;
use dsbus_schema::touch::Touch;
use uuid::Uuid;

/// A private bus.
pub(crate) struct Fleet {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
}

pub(crate) fn worker() -> WorkerName {
    WorkerName::parse("w1").unwrap()
}

pub(crate) fn name(index: u32) -> InstanceId {
    format!("web:{index}").parse().unwrap()
}

/// A placement with a `touch_timeout` of so many seconds.
pub(crate) fn placement(epoch: u64, seconds: u64) -> Placement {
    let touch_timeout = Some(Span::from_secs(seconds));
    let id = ProgramId(Uuid::from_u128(1));
    let wanted = Wanted { run: true, ..Wanted::default() };
    let spec = ProgramSpec { touch_timeout, exclusive: true, ..ProgramSpec::default() };
    Placement::new(id, 1, Epoch(epoch), wanted, spec)
}

impl Fleet {
    pub(crate) async fn start() -> Fleet {
        Fleet::start_on(NatsServer::start()).await
    }

    pub(crate) async fn start_on(server: NatsServer) -> Fleet {
        let bus = Bus::connect(options(&server)).await.unwrap();
        bus.provision(None).await.unwrap();
        Fleet { server, bus }
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        options(&self.server)
    }

    /// Places an instance, as a scheduler does.
    pub(crate) async fn place(&self, index: u32, placement: &Placement) {
        let (key, guard) = (instance_key(&worker(), &name(index)), placement_guard(&name(index)));
        // A server that is slow to answer is asked again.
        wait_for_async("a placement", DEADLINE, async || {
            let before = self.bus.get(Bucket::Fleet, &guard).await.ok()?;
            let seq = before.map_or(0, |entry| entry.seq);
            let write = Write::put(key.clone(), placement).unwrap().guard(&guard, seq);
            self.bus.write(Bucket::Fleet, write).await.ok()
        })
        .await;
    }

    /// Takes a placement away.
    pub(crate) async fn unplace(&self, index: u32) {
        let key = instance_key(&worker(), &name(index));
        wait_for_async("the end of a placement", DEADLINE, async || {
            self.bus.write(Bucket::Fleet, Write::delete(key.clone())).await.ok()
        })
        .await;
    }

    /// What stands under a key. A server that is slow to answer is asked again.
    pub(crate) async fn look(&self, bucket: Bucket, key: &str) -> Option<Entry> {
        wait_for_async("an entry", DEADLINE, async || self.bus.get(bucket, key).await.ok()).await
    }

    pub(crate) async fn touch(&self, seconds: u64) -> Option<(Entry, Touch)> {
        let entry = self.bus.get(Bucket::Fleet, &touch_key(&worker(), seconds)).await.ok()??;
        let touch = entry.json().unwrap()?;
        Some((entry, touch))
    }

    /// Waits for a touch after `seq`.
    pub(crate) async fn touch_after(&self, seconds: u64, seq: u64) -> (Entry, Touch) {
        wait_for_async("a touch", DEADLINE, async || {
            self.touch(seconds).await.filter(|(entry, _)| entry.seq > seq)
        })
        .await
    }

    /// Everything that stood under the worker's touch keys from now on.
    pub(crate) fn touches(&self) -> Watch {
        self.bus.watch(Bucket::Fleet, &format!("{}._touch.*", worker()), "test")
    }

    /// The events of the fleet once there are so many of them, as they were stored.
    pub(crate) async fn events(&self, at_least: usize) -> Vec<Event> {
        events(&self.bus, at_least).await
    }
}

/// The events on a bus once there are so many of them, as they were stored.
pub(crate) async fn events(bus: &Bus, at_least: usize) -> Vec<Event> {
    let subject = subject::events(bus.fleet());
    let (mut found, mut caught_up) = (BTreeMap::new(), false);
    let mut watch = bus.watch_events(&subject, From::All, "test");
    let reading = async {
        loop {
            match watch.next().await {
                Item::Entry(entry) => {
                    let event: Event = entry.json().unwrap().unwrap();
                    found.insert(entry.seq, event);
                }
                Item::CaughtUp => caught_up = true,
                Item::Reset => {}
            }
            // All that was stored before is read, too, however many there are.
            if caught_up && found.len() >= at_least {
                return;
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    assert!(read.is_ok(), "waited for {at_least} events, found {found:#?}");
    // Whatever was published twice is there by now, too.
    while let Ok(Item::Entry(entry)) =
        tokio::time::timeout(Duration::from_millis(300), watch.next()).await
    {
        found.insert(entry.seq, entry.json().unwrap().unwrap());
    }
    found.into_values().collect()
}

fn options(server: &NatsServer) -> ConnectOptions {
    options_of(vec![server.url()])
}

pub(crate) fn options_of(urls: Vec<String>) -> ConnectOptions {
    ConnectOptions {
        urls,
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    }
}
