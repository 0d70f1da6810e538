//! A filter as subjects. Each dimension (who tells, kind and TYPE, program and index) becomes
//! tokens that exclude each other, so that no two of their combinations hold the same event.

use std::collections::{BTreeMap, BTreeSet};

use super::{Filter, ProgramPattern};
use crate::event::{Kind, Source, Teller};
use crate::ids::FleetName;
use crate::subject;

/// Most subjects of one filter: the server compares each message with all subjects of a consumer,
/// and a person who looks at a consumer reads them. What needs more is asked for more widely.
pub const SUBJECTS_MAX: usize = 32;

const ANY: &str = "*";

/// The tokens of one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tokens {
    source: String,
    kind: &'static str,
    program: String,
    index: String,
    name: String,
}

impl Tokens {
    pub(super) fn subject(&self, fleet: &FleetName) -> String {
        let Tokens { source, kind, program, index, name } = self;
        if [source, *kind, program, index, name].iter().all(|token| *token == ANY) {
            return subject::events(fleet);
        }
        subject::event_tokens(fleet.as_str(), source, kind, program, index, name)
    }
}

/// The tokens that all have in common; any, where they differ.
pub(super) fn one(all: &[Tokens]) -> Tokens {
    fn common<'a>(mut tokens: impl Iterator<Item = &'a str>) -> &'a str {
        let first = tokens.next().unwrap_or(ANY);
        if tokens.all(|token| token == first) { first } else { ANY }
    }
    Tokens {
        source: common(all.iter().map(|tokens| tokens.source.as_str())).to_owned(),
        kind: common(all.iter().map(|tokens| tokens.kind)),
        program: common(all.iter().map(|tokens| tokens.program.as_str())).to_owned(),
        index: common(all.iter().map(|tokens| tokens.index.as_str())).to_owned(),
        name: common(all.iter().map(|tokens| tokens.name.as_str())).to_owned(),
    }
}

/// What subjects may leave open, so that there are fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Index,
    Program,
    Type,
    Source,
    Kind,
}

/// The parts that are left open.
type Open = &'static [Part];

/// From exact to everything. Programs go first: people name many of them, and few TYPEs.
const WIDER: [Open; 8] = {
    use Part::{Index, Kind, Program, Source, Type};
    [
        &[],
        &[Index],
        &[Type],
        &[Index, Program],
        &[Index, Program, Source],
        &[Index, Program, Type],
        &[Index, Program, Type, Source],
        &[Index, Program, Type, Source, Kind],
    ]
};

/// The tokens of all subjects of a filter.
pub(super) fn cover(filter: &Filter) -> Vec<Tokens> {
    let tries = WIDER.iter().map(|open| at(filter, open));
    // The last one is a single subject.
    tries.into_iter().find(|tokens| tokens.len() <= SUBJECTS_MAX).unwrap_or_default()
}

fn at(filter: &Filter, open: Open) -> Vec<Tokens> {
    sources(filter, open).iter().flat_map(|source| from(filter, source, open)).collect()
}

/// A token for who tells it, and who that can be.
struct From {
    token: String,
    tellers: &'static [Teller],
}

fn sources(filter: &Filter, open: Open) -> Vec<From> {
    const EVERYBODY: &[Teller] = &[Teller::Worker, Teller::Fleet, Teller::User, Teller::Listener];
    let anybody = || vec![From { token: ANY.to_owned(), tellers: EVERYBODY }];
    if filter.workers.is_empty() || open.contains(&Part::Source) {
        return anybody();
    }
    let names: Option<BTreeSet<&str>> = filter.workers.iter().map(|w| w.name()).collect();
    let Some(names) = names else { return anybody() };
    let workers =
        names.into_iter().map(|name| From { token: name.to_owned(), tellers: &[Teller::Worker] });
    // Schedulers tell of workers, too.
    let fleet = From { token: Source::Fleet.token().to_owned(), tellers: &[Teller::Fleet] };
    workers.chain([fleet]).collect()
}

/// What is wanted of one kind.
#[derive(PartialEq, Eq)]
struct Wanted {
    kind: Kind,
    /// None: all.
    types: Option<BTreeSet<String>>,
    programs: Vec<(String, String)>,
}

