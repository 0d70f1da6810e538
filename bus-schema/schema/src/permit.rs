//! What each role may do on the bus, as lists of subjects for a nats-server: the least that it needs.
//!
//! A subject says which consumer is made only when that has a name and one filter; so that is how the
//! client makes them. Whoever knows the name of a consumer can read and change it: those that readers
//! come back to are denied to all who may make others of the same stream.

mod deed;
mod role;

use serde::Serialize;

use crate::event::{Kind, Source};
use crate::ids::FleetName;
use crate::storage::{self, Bucket, events_stream};
use crate::subject;

pub use deed::{CALLS_OF_SCHEDULERS, CALLS_TO_LOOK, Deed, VERBS_TO_LOOK};
pub use role::{Role, RoleError, inbox, listener_subject};

/// What begins the subjects of all answers. Who answers may publish to all of them: only who asked
/// knows the rest of it, and hears it. (A permission to respond, `allow_responses`, is none: who asks
/// himself may then publish whatever he likes to whatever he names, also to what is denied to him.
/// Measured, nats-server 2.15.)
pub const INBOXES: &str = "_INBOX";

/// What a user may publish to, and subscribe to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// What may be published to; nothing else.
    pub publish: Vec<String>,
    /// Of that, what may not.
    pub publish_deny: Vec<String>,
    /// What may be subscribed to; nothing else.
    pub subscribe: Vec<String>,
}

/// The permissions of a role. `durables` are the consumers of events that have an owner: whoever may
/// make consumers of events may not touch these, unless one is its own.
pub fn permissions(fleet: &FleetName, name: &str, role: &Role, durables: &[String]) -> Permissions {
    let mut list = List { fleet, permissions: Permissions::default() };
    list.hear(format!("{}.>", inbox(name, role)));
    list.say(storage::USER_INFO);
    for stream in list.streams() {
        list.api(format!("STREAM.INFO.{stream}"));
    }
    match role {
        Role::Scheduler => list.scheduler(),
        Role::Gateway => list.gateway(durables),
        Role::Viewer => list.viewer(name, durables),
        Role::Operator(deeds) => list.operator(name, deeds, durables),
        Role::Worker { worker, listeners } => list.worker(worker, *listeners, durables),
        Role::Listener(filter) => list.listener(name, &listener_subject(fleet, filter)),
        Role::Alert(alert) => list.alert(alert),
    }
    let mut permissions = list.permissions;
    for all in [&mut permissions.publish, &mut permissions.publish_deny, &mut permissions.subscribe]
    {
        all.sort();
        all.dedup();
    }
    permissions
}

struct List<'a> {
    fleet: &'a FleetName,
    permissions: Permissions,
}

impl List<'_> {
    fn say(&mut self, subject: impl Into<String>) {
        self.permissions.publish.push(subject.into());
    }

    fn hear(&mut self, subject: impl Into<String>) {
        self.permissions.subscribe.push(subject.into());
    }

    fn api(&mut self, call: impl AsRef<str>) {
        self.say(format!("$JS.API.{}", call.as_ref()));
    }

    /// Every stream of the fleet.
    fn streams(&self) -> Vec<String> {
        let buckets = Bucket::ALL.map(|bucket| bucket.stream(self.fleet)).into_iter();
        buckets.chain([events_stream(self.fleet)]).collect()
    }

    /// Watching the keys of a bucket that fit.
    fn watch(&mut self, bucket: Bucket, keys: &str) {
        let (stream, keys) = (bucket.stream(self.fleet), bucket.subject(self.fleet, keys));
        self.consume(&stream, &keys);
    }

    /// Making consumers of names that nobody can guess.
    fn consume(&mut self, stream: &str, filter: &str) {
        self.api(format!("CONSUMER.CREATE.{stream}.*.{filter}"));
        self.say(format!("$JS.FC.{stream}.>"));
    }

    /// Reading single messages of a stream by whatever subject: the server cannot limit that.
    fn get(&mut self, stream: &str) {
        self.api(format!("STREAM.MSG.GET.{stream}"));
    }

    fn write(&mut self, bucket: Bucket, keys: &str) {
        self.say(bucket.subject(self.fleet, keys));
    }

    /// Reading events by consumers of one's own, and by none of those that others come back to.
    fn events(&mut self, filter: &str, durables: &[String]) {
        let stream = events_stream(self.fleet);
        self.consume(&stream, filter);
        for name in durables {
            self.deny(format!("$JS.API.CONSUMER.CREATE.{stream}.{name}.>"));
        }
    }

    /// Whoever reads by consumers of any name may still not read by these.
    fn leave(&mut self, durables: &[String]) {
        let stream = events_stream(self.fleet);
        for name in durables {
            for call in ["INFO", "MSG.NEXT", "UNPIN", "DELETE"] {
                self.deny(format!("$JS.API.CONSUMER.{call}.{stream}.{name}"));
            }
            self.deny(format!("$JS.ACK.{stream}.{name}.>"));
        }
    }

    fn deny(&mut self, subject: String) {
        self.permissions.publish_deny.push(subject);
    }

    /// A consumer of events under a name of one's own: reading it, and coming back to it.
    fn durable(&mut self, name: &str, filter: &str) {
        let stream = events_stream(self.fleet);
        self.api(format!("CONSUMER.CREATE.{stream}.{name}.{filter}"));
        for call in ["INFO", "MSG.NEXT", "UNPIN", "DELETE"] {
            self.api(format!("CONSUMER.{call}.{stream}.{name}"));
        }
        self.say(format!("$JS.ACK.{stream}.{name}.>"));
    }

    /// A micro service that answers.
    fn serve(&mut self, service: &str) {
        self.say(format!("{INBOXES}.>"));
        // Each by its name: who may subscribe to `a.*` may subscribe to `a.>` (measured).
        for what in ["PING", "INFO", "STATS"] {
            self.hear(format!("$SRV.{what}"));
            self.hear(format!("$SRV.{what}.{service}"));
            self.hear(format!("$SRV.{what}.{service}.*"));
        }
    }

    fn event(&mut self, source: &Source, kind: Option<Kind>, program: &str, index: &str) {
        let kind = kind.map_or("*", Kind::name);
        let tokens =
            subject::event_tokens(self.fleet.as_str(), source.token(), kind, program, index, "*");
        self.say(tokens);
    }
}

#[cfg(test)]
mod tests;
