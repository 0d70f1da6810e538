//! How the bus itself is, for whoever looks after it: the server, the account, what one may do there,
//! the streams, and who answers. Nothing is changed.

use std::time::Duration;

use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{Bucket, USER_INFO};
use dsbus_schema::subject::SERVICES;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::server::{new_enough, too_narrow};
use crate::stream::{bucket_config, changes, differences, events_config};
use crate::wire::{ANSWER_MAX, denial};
use crate::{Bus, Entry, Error, Item};

/// How long one waits for services to tell of themselves.
const SERVICES_MAX: Duration = Duration::from_secs(1);
/// When no service has told of itself for this long, all have.
const SERVICES_QUIET: Duration = Duration::from_millis(250);
/// Most services that are listed.
const SERVICES_LISTED_MAX: usize = 2_000;
/// How long reading a whole bucket may take.
const READ_MAX: Duration = Duration::from_secs(10);
/// Most entries of a bucket that are read: all are held in memory, and a fleet that is within its
/// limits has fewer. What would be left out would be missing without a word, so that it is refused.
const ENTRIES_MAX: usize = 200_000;

/// The server that one is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether dsbus can use it.
    pub new_enough: bool,
    /// Longest message that it takes, in bytes.
    pub payload_max: usize,
    /// What that means, where it is too short for dsbus.
    pub too_narrow: Option<String>,
    /// Servers of its cluster that it knows, with itself; 1 where there is no cluster.
    pub servers: usize,
    /// How long it takes to answer.
    pub round_trip: Duration,
}

/// What `JetStream` allows the account, and how much of it is used. -1 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes on disk: used, and allowed.
    pub storage: (i64, i64),
    /// Streams.
    pub streams: (i64, i64),
    /// Consumers.
    pub consumers: (i64, i64),
}

/// Who one is there, and what one may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// User, as the server knows him.
    pub user: String,
    /// Account.
    pub account: String,
    /// What is allowed; everything, without it.
    pub permissions: Option<Permissions>,
}

/// Subjects, with wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// What may be published to.
    pub publish: Subjects,
    /// What may be subscribed to.
    pub subscribe: Subjects,
}

/// Of one direction. What is denied is denied; the rest is allowed where nothing is named as such.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subjects {
    /// Allowed.
    pub allow: Vec<String>,
    /// Denied.
    pub deny: Vec<String>,
}

impl Permissions {
    /// Whether keys of a bucket may be read.
    pub fn read(&self, fleet: &FleetName, bucket: Bucket) -> bool {
        let stream = bucket.stream(fleet);
        let watched = format!("$JS.API.CONSUMER.CREATE.{stream}.x.{}", bucket.subject(fleet, ">"));
        self.publish.permit(&format!("$JS.API.STREAM.MSG.GET.{stream}"))
            || self.publish.permit(&watched)
    }

    /// Whether keys of a bucket may be written; of one that is permitted in part only, a key that
    /// nobody has.
    pub fn write(&self, fleet: &FleetName, bucket: Bucket) -> bool {
        self.publish.permit(&bucket.subject(fleet, "x"))
    }

    /// Whether streams may be made.
    pub fn make_streams(&self) -> bool {
        self.publish.permit("$JS.API.STREAM.CREATE.x")
    }
}

impl Subjects {
    /// Whether a subject without wildcards is allowed.
    pub fn permit(&self, subject: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, subject));
        !any(&self.deny) && (self.allow.is_empty() || any(&self.allow))
    }
}

/// Whether a subject fits a pattern; after a space a pattern names a queue.
fn fits(pattern: &str, subject: &str) -> bool {
    let pattern = pattern.split(' ').next().unwrap_or_default();
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            (_, _) => return false,
        }
    }
    tokens.next().is_none()
}

/// A stream of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// What of its configuration dsbus cannot work with: `retention is x, and must be y`.
    pub differences: Vec<String>,
    /// What of it somebody has chosen: `max_age is 60 s, and 3600 s by default`.
    pub changes: Vec<String>,
    /// How many servers keep it.
    pub replicas: u64,
    /// Those of them that are behind or away.
    pub behind: Vec<String>,
    /// Bytes.
    pub bytes: u64,
    /// When that was told, by the clock of the server.
    pub at: Option<Timestamp>,
}

