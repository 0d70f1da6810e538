//! The connection: one per process, for ever.

use std::fmt;
use std::future::ready;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, ReconnectToServer, Server, ServerAddr, ServerError};
use dsbus_schema::ids::{FleetName, UserName};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};

use crate::server::{PAYLOAD_MAX, new_enough, too_narrow};
use crate::signing::Signer;
use crate::trouble::{self, Trouble, is_refusal, refused_delay, shown};
use crate::{Access, Error};

/// A verb that gets no answer of any server within this time says so.
const VERB_CONNECT_MAX: Duration = Duration::from_millis(1500);
/// A verb tries the next server, too, when those before are silent for this long: one of three that
/// is frozen or cut off accepts, or says nothing, and must not cost it all of its time.
const NEXT_SERVER_AFTER: Duration = Duration::from_millis(250);
/// Most servers that a verb tries side by side.
const SIDE_BY_SIDE_MAX: u32 = 5;
/// One attempt of a daemon to reach one server.
const DAEMON_CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest wait between two attempts, before the jitter.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// How often the server is asked whether it is there; async-nats gives up after three.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Denials that a slow call may be behind; one that is further behind times out instead.
const DENIALS_KEPT: usize = 64;

/// How to reach the bus.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Servers; any of them will do.
    pub urls: Vec<String>,
    /// Which fleet on it.
    pub fleet: FleetName,
    /// Who sends commands.
    pub user: UserName,
    /// Credentials and TLS.
    pub access: Access,
    /// Name of the connection, as NATS shows it to its administrator.
    pub label: String,
    /// `true` for daemons, which keep trying for ever; `false` for verbs, which give up in 1.5 s,
    /// and 0.25 s more for each further server.
    pub wait: bool,
}

/// A connection to one fleet's bus. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
    /// Who sends commands.
    user: UserName,
    /// The scheduler that every write is marked with.
    scheduler: Option<Arc<str>>,
    /// What it signs placements with.
    pub(crate) signer: Option<Signer>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    fleet: FleetName,
    signals: Signals,
}

