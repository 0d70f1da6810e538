//! The words of a filter.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::FilterError;
use super::glob::Glob;
use crate::event::{Fact, Kind};
use crate::ids::WorkerName;

/// Which kinds and TYPEs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventPattern {
    /// `*`: all.
    All,
    /// `process`: all of a kind.
    Kind(Kind),
    /// `FATAL`, `LOG_*`: a TYPE of whatever kind, but not of users.
    Type(TypePattern),
    /// `process.FATAL`: a TYPE of a kind.
    Of(Kind, TypePattern),
}

/// Which TYPEs: a name, which may hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypePattern(Glob);

/// Which programs or groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProgramPattern {
    /// `*` or `all`: every event, also those that are about no program.
    All,
    /// `web`: what is about the program, its instances or the group of that name.
    Name(NamePattern),
    /// `web:0`: an instance.
    Instance(NamePattern, u32),
    /// `api:*`: the group, the programs that are in it, and their instances. A program without a
    /// group is in one of its own name, as in Supervisor.
    Members(NamePattern),
}

/// The name of a program or a group, which may hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamePattern(Glob);

/// Which workers: a name, which may hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerPattern(Glob);

/// How alike two words must be to suggest one for the other, of 1.
const LIKENESS_MIN: f64 = 0.8;

fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&word, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

fn type_names(kind: Kind) -> impl Iterator<Item = &'static str> {
    kind.types().iter().map(|info| info.name)
}

fn kind_names() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::name)
}

/// TYPEs of dsbus are in capitals, with `_`; whoever types is not held to it.
fn as_type(word: &str) -> String {
    word.to_ascii_uppercase().replace('-', "_")
}

impl EventPattern {
    /// Whether an event of this kind and TYPE is meant.
    pub fn fits(&self, kind: Kind, name: &str) -> bool {
        match self {
            EventPattern::All => true,
            EventPattern::Kind(of) => *of == kind,
            EventPattern::Type(pattern) => kind != Kind::User && pattern.0.fits(name),
            EventPattern::Of(of, pattern) => *of == kind && pattern.0.fits(name),
        }
    }

    /// Whether some event of this kind is meant.
    pub fn can_fit(&self, kind: Kind) -> bool {
        match self {
            EventPattern::Of(of, _) => *of == kind,
            EventPattern::All | EventPattern::Kind(_) | EventPattern::Type(_) => {
                self.fits(kind, "") || type_names(kind).any(|name| self.fits(kind, name))
            }
        }
    }

    /// The TYPE, where it is a single one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            EventPattern::Type(pattern) | EventPattern::Of(_, pattern) => pattern.0.name(),
            EventPattern::All | EventPattern::Kind(_) => None,
        }
    }
}

fn of_kind(kind: &str, name: &str, word: &str) -> Result<EventPattern, FilterError> {
    let Some(of) = Kind::parse(&kind.to_ascii_lowercase()) else {
        let message = format!("{word:?}: no kind of events is named {kind:?}");
        let near =
            nearest(kind, kind_names()).map(|near| format!("did you mean \"{near}.{name}\"?"));
        return Err(FilterError { message, hint: near.or_else(|| Some(kinds())) });
    };
    if name == "*" {
        return Ok(EventPattern::Kind(of));
    }
    if of == Kind::User {
        return Ok(EventPattern::Of(of, TypePattern(Glob::parse(name, "the TYPE")?)));
    }
    let glob = Glob::parse(&as_type(name), "the TYPE")?;
    if type_names(of).any(|known| glob.fits(known)) {
        return Ok(EventPattern::Of(of, TypePattern(glob)));
    }
    let message =
        format!("{word:?}: no event of kind {} has the TYPE {:?}", of.name(), glob.text());
    let near =
        nearest(name, type_names(of)).map(|near| format!("did you mean \"{}.{near}\"?", of.name()));
    let known = || format!("it has {}", type_names(of).collect::<Vec<_>>().join(", "));
    Err(FilterError { message, hint: near.or_else(|| Some(known())) })
}

fn kinds() -> String {
    format!("kinds are {}", kind_names().collect::<Vec<_>>().join(", "))
}