/// A scheduler or a worker that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceInfo {
    /// Of which kind: [`dsbus_schema::subject::SERVICE`] or
    /// [`dsbus_schema::subject::SERVICE_WORKER`].
    pub service: String,
    /// Its name.
    pub id: String,
    /// Version of its dsbus.
    pub version: String,
}

impl Bus {
    /// The server.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Timeout`].
    pub async fn server(&self) -> Result<Server, Error> {
        let begin = Instant::now();
        // A server that has no such subject, or may not tell, has answered as well.
        let answer = self.ask(USER_INFO, None, bytes::Bytes::new(), ANSWER_MAX).await;
        if let Err(error @ (Error::Disconnected | Error::Timeout)) = answer {
            return Err(error);
        }
        let round_trip = begin.elapsed();
        let info = self.client().server_info();
        Ok(Server {
            new_enough: new_enough(&info.version),
            name: info.server_name,
            version: info.version,
            payload_max: info.max_payload,
            too_narrow: too_narrow(info.max_payload),
            servers: info.cluster.map_or(1, |_| info.connect_urls.len().max(1)),
            round_trip,
        })
    }

    /// What `JetStream` allows; [`Error::NoResponders`] where there is none.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn account(&self) -> Result<Account, Error> {
        let answer = self.api("INFO", &Value::Null, ANSWER_MAX).await?;
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        let limit = |key: &str| answer["limits"][key].as_i64().unwrap_or(-1);
        Ok(Account {
            storage: (number(&answer["storage"]), limit("max_storage")),
            streams: (number(&answer["streams"]), limit("max_streams")),
            consumers: (number(&answer["consumers"]), limit("max_consumers")),
        })
    }

    /// Who one is.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Timeout`] where the server does not say it.
    pub async fn user_info(&self) -> Result<User, Error> {
        #[derive(Deserialize)]
        struct Answer {
            data: User,
        }
        let answer = self.ask(USER_INFO, None, bytes::Bytes::new(), ANSWER_MAX).await?;
        let read = serde_json::from_slice::<Answer>(&answer.payload);
        read.map(|answer| answer.data).map_err(|e| Error::malformed(USER_INFO, e))
    }

    /// Every stream that a fleet has, by name, and how it is; [`Error::NotProvisioned`] of one that is
    /// not there.
    pub async fn streams(&self) -> Vec<(String, Result<Stream, Error>)> {
        let mut wanted = Bucket::ALL.map(|bucket| bucket_config(self.fleet(), bucket)).to_vec();
        wanted.push(events_config(self.fleet()));
        let mut found = Vec::new();
        for wanted in wanted {
            let name = wanted["name"].as_str().unwrap_or_default().to_owned();
            let call = format!("STREAM.INFO.{name}");
            let answer = self.api(&call, &Value::Null, ANSWER_MAX).await;
            found.push((name.clone(), answer.map(|info| stream(name, &wanted, &info))));
        }
        found
    }

    /// The schedulers and workers of this fleet that answer now.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Disconnected`].
    pub async fn services(&self) -> Result<Vec<ServiceInfo>, Error> {
        const ALL: &str = SERVICES;
        if !self.connected() {
            return Err(Error::Disconnected);
        }
        let denials = self.denials();
        let (denied, end) = (denial(denials, &[ALL]), Instant::now() + SERVICES_MAX);
        tokio::pin!(denied);
        let inbox = self.new_inbox();
        let heard = self.client().subscribe(inbox.clone()).await;
        let mut heard = heard.map_err(|_| Error::Disconnected)?;
        let asked = self.client().publish_with_reply(ALL, inbox, bytes::Bytes::new()).await;
        asked.map_err(|e| Error::malformed(ALL, e))?;
        let (mut found, mut until) = (Vec::new(), end);
        while found.len() < SERVICES_LISTED_MAX {
            let message = tokio::select! {
                message = timeout_at(until, heard.next()) => message,
                what = &mut denied => return Err(Error::Denied { what }),
            };
            // Nobody at all answers with a status, and without a body.
            let Ok(Some(message)) = message else { break };
            if message.status.is_some() {
                break;
            }
            found.extend(service(&message.payload, self.fleet().as_str()));
            until = end.min(Instant::now() + SERVICES_QUIET);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The last entry of every key of a bucket; keys that are gone are left out.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], [`Error::Timeout`], and whatever keeps the server from answering.
    pub async fn read_all(&self, b: Bucket, name: &str) -> Result<Vec<Entry>, Error> {
        self.stream_info(&b.stream(self.fleet()), ANSWER_MAX).await?;
        let mut watch = self.watch(b, ">", name);
        let mut entries = std::collections::BTreeMap::new();
        let end = sleep(READ_MAX);
        tokio::pin!(end);
        loop {
            let item = tokio::select! {
                item = watch.next_or_denied() => item?,
                () = &mut end => return Err(Error::Timeout),
            };
            match item {
                Item::Entry(entry) if matches!(entry.value, crate::Value::Put(_)) => {
                    entries.insert(entry.key.clone(), entry);
                }
                Item::Entry(entry) => {
                    entries.remove(&entry.key);
                }
                Item::Reset => entries.clear(),
                Item::CaughtUp => break,
            }
            if entries.len() > ENTRIES_MAX {
                let why = format!("it holds more than {ENTRIES_MAX} entries");
                return Err(Error::malformed(b.name(self.fleet()), why));
            }
        }
        Ok(entries.into_values().collect())
    }
}

