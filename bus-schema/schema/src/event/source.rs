//! Who tells an event, and what that may say of itself.

use super::Event;
use crate::ids::WorkerName;
use crate::subject;

/// Who tells an event: the token after `event` in its subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A worker.
    Worker(WorkerName),
    /// A scheduler, for the fleet.
    Fleet,
    /// A person or a program, for itself.
    User,
    /// A listener, about itself.
    Listener,
}

impl Source {
    /// The token in a subject.
    pub fn token(&self) -> &str {
        match self {
            Source::Worker(worker) => worker.as_str(),
            Source::Fleet => "_fleet",
            Source::User => "_user",
            Source::Listener => "_listener",
        }
    }
}

impl Event {
    /// Whether it may stand under this subject: it says of itself what the subject says of it, which
    /// is all that permissions pin. Whoever may publish events of one source can so not make up some
    /// of another.
    pub fn is_on(&self, subject: &str) -> bool {
        let Some((fleet, source)) = subject::event_source(subject) else { return false };
        self.source == format!("/dsbus/{fleet}/{source}")
            && subject::event_from(fleet, source, &self.data) == subject
    }
}