impl FromStr for EventPattern {
    type Err = FilterError;
    fn from_str(word: &str) -> Result<EventPattern, FilterError> {
        if word == "*" || word.eq_ignore_ascii_case("all") {
            return Ok(EventPattern::All);
        }
        if let Some((kind, name)) = word.split_once('.') {
            return of_kind(kind, name, word);
        }
        if let Some(kind) = Kind::parse(&word.to_ascii_lowercase()) {
            return Ok(EventPattern::Kind(kind));
        }
        let glob = Glob::parse(&as_type(word), "the kind or TYPE")?;
        if Kind::ALL.into_iter().flat_map(type_names).any(|known| glob.fits(known)) {
            return Ok(EventPattern::Type(TypePattern(glob)));
        }
        let known = kind_names().chain(Kind::ALL.into_iter().flat_map(type_names));
        let hint = nearest(word, known).map_or_else(
            || format!("{}; a TYPE of your own is written user.{word}", kinds()),
            |near| format!("did you mean {near:?}? A TYPE of your own is written \"user.{word}\""),
        );
        let message = format!("{word:?} is no kind and no TYPE of events");
        Err(FilterError { message, hint: Some(hint) })
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventPattern::All => f.write_str("*"),
            EventPattern::Kind(kind) => f.write_str(kind.name()),
            EventPattern::Type(pattern) => f.write_str(pattern.0.text()),
            EventPattern::Of(kind, pattern) => write!(f, "{}.{}", kind.name(), pattern.0.text()),
        }
    }
}

impl ProgramPattern {
    /// Whether a fact is about what is meant.
    pub fn fits(&self, fact: &Fact) -> bool {
        let named = |name: &NamePattern| fact.program().is_some_and(|p| name.0.fits(p.as_str()));
        match self {
            ProgramPattern::All => true,
            ProgramPattern::Name(name) => named(name),
            ProgramPattern::Instance(name, index) => fact
                .instance()
                .is_some_and(|i| i.index == *index && name.0.fits(i.program.as_str())),
            ProgramPattern::Members(name) => {
                named(name) || fact.group().is_some_and(|group| name.0.fits(group.as_str()))
            }
        }
    }

    /// Whether an event of this kind can be about what is meant.
    pub fn can_fit(&self, kind: Kind) -> bool {
        match self {
            ProgramPattern::All => true,
            ProgramPattern::Instance(..) => kind.has_instance(),
            ProgramPattern::Name(_) | ProgramPattern::Members(_) => kind.has_program(),
        }
    }

    /// It means single instances.
    pub(super) fn is_instance(&self) -> bool {
        match self {
            ProgramPattern::Instance(..) => true,
            ProgramPattern::All | ProgramPattern::Name(_) | ProgramPattern::Members(_) => false,
        }
    }

    /// The name, where it is a single one; members of a group have any.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            ProgramPattern::All => None,
            ProgramPattern::Name(name)
            | ProgramPattern::Instance(name, _)
            | ProgramPattern::Members(name) => name.0.name(),
        }
    }
}

impl FromStr for ProgramPattern {
    type Err = FilterError;
    fn from_str(word: &str) -> Result<ProgramPattern, FilterError> {
        if word == "*" || word == "all" {
            return Ok(ProgramPattern::All);
        }
        let name = |text| Glob::parse(text, "the program").map(NamePattern);
        match word.split_once(':') {
            None => Ok(ProgramPattern::Name(name(word)?)),
            Some((program, "*")) => Ok(ProgramPattern::Members(name(program)?)),
            Some((program, index)) => {
                let digits = index.bytes().all(|b| b.is_ascii_digit());
                let index = index.parse().ok().filter(|_| digits).ok_or_else(|| FilterError {
                    message: format!("{word:?}: after the colon comes a number or *"),
                    hint: Some(format!("write {program}:0 or {program}:*")),
                })?;
                Ok(ProgramPattern::Instance(name(program)?, index))
            }
        }
    }
}

impl fmt::Display for ProgramPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramPattern::All => f.write_str("*"),
            ProgramPattern::Name(name) => f.write_str(name.0.text()),
            ProgramPattern::Instance(name, index) => write!(f, "{}:{index}", name.0.text()),
            ProgramPattern::Members(name) => write!(f, "{}:*", name.0.text()),
        }
    }
}

impl WorkerPattern {
    /// It means every event, also those that are about no worker.
    pub(super) fn is_all(&self) -> bool {
        self.0.text() == "*"
    }

    /// Whether this worker is meant.
    pub fn fits(&self, worker: &WorkerName) -> bool {
        self.0.fits(worker.as_str())
    }

    /// The name, where it is a single one.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }
}

impl FromStr for WorkerPattern {
    type Err = FilterError;
    fn from_str(word: &str) -> Result<WorkerPattern, FilterError> {
        Glob::parse(word, "the worker").map(WorkerPattern)
    }
}

impl fmt::Display for WorkerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text())
    }
}

macro_rules! word {
    ($type:ident, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "examples": [$example] })
            }
        }
    };
}

word!(EventPattern, "process.FATAL");
word!(ProgramPattern, "web:0");
word!(WorkerPattern, "w1");
