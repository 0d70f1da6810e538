//! Which events: a filter that people write in words, that NATS applies by subjects, and that says
//! of each event whether it is meant.

mod cover;
mod glob;
mod pattern;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::event::{Event, Fact, Kind};
use crate::ids::FleetName;
use crate::lenient;

pub use cover::SUBJECTS_MAX;
pub use pattern::{EventPattern, NamePattern, ProgramPattern, TypePattern, WorkerPattern};

/// Which events: those that one of `events`, one of `programs` and one of `workers` fits. An empty
/// list is no restriction. Some event can fit: what contradicts itself is refused when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, JsonSchema)]
pub struct Filter {
    /// Kinds and TYPEs: `process`, `FATAL`, `worker.LOST`, `process.*`, `user.deployed`, `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    events: Vec<EventPattern>,
    /// Programs and groups: `web`, `web:0`, `web*`; `api:*` is the group `api` and its members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    programs: Vec<ProgramPattern>,
    /// Workers: `w1`, `rack1-*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    workers: Vec<WorkerPattern>,
}

/// A filter as it is written; whether it makes sense is not known yet.
#[derive(Deserialize)]
struct Words {
    #[serde(default, deserialize_with = "lenient::list")]
    events: Vec<EventPattern>,
    #[serde(default, deserialize_with = "lenient::list")]
    programs: Vec<ProgramPattern>,
    #[serde(default, deserialize_with = "lenient::list")]
    workers: Vec<WorkerPattern>,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// What, and where.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for FilterError {}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Filter, D::Error> {
        let Words { events, programs, workers } = Words::deserialize(d)?;
        Filter::new(events, programs, workers).map_err(serde::de::Error::custom)
    }
}

impl Filter {
    /// A filter for events that fit one of each list.
    ///
    /// # Errors
    /// When no event can fit, because no kind that is asked for has a program, or a worker.
    pub fn new(
        mut events: Vec<EventPattern>,
        mut programs: Vec<ProgramPattern>,
        mut workers: Vec<WorkerPattern>,
    ) -> Result<Filter, FilterError> {
        // A word for everything makes the others idle.
        if events.contains(&EventPattern::All) {
            events.clear();
        }
        if programs.contains(&ProgramPattern::All) {
            programs.clear();
        }
        if workers.iter().any(WorkerPattern::is_all) {
            workers.clear();
        }
        let filter = Filter { events, programs, workers };
        let asked: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| filter.wants_kind(*kind)).collect();
        let refuse = |of: &str, without: &str| {
            let kinds: Vec<_> = asked.iter().map(|kind| kind.name()).collect();
            Err(FilterError {
                message: format!("no event of kind {} is about {of}", kinds.join(" or ")),
                hint: Some(format!("leave out the {without}, or ask for other events")),
            })
        };
        let of_program = |kind: &Kind| filter.programs.iter().any(|p| p.can_fit(*kind));
        if !filter.programs.is_empty() && !asked.iter().any(of_program) {
            let instances = filter.programs.iter().all(ProgramPattern::is_instance);
            return refuse(if instances { "an instance" } else { "a program" }, "names");
        }
        if !filter.workers.is_empty() && !asked.iter().any(|kind| kind.has_worker()) {
            return refuse("a worker", "workers");
        }
        let both = |kind: &Kind| of_program(kind) && kind.has_worker();
        if !filter.programs.is_empty() && !filter.workers.is_empty() && !asked.iter().any(both) {
            return refuse("a program on a worker", "names or the workers");
        }
        Ok(filter)
    }

    /// Reads a filter from words. Each item of a list may be several words with commas between.
    ///
    /// # Errors
    /// When a word means nothing, and when no event can fit them all.
    pub fn parse<T: AsRef<str>>(
        events: &[T],
        programs: &[T],
        workers: &[T],
    ) -> Result<Filter, FilterError> {
        Filter::new(read(events)?, read(programs)?, read(workers)?)
    }

    /// Every event but ticks, of which an idle fleet has one every 5 s.
    pub fn all_but_ticks() -> Filter {
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Tick);
        Filter { events: kinds.map(EventPattern::Kind).collect(), ..Filter::default() }
    }

    /// Kinds and TYPEs; empty where all are meant.
    pub fn events(&self) -> &[EventPattern] {
        &self.events
    }

    /// Programs and groups; empty where all are meant.
    pub fn programs(&self) -> &[ProgramPattern] {
        &self.programs
    }

    /// Workers; empty where all are meant.
    pub fn workers(&self) -> &[WorkerPattern] {
        &self.workers
    }

    /// Whether the event is meant.
    pub fn matches(&self, event: &Event) -> bool {
        let fact = &event.data;
        self.wants_type(fact)
            && (self.programs.is_empty() || self.programs.iter().any(|p| p.fits(fact)))
            && (self.workers.is_empty()
                || fact.workers().any(|name| self.workers.iter().any(|w| w.fits(name))))
    }

    /// Subjects that hold every event that is meant, and as few others as NATS can tell apart.
    /// No two hold the same event: a consumer may have them all. At least one, at most
    /// [`SUBJECTS_MAX`].
    ///
    /// A consumer with several is slow to read what is there already: 2,000 events a second, where
    /// one with a single subject reads 16,000, and one of all events 60,000 (measured: 2.15.1,
    /// 100,000 events of 3,000 subjects). See [`Filter::subject`].
    pub fn subjects(&self, fleet: &FleetName) -> Vec<String> {
        cover::cover(self).iter().map(|tokens| tokens.subject(fleet)).collect()
    }

    /// One subject that holds every event that is meant, and others besides: for whoever asks
    /// [`Filter::matches`] of each, and wants them in order, and fast.
    pub fn subject(&self, fleet: &FleetName) -> String {
        cover::one(&cover::cover(self)).subject(fleet)
    }

    fn wants_type(&self, fact: &Fact) -> bool {
        let (kind, name) = (Kind::of(fact), fact.type_name());
        self.events.is_empty() || self.events.iter().any(|pattern| pattern.fits(kind, name))
    }

    fn wants_kind(&self, kind: Kind) -> bool {
        self.events.is_empty() || self.events.iter().any(|pattern| pattern.can_fit(kind))
    }
}

/// Words of lists that may hold commas.
fn read<T, I>(items: &[I]) -> Result<Vec<T>, FilterError>
where
    T: std::str::FromStr<Err = FilterError>,
    I: AsRef<str>,
{
    let words = items.iter().flat_map(|item| item.as_ref().split(','));
    words.map(str::trim).filter(|word| !word.is_empty()).map(str::parse).collect()
}