fn stream(name: String, wanted: &Value, info: &Value) -> Stream {
    let others = info["cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let away = |other: &&Value| other["current"] != true || other["offline"] == true;
    let name_of = |other: &Value| other["name"].as_str().unwrap_or("a server").to_owned();
    Stream {
        name,
        differences: differences(wanted, &info["config"]),
        changes: changes(wanted, &info["config"]),
        replicas: info["config"]["num_replicas"].as_u64().unwrap_or(1),
        behind: others.iter().filter(away).map(name_of).collect(),
        bytes: info["state"]["bytes"].as_u64().unwrap_or(0),
        at: info["ts"].as_str().and_then(|text| Timestamp::parse(text).ok()),
    }
}

/// What a service tells, where it is one of ours.
fn service(body: &[u8], fleet: &str) -> Option<ServiceInfo> {
    use dsbus_schema::subject::{SERVICE, SERVICE_WORKER};
    let info: Value = serde_json::from_slice(body).ok()?;
    let (service, meta) = (info["name"].as_str()?, &info["metadata"]);
    let ours = [SERVICE, SERVICE_WORKER].contains(&service) && meta["fleet"] == fleet;
    ours.then(|| ServiceInfo {
        service: service.to_owned(),
        id: meta["id"].as_str().unwrap_or_default().to_owned(),
        version: info["version"].as_str().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_as_the_server_does() {
        let subjects = |allow: &[&str], deny: &[&str]| Subjects {
            allow: allow.iter().map(ToString::to_string).collect(),
            deny: deny.iter().map(ToString::to_string).collect(),
        };
        for (allow, deny, subject, permitted) in [
            (&[][..], &[][..], "a.b", true),
            (&["a.>"], &[], "a.b.c", true),
            (&["a.>"], &[], "a", false),
            (&["a.*"], &[], "a.b", true),
            (&["a.*"], &[], "a.b.c", false),
            (&["a.b"], &[], "a.c", false),
            (&[], &["a.b"], "a.b", false),
            (&["a.>"], &["a.b"], "a.b", false),
            (&["a.> q"], &[], "a.b", true),
        ] {
            assert_eq!(subjects(allow, deny).permit(subject), permitted, "{allow:?} {subject}");
        }
    }

    #[test]
    fn only_services_of_this_fleet_are_listed() {
        let of = |name: &str, fleet: &str| {
            let meta = serde_json::json!({ "id": "s1", "fleet": fleet });
            let info = serde_json::json!({ "name": name, "version": "0.1.0", "metadata": meta });
            service(info.to_string().as_bytes(), "lab")
        };
        assert_eq!(of(dsbus_schema::subject::SERVICE, "lab").unwrap().id, "s1");
        assert_eq!(of(dsbus_schema::subject::SERVICE, "default"), None);
        assert_eq!(of("other", "lab"), None);
        assert_eq!(service(b"x", "lab"), None);
    }
}