fn from(filter: &Filter, source: &From, open: Open) -> Vec<Tokens> {
    let told = |kind: &Kind| kind.told_by().iter().any(|teller| source.tellers.contains(teller));
    let wanted: Vec<Wanted> = Kind::ALL
        .into_iter()
        .filter(|kind| told(kind) && filter.wants_kind(*kind))
        .filter(|kind| filter.workers.is_empty() || kind.has_worker())
        .filter_map(|kind| {
            let programs = programs(filter, kind, open)?;
            Some(Wanted { kind, types: types(filter, kind, open), programs })
        })
        .collect();
    let Some(first) = wanted.first() else { return Vec::new() };
    // One subject for all kinds, where it holds no kind that is not wanted.
    let alike = |w: &Wanted| w.types.is_none() && w.programs == first.programs;
    let held = |kind: &Kind| {
        told(kind)
            && first.programs.iter().any(|(program, index)| {
                program == ANY && index == ANY
                    || if index == ANY { kind.has_program() } else { kind.has_instance() }
            })
    };
    let all = Kind::ALL.iter().filter(|kind| held(kind)).count() == wanted.len();
    let tokens = |kind: &'static str, (program, index): &(String, String), name: &str| Tokens {
        source: source.token.clone(),
        kind,
        program: program.clone(),
        index: index.clone(),
        name: name.to_owned(),
    };
    if open.contains(&Part::Kind) || (all && wanted.iter().all(alike)) {
        return first.programs.iter().map(|place| tokens(ANY, place, ANY)).collect();
    }
    wanted
        .iter()
        .flat_map(|Wanted { kind, types, programs }| {
            let names: Vec<&str> = match types {
                None => vec![ANY],
                Some(names) => names.iter().map(String::as_str).collect(),
            };
            programs.iter().flat_map(move |place| {
                names.clone().into_iter().map(move |name| tokens(kind.name(), place, name))
            })
        })
        .collect()
}

/// The TYPEs that are wanted of a kind; `None` for all.
fn types(filter: &Filter, kind: Kind, open: Open) -> Option<BTreeSet<String>> {
    if open.contains(&Part::Type)
        || filter.events.is_empty()
        || filter.events.iter().any(|p| p.fits(kind, ""))
    {
        return None;
    }
    let of_kind = filter.events.iter().filter(|pattern| pattern.can_fit(kind));
    if kind == Kind::User {
        // Users make up their TYPEs: those that a wildcard means cannot be listed.
        return of_kind.map(|pattern| pattern.name().map(str::to_owned)).collect();
    }
    let known = kind.types().iter().map(|info| info.name);
    let wanted: BTreeSet<String> = known
        .filter(|name| filter.events.iter().any(|pattern| pattern.fits(kind, name)))
        .map(str::to_owned)
        .collect();
    (wanted.len() < kind.types().len()).then_some(wanted)
}

/// The programs and indexes that are wanted of a kind; `None` when none of them can be.
fn programs(filter: &Filter, kind: Kind, open: Open) -> Option<Vec<(String, String)>> {
    let any = || vec![(ANY.to_owned(), ANY.to_owned())];
    if filter.programs.is_empty() {
        return Some(any());
    }
    if !filter.programs.iter().any(|pattern| pattern.can_fit(kind)) {
        return None;
    }
    if open.contains(&Part::Program) {
        return Some(any());
    }
    // Of each program the wanted indexes; `None` for all.
    let mut wanted: BTreeMap<&str, Option<BTreeSet<u32>>> = BTreeMap::new();
    for pattern in &filter.programs {
        let members = matches!(pattern, ProgramPattern::Members(_)) && kind.has_group();
        let Some(name) = pattern.name().filter(|_| !members) else { return Some(any()) };
        let indexes = wanted.entry(name).or_insert_with(|| Some(BTreeSet::new()));
        match (pattern, indexes) {
            (ProgramPattern::Instance(_, index), Some(indexes)) if !open.contains(&Part::Index) => {
                indexes.insert(*index);
            }
            (_, indexes) => *indexes = None,
        }
    }
    let tokens = wanted.into_iter().flat_map(|(program, indexes)| {
        let indexes = match indexes {
            None => vec![ANY.to_owned()],
            Some(indexes) => indexes.iter().map(u32::to_string).collect(),
        };
        indexes.into_iter().map(move |index| (program.to_owned(), index))
    });
    Some(tokens.collect())
}
