//! Which events: filters in words, against events of all kinds.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::{refused, text};
use crate::event::{Event, Fact};
use crate::filter::{Filter, SUBJECTS_MAX};
use crate::ids::FleetName;
use crate::subject;

/// Longest filter that is looked at: its words are compared with every TYPE.
const FILTER_BYTES_MAX: usize = 2048;

/// Reads three lines, the events, the programs and the workers of a filter.
///
/// # Panics
/// When the filter changes by being written, means other events than its words, or has no subject for
/// an event that it means.
pub fn filter(data: &[u8]) {
    let Some(text) = text(data).filter(|text| text.len() <= FILTER_BYTES_MAX) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || [lines.next().unwrap_or_default()];
    let (events, programs, workers) = (line(), line(), line());
    let filter = match Filter::parse(&events, &programs, &workers) {
        Ok(filter) => filter,
        Err(e) => return refused(&e.to_string(), data),
    };
    let written = serde_json::to_string(&filter).unwrap_or_default();
    match serde_json::from_str::<Filter>(&written) {
        Ok(once_more) => assert_eq!(once_more, filter, "{written}"),
        Err(e) => panic!("{written} is written, and not read: {e}"),
    }
    let fleet = FleetName::default();
    let subjects = filter.subjects(&fleet);
    assert!(!subjects.is_empty() && subjects.len() <= SUBJECTS_MAX, "{} subjects", subjects.len());
    let one = filter.subject(&fleet);
    for (event, at) in samples() {
        let meant = filter.matches(event);
        let naive = [
            any(events[0], |word| is_event(word, &event.data)),
            any(programs[0], |word| is_program(word, &event.data)),
            any(workers[0], |word| is_worker(word, &event.data)),
        ];
        assert_eq!(meant, naive.iter().all(|fits| *fits), "{text:?}: {naive:?} of {at}");
        let held = subjects.iter().filter(|subject| holds(subject, at)).count();
        assert!(held <= 1, "{text:?}: {held} subjects hold {at}");
        assert!(!meant || held == 1 && holds(&one, at), "{text:?}: no subject holds {at}");
    }
}

/// An event of each TYPE, and its subject.
fn samples() -> &'static [(Event, String)] {
    static SAMPLES: OnceLock<Vec<(Event, String)>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/events"));
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let events = texts.filter_map(|text| serde_json::from_str::<Event>(&text).ok());
        let samples: Vec<_> = events
            .map(|event| {
                let at = subject_of(&event);
                (event, at)
            })
            .collect();
        assert!(samples.len() > 50, "{} events in {}", samples.len(), folder.display());
        samples
    })
}

/// Where it was published.
fn subject_of(event: &Event) -> String {
    use crate::event::Source;
    let token = event.source.rsplit('/').next().unwrap_or_default();
    let known = [Source::Fleet, Source::User, Source::Listener];
    let source = known.into_iter().find(|source| source.token() == token);
    let worker = || token.parse().map_or(Source::Fleet, Source::Worker);
    subject::event(&FleetName::default(), &source.unwrap_or_else(worker), &event.data)
}

/// Whether one of the words of a line fits; a line without words, or with one for everything, does.
fn any(line: &str, fits: impl Fn(&str) -> bool) -> bool {
    let mut words = line.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    words.peek().is_none() || words.any(|word| word == "*" || fits(word))
}

fn is_event(word: &str, fact: &Fact) -> bool {
    let (kind, name) = (fact.kind(), fact.type_name());
    let shout = |word: &str| word.to_ascii_uppercase().replace('-', "_");
    match word.split_once('.') {
        Some((of, pattern)) if of.eq_ignore_ascii_case(kind) => {
            let pattern = if kind == "user" { pattern.to_owned() } else { shout(pattern) };
            pattern == "*" || fits(&pattern, name)
        }
        Some(_) => false,
        None if word.eq_ignore_ascii_case("all") => true,
        None => word.eq_ignore_ascii_case(kind) || (kind != "user" && fits(&shout(word), name)),
    }
}

fn is_program(word: &str, fact: &Fact) -> bool {
    let named = |pattern: &str| fact.program().is_some_and(|name| fits(pattern, name.as_str()));
    match word.split_once(':') {
        _ if word == "all" => true,
        None => named(word),
        Some((group, "*")) => {
            named(group) || fact.group().is_some_and(|name| fits(group, name.as_str()))
        }
        Some((program, index)) => {
            let here = |index: u32| fact.instance().is_some_and(|name| name.index == index);
            named(program) && index.parse().is_ok_and(here)
        }
    }
}

fn is_worker(word: &str, fact: &Fact) -> bool {
    fact.workers().any(|name| fits(word, name.as_str()))
}

/// `*` and `?`, the slow and plain way.
fn fits(pattern: &str, name: &str) -> bool {
    // Which prefixes of the name what was read of the pattern can be.
    let name = name.as_bytes();
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for sign in pattern.bytes() {
        let before = reached.clone();
        for at in 0..=name.len() {
            reached[at] = match sign {
                b'*' => before[..=at].contains(&true),
                b'?' => at > 0 && before[at - 1],
                sign => at > 0 && before[at - 1] && name[at - 1] == sign,
            };
        }
    }
    reached[name.len()]
}

/// Whether a subject with wildcards of NATS holds another one.
fn holds(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for token in pattern.split('.') {
        match (token, tokens.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(found)) if token == found => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}
