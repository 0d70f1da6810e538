//! The bench works: a short run of it measures, and says so. Its numbers are worth nothing.

use std::path::Path;
use std::process::Command;

#[test]
fn a_short_run_measures_a_restart() {
    let bench = env!("CARGO_BIN_EXE_bench");
    let dsbus = Path::new(bench).with_file_name("dsbus");
    assert!(dsbus.exists(), "{} is missing: cargo build --package dsbus", dsbus.display());
    let out = tempfile::tempdir().unwrap();
    let ended = Command::new(bench)
        .args(["--short", "--no-peer", "restart", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("dsbus / floor, p50"), "{said}");
    let json = std::fs::read_to_string(out.path().join("restart.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["measured"]["rows"].as_array().map(Vec::len), Some(2), "{json}");
    assert!(out.path().join("restart.svg").exists());
}
