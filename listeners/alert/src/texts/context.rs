//! What templates know.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::alert::{AlertBundle, AlertEvent, Letter, News, NewsKind, RuleName, TargetName};
use dsbus_schema::event::Event;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use minijinja::value::Serde;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{facts, sample};

/// Everything that templates know of one letter.
#[derive(Debug, Clone)]
pub struct Context {
    values: Map<String, Value>,
    news: News,
}

impl Context {
    /// Of a letter, without the subject and the text, which are made of it.
    pub fn new(fleet: &FleetName, letter: &Letter) -> Context {
        let news = letter.news.clone();
        let bundle = &news.bundle;
        let events: Vec<Value> = bundle.events.iter().map(facts::event).collect();
        let shown = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let name = match news.labels.values().cloned().collect::<Vec<_>>() {
            labels if labels.is_empty() => format!("rule {}", news.rule),
            labels => labels.join(", "),
        };
        let mut group = Map::from_iter([("name".to_owned(), json!(name))]);
        group.extend(news.labels.iter().map(|(label, value)| (label.clone(), json!(value))));
        let labels = json!(news.labels).to_string();
        let key = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{} {labels}", news.rule).as_bytes());
        group.insert("id".to_owned(), json!(key));
        let values = [
            ("id", json!(news.id)),
            ("fleet", json!(fleet)),
            ("rule", json!(news.rule)),
            ("target", json!(letter.target)),
            ("kind", json!(news.kind.name())),
            ("made", json!(news.made)),
            ("group", Value::Object(group)),
            ("count", json!(bundle.count)),
            ("more", json!(bundle.count.saturating_sub(shown))),
            ("first", json!(bundle.first)),
            ("event", events.last().cloned().unwrap_or_default()),
            ("events", Value::Array(events)),
            ("summary", json!(facts::summary(bundle))),
            ("held", json!(news.held)),
            ("held_events", json!(news.held_events)),
            ("subject", json!("")),
            ("text", json!("")),
        ];
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Context { values, news }
    }

    /// Makes the subject and the text known.
    pub(crate) fn set(&mut self, subject: &str, text: &str) {
        self.values.insert("subject".to_owned(), json!(subject));
        self.values.insert("text".to_owned(), json!(text));
    }

    /// For a template.
    pub(super) fn value(&self) -> minijinja::Value {
        minijinja::Value::from(Serde(&self.values))
    }

    /// A value by its name.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }
}

/// Everything that is known, as JSON: what a webhook without a body of its own sends, and what a
/// command reads. Its events are those of the bus.
pub fn document(context: &Context) -> Value {
    let names = [
        "id",
        "fleet",
        "rule",
        "target",
        "kind",
        "made",
        "group",
        "count",
        "more",
        "first",
        "held",
        "held_events",
        "subject",
        "text",
    ];
    let mut document = Map::from_iter([("version".to_owned(), json!(1))]);
    document.extend(names.map(|name| (name.to_owned(), context.get(name).clone())));
    let events: Vec<&Event> = context.news.bundle.events.iter().map(|of| &of.event).collect();
    document.insert("events".to_owned(), json!(events));
    Value::Object(document)
}

/// Names that every template may use.
pub(super) fn names() -> BTreeSet<String> {
    let letter = RuleName::parse("x").ok().and_then(|rule| samples(&rule).into_iter().next());
    let context = letter.map(|letter| Context::new(&FleetName::default(), &letter));
    context.into_iter().flat_map(|context| context.values.into_iter().map(|(k, _)| k)).collect()
}

/// Letters about events that did not happen, one of each kind.
pub(super) fn samples(rule: &RuleName) -> Vec<Letter> {
    let kinds =
        [NewsKind::Events, NewsKind::Flapping, NewsKind::Calm, NewsKind::Held, NewsKind::Test];
    let made = kinds.into_iter().map(|kind| sample_letter(&FleetName::default(), rule, kind));
    made.flatten().collect()
}

/// A letter about an event that did not happen.
pub(crate) fn sample_letter(fleet: &FleetName, rule: &RuleName, kind: NewsKind) -> Option<Letter> {
    let time = Timestamp::from_unix_nanos(1_769_860_800_000_000_000);
    let event = sample::given_up(fleet, "web", 0, "w2", time).ok()?;
    let bundle =
        AlertBundle { count: 1, first: Some(time), events: vec![AlertEvent { seq: 1, event }] };
    let labels = BTreeMap::from([("program".to_owned(), "web".to_owned())]);
    let news = News {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, kind.name().as_bytes()),
        rule: rule.clone(),
        kind,
        made: time,
        labels,
        bundle,
        held: 0,
        held_events: 0,
    };
    let target = TargetName::parse("sample").ok()?;
    Some(Letter { target, to: None, posted: time, tries: 0, why: None, news })
}
