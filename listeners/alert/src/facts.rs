//! Events in words. Facts are read as JSON here, by the names that their keys have in common, so
//! that a kind that is new needs nothing of its own.

use dsbus_schema::alert::{AlertBundle, AlertEvent};
use dsbus_schema::event::Event;
use dsbus_schema::state::Exit;
use serde_json::{Map, Value, json};

use crate::spec::Label;

/// Longest text within an event that is kept, in characters: a letter holds several events, and a
/// NATS message 1 MiB.
const TEXT_MAX: usize = 1000;
/// Most names that a summary lists for one TYPE.
const NAMES_MAX: usize = 3;
/// Most TYPEs that a summary lists.
const TYPES_MAX: usize = 3;

/// The event with its long texts cut.
pub(crate) fn cut(event: &Event) -> Event {
    let Ok(mut whole) = serde_json::to_value(event) else { return event.clone() };
    cut_texts(&mut whole["data"]);
    // What was cut is text that only people read; if it is not, it is left as it is.
    serde_json::from_value(whole).unwrap_or_else(|_| event.clone())
}

fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut_texts),
        Value::Object(map) => map.values_mut().for_each(cut_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The worker that an event is about; of a move, the new one.
pub(crate) fn worker(event: &Event) -> Option<String> {
    event.data.workers().last().map(ToString::to_string)
}

/// The group that an event is about, by the name of the program where that is in none.
fn group(event: &Event) -> Option<String> {
    let data = serde_json::to_value(&event.data).unwrap_or_default();
    let group = data["group"].as_str().map(str::to_owned);
    group.or_else(|| event.data.program().map(|program| program.to_string()))
}

/// What an event has for a word of `group_by`.
pub(crate) fn label(event: &Event, label: Label) -> Option<String> {
    match label {
        Label::Program => event.data.program().map(|program| program.to_string()),
        Label::Instance => event.data.instance().map(ToString::to_string),
        Label::Group => group(event),
        Label::Worker => worker(event),
        Label::Type => Some(event.data.type_name().to_owned()),
        Label::Kind => Some(event.data.kind().to_owned()),
    }
}

/// How a process ended, where the event tells of an end.
pub(crate) fn exit(event: &Event) -> Option<Exit> {
    let data = serde_json::to_value(&event.data).ok()?;
    serde_json::from_value(data.get("exit")?.clone()).ok()?
}

/// Whether an end was expected, where the event tells that.
pub(crate) fn expected(event: &Event) -> Option<bool> {
    serde_json::to_value(&event.data).ok()?.get("expected")?.as_bool()
}

/// An event as templates see it: every key of its fact, and what is made of them.
pub(crate) fn event(of: &AlertEvent) -> Value {
    let event = &of.event;
    let data = serde_json::to_value(&event.data).unwrap_or_default();
    let mut seen = match &data {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    let exit = exit(event);
    for (key, value) in [
        ("id", json!(event.id)),
        ("kind", json!(event.data.kind())),
        ("type", json!(event.data.type_name())),
        ("subject", json!(event.subject)),
        ("time", json!(event.time)),
        ("source", json!(event.source.rsplit('/').next())),
        ("seq", json!(of.seq)),
        ("program", json!(event.data.program())),
        ("instance", json!(event.data.instance())),
        ("worker", json!(worker(event))),
        ("exit", json!(exit.as_ref().map(ToString::to_string))),
        ("exit_code", json!(exit.as_ref().and_then(|exit| exit.code))),
        ("exit_signal", json!(exit.as_ref().and_then(|exit| exit.signal))),
        ("why", json!(why(&data, exit.as_ref()))),
        ("line", json!(line(event, &data, exit.as_ref()))),
    ] {
        seen.insert(key.to_owned(), value);
    }
    seen.insert("data".to_owned(), data);
    Value::Object(seen)
}

/// Why it happened, without what the last line of standard error says.
fn why(data: &Value, exit: Option<&Exit>) -> String {
    let text = |key: &str| data[key].as_str().unwrap_or_default().trim().to_owned();
    let unexpected = data["expected"] == json!(false);
    let exit = exit
        .map(|exit| if unexpected { format!("{exit} (not expected)") } else { exit.to_string() });
    let by = data["by"].as_str().map(|user| format!("by {user}"));
    let parts = [text("spawnerr"), exit.unwrap_or_default(), text("reason"), text("text")];
    let mut parts: Vec<String> =
        parts.into_iter().chain(by).filter(|part| !part.is_empty()).collect();
    // What an earlier or a longer part says already is left out.
    let told = |parts: &[String], n: usize| {
        let others = parts.iter().enumerate().filter(|(m, _)| *m != n);
        others
            .into_iter()
            .any(|(m, other)| other.contains(&parts[n]) && (other.len() > parts[n].len() || m < n))
    };
    let told: Vec<bool> = (0..parts.len()).map(|n| told(&parts, n)).collect();
    let mut told = told.into_iter();
    parts.retain(|_| !told.next().unwrap_or(false));
    parts.join("; ")
}

/// An event on one line, without its time.
fn line(event: &Event, data: &Value, exit: Option<&Exit>) -> String {
    let place = worker(event).filter(|worker| *worker != event.subject);
    let place = place.map(|worker| format!(" on {worker}")).unwrap_or_default();
    let mut line = format!("{} {}{place}", event.subject, event.data.type_name());
    let stderr = data["stderr_line"].as_str().map(|text| format!("stderr: {text}"));
    let why = Some(why(data, exit)).filter(|why| !why.is_empty());
    let rest: Vec<String> = why.into_iter().chain(stderr).collect();
    if !rest.is_empty() {
        line.push_str(": ");
        line.push_str(&rest.join("; "));
    }
    line.replace(['\n', '\r'], " ")
}

/// What happened to whom: `web:0 FATAL on w2`, or `FATAL web:0, web:1 and 2 more; LOST w1`.
pub(crate) fn summary(bundle: &AlertBundle) -> String {
    let mut types: Vec<(&str, Vec<&str>)> = Vec::new();
    for event in bundle.events.iter().map(|of| &of.event) {
        let (name, subject) = (event.data.type_name(), event.subject.as_str());
        match types.iter_mut().find(|(other, _)| *other == name) {
            Some((_, subjects)) if subjects.contains(&subject) => {}
            Some((_, subjects)) => subjects.push(subject),
            None => types.push((name, vec![subject])),
        }
    }
    if let [(name, subjects)] = types.as_slice()
        && let [subject] = subjects.as_slice()
    {
        // The fleet tells of an instance, too, when it is nowhere any more.
        let place = bundle.events.iter().rev().find_map(|of| worker(&of.event));
        let place = place.filter(|place| place != subject);
        let place = place.map(|place| format!(" on {place}")).unwrap_or_default();
        return format!("{subject} {name}{place}");
    }
    let one = |(name, subjects): &(&str, Vec<&str>)| {
        let shown = subjects.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        match subjects.len().checked_sub(NAMES_MAX) {
            Some(more @ 1..) => format!("{name} {shown} and {more} more"),
            Some(0) | None => format!("{name} {shown}"),
        }
    };
    let mut parts: Vec<String> = types.iter().take(TYPES_MAX).map(one).collect();
    if types.len() > TYPES_MAX {
        parts.push("others".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn an_event_says_what_where_and_why_on_one_line() {
        let fatal = sample::fatal("web", 0, "w2");
        let seen = event(&AlertEvent { seq: 7, event: fatal });
        assert_eq!(
            seen["line"],
            "web:0 FATAL on w2: exit code 1 (not expected); gave up after 4 tries; stderr: boom"
        );
        assert_eq!(
            (&seen["from"], &seen["exit_code"], &seen["seq"]),
            (&json!("BACKOFF"), &json!(1), &json!(7))
        );
        let lost = event(&AlertEvent { seq: 8, event: sample::lost("w1") });
        assert_eq!(lost["line"], "w1 LOST: silent for 5s");
        assert_eq!((&lost["program"], &lost["worker"]), (&Value::Null, &json!("w1")));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut event = sample::fatal("web", 0, "w2");
        sample::set_reason(&mut event, &"é".repeat(5000));
        let cut = serde_json::to_value(cut(&event).data).unwrap();
        assert_eq!(cut["reason"].as_str().unwrap().chars().count(), TEXT_MAX + 1);
        assert_eq!(cut["stderr_line"], "boom");
    }

    #[test]
    fn a_summary_names_a_few() {
        let events: Vec<AlertEvent> = (0..5)
            .map(|n| sample::fatal("web", n, "w2"))
            .chain([sample::lost("w1"), sample::fatal("web", 0, "w2")])
            .enumerate()
            .map(|(n, event)| AlertEvent { seq: n as u64, event })
            .collect();
        let bundle = AlertBundle { count: 7, first: None, events };
        assert_eq!(summary(&bundle), "FATAL web:0, web:1, web:2 and 2 more; LOST w1");
        let bundle = |event| AlertBundle {
            count: 2,
            first: None,
            events: vec![AlertEvent { seq: 1, event }; 2],
        };
        assert_eq!(summary(&bundle(sample::fatal("web", 0, "w2"))), "web:0 FATAL on w2");
        assert_eq!(summary(&bundle(sample::lost("w1"))), "w1 LOST");
    }
}
