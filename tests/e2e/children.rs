//! What a declaration asks for a child, on a whole fleet with the real binary.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet::{Fleet, alive, assert_gapless, number, wait_dead};

#[test]
fn a_child_is_ready_when_its_port_answers_and_is_reloaded_without_a_gap() {
    let fleet = Fleet::start(1, 1);
    let reserved = dsbus_harness::Port::reserve();
    let port = reserved.number();
    // The worker holds the port, so two children may listen on it, one after the other.
    let server = fleet.file(
        "server.py",
        "import http.server, socket\n\
         class Quiet(http.server.SimpleHTTPRequestHandler):\n\
         \x20   def do_GET(self):\n\
         \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'well\\n')\n\
         server = http.server.HTTPServer(('', 0), Quiet, bind_and_activate=False)\n\
         server.socket = socket.socket(fileno=3)\n\
         server.serve_forever()\n",
    );
    fleet.apply(&format!(
        "[program.web]\ncommand = [\"python3\", \"{server}\"]\nlisten = \"tcp://127.0.0.1:{port}\"\n\
         readiness = {{ http = \"http://127.0.0.1:{port}/\", interval = \"100ms\" }}\n\
         liveness = {{ tcp = \"127.0.0.1:{port}\", interval = \"200ms\" }}\n\
         startsecs = 0\n"
    ));
    let before = fleet.row("web:0");
    assert_eq!(before["state"], "RUNNING");
    let said = fleet.ok(&["reload", "web"]);
    assert!(said.contains("reloaded by a new child"), "{said}");
    let after = fleet.row("web:0");
    assert_eq!((&after["state"], &after["restarts"]), (&before["state"], &Value::from(0)));
    assert_ne!(after["pid"], before["pid"]);
    wait_dead(number(&before["pid"]));
    let switched = fleet.wait_event("the switch", |e| e["data"]["change"] == "RELOAD_SWITCHED");
    assert_eq!(switched["data"]["pid"], after["pid"]);
    assert_gapless(&fleet.events());
}

#[test]
fn hooks_and_words_are_events_and_logs_can_be_cleared() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.web]
        command = "printf '<!--XSUPERVISOR:BEGIN-->to all<!--XSUPERVISOR:END-->'; echo logged; sleep 1000"
        shell = true
        startsecs = 0
        stdout_capture_maxbytes = "1KB"
        pre_start = "true"
        post_stop = { command = "exit 5", shell = true }
        "#,
    );
    let word = fleet.wait_event("a word", |e| e["data"]["kind"] == "output");
    assert_eq!(word["data"]["text"], "to all");
    dsbus_harness::wait_until("the log", crate::fleet::DEADLINE, || {
        let log = fleet.ok(&["logs", "web:0"]);
        if log.trim_end() == "logged" { Ok(()) } else { Err(log) }
    });
    let said = fleet.ok(&["clear", "web"]);
    assert!(said.contains("web:0: cleared"), "{said}");
    assert_eq!(fleet.ok(&["logs", "web:0"]).trim(), "");
    fleet.ok(&["stop", "web"]);
    let hooks: Vec<_> = fleet
        .events()
        .into_iter()
        .filter(|e| e["data"]["kind"] == "notice")
        .map(|e| format!("{} {}", e["data"]["hook"].as_str().unwrap(), e["data"]["change"]))
        .collect();
    assert_eq!(hooks, ["pre_start \"HOOK_DONE\"", "post_stop \"HOOK_FAILED\""]);
    let row = fleet.row("web:0");
    assert!(row["usage"]["cpu_ms"].is_u64(), "{row}");
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let fleet = Fleet::start(1, 1);
    // A setuid program loses the parent-death signal; so does what left its parent's side.
    let setuid = fleet.path().join("setuid-sleep");
    std::fs::copy("/bin/sleep", &setuid).unwrap();
    std::fs::set_permissions(&setuid, std::fs::Permissions::from_mode(0o4755)).unwrap();
    for directory in fleet.path().ancestors().take_while(|path| path.starts_with("/tmp/")) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    fleet.apply(&format!(
        "[program.other]\ncommand = \"sleep 1000\"\nuser = \"nobody\"\ndirectory = \"/\"\nstartsecs = 0\n\
         [program.setuid]\ncommand = \"{} 1000\"\nuser = \"nobody\"\ndirectory = \"/\"\nstartsecs = 0\n\
         [program.hides]\ncommand = \"setsid sleep 1000 & echo $!; sleep 1000\"\nshell = true\nstartsecs = 0\n",
        setuid.display()
    ));
    let mut pids: Vec<i32> = fleet.status().iter().map(|row| number(&row["pid"])).collect();
    let hidden = dsbus_harness::wait_until("the one that hides", crate::fleet::DEADLINE, || {
        fleet.ok(&["logs", "hides:0"]).trim().parse::<i32>()
    });
    pids.push(hidden);
    assert!(pids.iter().all(|pid| alive(*pid)));
    kill(Pid::from_raw(fleet.pid("w1")), Signal::SIGKILL).unwrap();
    pids.into_iter().for_each(wait_dead);
}

#[test]
fn a_worker_ends_with_the_code_of_the_program_that_it_is_for() {
    let mut fleet = Fleet::start(1, 1);
    let file = fleet.file(
        "job.toml",
        "[program.job]\ncommand = \"sleep 0.3; exit 42\"\nshell = true\non_fatal = \"exit\"\n\
         autorestart = false\nstartsecs = 0\n",
    );
    fleet.ok(&["apply", "--no-wait", &file]);
    assert_eq!(fleet.wait_exit("w1"), Some(42));
    // What it had no time to tell before its end, its next run tells.
    fleet.worker("w1");
    let why = fleet.wait_event("the end", |e| e["data"]["change"] == "STOPPING");
    assert!(why["data"]["reason"].as_str().unwrap().contains("job:0 has ended for good"), "{why}");
}
