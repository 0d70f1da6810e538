//! Rules on a clock of the test's own, and a bus that is a table.

mod random;
mod records;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dsbus_schema::alert::NewsKind;
use serde_json::{Map, json};

use super::*;
use crate::sample::{at, fatal, lost};
use crate::spec::{Around, Found, read};

/// A file that has these rules, and the targets `ops` and `chat`.
pub(super) fn spec(rules: &Value) -> Arc<Spec> {
    let table = |value: &Value| value.as_object().unwrap().clone();
    let rules: Vec<Map<String, Value>> = rules.as_array().unwrap().iter().map(table).collect();
    let target = table(&json!({ "type": "command", "command": "true" }));
    let targets = [("ops".to_owned(), target.clone()), ("chat".to_owned(), target)];
    let around = Around {
        variable: &|_| None,
        path: &|text| Ok(PathBuf::from(text)),
        host: "here".to_owned(),
    };
    let Found { spec, problems, .. } = read(&rules, &targets, &around);
    assert_eq!(problems, []);
    Arc::new(spec)
}

/// A core, and the bus that it is written to.
pub(super) struct Desk {
    pub(super) core: Core,
    spec: Arc<Spec>,
    bus: BTreeMap<AlertKey, Value>,
    posted: Vec<Letter>,
    seq: u64,
}

impl Desk {
    pub(super) fn new(rules: &Value) -> Desk {
        let spec = spec(rules);
        let mut core = Core::default();
        core.adopt(Arc::clone(&spec), at(0));
        Desk { core, spec, bus: BTreeMap::new(), posted: Vec::new(), seq: 0 }
    }

    /// An event happens, and is stored and heard in the same second.
    fn hear(&mut self, event: &Event, seconds: u64) {
        self.seq += 1;
        self.core.heard(&numbered(self.seq, event.clone()), self.seq, at(seconds), at(seconds));
    }

    /// Time passes; what is told is noted.
    fn tick(&mut self, seconds: u64) -> Vec<(String, NewsKind, u64)> {
        self.core.tick(at(seconds));
        self.write();
        let told = self.told();
        let ids: Vec<Uuid> = self.core.letters.keys().copied().collect();
        for id in ids {
            self.core.delivered(id);
        }
        self.write();
        told.iter().map(|l| (l.target.to_string(), l.news.kind, l.news.bundle.count)).collect()
    }

    /// Writes what changed.
    pub(super) fn write(&mut self) {
        let keys: Vec<AlertKey> = self.core.dirty().iter().cloned().collect();
        for key in &keys {
            match self.core.record(key).body {
                Some(body) => self.bus.insert(key.clone(), body),
                None => self.bus.remove(key),
            };
        }
        self.core.written(&keys);
        self.posted.extend(self.core.take_outbox().into_iter().map(|(_, letter)| letter));
    }

    /// What was posted since the last look.
    pub(super) fn told(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.posted)
    }

    /// The process dies, and another one goes on with what is on the bus.
    pub(super) fn crash(&mut self, seconds: u64) {
        let mut core = Core::default();
        for (key, body) in &self.bus {
            core.fold(key, Some(body.to_string().as_bytes())).unwrap();
        }
        core.adopt(Arc::clone(&self.spec), at(seconds));
        self.core = core;
    }
}

/// An event of its own: the one that is stored under this number.
pub(super) fn numbered(number: u64, mut event: Event) -> Event {
    event.id = Uuid::from_u128(u128::from(number));
    event
}

fn ops(kind: NewsKind, count: u64) -> Vec<(String, NewsKind, u64)> {
    vec![("ops".to_owned(), kind, count)]
}

fn one_rule(more: &Value) -> Value {
    let mut rule = json!({ "name": "r", "events": "FATAL, LOST", "send": "ops" });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([rule])
}

