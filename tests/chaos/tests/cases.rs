//! The failures that were thought of, in their short forms, and a short random run. Hosts share the
//! loopback here: only the random run wants a network for each, and says so where there is none.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

use std::path::Path;
use std::process::Command;

/// Runs it; whether all was well, and what it said.
fn run(words: &[&str]) -> (bool, String) {
    let chaos = env!("CARGO_BIN_EXE_chaos");
    let dsbus = Path::new(chaos).with_file_name("dsbus");
    assert!(dsbus.exists(), "{} is missing: cargo build --package dsbus", dsbus.display());
    let ended = Command::new(chaos).args(words).output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs it well; what it said.
fn chaos(words: &[&str]) -> String {
    let (well, said) = run(words);
    assert!(well, "{said}");
    said
}

fn case(name: &str) -> String {
    chaos(&["case", name, "--short"])
}

#[test]
fn the_leader_of_the_stream_is_killed_and_nothing_moves() {
    assert!(case("leader-killed").contains("beside 201 leases: no move"));
}

#[test]
fn the_only_server_is_away_and_nothing_moves() {
    assert!(case("server-down").contains("away for 5 s: web: 0 started anew"));
}

#[test]
fn a_frozen_scheduler_thaws_and_does_nothing_wrong() {
    case("scheduler-frozen");
}

#[test]
fn a_frozen_machine_thaws_and_the_outdated_child_dies() {
    assert!(case("machine-frozen").contains("the outdated child"));
}

#[test]
fn without_schedulers_children_are_started_again() {
    assert!(case("no-schedulers").contains("no event is lost"));
}

#[test]
fn everything_is_killed_at_once_and_returns_as_wanted() {
    case("all-at-once");
}

#[test]
fn fifty_commands_at_once_act_once_each() {
    assert!(case("fifty-commands").contains("sent again, none acted"));
}

#[test]
fn power_lost_on_a_worker_and_on_the_server_of_the_scheduler() {
    let said = case("power-lost");
    assert!(said.contains("all ran elsewhere") || said.contains("SKIPPED"), "{said}");
}

#[test]
fn a_short_random_run_finds_nothing() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let said = chaos(&["--faults", "12", "--alone", "0", "--seed", "1", "--out", out]);
    // Where there are no namespaces the summary says so, and nothing was cut.
    let skipped = said.contains("SKIPPED: cuts, loss and slow links");
    assert!(skipped || said.contains("-cut"), "{said}");
    let json = std::fs::read_to_string(Path::new(out).join("chaos-1.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["faults"], 12);
    for zero in ["exclusive_overlaps", "unneeded_moves", "lost_commands", "lost_events", "not_calm"]
    {
        assert_eq!(report[zero], 0, "{said}");
    }
}

#[test]
fn two_copies_at_once_are_found() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let frozen = ["--kinds", "supervisor-freeze", "--faults", "1", "--hold", "15", "--no-network"];
    let args = [&["--unfenced", "--alone", "0", "--out", out], &frozen[..]].concat();
    // Whose worker is frozen is chance, and on a busy machine it may be one that has lost its lease.
    let ran = (0..3).map(|_| run(&args)).find(|(well, _)| !well);
    let (_, said) = ran.expect("two copies at once, three times not found");
    assert!(said.contains("PROBLEM: two copies of "), "{said}");
    assert!(said.contains("lost events: 0") && said.contains("unneeded moves: 0"), "{said}");
}

#[test]
fn the_page_is_what_its_report_gives() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let report = docs.join("what-breaks.json");
    let said = chaos(&["docs", report.to_str().unwrap()]);
    let page = std::fs::read_to_string(docs.join("what-breaks.md")).unwrap();
    assert_eq!(said.trim_end(), page.trim_end(), "./run chaos --write-docs, and commit");
}
