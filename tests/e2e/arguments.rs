//! `dsbus start NAME -- ARGUMENT...`: words for one start.

use crate::fleet::{Fleet, number};
use dsbus_harness::{DEADLINE, wait_until};

/// Waits until the kernel says that the child of an instance was started with these, after its command:
/// a shell becomes what it executes a moment after it runs.
fn wait_given(fleet: &Fleet, name: &str, command: usize, wanted: &[&str]) {
    wait_until(&format!("{name} to have been given {wanted:?}"), DEADLINE, || {
        let pid = number(&fleet.wait_state(name, "RUNNING")["pid"]);
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut words: Vec<String> = words.skip(command).map(Into::into).collect();
        words.pop();
        if words == wanted { Ok(()) } else { Err(String::from_utf8_lossy(&line).into_owned()) }
    });
}

/// Shells that go on, and so show their own words.
const PROGRAMS: &str = r#"
[program.web]
command = ["sh", "-c", "sleep 1000; :", "web"]
autostart = false
startsecs = 0
numprocs = 2

[program.line]
command = "exec sh -c 'sleep 1000; :' line"
shell = true
autostart = false
startsecs = 0
"#;

#[test]
fn arguments_are_for_one_start() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(PROGRAMS);
    let odd = "a 'b' \"c\" %(x)s $HOME \n;";
    fleet.ok(&["start", "web", "line", "--", "--port", odd]);
    for (name, command) in [("web:0", 4), ("web:1", 4), ("line:0", 4)] {
        wait_given(&fleet, name, command, &["--port", odd]);
    }
    assert_eq!(fleet.row("web:1")["arguments"][1], odd);
    let told = fleet.fails(1, &["start", "web:1", "--", "-x"]);
    assert!(told.contains("web:1 is RUNNING") && told.contains("dsbus restart web:1"), "{told}");

    // It is the same start that goes on: after a crash, and elsewhere.
    let before = number(&fleet.row("web:0")["pid"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    fleet.wait_row("web:0", "another child", |row| {
        row["state"] == "RUNNING" && row["pid"] != before
    });
    wait_given(&fleet, "web:0", 4, &["--port", odd]);
    let worker = fleet.row("web:0")["worker"].as_str().unwrap().to_owned();
    fleet.ok(&["drain", &worker]);
    fleet.wait_row("web:0", "elsewhere", |row| {
        row["state"] == "RUNNING" && row["worker"] != worker.as_str()
    });
    wait_given(&fleet, "web:0", 4, &["--port", odd]);
    fleet.ok(&["undrain", &worker]);

    // A plain start of what runs touches no child, but its next one is plain again.
    let pid = fleet.row("web:1")["pid"].clone();
    fleet.ok(&["start", "web"]);
    assert_eq!(fleet.row("web:1")["pid"], pid);
    wait_until("no arguments", DEADLINE, || match fleet.row("web:1").get("arguments") {
        None => Ok(()),
        Some(still) => Err(still.clone()),
    });
    fleet.ok(&["restart", "web:0", "--", "-v"]);
    wait_given(&fleet, "web:0", 4, &["-v"]);
    fleet.ok(&["restart", "web", "line"]);
    for (name, command) in [("web:0", 4), ("web:1", 4), ("line:0", 4)] {
        wait_given(&fleet, name, command, &[]);
    }
    let told = fleet.fails(1, &["restart", "web", "--", &"x".repeat(17_000)]);
    assert!(told.contains("a start takes 16384"), "{told}");
}
