//! `compose/break` by itself, beside an engine that is made up: what it takes for an answer, and that
//! it mends what it broke when it gives up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use dsbus_harness::wait_until;

use super::file;
use crate::fleet::{DEADLINE, said};

/// An engine whose containers have the names of their services. It notes what it is asked, and what of
/// that has broken something; a fleet in it heals only where a file `heals` says so.
const ENGINE: &str = r#"#!/usr/bin/env bash
cd "$(dirname "$0")" || exit 1
printf '%s\n' "$*" >> calls
list() { local name; for name in w1 w2 w3; do
  state=ready; [ ! -e "down.$name" ] || [ ! -e heals ] || state=lost
  printf '%s{"name":"%s","state":"%s"}' "$comma" "$name" "$state"; comma=,
done; }
comma=
case $1 in
  ps) printf '%s\n' "${!#}" | sed 's/.*=//' ;;
  kill) shift 3; for one in "$@"; do touch "down.$one"; done ;;
  start) rm -f "down.$2" ;;
  inspect) echo net ;;
  network) case $2 in disconnect) touch "down.$4" ;; connect) rm -f "down.$4" ;; esac ;;
  exec) shift 2; case "$*" in
    "dsbus status -o json") cat status; exit "$(cat code)" ;;
    "dsbus workers -o json") printf '['; list; printf ']\n' ;;
    "dsbus scale "*) echo "${3#counter=}" > counter ;;
    *) ;;
  esac ;;
esac
"#;

struct Engine {
    directory: tempfile::TempDir,
}

impl Engine {
    /// One whose fleet answers this when it is asked for its status.
    fn new(status: &str, code: u8) -> Engine {
        let engine = Engine { directory: tempfile::tempdir().unwrap() };
        engine.write("engine", ENGINE);
        let mode = fs::Permissions::from_mode(0o755);
        let path = engine.directory.path().join("engine");
        fs::set_permissions(&path, mode).unwrap();
        // A process that another test starts has the file open to be written until it executes its
        // program, and as long nobody can execute the file.
        wait_until("the engine", DEADLINE, || Command::new(&path).arg("version").output());
        engine.write("status", status);
        engine.write("code", &code.to_string());
        engine.write("counter", "as it was\n");
        engine
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    fn breaks(&self, step: &str) -> Output {
        let mut command = Command::new(file::directory().join("break"));
        command.arg(step).env("ENGINE", self.directory.path().join("engine"));
        command.env("BREAK_DEADLINE", "1").output().unwrap()
    }

    /// Containers that are down, or cut off.
    fn down(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("down.")).collect()
    }
}

const ROWS: &str = r#"[{"name":"counter:0","state":"RUNNING","worker":"w1","epoch":1},
  {"name":"counter:1","state":"RUNNING","worker":"w3","epoch":2},
  {"name":"leader:0","state":"RUNNING","worker":"w3","epoch":3}]"#;

#[test]
fn what_does_not_answer_does_not_run() {
    let stopped = ROWS.replacen("RUNNING", "STOPPED", 1);
    for (status, code) in [("", 4), ("", 0), ("[]\n", 0), (ROWS, 1), (&stopped, 3)] {
        let engine = Engine::new(status, code);
        let output = engine.breaks("worker");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{status} {code}: {told}");
        assert!(told.contains("everything runs: not within 1 s"), "{status} {code}: {told}");
        assert!(!engine.read("calls").contains("kill"), "{status} {code}: nothing is broken yet");
    }
}

#[test]
fn who_gives_up_mends_what_is_broken() {
    for (step, broken, mended) in [
        ("worker", "kill --signal KILL w2", "start w2"),
        ("schedulers", "kill --signal KILL s1 s2", "start s1"),
        ("schedulers", "kill --signal KILL w1", "start w1"),
        ("network", "network disconnect net w3", "network connect --alias w3 net w3"),
        ("alert", "kill --signal KILL alert", "start alert"),
    ] {
        // Nobody ever says that a worker is lost.
        let engine = Engine::new(ROWS, 0);
        let told = said(&engine.breaks(step));
        assert!(told.contains("not within 1 s"), "{step}: {told}");
        let calls = engine.read("calls");
        let at = |call: &str| calls.lines().position(|line| line == call);
        assert!(at(broken).is_some() && at(broken) < at(mended), "{step}: {calls}");
        assert_eq!(engine.down(), Vec::<String>::new(), "{step}: {calls}");
        if step == "schedulers" {
            assert_eq!(engine.read("counter"), "2\n", "{calls}");
        }
    }
}

#[test]
fn a_fleet_that_heals_is_as_it_was() {
    let engine = Engine::new(&ROWS.replace("\"w1\"", "\"w3\""), 0);
    engine.write("heals", "");
    for (step, text) in [
        ("worker", "w2 is lost"),
        ("schedulers", "s3 alone answers a command: dsbus scale counter=3"),
    ] {
        let output = engine.breaks(step);
        let told = said(&output);
        assert!(output.status.success() && told.contains(text), "{step}: {told}");
        assert_eq!(engine.down(), Vec::<String>::new(), "{step}");
    }
    assert_eq!(engine.read("counter"), "2\n");
    let told = said(&engine.breaks("wroker"));
    assert!(told.contains("there are worker schedulers nats network gateway alert"), "{told}");
}