#[test]
fn a_group_waits_is_told_and_is_quiet() {
    let mut desk = Desk::new(&one_rule(&json!({ "group_wait": "5s", "quiet": "60s" })));
    desk.hear(&fatal("web", 0, "w1"), 0);
    assert_eq!(desk.tick(4), []);
    assert_eq!(desk.core.wakes(), Some(at(5)));
    desk.hear(&fatal("web", 1, "w1"), 4);
    assert_eq!(desk.tick(5), ops(NewsKind::Events, 2), "both in one message");
    assert_eq!(desk.core.wakes(), None);
    desk.hear(&fatal("web", 0, "w2"), 10);
    desk.hear(&fatal("db", 0, "w2"), 10);
    assert_eq!(desk.tick(15), ops(NewsKind::Events, 1), "db is another group");
    assert_eq!(desk.tick(64), []);
    desk.hear(&fatal("web", 1, "w2"), 64);
    assert_eq!(desk.tick(65), ops(NewsKind::Events, 2), "what came while it was quiet");
    desk.hear(&fatal("web", 0, "w1"), 500);
    assert_eq!(desk.tick(504), []);
    assert_eq!(desk.tick(505), ops(NewsKind::Events, 1), "a group that rested waits again");
}

#[test]
fn conditions_of_a_rule_are_all_met() {
    let told = |more: Value| {
        let mut desk = Desk::new(&one_rule(&json!({ "group_wait": 0, "quiet": 0 })));
        let rule = one_rule(&more);
        desk.spec = spec(&rule);
        desk.core.adopt(desk.spec.clone(), at(0));
        desk.hear(&fatal("web", 0, "w1"), 0);
        desk.hear(&lost("w1"), 0);
        desk.tick(10).iter().map(|(_, _, count)| count).sum::<u64>()
    };
    for (more, count) in [
        (json!({}), 2),
        (json!({ "events": "process" }), 1),
        (json!({ "events": "*" }), 2),
        (json!({ "events": ["worker.LOST"] }), 1),
        (json!({ "events": "RUNNING" }), 0),
        (json!({ "programs": "web" }), 1),
        (json!({ "programs": "db" }), 0),
        (json!({ "workers": "w1" }), 2),
        (json!({ "workers": "w2" }), 0),
        (json!({ "expected": false }), 1),
        (json!({ "expected": true }), 0),
        (json!({ "exit": [1] }), 1),
        (json!({ "exit": ["2-255", "signal"] }), 0),
    ] {
        assert_eq!(told(more.clone()), count, "{more}");
    }
}

#[test]
fn groups_are_what_events_have_in_common() {
    let groups = |by: Value| {
        let mut desk =
            Desk::new(&one_rule(&json!({ "group_wait": 0, "quiet": 0, "group_by": by })));
        for (program, index, worker) in [("web", 0, "w1"), ("web", 1, "w1"), ("db", 0, "w2")] {
            desk.hear(&fatal(program, index, worker), 0);
        }
        desk.hear(&lost("w2"), 0);
        desk.core.tick(at(1));
        desk.write();
        let mut labels: Vec<Vec<String>> =
            desk.told().iter().map(|l| l.news.labels.values().cloned().collect()).collect();
        labels.sort();
        labels.iter().map(|group| group.join("+")).collect::<Vec<_>>().join(" ")
    };
    for (by, said) in [
        (json!([]), ""),
        (json!("program"), " db web"),
        (json!("instance"), " db:0 web:0 web:1"),
        (json!("worker"), "w1 w2"),
        (json!("type"), "FATAL LOST"),
        (json!(["program", "worker"]), "w2 db+w2 web+w1"),
    ] {
        assert_eq!(groups(by.clone()).split(' ').count(), said.split(' ').count(), "{by}");
        for group in said.split(' ') {
            assert!(groups(by.clone()).split(' ').any(|other| other == group), "{by}: {group}");
        }
    }
}

