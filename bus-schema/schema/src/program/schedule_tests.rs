//! Due times, mostly around the nights in which clocks change.

use serde_json::{Value, json};

use super::{Kind, MissedRun, ProgramSpec, Schedule, run_id};
use crate::ids::ProgramId;
use crate::moment::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn berlin(cron: &str) -> Schedule {
    Schedule::new(cron, Some("Europe/Berlin"), MissedRun::Skip).unwrap()
}

/// The due times after `from`, until `to`.
fn due(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let (mut found, mut last, to) = (Vec::new(), at(from), at(to));
    while let Some(next) = schedule.next_after(last).filter(|next| *next <= to) {
        assert!(next > last, "{next} after {last}");
        found.push(next.to_string().replace(":00.000Z", ""));
        last = next;
    }
    found
}

#[test]
fn fields_names_and_nicknames() {
    let first = |cron: &str| {
        let schedule = Schedule::new(cron, None, MissedRun::Skip).unwrap();
        schedule.next_after(at("2026-03-05T10:07:30Z")).unwrap().to_string()
    };
    for (cron, next) in [
        ("*/5 * * * *", "2026-03-05T10:10:00.000Z"),
        ("0 3 * * mon-fri", "2026-03-06T03:00:00.000Z"),
        ("0 3 * * SUN", "2026-03-08T03:00:00.000Z"),
        ("0 3 * * 7", "2026-03-08T03:00:00.000Z"),
        ("0 0 1 apr,jun *", "2026-04-01T00:00:00.000Z"),
        ("*/10 * * * * *", "2026-03-05T10:07:40.000Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00.000Z"),
        ("@hourly", "2026-03-05T11:00:00.000Z"),
        ("@daily", "2026-03-06T00:00:00.000Z"),
        ("@weekly", "2026-03-08T00:00:00.000Z"),
        ("@monthly", "2026-04-01T00:00:00.000Z"),
        ("@yearly", "2027-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(first(cron), next, "{cron}");
    }
}

#[test]
fn a_time_zone_moves_with_the_summer() {
    let schedule = berlin("0 3 * * *");
    let days = due(&schedule, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(days, ["2026-03-28T02:00", "2026-03-29T01:00", "2026-03-30T01:00"]);
}

/// 2026-03-29 in Berlin: at 02:00 it is 03:00 (01:00 UTC).
#[test]
fn a_time_that_is_left_out_counts_as_the_first_moment_after() {
    let (from, to) = ("2026-03-28T23:30:00Z", "2026-03-29T04:00:00Z");
    assert_eq!(due(&berlin("30 2 * * *"), from, to), ["2026-03-29T01:00"]);
    // The same where there are several times: those that are left out count once.
    assert_eq!(due(&berlin("10,40 2 * * *"), from, to), ["2026-03-29T01:00"]);
    assert_eq!(
        due(&berlin("30 1-3 * * *"), from, to),
        ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"]
    );
    assert_eq!(due(&berlin("0 2,3 * * *"), from, to), ["2026-03-29T01:00"]);
    // Not what comes before it, or after.
    assert_eq!(due(&berlin("0 1 * * *"), from, to), ["2026-03-29T00:00"]);
    // Every hour: there are only as many hours as pass.
    assert_eq!(
        due(&berlin("30 * * * *"), from, to),
        ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30", "2026-03-29T03:30",]
    );
}

/// 2026-10-25 in Berlin: at 03:00 it is 02:00 once more (01:00 UTC).
#[test]
fn a_time_that_comes_twice_counts_once() {
    let (from, to) = ("2026-10-24T23:10:00Z", "2026-10-25T03:00:00Z");
    assert_eq!(due(&berlin("30 2 * * *"), from, to), ["2026-10-25T00:30"]);
    assert_eq!(due(&berlin("0 2 * * *"), from, to), ["2026-10-25T00:00"]);
    assert_eq!(due(&berlin("0 3 * * *"), from, to), ["2026-10-25T02:00"]);
    assert_eq!(due(&berlin("0,30 2 * * *"), from, to), ["2026-10-25T00:00", "2026-10-25T00:30"]);
    assert_eq!(
        due(&berlin("30 1-3 * * *"), from, to),
        ["2026-10-24T23:30", "2026-10-25T00:30", "2026-10-25T02:30"]
    );
    // Every hour: there are as many hours as pass.
    assert_eq!(
        due(&berlin("30 * * * *"), from, to),
        ["2026-10-24T23:30", "2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]
    );
}

#[test]
fn other_zones_have_other_changes() {
    // Lord Howe changes by half an hour: 2026-10-04, at 02:00 it is 02:30 (15:30 UTC the day before).
    let lord_howe = Schedule::new("15 2 * * *", Some("Australia/Lord_Howe"), MissedRun::Skip);
    let days = due(&lord_howe.unwrap(), "2026-10-03T00:00:00Z", "2026-10-04T23:00:00Z");
    assert_eq!(days, ["2026-10-03T15:30", "2026-10-04T15:15"]);
    // Samoa left out all of 2011-12-30.
    let apia = Schedule::new("0 12 * * *", Some("Pacific/Apia"), MissedRun::Skip);
    let days = due(&apia.unwrap(), "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z");
    assert_eq!(days, ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"]);
}

/// What is found backwards is what is found forwards, at every quarter of an hour around the nights
/// in which clocks change, and a second before and after.
#[test]
fn the_last_due_time_is_the_one_before_the_next() {
    let crons = [
        "30 2 * * *",
        "0 2 * * *",
        "0 3 * * *",
        "30 * * * *",
        "*/7 * * * *",
        "10,40 1-3 * * *",
        "0 2,14 * * *",
        "15 0 * * sun",
        "59 1 * * *",
        "* 2 * * *",
    ];
    for (cron, day) in crons.iter().flat_map(|c| ["2026-03-28", "2026-10-24"].map(|d| (*c, d))) {
        let schedule = berlin(cron);
        let begin = at(&format!("{day}T12:00:00Z"));
        let later = |seconds: i128| {
            Timestamp::from_unix_nanos(begin.unix_nanos() + seconds * 1_000_000_000)
        };
        let (mut all, mut last) = (Vec::new(), later(-8 * 86_400));
        let from = last;
        while let Some(next) = schedule.next_after(last).filter(|next| *next <= later(90_000)) {
            all.push(next);
            last = next;
        }
        for now in (0..96).flat_map(|q| [-1, 0, 1].map(|s| later(q * 900 + s))) {
            let known = all.iter().rfind(|at| **at <= now).copied();
            assert_eq!(schedule.last_before(from, now), known, "{cron} at {now}");
            let next = all.iter().find(|at| **at > now).copied();
            assert_eq!(schedule.next_after(now).filter(|n| *n <= later(90_000)), next, "{cron}");
        }
    }
}

#[test]
fn the_span_begins_after_its_beginning_and_may_be_long() {
    let schedule = Schedule::new("0 * * * *", None, MissedRun::Run).unwrap();
    let last = |from, to| schedule.last_before(at(from), at(to)).map(|t| t.to_string());
    let noon = "2026-05-01T12:00:00.000Z";
    assert_eq!(last("2026-05-01T11:59:59.999Z", noon).as_deref(), Some(noon));
    assert_eq!(last(noon, noon), None);
    assert_eq!(last(noon, "2026-05-01T12:59:59.999Z"), None);
    assert_eq!(last(noon, "2026-05-01T11:00:00Z"), None, "the clock was put back");
    assert_eq!(last("1970-01-01T00:00:00Z", "2026-05-01T12:00:00.500Z").as_deref(), Some(noon));
    let seconds = Schedule::new("* * * * * *", None, MissedRun::Run).unwrap();
    let found = seconds.last_before(at("1970-01-01T00:00:00Z"), at("2026-05-01T12:00:00.5Z"));
    assert_eq!(found, Some(at(noon)));
    assert_eq!(schedule.next_after(at("2026-05-01T11:59:59.999Z")), Some(at(noon)));
    assert_eq!(schedule.next_after(at(noon)), Some(at("2026-05-01T13:00:00Z")));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let said = |schedule: Value| {
        let keys = json!({ "command": "x", "schedule": schedule });
        let problems = ProgramSpec::read(keys.as_object().unwrap()).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    };
    for (schedule, words) in [
        (json!("* * * *"), &["4 fields", "6 with seconds"][..]),
        (json!("0 0 1 1 * 2027 1"), &["7 fields"]),
        (json!("61 * * * *"), &["\"61\" is no minute"]),
        (json!("0 3 * * mon-fry"), &["is no day of the week"]),
        (json!("0 25 * * *"), &["\"25\" is no hour"]),
        (json!("0 0 0 * *"), &["\"0\" is no day of the month"]),
        (json!("99 * * * * *"), &["\"99\" is no second"]),
        (json!("0 0 * foo *"), &["is no month"]),
        (json!("0 0 30 2 *"), &["never comes"]),
        (json!("@reboot"), &["known are @hourly"]),
        (json!(""), &["0 fields"]),
        (json!({ "timezone": "UTC" }), &["needs cron"]),
        (json!({ "cron": "@daily", "timezone": "Europe/Berln" }), &["Europe/Berln", "IANA"]),
        (json!({ "cron": "@daily", "missed": "never" }), &["never", "skip"]),
        (json!(5), &["*/5 * * * *"]),
    ] {
        let said = said(schedule.clone());
        assert!(said.starts_with("schedule: "), "{said}");
        for word in words {
            assert!(said.contains(word), "{schedule}: {said}");
        }
    }
}

#[test]
fn both_forms_are_read_and_the_longer_one_is_written() {
    let read = |schedule: Value| serde_json::from_value::<Schedule>(schedule).unwrap();
    let short = read(json!(" 0 3 * * mon-fri "));
    let long = read(json!({ "cron": "0 3 * * mon-fri", "timezone": "utc" }));
    assert_eq!(short, long);
    let written = serde_json::to_value(&long).unwrap();
    assert_eq!(written, json!({ "cron": "0 3 * * mon-fri", "timezone": "UTC", "missed": "skip" }));
    assert_eq!(read(written), long);
    let other = read(json!({ "cron": "0 3 * * mon-fri", "missed": "run" }));
    assert!(other != long && other.missed() == MissedRun::Run);
}

#[test]
fn a_run_has_one_id() {
    let id = |program, due| run_id(ProgramId(uuid::Uuid::from_u128(program)), at(due));
    assert_eq!(id(1, "2026-05-01T12:00:00Z"), id(1, "2026-05-01T14:00:00+02:00"));
    assert_ne!(id(1, "2026-05-01T12:00:00Z"), id(1, "2026-05-01T12:00:01Z"));
    assert_ne!(id(1, "2026-05-01T12:00:00Z"), id(2, "2026-05-01T12:00:00Z"));
}

#[test]
fn a_schedule_makes_a_oneshot() {
    use crate::program::AutoRestart::{Never, Unexpected};
    let read = |mut keys: Value| {
        keys.as_object_mut().unwrap().insert("command".to_owned(), json!("x"));
        ProgramSpec::read(keys.as_object().unwrap())
    };
    let facts = |keys: Value| {
        let spec = read(keys).unwrap();
        (spec.kind, spec.startsecs.0.as_secs(), spec.autorestart)
    };
    assert_eq!(facts(json!({})), (Kind::Service, 1, Unexpected));
    assert_eq!(facts(json!({ "kind": "oneshot" })), (Kind::Oneshot, 0, Never));
    assert_eq!(facts(json!({ "schedule": "@daily" })), (Kind::Oneshot, 0, Never));
    let own = json!({ "kind": "oneshot", "startsecs": 3, "autorestart": "unexpected" });
    assert_eq!(facts(own), (Kind::Oneshot, 3, Unexpected));
    // What is read back from the bus has all keys, and is the same.
    let spec = read(json!({ "schedule": "@daily", "startsecs": 3 })).unwrap();
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(serde_json::from_value::<ProgramSpec>(json.clone()).unwrap(), spec);
    assert_eq!(ProgramSpec::read(json.as_object().unwrap()).unwrap(), spec);

    for (keys, words) in [
        (json!({ "kind": "service", "schedule": "@daily" }), "kind: must be \"oneshot\""),
        (json!({ "kind": "job" }), "kind: expected service or oneshot, found"),
        (json!({ "kind": "oneshot", "autorestart": true }), "autorestart: "),
        (json!({ "kind": "oneshot", "max_age": "1h" }), "max_age: is for a service"),
        (json!({ "max_age": 0 }), "max_age: must be at least 1s"),
    ] {
        let said = read(keys.clone()).unwrap_err();
        assert!(said.len() == 1 && said[0].to_string().starts_with(words), "{keys}: {said:?}");
    }
}

#[test]
fn times_of_runs_and_ages_reach_no_child() {
    let read = |mut keys: Value| {
        keys.as_object_mut().unwrap().insert("command".to_owned(), json!("x"));
        ProgramSpec::read(keys.as_object().unwrap()).unwrap()
    };
    let daily = read(json!({ "schedule": "@daily" }));
    assert!(daily.same_child(&read(json!({ "schedule": "@hourly" }))));
    assert!(read(json!({})).same_child(&read(json!({ "max_age": "1d" }))));
}
