//! What happens to instances.

use std::os::unix::fs::symlink;

use crate::book::{record, wait};
use crate::fleet::Fleet;

const PROGRAMS: &str = r#"
[program.web]
command = "exec sleep 1000"
shell = true
numprocs = 2
process_name = "web_%(process_num)02d"
group = "shop"
startsecs = 1

[program.flaky]
command = "echo 'no such database: orders' >&2; exit 3"
shell = true
startretries = 1
startsecs = 1
max_fail_count = 2
group = "shop"
required = false

[program.nowhere]
command = "sleep 1000"
labels = ["zone = mars"]

[program.report]
command = "echo 'report of yesterday: 214 orders'; echo 'one of them is odd' >&2; exit 0"
shell = true
kind = "oneshot"
stdout_events_enabled = true
stderr_events_enabled = true
pre_start = "true"

[program.talker]
command = "echo '<!--XSUPERVISOR:BEGIN-->progress 40%<!--XSUPERVISOR:END-->'; echo '<!--XSUPERVISOR:BEGIN-->odd<!--XSUPERVISOR:END-->' >&2; exec sleep 1000"
shell = true
stdout_capture_maxbytes = "1MB"
stderr_capture_maxbytes = "1MB"

[program.hooked]
command = "sleep 1000"
post_start = "false"
pre_stop = { command = "sleep 100", timeout = "1s" }

[program.reader]
command = "cat; exec sleep 1000"
shell = true
stdin = true

[program.asked]
command = "sleep 1000"
liveness = { exec = ["sh", "-c", "echo 'queue is stuck' >&2; exit 1"], interval = "500ms", failures = 1000 }

[program.rereads]
command = "trap : HUP; while :; do sleep 1; done"
shell = true
reload_signal = "HUP"

[program.swaps]
command = "sleep 1000"

[program.old]
command = "sleep 1000"
max_age = "3s"
"#;

/// Where cgroups count memory, this is killed by the kernel.
const GREEDY: &str = r#"
[program.greedy]
command = ["python3", "-c", "b = bytearray(200_000_000); import time; time.sleep(1000)"]
limits = { memory = "30MB" }
startretries = 0
max_fail_count = 1
"#;

#[test]
fn instances() {
    let fleet = Fleet::start(2, 2);
    let here = fleet.path().to_str().unwrap().to_owned();
    // A disk that is full, until the link leads elsewhere.
    symlink("/dev/full", fleet.path().join("full.log")).unwrap();
    std::fs::copy("/bin/sleep", fleet.path().join("tool")).unwrap();
    let more = format!(
        r#"
        [program.writer]
        command = "while :; do echo a line of output; sleep 0.2; done"
        shell = true
        stdout_logfile = "{here}/full.log"

        [program.tool]
        command = "{here}/tool 1000"
        restart_when_binary_changed = true

        [program.once]
        command = "test -e {here}/again && exit 1; touch {here}/again; exec sleep 1000"
        shell = true
        startretries = 0
        "#
    );
    let file = fleet.file("programs.toml", &format!("{PROGRAMS}{more}"));
    fleet.ok(&["--as", "ann", "apply", "--no-wait", &file]);
    wait(
        &fleet,
        &[
            "process.PENDING",
            "process.FATAL",
            "process.EXITED",
            "placement.MOVED",
            "output.LOG_STDERR",
            "output.COMMUNICATION_STDERR",
            "notice.HOOK_DONE",
            "notice.HOOK_FAILED",
            "notice.PROBE_FAILED",
            "notice.RECYCLED",
            "notice.OUTPUT_LOST",
        ],
    );
    let greedy = fleet.file("greedy.toml", GREEDY);
    if fleet.run(&["apply", "--no-wait", &greedy]).status.success() {
        wait(&fleet, &["notice.OOM_KILL"]);
    }
    let full = fleet.path().join("full.log");
    std::fs::remove_file(&full).unwrap();
    fleet.signal("w1", nix::sys::signal::Signal::SIGUSR2);
    fleet.signal("w2", nix::sys::signal::Signal::SIGUSR2);
    for name in ["swaps", "rereads", "once"] {
        fleet.run(&["reload", name, "--timeout", "10s"]);
    }
    let tool = fleet.path().join("tool.new");
    std::fs::copy("/bin/sleep", &tool).unwrap();
    std::fs::rename(&tool, fleet.path().join("tool")).unwrap();
    fleet.run(&["stop", "hooked", "--timeout", "20s"]);
    fleet.ok(&["--as", "ann", "signal", "WINCH", "reader"]);
    fleet.ok(&["--as", "ann", "stdin", "reader", "--eof", "a last word"]);
    fleet.ok(&["--as", "ann", "emit", "deployed", "{\"version\": \"1.4\"}"]);
    fleet.ok(&["--as", "ann", "stop", "web"]);
    fleet.ok(&["--as", "ann", "remove", "web"]);
    fleet.ok(&["remove", "flaky"]);
    wait(
        &fleet,
        &[
            "notice.OUTPUT_WRITTEN_AGAIN",
            "notice.RELOADED",
            "notice.RELOAD_SWITCHED",
            "notice.RELOAD_FAILED",
            "notice.BINARY_CHANGED",
            "notice.HOOK_TIMED_OUT",
            "notice.SIGNALLED",
            "notice.STDIN_CLOSED",
            "placement.REMOVED",
            "program.REMOVED",
            "group.ADDED",
            "group.DEGRADED",
            "group.REMOVED",
            "tick.TICK_5",
            "tick.TICK_60",
        ],
    );
    record(&fleet);
}

#[test]
fn groups() {
    let fleet = Fleet::start(1, 1);
    let bad = "[program.api]\ncommand = \"false\"\ngroup = \"shop\"\nstartretries = 0\nmax_fail_count = 1\n";
    let file = fleet.file("bad.toml", bad);
    fleet.ok(&["apply", "--no-wait", &file]);
    wait(&fleet, &["group.FAILED"]);
    let good = "[program.api]\ncommand = \"sleep 1000\"\ngroup = \"shop\"\n";
    fleet.ok(&["--as", "ann", "apply", "--no-wait", &fleet.file("good.toml", good)]);
    fleet.run(&["start", "api", "--timeout", "10s"]);
    wait(&fleet, &["program.CHANGED", "group.OK"]);
    record(&fleet);
}