#[test]
fn flapping_is_told_once_and_calm_once() {
    let flap =
        json!({ "group_wait": "5s", "quiet": "1h", "flap": { "count": 3, "within": "60s" } });
    let mut desk = Desk::new(&one_rule(&flap));
    desk.hear(&fatal("web", 0, "w1"), 0);
    assert_eq!(desk.tick(5), ops(NewsKind::Events, 1));
    desk.hear(&fatal("web", 0, "w1"), 20);
    assert_eq!(desk.tick(30), []);
    desk.hear(&fatal("web", 0, "w1"), 40);
    assert_eq!(desk.tick(40), ops(NewsKind::Flapping, 2), "at once, with what was held");
    for seconds in [50, 70, 100] {
        desk.hear(&fatal("web", 0, "w1"), seconds);
        assert_eq!(desk.tick(seconds), []);
    }
    desk.crash(101);
    assert_eq!(desk.tick(159), []);
    assert_eq!(desk.tick(160), ops(NewsKind::Calm, 3));
    desk.hear(&fatal("web", 0, "w1"), 161);
    assert_eq!(desk.tick(200), [], "one event is no flapping, and the group is quiet");
    assert_eq!(desk.core.wakes(), Some(at(160 + 3600)));
}

#[test]
fn slow_events_are_no_flapping() {
    let flap = json!({ "group_wait": 0, "quiet": 0, "flap": { "count": 3, "within": "60s" } });
    let mut desk = Desk::new(&one_rule(&flap));
    for n in 0..6 {
        desk.hear(&fatal("web", 0, "w1"), n * 31);
        assert_eq!(desk.tick(n * 31), ops(NewsKind::Events, 1), "{n}");
    }
}

#[test]
fn what_is_over_the_limit_is_counted_and_told() {
    let rule =
        json!({ "group_wait": 0, "quiet": 0, "rate_limit": "2/60s", "group_by": "instance" });
    let mut desk = Desk::new(&one_rule(&rule));
    for index in 0..5 {
        desk.hear(&fatal("web", index, "w1"), u64::from(index));
        let told = desk.tick(u64::from(index));
        assert_eq!(told.len(), usize::from(index < 2), "{index}");
    }
    desk.crash(5);
    assert_eq!(desk.core.wakes(), Some(at(60)), "when the first one is a minute old");
    assert_eq!(desk.tick(60), ops(NewsKind::Held, 3));
    // The next one that goes out tells what was held before it.
    for index in 5..8 {
        desk.hear(&fatal("web", index, "w1"), 61);
    }
    desk.core.tick(at(61));
    desk.hear(&fatal("web", 9, "w1"), 200);
    desk.core.tick(at(200));
    desk.write();
    let told = desk.told();
    let held: Vec<u64> = told.iter().map(|letter| letter.news.held_events).collect();
    assert_eq!(held.iter().sum::<u64>(), 2, "{told:#?}");
}

#[test]
fn an_event_that_comes_again_is_known_whatever_came_between() {
    let mut desk = Desk::new(&one_rule(&json!({ "group_wait": "5s" })));
    for seq in [1, 3, 2, 3, 1, 4, 2] {
        desk.core.heard(&numbered(seq, fatal("web", 0, "w1")), seq, at(0), at(0));
        desk.write();
        desk.crash(0);
    }
    assert_eq!(desk.tick(5), ops(NewsKind::Events, 4));
}

#[test]
fn another_event_under_a_sequence_that_was_heard_is_told() {
    let mut desk = Desk::new(&one_rule(&json!({ "group_wait": "5s" })));
    desk.hear(&fatal("web", 0, "w1"), 0);
    desk.write();
    // The stream of events is made anew.
    desk.core.heard(&numbered(100, fatal("web", 0, "w1")), 1, at(1), at(1));
    desk.write();
    // The first one is published again, under another sequence.
    desk.core.heard(&numbered(1, fatal("web", 0, "w1")), 2, at(1), at(1));
    assert_eq!(desk.tick(5), ops(NewsKind::Events, 2));
}

