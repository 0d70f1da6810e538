//! What is said where nothing else is asked for, word for word.

use std::collections::BTreeMap;

use dsbus_schema::alert::{AlertBundle, AlertEvent, NewsKind, RuleName};
use serde_json::json;

use super::*;
use crate::sample::{at, fatal, lost};
use crate::spec::{CommandTarget, Target, TargetKind};

fn letter(kind: NewsKind, count: u64, events: Vec<dsbus_schema::event::Event>) -> Letter {
    let rule = RuleName::parse("fatal").unwrap();
    let mut letter = sample_letter(&FleetName::default(), &rule, kind).unwrap();
    let events = events.into_iter().map(|event| AlertEvent { seq: 1, event }).collect();
    letter.news.bundle = AlertBundle { count, first: Some(at(0)), events };
    letter
}

fn said(letter: &Letter) -> (String, String) {
    let kind = TargetKind::Command(CommandTarget { words: Vec::new() });
    let time = std::time::Duration::from_secs(1);
    let target = Target { name: letter.target.clone(), timeout: time, retry_for: time, kind };
    let said = Texts::default().say(&FleetName::default(), None, &target, letter).unwrap();
    (said.subject, said.text)
}

#[test]
fn one_event_is_told_with_all_that_helps() {
    let (subject, text) = said(&letter(NewsKind::Events, 1, vec![fatal("web", 0, "w2")]));
    assert_eq!(subject, "[dsbus default] web:0 FATAL on w2");
    assert_eq!(
        text,
        "what    web:0 FATAL (was BACKOFF)\n\
         where   w2, pid 4711\n\
         when    2026-09-21T14:13:20.000Z\n\
         why     exit code 1 (not expected); gave up after 4 tries\n\
         stderr  boom\n\
         \n\
         -- \n\
         rule fatal of the fleet default\n\
         more: dsbus explain web:0; dsbus logs --stderr web:0\n"
    );
    let (subject, text) = said(&letter(NewsKind::Events, 1, vec![lost("w1")]));
    assert_eq!(subject, "[dsbus default] w1 LOST");
    assert!(
        text.starts_with(
            "what    w1 LOST\nwhen    2026-09-21T14:13:20.000Z\nwhy     silent for 5s\n\n-- \n"
        ),
        "{text}"
    );
}

#[test]
fn several_events_are_a_list_with_what_is_left_out() {
    let events = vec![fatal("web", 0, "w1"), fatal("web", 1, "w2")];
    let mut letter = letter(NewsKind::Events, 5, events);
    (letter.news.held, letter.news.held_events) = (2, 7);
    let (subject, text) = said(&letter);
    assert_eq!(subject, "[dsbus default] FATAL web:0, web:1 (5 events)");
    let event = "exit code 1 (not expected); gave up after 4 tries; stderr: boom\n";
    let expected = format!(
        "2026-09-21T14:13:20.000Z  web:0 FATAL on w1: {event}\
         2026-09-21T14:13:20.000Z  web:1 FATAL on w2: {event}\n\
         and 3 events before, since 2026-09-21T14:13:20.000Z\n\n\
         Before this, 2 messages about 7 events were held back by the rule's rate_limit.\n\n-- \n"
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn what_is_no_event_says_what_it_is() {
    let told = |kind, count, events| said(&letter(kind, count, events));
    let (subject, text) = told(NewsKind::Flapping, 3, vec![fatal("web", 0, "w1")]);
    assert_eq!(subject, "[dsbus default] web is flapping: 3 events");
    assert!(text.starts_with("web is flapping: its events come so often that"), "{text}");
    let (subject, text) = told(NewsKind::Calm, 0, vec![]);
    assert_eq!(subject, "[dsbus default] web is calm again");
    assert!(
        text.starts_with("web is calm again. While it was flapping, 0 events came.\n"),
        "{text}"
    );
    let mut held = letter(NewsKind::Held, 4, vec![fatal("web", 0, "w1"), lost("w1")]);
    (held.news.held, held.news.held_events) = (1, 4);
    let (subject, text) = said(&held);
    assert_eq!(subject, "[dsbus default] 1 message of rule fatal held back: FATAL web:0; LOST w1");
    assert!(text.contains("\n1 message about 4 events.\n"), "{text}");
    let (subject, text) = told(NewsKind::Test, 1, vec![fatal("web", 0, "w1")]);
    assert_eq!(subject, "[dsbus default] TEST of rule fatal: web:0 FATAL on w1");
    assert!(text.starts_with("This is a test: nothing happened."), "{text}");
}

#[test]
fn templates_know_the_keys_of_facts_and_forgive_what_is_not_there() {
    let letter = letter(NewsKind::Events, 2, vec![lost("w1"), fatal("web", 0, "w2")]);
    let mut letter = letter;
    letter.news.labels = BTreeMap::from([("program".to_owned(), "web".to_owned())]);
    let context = Context::new(&FleetName::default(), &letter);
    let texts = Texts::default();
    for (template, rendered) in [
        ("{{ event.type }} {{ event.pid }} {{ event.data.attempt }}", "FATAL 4711 4"),
        ("{{ event.exit }}/{{ event.exit_code }}/{{ event.exit_signal }}", "exit code 1/1/None"),
        ("{{ events[0].type }} {{ events[0].pid }}|{{ events[0].no.such.key }}|", "LOST ||"),
        ("{{ group.program }} {{ group.worker }}|{{ group.name }}", "web |web"),
        ("{% for e in events %}\n- {{ e.subject }}\n{% endfor %}\n", "- w1\n- web:0\n"),
        ("{{ 'a<b>&\"' | slack }} {{ 'a<b>\"' }}", "a&lt;b&gt;&amp;\" a<b>\""),
        ("{{ {'a': 'q\"'} | tojson }}", "{\"a\": \"q\\\"\"}"),
    ] {
        let got = texts.render("text", template, &context).unwrap();
        assert_eq!(got.trim_end(), rendered.trim_end(), "{template}");
    }
}

#[test]
fn a_template_has_limits() {
    let context = Context::new(&FleetName::default(), &letter(NewsKind::Calm, 0, vec![]));
    let texts = Texts::default();
    let render = |template: &str| texts.render("text", template, &context).unwrap_err().why;
    let forever = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert!(render(forever).contains("fuel"), "{}", render(forever));
    let much = "{{ 'x' * 300000 }}";
    assert!(!render(much).is_empty());
    assert!(render("{{ event | nofilter }}").contains("nofilter"));
    assert_eq!(texts.check_all("json", &json!({ "a": [1, null, "{{ rule }}"] })), Ok(()));
    let wrong = texts.check_all("json", &json!({ "a": ["{{ rulee }}"] })).unwrap_err();
    assert_eq!(wrong.message, "rulee is not known in a template");
}

#[test]
fn a_subject_is_one_short_line() {
    assert_eq!(one_line(" a\r\nBcc: x \t b "), "a Bcc: x b");
    assert_eq!(one_line(&"é".repeat(500)).chars().count(), SUBJECT_MAX + 1);
}
