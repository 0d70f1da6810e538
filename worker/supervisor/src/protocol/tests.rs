//! What a supervisor and an agent of past versions said to each other is understood still: each is
//! replaced while the other lives. The files were recorded from a worker; they are never edited.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ToAgent, ToSupervisor};
use crate::handover::tests::lost;

/// Reads each line, and says which words there were.
fn words<T: Serialize + DeserializeOwned>(golden: &str) -> BTreeSet<String> {
    let word = |line: &str| {
        let old: Value = serde_json::from_str(line).unwrap();
        let read: T = serde_json::from_value(old.clone()).expect(line);
        assert_eq!(lost(&old, &serde_json::to_value(&read).unwrap(), ""), None);
        old["say"].as_str().unwrap().to_owned()
    };
    golden.lines().map(word).collect()
}

fn all(words: &str) -> BTreeSet<String> {
    words.split(' ').map(str::to_owned).collect()
}

#[test]
fn every_word_of_a_past_version_is_understood() {
    let to_agent = words::<ToAgent>(include_str!("../../golden/to-agent-1.jsonl"));
    let expected = "hello child child_gone report pong ping probe secret cleared handed described \
                    drain stopping bye";
    assert_eq!(to_agent, all(expected));
    let to_supervisor = words::<ToSupervisor>(include_str!("../../golden/to-supervisor-1.jsonl"));
    let expected = "sync place unplace lease probed secret clear_logs signal stdin done ping pong \
                    name_taken unusable drained finished";
    assert_eq!(to_supervisor, all(expected));
}

#[test]
fn what_a_newer_version_adds_to_a_word_is_left_aside() {
    for line in include_str!("../../golden/to-agent-1.jsonl").lines() {
        let mut said: Value = serde_json::from_str(line).unwrap();
        said["tea"] = Value::from(true);
        assert!(serde_json::from_value::<ToAgent>(said).is_ok(), "{line}");
    }
    for line in include_str!("../../golden/to-supervisor-1.jsonl").lines() {
        let mut said: Value = serde_json::from_str(line).unwrap();
        said["tea"] = Value::from(true);
        assert!(serde_json::from_value::<ToSupervisor>(said).is_ok(), "{line}");
    }
}