#[test]
fn letters_go_to_every_target_and_are_written_before_they_go() {
    let rules =
        json!([{ "name": "r", "events": "FATAL", "send": ["ops", "chat"], "group_wait": 0 }]);
    let mut desk = Desk::new(&rules);
    desk.hear(&fatal("web", 0, "w1"), 0);
    desk.core.tick(at(0));
    assert_eq!(desk.core.take_outbox(), [], "nothing is written yet");
    desk.write();
    let told = desk.told();
    assert_eq!(told.iter().map(|l| l.target.as_str()).collect::<Vec<_>>(), ["ops", "chat"]);
    assert_eq!(told[0].news.id, told[1].news.id);
    desk.crash(1);
    desk.write();
    let again = desk.told();
    assert_eq!(again.len(), 2, "whoever goes on tries them again");
    let ids: Vec<Uuid> = desk.core.letters.keys().copied().collect();
    desk.core.failed(ids[0], "away".to_owned());
    desk.core.delivered(ids[1]);
    desk.write();
    desk.crash(2);
    desk.write();
    let again = desk.told();
    assert_eq!((again.len(), again[0].tries, again[0].why.as_deref()), (1, 1, Some("away")));
}

#[test]
fn what_cannot_be_delivered_is_kept_within_limits() {
    let mut desk = Desk::new(&one_rule(&json!({ "group_wait": 0, "quiet": 0 })));
    for seconds in 0..LETTERS_MAX as u64 + 5 {
        desk.hear(&fatal("web", 0, "w1"), seconds);
        desk.core.tick(at(seconds));
        desk.write();
    }
    assert_eq!(desk.core.counts(), (LETTERS_MAX, 5), "those beyond are dead at once");
    let deaths = desk.core.take_deaths();
    let why = &deaths[4].1.why;
    assert!(why.contains("1000 letters wait"), "{why}");
    let ids: Vec<Uuid> = desk.core.letters.keys().copied().collect();
    for id in ids {
        desk.core.died(id, "gone".to_owned(), true, at(5000));
    }
    desk.write();
    assert_eq!(desk.core.counts(), (0, DEAD_LETTERS_MAX));
    assert_eq!(desk.bus[&AlertKey::Lost], json!({ "count": 5 }));
    assert_eq!(desk.bus.len(), DEAD_LETTERS_MAX + 2, "with the group and the count");
    desk.crash(5001);
    assert_eq!((desk.core.counts(), desk.core.lost), ((0, DEAD_LETTERS_MAX), 5));
}

#[test]
fn a_changed_file_leaves_nothing_hanging() {
    let rules = json!([
        { "name": "a", "events": "FATAL", "send": ["ops", "chat"], "group_wait": 0 },
        { "name": "b", "events": "FATAL", "send": "ops", "group_wait": "1h" },
        { "name": "c", "events": "FATAL", "send": "ops", "group_wait": "1h" },
    ]);
    let mut desk = Desk::new(&rules);
    desk.hear(&fatal("web", 0, "w1"), 0);
    desk.core.tick(at(0));
    desk.write();
    let mut changed = (*spec(&json!([
        { "name": "a", "events": "FATAL", "send": "ops", "group_wait": 0 },
        { "name": "c", "events": "FATAL", "send": "ops", "group_wait": "10s", "quiet": "20s" },
    ])))
    .clone();
    changed.targets.retain(|target| target.name.as_str() == "ops");
    let dropped = desk.core.adopt(Arc::new(changed), at(1));
    assert_eq!(dropped, 1, "of the rule b");
    let deaths: Vec<String> = desk.core.deaths.iter().map(|(_, dead)| dead.why.clone()).collect();
    assert_eq!(deaths, ["the file has no target chat any more"]);
    desk.write();
    assert_eq!(desk.core.wakes(), Some(at(21)), "the rule c waits for no hour any more");
}

#[test]
fn a_clock_that_was_ahead_holds_nothing_up() {
    let mut desk =
        Desk::new(&one_rule(&json!({ "group_wait": "5s", "quiet": "60s", "rate_limit": "1/60s" })));
    desk.hear(&fatal("web", 0, "w1"), 10_000);
    assert_eq!(desk.tick(10_005).len(), 1);
    desk.hear(&fatal("web", 0, "w1"), 10_006);
    desk.write();
    desk.crash(100);
    assert_eq!(desk.core.wakes(), Some(at(160)));
    assert_eq!(desk.tick(160).len(), 0, "the limit counts the message before as one of now");
    assert_eq!(desk.tick(220).len(), 1);
}
