//! What comes over the bus: requests, calls, entries of buckets, events.

use dsbus_harness::wait_until;
use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::Bucket;
use serde_json::json;

use crate::fleet::DEADLINE;
use crate::raw::Raw;
use crate::{assert_as_before, fleet, judged, look, rows};

/// The body that a word stands for; others are what they are.
fn body(word: &str) -> Vec<u8> {
    let programs = |count: usize| {
        let all = (0..count).map(|n| (format!("p{n}"), json!({ "command": "x" })));
        json!({ "programs": all.collect::<serde_json::Map<_, _>>() })
    };
    match word {
        "@utf8" => b"{\"names\": [\"\xff\xfe\"]}".to_vec(),
        "@deep" => format!("{{\"x\": {}{}}}", "[".repeat(9_000), "]".repeat(9_000)).into_bytes(),
        "@long" => json!({ "names": ["x".repeat(900_000)] }).to_string().into_bytes(),
        "@programs" => programs(501).to_string().into_bytes(),
        "@many" => {
            let command = "x".repeat(600_000);
            json!({ "programs": { "a": { "command": command } } }).to_string().into_bytes()
        }
        "@arguments" => {
            json!({ "names": ["web"], "arguments": ["x".repeat(20_000)] }).to_string().into_bytes()
        }
        "@usages" => {
            let one = json!({ "name": "web:0", "pid": 1 });
            json!({ "instances": vec![one; 1_001] }).to_string().into_bytes()
        }
        word => word.as_bytes().to_vec(),
    }
}

#[test]
fn a_request_that_is_wrong_is_refused_by_its_field() {
    let mut fleet = fleet();
    let before = look(&fleet);
    let mut raw = Raw::connect(fleet.nats.port());
    let mut wrong = Vec::new();
    for (verb, text, code, says) in
        rows::<(String, String, u64, String)>(include_str!("commands.toml"))
    {
        let (got, said) = raw.ask(&format!("dsbus.default.cmd.ann.{verb}"), &body(&text));
        wrong.extend(judged(&format!("{verb} {text}"), (got, &said), (code, &says)));
    }
    // A worker may be ready before it serves.
    wait_until("w1 to serve", DEADLINE, || {
        let (_, said) = raw.ask("dsbus.default.worker.w1.ping", b"");
        if said.starts_with("NATS/1.0 503") { Err(said) } else { Ok(()) }
    });
    for (verb, text, code, says) in
        rows::<(String, String, u64, String)>(include_str!("calls.toml"))
    {
        let (got, said) = raw.ask(&format!("dsbus.default.worker.w1.{verb}"), &body(&text));
        wrong.extend(judged(&format!("w1 {verb} {text}"), (got, &said), (code, &says)));
    }
    for (subject, code, says) in rows::<(String, u64, String)>(include_str!("subjects.toml")) {
        let (got, said) = raw.ask(&subject, b"{}");
        wrong.extend(judged(&subject, (got, &said), (code, &says)));
    }
    assert_as_before(&mut fleet, &before, &["s1", "w1"], &wrong);
}

#[test]
fn what_cannot_be_read_in_a_bucket_is_told_and_left_out() {
    let mut fleet = fleet();
    let before = look(&fleet);
    let mut raw = Raw::connect(fleet.nats.port());
    let rows = rows::<(String, String, String, String)>(include_str!("entries.toml"));
    let subject = |bucket: &str, key: &str| {
        let bucket =
            Bucket::ALL.into_iter().find(|known| format!("{known:?}").to_lowercase() == bucket);
        bucket.unwrap().subject(&FleetName::default(), key)
    };
    for (bucket, key, text, _) in &rows {
        raw.say(&subject(bucket, key), "", text.as_bytes());
    }
    for (bucket, key, _, who) in rows.iter().filter(|row| !row.3.is_empty()) {
        wait_until(&format!("{who} to tell of {bucket} {key}"), DEADLINE, || {
            let log = std::fs::read_to_string(fleet.log(who)).unwrap();
            if log.contains(key.as_str()) { Ok(()) } else { Err(log) }
        });
    }
    // All go on: what is asked is done.
    fleet.apply("[program.other]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.ok(&["remove", "other"]);
    wait_until("other to be gone", DEADLINE, || {
        let rows = fleet.status();
        if rows.len() == 2 { Ok(()) } else { Err(rows) }
    });
    for (bucket, key, _, _) in &rows {
        raw.say(&subject(bucket, key), "KV-Operation: DEL", b"");
    }
    wait_until("all to be as before", DEADLINE, || {
        let now = look(&fleet);
        if now == before { Ok(()) } else { Err(now) }
    });
    assert_as_before(&mut fleet, &before, &["s1", "w1"], &[]);
}

#[test]
fn what_is_no_event_is_left_out_by_whoever_reads_events() {
    let mut fleet = fleet();
    let before = look(&fleet);
    let mut raw = Raw::connect(fleet.nats.port());
    let known = fleet.events().len();
    for (subject, text) in rows::<(String, String)>(include_str!("events.toml")) {
        raw.say(&subject, "", text.as_bytes());
    }
    assert!(fleet.events().len() >= known);
    fleet.ok(&["emit", "after", "it"]);
    fleet.wait_event("after", |event| event["subject"] == "anonymous");
    assert_as_before(&mut fleet, &before, &["s1", "w1"], &[]);
}
