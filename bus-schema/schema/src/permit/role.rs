//! The roles, and what each needs.

use std::fmt;

use super::{CALLS_OF_SCHEDULERS, CALLS_TO_LOOK, Deed, INBOXES, List, VERBS_TO_LOOK};
use crate::alert::AlertName;
use crate::call::WorkerVerb;
use crate::command::Verb;
use crate::event::{Kind, Source, Teller};
use crate::filter::Filter;
use crate::ids::{FleetName, UserName, WorkerName};
use crate::storage::{AlertKey, Bucket, events_stream, worker_keys};
use crate::subject::{self, SERVICE, SERVICE_WORKER};

/// What somebody is to a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Decides; reads and writes all state.
    Scheduler,
    /// Acts for whoever it lets in by HTTP, under their names.
    Gateway,
    /// Looks, and sees no value of an environment.
    Viewer,
    /// Looks, and does these deeds.
    Operator(Vec<Deed>),
    /// Runs programs.
    Worker {
        /// Its name.
        worker: WorkerName,
        /// It may run event listeners: all events may be read there.
        listeners: bool,
    },
    /// Reads these events, by a consumer that has its name.
    Listener(Filter),
    /// Reads all events, and keeps the letters of this set of rules.
    Alert(AlertName),
}

/// Why a role was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleError(pub String);

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RoleError {}

impl Role {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Scheduler => "scheduler",
            Role::Gateway => "gateway",
            Role::Viewer => "viewer",
            Role::Operator(_) => "operator",
            Role::Worker { .. } => "worker",
            Role::Listener(_) => "listener",
            Role::Alert(_) => "alert",
        }
    }

    /// The consumer of events that is this user's own.
    pub fn durable(&self, name: &str) -> Option<String> {
        match self {
            Role::Listener(_) => Some(name.to_owned()),
            Role::Alert(alert) => Some(subject::alert_consumer(alert)),
            Role::Scheduler
            | Role::Gateway
            | Role::Viewer
            | Role::Operator(_)
            | Role::Worker { .. } => None,
        }
    }
}

/// What begins the subjects of answers to a user, who may subscribe to no other.
pub fn inbox(name: &str, role: &Role) -> String {
    format!("{INBOXES}.{}.{name}", role.name())
}

/// The one subject of events that a listener of this filter reads.
pub fn listener_subject(fleet: &FleetName, filter: &Filter) -> String {
    let subjects = filter.subjects(fleet);
    // As for several: wildcards at the end are one, which holds however a reader writes them.
    let twice: Vec<String> = subjects.iter().chain(&subjects).cloned().collect();
    subject::wide(&twice)
}

