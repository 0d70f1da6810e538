//! What these tests share.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dsbus_client::{Bus, ConnectOptions, Entry, Error, Item, Watch, Write};
use dsbus_harness::{DEADLINE, NatsServer, wait_for_async};
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::storage::Bucket;

use crate::proxy::Proxy;

pub(crate) fn options(urls: Vec<String>) -> ConnectOptions {
    ConnectOptions {
        urls,
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    }
}

pub(crate) async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(options(vec![server.url()])).await.unwrap()
}

/// A server with the buckets on it, and a connection.
pub(crate) async fn fleet() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    provision(&bus).await;
    (server, bus)
}

/// Provisions, again and again while `JetStream` has no leader yet.
pub(crate) async fn provision(bus: &Bus) {
    wait_for_async("the buckets", DEADLINE, async || match bus.provision(None).await {
        Ok(()) => Some(()),
        Err(Error::NoResponders | Error::Timeout | Error::Disconnected | Error::Api { .. }) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
}

/// [`Bus::write`], with the patience that a busy machine needs.
pub(crate) async fn set(bus: &Bus, bucket: Bucket, write: Write) -> Result<u64, Error> {
    bus.write_within(bucket, write, PATIENCE).await
}

/// [`Bus::get`], asked again when the answer comes too late.
pub(crate) async fn look(bus: &Bus, bucket: Bucket, key: &str) -> Result<Option<Entry>, Error> {
    wait_for_async("an answer", DEADLINE, async || {
        Some(bus.get(bucket, key).await).filter(|answer| *answer != Err(Error::Timeout))
    })
    .await
}

/// The next item; it is there within the deadline, or the test fails.
pub(crate) async fn next(watch: &mut Watch) -> Item {
    tokio::time::timeout(DEADLINE, watch.next()).await.expect("an item within the deadline")
}

/// The next item, which must be an entry.
pub(crate) async fn entry(watch: &mut Watch) -> Entry {
    match next(watch).await {
        Item::Entry(entry) => entry,
        other => panic!("{other:?} instead of an entry"),
    }
}

/// Entries until [`Item::CaughtUp`].
pub(crate) async fn initial(watch: &mut Watch) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        match next(watch).await {
            Item::Entry(entry) => entries.push(entry),
            Item::CaughtUp => return entries,
            Item::Reset => panic!("a reset while catching up"),
        }
    }
}

pub(crate) async fn wait_connected(bus: &Bus, wanted: bool) {
    wait_for_async("the connection", DEADLINE, async || (bus.connected() == wanted).then_some(()))
        .await;
}

/// A connection past dsbus, to do what dsbus does not.
pub(crate) async fn raw(server: &NatsServer) -> async_nats::Client {
    async_nats::connect(server.url()).await.unwrap()
}

/// Waits until the server has read all that `client` said before.
pub(crate) async fn settle(client: &async_nats::Client) {
    assert!(client.request("nobody.there", "".into()).await.is_err());
}

/// Longer than any answer may take.
pub(crate) const PATIENCE: Duration = DEADLINE;

/// A connection that can be broken.
pub(crate) async fn breakable(server: &NatsServer) -> (Proxy, Bus) {
    let proxy = Proxy::start(server.port());
    let bus = Bus::connect(options(vec![proxy.url()])).await.unwrap();
    (proxy, bus)
}

/// Copies the files of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
