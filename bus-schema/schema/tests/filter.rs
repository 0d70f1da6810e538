//! Filters: words are read or refused with help, subjects hold what is meant, once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use dsbus_schema::event::{Event, Fact, Kind, Source};
use dsbus_schema::filter::{Filter, SUBJECTS_MAX};
use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::subject;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;

const NO: &[&str] = &[];

fn filter(events: &str, programs: &str, workers: &str) -> Filter {
    Filter::parse(&[events], &[programs], &[workers]).unwrap()
}

fn refused(events: &str, programs: &str, workers: &str) -> String {
    Filter::parse(&[events], &[programs], &[workers]).unwrap_err().to_string()
}

/// A subject, without what they all begin with.
fn short(whole: &str) -> String {
    let start = subject::events(&FleetName::default());
    whole.strip_prefix(start.strip_suffix('>').unwrap()).unwrap().to_owned()
}

fn subjects(events: &str, programs: &str, workers: &str) -> Vec<String> {
    let all = filter(events, programs, workers).subjects(&FleetName::default());
    all.iter().map(|subject| short(subject)).collect()
}

/// Whether a subject holds a message: NATS's own rule.
fn holds(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut found) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(one), Some(other)) if one == "*" || one == other => {}
            _ => return false,
        }
    }
}

/// Whether some message is held by both.
fn overlap(one: &str, other: &str) -> bool {
    let pairs = one.split('.').zip(other.split('.'));
    for (a, b) in pairs {
        if a == ">" || b == ">" {
            return true;
        }
        if a != b && a != "*" && b != "*" {
            return false;
        }
    }
    one.split('.').count() == other.split('.').count()
}

#[test]
fn the_narrowest_subjects() {
    for (events, programs, workers, wanted) in [
        ("", "", "", &[">"][..]),
        ("*", "all", "*", &[">"]),
        ("FATAL", "", "", &["*.process.*.*.FATAL"]),
        ("fatal,EXITED", "", "", &["*.process.*.*.EXITED", "*.process.*.*.FATAL"]),
        ("STARTED", "", "", &["*.worker.*.*.STARTED", "*.rollout.*.*.STARTED"]),
        ("started", "web", "", &["*.rollout.web.*.STARTED"]),
        ("process", "", "", &["*.process.*.*.*"]),
        ("Process.*,process.fatal", "", "", &["*.process.*.*.*"]),
        ("worker.LOST, tick.TICK_5", "", "", &["*.worker.*.*.LOST", "*.tick.*.*.TICK_5"]),
        ("output.LOG_*", "", "", &["*.output.*.*.LOG_STDERR", "*.output.*.*.LOG_STDOUT"]),
        ("LOG_STDOUT,log-stderr,communication_*", "", "", &["*.output.*.*.*"]),
        ("user.deployed", "", "", &["*.user.*.*.deployed"]),
        ("user.deploy*", "", "", &["*.user.*.*.*"]),
        ("", "web", "", &["*.*.web.*.*"]),
        ("", "web:1,web:0,api", "", &["*.*.api.*.*", "*.*.web.0.*", "*.*.web.1.*"]),
        ("", "web:1,web", "", &["*.*.web.*.*"]),
        ("process", "web*", "", &["*.process.*.*.*"]),
        ("process,rollout", "api:*", "", &["*.process.*.*.*", "*.rollout.api.*.*"]),
        ("process,rollout", "web:0", "", &["*.process.web.0.*"]),
        (
            "",
            "",
            "w1",
            &[
                "w1.*.*.*.*",
                "_fleet.process.*.*.*",
                "_fleet.placement.*.*.*",
                "_fleet.worker.*.*.*",
            ],
        ),
        ("FATAL", "web", "w1", &["w1.process.web.*.FATAL", "_fleet.process.web.*.FATAL"]),
        ("output", "", "w2,w1", &["w1.output.*.*.*", "w2.output.*.*.*"]),
        ("output", "", "w*", &["*.output.*.*.*"]),
    ] {
        assert_eq!(subjects(events, programs, workers), wanted, "{events} {programs} {workers}");
    }
    assert_eq!(Filter::all_but_ticks().subjects(&FleetName::default()).len(), Kind::ALL.len() - 1);
}