impl List<'_> {
    pub(super) fn scheduler(&mut self) {
        self.api("INFO");
        for stream in self.streams() {
            self.api(format!("STREAM.CREATE.{stream}"));
            self.api(format!("STREAM.UPDATE.{stream}"));
        }
        for bucket in Bucket::STATE {
            self.watch(bucket, ">");
            self.get(&bucket.stream(self.fleet));
            self.write(bucket, ">");
        }
        let events = events_stream(self.fleet);
        self.consume(&events, &subject::events_from(self.fleet, &Source::Fleet));
        self.get(&events);
        // Listeners that are programs are forgotten with them.
        self.api(format!("CONSUMER.DELETE.{events}.*"));
        self.event(&Source::Fleet, None, "*", "*");
        self.calls([WorkerVerb::Ping]);
        self.calls(CALLS_OF_SCHEDULERS);
        self.hear(subject::command_all_any_user(self.fleet));
        for verb in Verb::ALL {
            self.hear(subject::command_any_user(self.fleet, verb));
        }
        self.serve(SERVICE);
    }

    pub(super) fn gateway(&mut self, durables: &[String]) {
        self.look(durables);
        self.watch(Bucket::Programs, ">");
        for verb in Verb::ALL {
            self.say(subject::command_any_user(self.fleet, verb));
            self.say(subject::command_all_of_any_user(self.fleet, verb));
        }
        let calls = WorkerVerb::ALL.into_iter();
        self.calls(calls.filter(|verb| !CALLS_OF_SCHEDULERS.contains(verb)));
        self.event(&Source::User, Some(Kind::User), "_", "*");
    }

    pub(super) fn viewer(&mut self, name: &str, durables: &[String]) {
        self.look(durables);
        self.commands(name, VERBS_TO_LOOK);
        self.calls(CALLS_TO_LOOK);
    }

    pub(super) fn operator(&mut self, name: &str, deeds: &[Deed], durables: &[String]) {
        self.viewer(name, durables);
        for deed in deeds {
            match deed {
                Deed::Command(verb) => {
                    self.commands(name, [*verb]);
                    // Who declares may read what is declared.
                    if *verb == Verb::Apply {
                        for bucket in [Bucket::Programs, Bucket::Fleet] {
                            self.watch(bucket, ">");
                        }
                        self.get(&Bucket::Programs.stream(self.fleet));
                    }
                }
                Deed::Call(verb) => self.calls([*verb]),
                Deed::Emit => self.event(&Source::User, Some(Kind::User), "_", name),
                Deed::Listeners => {
                    self.watch(Bucket::Alerts, ">");
                    self.get(&Bucket::Alerts.stream(self.fleet));
                    self.write(Bucket::Alerts, ">");
                    let stream = events_stream(self.fleet);
                    self.api(format!("CONSUMER.DELETE.{stream}.*"));
                }
                Deed::Secret => {
                    self.watch(Bucket::Secrets, ">");
                    self.get(&Bucket::Secrets.stream(self.fleet));
                    self.write(Bucket::Secrets, ">");
                }
            }
        }
    }

    pub(super) fn worker(&mut self, worker: &WorkerName, listeners: bool, durables: &[String]) {
        let own = worker_keys(worker);
        // Its placements and touches; of the latter it writes the keys, and of the former none.
        self.watch(Bucket::Fleet, &own);
        self.write(Bucket::Fleet, &format!("{worker}._touch.*"));
        self.write(Bucket::Workers, worker.as_str());
        self.write(Bucket::Status, &format!("{worker}.*.*"));
        self.get(&Bucket::Status.stream(self.fleet));
        for kind in Kind::ALL.into_iter().filter(|kind| kind.told_by().contains(&Teller::Worker)) {
            self.event(&Source::Worker(worker.clone()), Some(kind), "*", "*");
        }
        // The last event that it told decides the number of the next one, so the stream's leader is asked;
        // which subject that is about the server cannot limit.
        self.get(&events_stream(self.fleet));
        self.watch(Bucket::Secrets, &own);
        // A live key of its own name is asked before it is taken over.
        self.say(subject::worker(self.fleet, worker, WorkerVerb::Ping));
        for verb in WorkerVerb::ALL {
            self.hear(subject::worker(self.fleet, worker, verb));
        }
        self.serve(SERVICE_WORKER);
        if listeners {
            let all = subject::events(self.fleet);
            self.events(&all, durables);
            self.durable("*", &all);
            self.leave(durables);
            self.event(&Source::Listener, Some(Kind::Listener), "*", "*");
        }
    }

    pub(super) fn listener(&mut self, name: &str, filter: &str) {
        self.durable(name, filter);
    }

    pub(super) fn alert(&mut self, alert: &AlertName) {
        self.durable(&subject::alert_consumer(alert), &subject::events(self.fleet));
        self.get(&events_stream(self.fleet));
        let keys = AlertKey::all(alert);
        self.watch(Bucket::Alerts, &keys);
        self.get(&Bucket::Alerts.stream(self.fleet));
        self.write(Bucket::Alerts, &keys);
        self.event(&Source::Listener, Some(Kind::Listener), alert.as_str(), "*");
    }

    /// What whoever looks at a fleet needs: states, events, and how the bus is.
    fn look(&mut self, durables: &[String]) {
        self.api("INFO");
        let all = subject::events(self.fleet);
        self.events(&all, durables);
        let events = events_stream(self.fleet);
        self.get(&events);
        self.api(format!("CONSUMER.LIST.{events}"));
        self.api(format!("CONSUMER.INFO.{events}.*"));
        self.hear(all);
        for bucket in [Bucket::Status, Bucket::Workers] {
            self.watch(bucket, ">");
            self.get(&bucket.stream(self.fleet));
        }
        self.say(subject::SERVICES);
        for service in [SERVICE, SERVICE_WORKER] {
            self.say(subject::stats(service));
        }
    }

    fn commands(&mut self, name: &str, verbs: impl IntoIterator<Item = Verb>) {
        // The name of a user is one of a person here, or its tool would have refused it.
        let Ok(user) = UserName::parse(name) else { return };
        for verb in verbs {
            self.say(subject::command(self.fleet, &user, verb));
            self.say(subject::command_all(self.fleet, &user, verb));
        }
    }

    fn calls(&mut self, verbs: impl IntoIterator<Item = WorkerVerb>) {
        for verb in verbs {
            self.say(subject::worker_any(self.fleet, verb));
        }
    }
}
