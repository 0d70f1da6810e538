//! What is written is read; what past versions wrote is read still, and nothing of it is lost.

use std::collections::VecDeque;
use std::sync::Arc;

use dsbus_schema::program::ProgramSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::parse;
use super::*;

/// Recorded from a worker; never edited. What a new format cannot say like this is a new file.
const GOLDEN: [&str; 1] = [include_str!("../../golden/handover-1.json")];

fn lines(text: &str) -> [Value; 2] {
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    [lines.next().unwrap(), lines.next().unwrap()]
}

/// A document as if a worker of this version had written it: what is from too far away is not read.
fn of_today(text: &str) -> String {
    let [mut head, body] = lines(text);
    head["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    format!("{head}\n{body}\n")
}

fn written(left: &Left) -> [Value; 2] {
    lines(std::str::from_utf8(&write(left).unwrap()).unwrap())
}

/// Where something of `old` is not in `new`.
pub(crate) fn lost(old: &Value, new: &Value, at: &str) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.iter().find_map(|(key, value)| {
            let at = format!("{at}.{key}");
            match new.get(key) {
                Some(new) => lost(value, new, &at),
                None => (!value.is_null()).then_some(at),
            }
        }),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .enumerate()
            .find_map(|(n, (o, w))| lost(o, w, &format!("{at}[{n}]"))),
        _ => (old != new).then(|| format!("{at}: {old} is {new}")),
    }
}

#[test]
fn what_past_versions_hand_over_is_read_and_nothing_of_it_is_lost() {
    for golden in GOLDEN {
        let (_, left) = parse(of_today(golden).as_bytes()).unwrap();
        let ([_, old], [_, new]) = (lines(golden), written(&left));
        assert_eq!(lost(&old, &new, ""), None);
        let (_, again) = parse(&write(&left).unwrap()).unwrap();
        assert_eq!(written(&again), written(&left));
    }
}

/// The same as it would be from a version that knows a word more at each place, and leaves out what it
/// has nothing to say of.
const NEIGHBOUR: &str = include_str!("../../golden/handover-1-neighbour.json");

#[test]
fn words_more_and_less_of_a_neighbour_change_nothing() {
    assert!(NEIGHBOUR.contains("tea") && !NEIGHBOUR.contains(":null"));
    let (_, neighbours) = parse(of_today(NEIGHBOUR).as_bytes()).unwrap();
    let (_, ours) = parse(of_today(GOLDEN[0]).as_bytes()).unwrap();
    let (theirs, ours) = (written(&neighbours), written(&ours));
    // What the worker's owner leaves is passed on as it is.
    assert_eq!((&theirs[0], lost(&ours[1], &theirs[1], "")), (&ours[0], None));
}

#[test]
fn every_room_is_in_the_newest_of_them() {
    let [_, body] = lines(GOLDEN[GOLDEN.len() - 1]);
    let empty = [Value::Null, Value::Array(Vec::new()), serde_json::json!({})];
    let filled = |value: &Value| !empty.contains(value);
    let filled_all =
        ["errands", "streams", "notify", "secrets"].iter().all(|room| filled(&body[room]));
    assert!(filled_all && filled(&body["children"]["living"]) && filled(&body["sockets"]["open"]));
    assert!(filled(&body["table"]["instances"]) && filled(&body["binaries"]["files"]));
}

#[test]
fn what_a_newer_version_adds_is_left_aside_and_another_format_is_refused() {
    let [mut head, mut body] = lines(&of_today(GOLDEN[0]));
    let document = |head: &Value, body: &Value| format!("{head}\n{body}\n");
    head["cooks"] = Value::from("tea");
    body["tea"] = Value::from(true);
    let instances = body["table"]["instances"].as_object_mut().unwrap();
    instances.values_mut().for_each(|instance| instance["tea"] = Value::from(1));
    assert!(parse(document(&head, &body).as_bytes()).is_ok());
    head["version"] = Value::from("9.9.9");
    let why = parse(document(&head, &body).as_bytes()).unwrap_err().to_string();
    assert!(why.contains("is version 9.9.9, and this one is "), "{why}");
    head["format"] = Value::from(FORMAT + 1);
    let why = parse(document(&head, &Value::Null).as_bytes()).unwrap_err().to_string();
    assert!(why.contains("(9.9.9) hands over in format 2, and this one reads 1 to 1"), "{why}");
    for text in ["", "{}", "{}\n{}", "x\ny"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    #[serde(with = "bytes")]
    bytes: Vec<u8>,
    #[serde(with = "bytes::maybe")]
    queue: Option<VecDeque<u8>>,
}

#[test]
fn bytes_stay_as_they_are() {
    for bytes in [&b""[..], "t\u{e4}xt\n\0".as_bytes(), b"\xff\x00\xc3"] {
        for queue in [None, Some(bytes.iter().copied().collect())] {
            let sample = Sample { bytes: bytes.to_vec(), queue };
            let text = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample, "{text}");
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Sharing {
    #[serde(with = "specs")]
    one: Arc<ProgramSpec>,
    #[serde(with = "specs")]
    same: Arc<ProgramSpec>,
    #[serde(with = "specs::maybe")]
    other: Option<Arc<ProgramSpec>>,
    #[serde(with = "specs::maybe")]
    none: Option<Arc<ProgramSpec>>,
}

#[test]
fn what_is_shared_stays_shared() {
    let one = Arc::new(ProgramSpec::default());
    let other = Some(Arc::new(ProgramSpec { priority: 7, ..ProgramSpec::default() }));
    let all = Sharing { same: Arc::clone(&one), one, other, none: None };
    let (text, list) = specs::with_list(Vec::new(), || serde_json::to_string(&all).unwrap());
    assert_eq!((text.as_str(), list.len()), (r#"{"one":0,"same":0,"other":1,"none":null}"#, 2));
    let (read, _) = specs::with_list(list, || serde_json::from_str::<Sharing>(&text));
    let read = read.unwrap();
    assert!(Arc::ptr_eq(&read.one, &read.same));
    assert_eq!(read.other.unwrap().priority, 7);
    assert!(specs::with_list(Vec::new(), || serde_json::from_str::<Sharing>(&text)).0.is_err());
}