/// What async-nats tells about the connection, passed on.
#[derive(Clone)]
struct Signals {
    /// Grows with every connect and disconnect.
    changes: Arc<watch::Sender<u64>>,
    /// How often in a row the credentials were refused.
    refused: Arc<AtomicU32>,
    /// Subjects that the server just refused a publish to.
    denied: broadcast::Sender<String>,
    /// Set when there is another server to go to once this one says that it will stop. Weak: else
    /// the connection would hold itself open.
    leave: Arc<OnceLock<Weak<Inner>>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("fleet", &self.inner.fleet).finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::NoBus`] when `wait` is false and no server answers; [`Error::ServerTooOld`];
    /// [`Error::Malformed`] when a file of the credentials cannot be used. One that cannot be later,
    /// when a daemon connects again, is told in its log until it can.
    pub async fn connect(o: ConnectOptions) -> Result<Bus, Error> {
        o.access.check()?;
        let signals = Signals {
            changes: Arc::new(watch::Sender::new(0)),
            refused: Arc::default(),
            denied: broadcast::Sender::new(DENIALS_KEPT),
            leave: Arc::new(OnceLock::new()),
        };
        let client = open(&o, &signals).await?;
        let version = client.server_info().version;
        if !new_enough(&version) {
            return Err(Error::ServerTooOld { version });
        }
        if let Some(trouble) = too_narrow(client.server_info().max_payload).filter(|_| o.wait) {
            tracing::warn!(url = shown(&o.urls), "{trouble}");
        }
        let others = o.urls.len() > 1 || client.server_info().connect_urls.len() > 1;
        let leave = Arc::clone(&signals.leave);
        let (fleet, user) = (o.fleet.clone(), o.user.clone());
        let inner = Arc::new(Inner { client, fleet, signals });
        if o.wait {
            let changes = inner.signals.changes.subscribe();
            tokio::spawn(trouble::watch(Arc::downgrade(&inner), o, changes));
        }
        if others {
            leave.get_or_init(|| Arc::downgrade(&inner));
        }
        Ok(Bus { inner, user, scheduler: None, signer: None })
    }

    /// The same connection, whose writes into buckets are marked as those of this scheduler.
    #[must_use]
    pub fn writing_as(&self, scheduler: &str) -> Bus {
        Bus { scheduler: Some(scheduler.into()), ..self.clone() }
    }

    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The same connection, whose commands are those of this user: for whoever speaks for several.
    #[must_use]
    pub fn speaking_for(&self, user: UserName) -> Bus {
        Bus { user, ..self.clone() }
    }

    pub(crate) fn scheduler(&self) -> Option<&str> {
        self.scheduler.as_deref()
    }

    /// Which fleet this is.
    pub fn fleet(&self) -> &FleetName {
        &self.inner.fleet
    }

    /// Who sends commands over it.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Whether there is a connection now.
    pub fn connected(&self) -> bool {
        self.inner.client.connection_state() == State::Connected
    }

    /// A number that grows with every connect and disconnect.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.inner.signals.changes.subscribe()
    }

    /// Most bytes that a message may have here.
    pub fn payload_max(&self) -> usize {
        self.inner.client.try_server_info().map_or(PAYLOAD_MAX, |info| info.max_payload)
    }

    /// Gives the connection up and makes a new one, to another server where there is one. Returns
    /// before it is made.
    pub async fn reconnect(&self) {
        // A client that is closed cannot reconnect, and there is nothing to do about it.
        drop(self.inner.client.force_reconnect().await);
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn denials(&self) -> broadcast::Receiver<String> {
        self.inner.signals.denied.subscribe()
    }
}

async fn open(o: &ConnectOptions, signals: &Signals) -> Result<Client, Error> {
    let no_bus = |why: String| Error::NoBus { url: shown(&o.urls), why };
    let heard = signals.clone();
    let mut options = o
        .access
        .options(&o.urls)
        .name(&o.label)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(if o.wait { DAEMON_CONNECT_MAX } else { VERB_CONNECT_MAX })
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            let heard = heard.clone();
            async move { heard.hear(event).await }
        });
    if o.wait {
        let last = Arc::new(Mutex::new(None));
        let refused = Arc::clone(&signals.refused);
        options =
            options.retry_on_initial_connect().reconnect_to_server_callback(move |servers, _| {
                let pool: Vec<ServerAddr> = servers.into_iter().map(|s| s.addr).collect();
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let next = next_server(&pool, last.as_ref(), any());
                last.clone_from(&next);
                let delay = refused_delay(refused.load(Ordering::Relaxed));
                ready(next.map(|addr| ReconnectToServer { addr, delay }))
            });
    }
    if !o.wait {
        options = options.reconnect_to_server_callback(|servers, _| ready(only_server(&servers)));
        return first_to_answer(options, &o.urls).await.map_err(no_bus);
    }
    let connecting = options.connect(o.urls.as_slice());
    let client = connecting.await.map_err(|e| no_bus(e.to_string()))?;
    let (mut changes, mut trouble) = (signals.changes.subscribe(), Trouble::new());
    while client.connection_state() != State::Connected || client.try_server_info().is_none() {
        if timeout(trouble.rest(), changes.changed()).await.is_err() {
            trouble.tell(o).await;
        }
    }
    Ok(client)
}

/// Why none of the servers can be used now, as a verb would say it; `None` where one can.
pub(crate) async fn why_not(o: &ConnectOptions) -> Option<String> {
    let options = o.access.options(&o.urls).name(&o.label).connection_timeout(VERB_CONNECT_MAX);
    let options = options.reconnect_to_server_callback(|servers, _| ready(only_server(&servers)));
    first_to_answer(options, &o.urls).await.err()
}

/// Tries the servers side by side, each a little after the one before, from any of them on. Each try
/// goes on to the other servers by itself, so one that fails has met them all.
async fn first_to_answer(
    options: async_nats::ConnectOptions,
    urls: &[String],
) -> Result<Client, String> {
    let first = usize::try_from(any() % urls.len().max(1) as u64).unwrap_or(0);
    let servers = u32::try_from(urls.len()).unwrap_or(u32::MAX);
    let mut tries = FuturesUnordered::new();
    for number in 0..servers.clamp(1, SIDE_BY_SIDE_MAX) {
        let mut urls = urls.to_vec();
        let turn = (first + number as usize) % urls.len().max(1);
        urls.rotate_left(turn);
        let options = options.clone().retain_servers_order();
        tries.push(async move {
            // A sleep of no time takes one millisecond.
            if number > 0 {
                sleep(NEXT_SERVER_AFTER * number).await;
            }
            // `None`: too late.
            timeout(VERB_CONNECT_MAX, options.connect(urls)).await.ok()
        });
    }
    while let Some(ended) = tries.next().await {
        match ended {
            Some(Ok(client)) => return Ok(client),
            Some(Err(error)) => return Err(error.to_string()),
            None => {}
        }
    }
    Err("no answer".to_owned())
}

/// The server of a pool that has no other one: named so, it is tried without the millisecond that
/// async-nats sleeps before each of several.
fn only_server(pool: &[Server]) -> Option<ReconnectToServer> {
    match pool {
        [only] => Some(ReconnectToServer { addr: only.addr.clone(), delay: None }),
        _ => None,
    }
}

/// The server after the `last` one, or any where there was none: whoever leaves a silent server does
/// not go back to it while there is another one. async-nats may, and a server that is cut off costs
/// [`DAEMON_CONNECT_MAX`] each time.
fn next_server(pool: &[ServerAddr], last: Option<&ServerAddr>, any: u64) -> Option<ServerAddr> {
    let size = pool.len().max(1);
    let turn = match last.and_then(|last| pool.iter().position(|addr| addr == last)) {
        Some(index) => (index + 1) % size,
        None => usize::try_from(any % size as u64).unwrap_or(0),
    };
    pool.get(turn).cloned()
}

/// A number that nobody can foresee.
fn any() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Signals {
    async fn hear(&self, event: Event) {
        match event {
            Event::Connected | Event::Disconnected => {
                if event == Event::Connected {
                    self.refused.store(0, Ordering::Relaxed);
                }
                tracing::info!("NATS: {event}");
                self.changes.send_modify(|n| *n += 1);
            }
            Event::LameDuckMode => {
                tracing::info!("NATS: the server is about to stop");
                if let Some(inner) = self.leave.get().and_then(Weak::upgrade) {
                    Bus { inner, user: UserName::default(), scheduler: None, signer: None }
                        .reconnect()
                        .await;
                }
            }
            Event::ServerError(ServerError::Other(text)) => {
                tracing::warn!("NATS: {text}");
                if let Some(subject) = denied_publish(&text) {
                    // Nobody listens when no call is pending.
                    drop(self.denied.send(subject.to_owned()));
                }
            }
            Event::ClientError(error) => {
                tracing::debug!("{error}");
                if is_refusal(&error.to_string()) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            other => tracing::warn!("NATS: {other}"),
        }
    }
}

/// The subject of: Permissions Violation for Publish to "x".
fn denied_publish(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("ermissions Violation for Publish to \"")?;
    rest.split_once('"').map(|(subject, _)| subject)
}

/// Doubles from 2 ms to [`RECONNECT_DELAY_MAX`], and up to half as much again, so that a fleet does
/// not come back all at once.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let exponent = u32::try_from(attempts - 1).unwrap_or(u32::MAX);
    let delay = Duration::from_millis(2u64.saturating_pow(exponent)).min(RECONNECT_DELAY_MAX);
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let jitter = any() % (millis / 2 + 1);
    delay + Duration::from_millis(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_subject() {
        let text = "Permissions Violation for Publish to \"$KV.dsbus_goals.web\"";
        assert_eq!(denied_publish(text), Some("$KV.dsbus_goals.web"));
        assert_eq!(denied_publish("Permissions Violation for Subscription to \"x\""), None);
    }

    #[test]
    fn nobody_goes_back_to_the_server_he_has_just_left() {
        let pool: Vec<ServerAddr> =
            ["n1:4222", "n2:4222", "n3:4222"].iter().map(|url| url.parse().unwrap()).collect();
        for any in 0..3 {
            let mut last = next_server(&pool, None, any);
            for _ in 0..7 {
                let next = next_server(&pool, last.as_ref(), any);
                assert!(next.is_some() && next != last);
                last = next;
            }
        }
        assert_eq!(next_server(&pool[..1], pool.first(), 5), pool.first().cloned());
        assert_eq!(next_server(&pool[1..], pool.first(), 5), pool.last().cloned(), "it is gone");
        assert_eq!(next_server(&[], None, 5), None);
    }

    #[test]
    fn delays_stay_short() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        for attempts in [2, 10, 1_000, usize::MAX] {
            assert!(reconnect_delay(attempts) <= RECONNECT_DELAY_MAX * 3 / 2);
        }
    }
}
