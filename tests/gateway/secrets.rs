//! Where the value of a secret can be seen: in the environment of its child, and nowhere else.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, Fleet, number, said};
use crate::served::Gateway;

const FIRST: &str = "first-value-71c0d5";
const SECOND: &str = "second-value-9ab3e2";
const FILED: &str = "filed-value-44f1aa";
/// Those who declare see it; it shows that these tests would find one.
const PLAIN: &str = "plain-value-58d20c";

/// All that a verb may print of it.
const VERBS: [&str; 20] = [
    "status -o json",
    "status -o wide",
    "describe web",
    "describe bad",
    "describe web -o json",
    "explain web bad -o json",
    "history web -o json",
    "workers -o json",
    "workers w1",
    "groups -o json",
    "rollout status web",
    "export",
    "logs web -n 100",
    "logs --daemon w1",
    "secret list -o json",
    "secret list",
    "config",
    "doctor -o json",
    "pid web",
    "events --type * -n 100000 -o json",
];

/// All that the gateway may.
const PATHS: [&str; 13] = [
    "/",
    "/metrics",
    "/api/v1/openapi.json",
    "/api/v1/programs",
    "/api/v1/programs/web",
    "/api/v1/programs/bad",
    "/api/v1/programs/web/history",
    "/api/v1/instances",
    "/api/v1/instances/web:0",
    "/api/v1/instances/web:0/explain",
    "/api/v1/workers",
    "/api/v1/workers/w1",
    "/api/v1/events",
];

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The files below a directory that hold a text.
fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let all = files(directory).into_iter();
    all.filter(|path| std::fs::read(path).is_ok_and(|bytes| holds(&bytes, text))).collect()
}

/// The processes of this machine of which `/proc/<pid>/<what>` holds a text.
fn processes(what: &str, text: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/{what}")).is_ok_and(|bytes| holds(&bytes, text))
    };
    pids.filter(has).collect()
}

/// A program that speaks, and has beside its child all that is started with its environment.
fn program(name: &str, command: &str, file: &Path, more: &str) -> String {
    format!(
        "[program.{name}]\ncommand = \"{command}\"\nshell = true\nstartsecs = 0\nstartretries = 0\n\
         max_fail_count = 1\npre_start = \"true\"\nliveness = {{ exec = \"true\" }}\n\
         stdout_events_enabled = true\nenvironment = {{ DB = {{ secret = \"db-password\" }}, \
         KEY = {{ file = \"{}\" }}, PLAIN = \"{PLAIN}\" }}\n{more}\n",
        file.display()
    )
}

#[test]
fn a_secret_is_in_the_environment_of_its_child_and_nowhere_else() {
    let mut fleet = Fleet::start(1, 0);
    let (url, home) = (fleet.nats.url(), fleet.worker_directory("w1"));
    let home = home.to_str().unwrap().to_owned();
    let args = ["--nats", &url, "worker", "--name", "w1", "--dir", &home];
    fleet.spawn_logging("w1", &args, "trace");
    fleet.wait_ready(1);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("key");
    std::fs::write(&file, format!("{FILED}\n")).unwrap();
    let secret = |value: &str| {
        let path = elsewhere.path().join("secret");
        std::fs::write(&path, value).unwrap();
        fleet.ok(&["secret", "set", "db-password", "--file", path.to_str().unwrap()])
    };
    let mut told = secret(FIRST);
    let program = |name: &str, command: &str, more: &str| program(name, command, &file, more);
    fleet.apply(&program("web", "echo begun; exec sleep 1000", ""));
    let pid = number(&fleet.row("web:0")["pid"]);
    wait_until("the child to have it", DEADLINE, || {
        if processes("environ", FIRST) == [pid] { Ok(()) } else { Err(processes("environ", FIRST)) }
    });
    // Another value, another revision, a start that fails with it at hand, and an agent that goes.
    told.push_str(&secret(SECOND));
    fleet.wait_event("of the change", |event| event["data"]["change"] == "SECRET_CHANGED");
    fleet.apply(&program("web", "echo begun; exec sleep 1001", "priority = 7"));
    let failing =
        fleet.file("bad.toml", &program("bad", "exec /no/such/program", "autorestart = false"));
    told.push_str(&said(&fleet.run(&["apply", &failing])));
    let agent = fleet.agent_pid("w1");
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    fleet.wait_event("of the new agent", |event| event["data"]["change"] == "AGENT_STARTED");
    let pid = number(&fleet.wait_state("web:0", "RUNNING")["pid"]);
    for value in [SECOND, FILED] {
        wait_until("only the child to have it", DEADLINE, || {
            let found = processes("environ", value);
            if found == [pid] { Ok(()) } else { Err(found) }
        });
    }
    // What verbs print, to people and to programs.
    for words in VERBS {
        let words: Vec<&str> = words.split(' ').collect();
        let output = fleet.run(&words);
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{words:?} says nothing");
        told.push_str(&said(&output));
    }
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    for path in PATHS {
        let answer = gateway.get(path, &[]);
        assert!(!answer.body.is_empty(), "{path} says nothing");
        told.push_str(&answer.body);
    }
    for method in ["supervisor.getAllProcessInfo", "supervisor.getAllConfigInfo"] {
        let call = format!("<methodCall><methodName>{method}</methodName><params/></methodCall>");
        told.push_str(&gateway.post("/RPC2", &[("content-type", "text/xml")], &call).body);
    }
    assert!(told.contains("{ secret = \"db-password\" }"), "what it is named is shown: {told}");
    for value in [FIRST, SECOND, FILED] {
        assert!(!told.contains(value), "{value} in {told}");
        // Logs of all daemons, the worker's at its most talkative, and its state directory; and all that
        // the server stores: every bucket and the stream of events.
        assert_eq!(holding(fleet.path(), value), [""; 0].map(PathBuf::from), "{value}");
        assert_eq!(holding(fleet.nats.directory(), value), [""; 0].map(PathBuf::from), "{value}");
        assert_eq!(processes("cmdline", value), [0; 0], "{value}");
    }
    assert_ne!(holding(fleet.nats.directory(), PLAIN), [""; 0].map(PathBuf::from));
    let log = std::fs::read_to_string(fleet.log("w1")).unwrap();
    assert!(log.contains("TRACE") && log.contains("secret db-password was set"), "{log}");
    let key = fleet.worker_directory("w1").join("seal.key");
    assert_eq!(std::fs::metadata(key).unwrap().mode() & 0o777, 0o600);
}