#[test]
fn one_subject_for_all_that_is_meant() {
    let fleet = FleetName::default();
    for (events, programs, wanted) in [
        ("FATAL,EXITED", "web", "*.process.web.*.*"),
        ("FATAL,tick", "", ">"),
        ("rollout.FAILED", "web,api", "*.rollout.*.*.FAILED"),
    ] {
        assert_eq!(short(&filter(events, programs, "").subject(&fleet)), wanted);
    }
}

#[test]
fn what_needs_many_subjects_is_asked_for_more_widely() {
    let many: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    assert_eq!(subjects("FATAL", &many.join(","), ""), ["*.process.*.*.FATAL"]);
    let many: Vec<String> = (0..40).map(|n| format!("p:{n}")).collect();
    assert_eq!(subjects("FATAL", &many.join(","), ""), ["*.process.p.*.FATAL"]);
    let types: Vec<String> = (0..20).map(|n| format!("user.t{n},user.u{n}")).collect();
    assert_eq!(subjects(&types.join(","), "", ""), ["*.user.*.*.*"]);
    let workers: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
    assert_eq!(subjects("EXITED", "web", &workers.join(",")), ["*.process.*.*.EXITED"]);
}

#[test]
fn words_that_mean_nothing_are_refused_with_what_to_write() {
    for (events, programs, workers, wanted) in [
        (
            "FATL",
            "",
            "",
            r#""FATL" is no kind and no TYPE of events; did you mean "FATAL"? A TYPE of your own is written "user.FATL""#,
        ),
        ("procces", "", "", r#"did you mean "process"?"#),
        (
            "proces.FATAL",
            "",
            "",
            r#"no kind of events is named "proces"; did you mean "process.FATAL"?"#,
        ),
        (
            "process.FATL",
            "",
            "",
            r#"no event of kind process has the TYPE "FATL"; did you mean "process.FATAL"?"#,
        ),
        ("placement.XY", "", "", "it has PLACED, MOVED, REMOVED"),
        ("nonsense", "", "", "kinds are process, placement, "),
        ("process.", "", "", "the TYPE \"\" is empty"),
        ("user.a b", "", "", "may hold only"),
        ("FATAL.process", "", "", "no kind of events is named \"FATAL\""),
        ("", "web:x", "", "after the colon comes a number or *; write web:0 or web:*"),
        ("", "web:", "", "after the colon"),
        ("", "we b", "", "may hold only letters"),
        ("", "", "_fleet", "reserved"),
        ("tick", "web", "", "no event of kind tick is about a program; leave out the names"),
        ("rollout", "web:0", "", "no event of kind rollout is about an instance"),
        (
            "user,tick",
            "",
            "w1",
            "no event of kind tick or user is about a worker; leave out the workers",
        ),
        ("worker,rollout", "web", "w1", "is about a program on a worker"),
    ] {
        let said = refused(events, programs, workers);
        assert!(said.contains(wanted), "{events} {programs} {workers}: {said}");
    }
    assert_eq!(Filter::parse(NO, NO, NO), Ok(Filter::default()));
}

#[test]
fn a_filter_is_written_as_it_is_read() {
    let written = json!({ "events": ["FATAL", "worker.LOST"], "programs": ["web*", "api:*"] });
    let read: Filter = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
    let commas = json!({ "events": "fatal, worker.lost", "programs": "web*,api:*" });
    assert_eq!(serde_json::from_value::<Filter>(commas).unwrap(), read);
    assert_eq!(serde_json::from_value::<Filter>(json!({})).unwrap(), Filter::default());
    for (wrong, why) in [
        (json!({ "events": ["FATL"] }), "did you mean"),
        (json!({ "events": "tick", "programs": "web" }), "is about a program"),
    ] {
        let said = serde_json::from_value::<Filter>(wrong).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

fn event(source: &Source, fact: Value) -> Event {
    let fact: Fact = serde_json::from_value(fact).unwrap();
    let time = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    Event::new(&FleetName::default(), source, Uuid::from_u128(7), time, fact)
}

fn process(name: &str, state: &str, group: Option<&str>) -> Value {
    json!({ "kind": "process", "name": name, "id": Uuid::from_u128(1), "group": group,
        "worker": "w1", "epoch": 1, "seq": 1, "revision": 1, "from": "STOPPED", "state": state })
}

#[test]
fn an_event_is_meant_or_not() {
    let w1 = Source::Worker(WorkerName::parse("w1").unwrap());
    let fatal = event(&w1, process("web:0", "FATAL", Some("shop")));
    for (events, programs, workers) in [
        ("", "", ""),
        ("FATAL", "web", "w1"),
        ("EXITED,process", "db,web:0", "w2,w?"),
        ("process.FA*", "w*", "*"),
        ("", "shop:*", ""),
        ("", "sh*:*", ""),
        ("", "web:*", ""),
    ] {
        assert!(filter(events, programs, workers).matches(&fatal), "{events} {programs} {workers}");
    }
    for (events, programs, workers) in [
        ("EXITED", "", ""),
        ("worker", "", ""),
        ("", "shop", ""),
        ("", "web:1", ""),
        ("", "we", ""),
        ("", "", "w2"),
        ("user.FATAL", "", ""),
    ] {
        assert!(
            !filter(events, programs, workers).matches(&fatal),
            "{events} {programs} {workers}"
        );
    }
    let said = json!({ "kind": "user", "by": "ann", "type": "FATAL", "text": "" });
    let said = event(&Source::User, said);
    assert!(filter("user.FATAL", "", "").matches(&said));
    assert!(filter("user", "", "").matches(&said));
    // Whoever may say something may not raise the alarm that another's failure raises.
    assert!(!filter("FATAL", "", "").matches(&said));
    assert!(!filter("user.fatal", "", "").matches(&said));
    let moved = json!({ "kind": "placement", "name": "web:0", "id": Uuid::from_u128(1),
        "change": "MOVED", "from": "w1", "to": "w2", "epoch": 2, "reason": "", "scheduler": "s" });
    let moved = event(&Source::Fleet, moved);
    for (worker, meant) in [("w1", true), ("w2", true), ("w3", false)] {
        assert_eq!(filter("", "", worker).matches(&moved), meant, "{worker}");
    }
}

/// Events of every kind and TYPE, about few things, so that filters meet them.
fn events() -> impl Strategy<Value = Event> {
    let types: Vec<(Kind, String)> = Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.types().iter().map(move |info| (kind, info.name.to_owned())))
        .chain(["deployed", "FATAL"].map(|name| (Kind::User, name.to_owned())))
        .collect();
    let group = select(vec![None, Some("shop"), Some("web")]);
    let (worker, other) = (select(vec!["w1", "w2", "rack"]), select(vec![Some("w1"), None]));
    let place = (select(vec!["web", "api", "shop"]), 0..3_u32);
    (select(types), place, group, worker, other, any::<bool>()).prop_map(
        |((kind, name), (program, index), group, worker, other, fleet)| {
            let (id, instance) = (Uuid::from_u128(1), format!("{program}:{index}"));
            let (of, how) = name.split_once('_').unwrap_or_default();
            let fact = match kind {
                Kind::Process => {
                    let mut fact = process(&instance, &name, group);
                    fact["worker"] = if fleet { json!(other) } else { json!(worker) };
                    fact
                }
                Kind::Placement => json!({ "name": instance, "id": id, "change": name,
                    "from": other, "to": worker, "epoch": 2, "reason": "", "scheduler": "s" }),
                Kind::Worker => json!({ "worker": worker, "change": name }),
                Kind::Notice => json!({ "name": instance, "id": id, "worker": worker, "epoch": 2,
                    "change": name, "reason": "" }),
                Kind::Output => json!({ "name": instance, "id": id, "group": group, "epoch": 2,
                    "worker": worker, "pid": 7, "channel": how.to_lowercase(),
                    "output": of.to_lowercase(), "text": "" }),
                Kind::Rollout => json!({ "program": program, "id": id, "change": name,
                    "revision": 1, "reason": "" }),
                Kind::Program => json!({ "program": program, "id": id, "change": name,
                    "revision": 1, "group": group }),
                Kind::Group => json!({ "group": program, "change": name }),
                Kind::Command => json!({ "by": index.to_string(), "verb": "stop", "verdict": name,
                    "names": [instance], "count": 1, "scheduler": "s" }),
                Kind::Scheduler => json!({ "scheduler": "s", "change": name, "schedulers": 1 }),
                Kind::Tick => json!({ "tick": name, "when": 5 }),
                Kind::User => json!({ "by": "ann", "type": name, "text": "" }),
                Kind::Listener => json!({ "listener": program, "change": name, "reason": "" }),
            };
            let mut fact = fact;
            fact["kind"] = json!(kind.name());
            let source = match kind {
                Kind::Process | Kind::Worker if fleet => Source::Fleet,
                Kind::Process | Kind::Worker | Kind::Notice | Kind::Output => {
                    Source::Worker(WorkerName::parse(worker).unwrap())
                }
                Kind::User => Source::User,
                Kind::Listener => Source::Listener,
                Kind::Placement
                | Kind::Rollout
                | Kind::Program
                | Kind::Group
                | Kind::Command
                | Kind::Scheduler
                | Kind::Tick => Source::Fleet,
            };
            event(&source, fact)
        },
    )
}

fn filters() -> impl Strategy<Value = Filter> {
    let words: Vec<String> = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            let all = kind.types().iter();
            let one = all.map(move |info| format!("{}.{}", kind.name(), info.name));
            one.chain([kind.name().to_owned()])
        })
        .chain(
            ["*", "FATAL", "STARTED", "FAILED", "LOG_*", "user.deployed", "user.F*", "*ED"]
                .map(str::to_owned),
        )
        .collect();
    let programs =
        ["web", "web:0", "api:1", "api:2", "w*", "shop:*", "web:*", "*:0", "all", "none"];
    let some = |words: Vec<String>, most: usize| prop::collection::vec(select(words), 0..most);
    let words = prop_oneof![some(words.clone(), 4), some(words, 80)];
    let programs = some(programs.map(str::to_owned).to_vec(), 4);
    let workers = some(["w1", "w2", "rack", "w?", "other"].map(str::to_owned).to_vec(), 3);
    (words, programs, workers).prop_filter_map("no event can fit", |(events, programs, workers)| {
        Filter::parse(&events, &programs, &workers).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_meant_is_held_by_one_subject(filter in filters(), events in prop::collection::vec(events(), 50)) {
        let fleet = FleetName::default();
        let subjects = filter.subjects(&fleet);
        prop_assert!(!subjects.is_empty() && subjects.len() <= SUBJECTS_MAX, "{subjects:?}");
        for (at, one) in subjects.iter().enumerate() {
            for other in &subjects[at + 1..] {
                prop_assert!(!overlap(one, other), "{one} and {other}");
            }
        }
        for event in &events {
            let token = event.source.rsplit('/').next().unwrap();
            let source = match token {
                "_fleet" => Source::Fleet,
                "_user" => Source::User,
                "_listener" => Source::Listener,
                worker => Source::Worker(WorkerName::parse(worker).unwrap()),
            };
            let at = subject::event(&fleet, &source, &event.data);
            let held = subjects.iter().filter(|subject| holds(subject, &at)).count();
            prop_assert!(held <= 1, "{at} is held by {held} of {subjects:?}");
            prop_assert!(held == 0 || holds(&filter.subject(&fleet), &at), "{at}");
            prop_assert!(held == 1 || !filter.matches(event), "{at} is not held by {subjects:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back(filter in filters()) {
        let written = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(serde_json::from_str::<Filter>(&written).unwrap(), filter);
    }
}
