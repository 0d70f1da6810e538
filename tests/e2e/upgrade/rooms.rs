//! All that a worker has for its children goes along: sockets, hooks that run, secrets, half lines.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use dsbus_harness::{Port, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Scene;
use crate::fleet::{DEADLINE, DSBUS, alive, assert_gapless, number, wait_dead};

/// Waits for the file `go` in its directory.
const WAITS: &str = "until [ -e go ]; do sleep 0.02; done";

/// A server on the socket that its worker gave it: it says its process id.
const SERVER: &str = "import os, socket\n\
                      given = socket.socket(fileno=3)\n\
                      while True:\n\
                      \x20   peer = given.accept()[0]\n\
                      \x20   peer.sendall(str(os.getpid()).encode())\n\
                      \x20   peer.close()\n";

/// Says that it is ready once it may.
const READY: &str = "import os, socket, time\n\
                     while not os.path.exists('go'): time.sleep(0.02)\n\
                     to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                     to.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])\n\
                     to.send(b'READY=1')\n\
                     time.sleep(1000)\n";

/// Those that run, and those that wait to be ready.
const RUNNING: [&str; 5] = ["server:0", "halves:0", "secret:0", "watching:0", "single:0"];
const STARTING: [&str; 4] = ["ready:0", "hooked:0", "probed:0", "asked:0"];

/// Declares a program for each room.
fn programs(scene: &Scene, port: u16, silent: SocketAddr) -> String {
    let fleet = &scene.fleet;
    let (server, ready) = (fleet.file("server.py", SERVER), fleet.file("ready.py", READY));
    let watched = scene.script("watched", "exec sleep 1000");
    let watched = watched.display();
    format!(
        r#"
        [defaults]
        command = "sleep 1000"
        startsecs = 0
        start_timeout = "10m"
        stopwaitsecs = 600
        [program.server]
        command = ["python3", "{server}"]
        listen = "tcp://127.0.0.1:{port}"
        stopwaitsecs = 1
        [program.single]
        exclusive = true
        touch_timeout = "60s"
        [program.ready]
        command = ["python3", "{ready}"]
        notify = true
        [program.hooked]
        pre_start = {{ command = "echo ran >> hooks; {WAITS}", shell = true, timeout = "10m" }}
        [program.probed]
        readiness = {{ exec = ["sh", "-c", "{WAITS}"], timeout = "10m" }}
        [program.asked]
        readiness = {{ http = "http://{silent}/", timeout = "10m" }}
        [program.broken]
        command = "exit 1"
        shell = true
        startsecs = 1
        startretries = 1000
        [program.deaf]
        command = "trap '' TERM; echo up; while :; do sleep 0.1; done"
        shell = true
        [program.halves]
        command = "printf 'one '; {WAITS}; echo two; printf '<!--XSUPERVISOR:BEGIN-->a'; sleep 1000"
        shell = true
        log_timestamps = true
        stdout_capture_maxbytes = "1KB"
        [program.secret]
        command = "echo $WORD; sleep 1000"
        shell = true
        environment = {{ WORD = {{ secret = "word" }} }}
        [program.watching]
        command = "{watched}"
        restart_when_binary_changed = true
        "#
    )
}

/// Who answers at a port.
fn answer(port: u16) -> i32 {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    said.parse().unwrap()
}

fn home(scene: &Scene, name: &str) -> PathBuf {
    scene.fleet.worker_directory("w1").join("instances").join(name)
}

fn text(scene: &Scene, name: &str, file: &str) -> String {
    std::fs::read_to_string(home(scene, name).join(file)).unwrap_or_default()
}

/// Waits until everything is in the middle of something; the process ids of those that run.
fn wait_begun(scene: &Scene, port: u16) -> Vec<Value> {
    let fleet = &scene.fleet;
    let pids = RUNNING.iter().map(|name| fleet.wait_state(name, "RUNNING")["pid"].clone());
    let pids = pids.collect();
    for name in STARTING {
        fleet.wait_state(name, "STARTING");
    }
    wait_until("the hook to run, half a line, and deaf", DEADLINE, || {
        let found = (
            text(scene, "hooked.0", "hooks"),
            text(scene, "halves.0", "stdout.log"),
            text(scene, "deaf.0", "stdout.log"),
        );
        let begun = found.0 == "ran\n" && found.1.ends_with("one ") && found.2 == "up\n";
        if begun { Ok(()) } else { Err(found) }
    });
    let connect = || TcpStream::connect(("127.0.0.1", port)).map(drop);
    wait_until("the server to answer", DEADLINE, connect);
    fleet.ok(&["stop", "--no-wait", "deaf"]);
    fleet.wait_state("deaf:0", "STOPPING");
    fleet.wait_state("broken:0", "BACKOFF");
    pids
}

/// What had begun ends well.
fn wait_ended(scene: &Scene, silent: TcpListener) {
    let fleet = &scene.fleet;
    for name in ["ready.0", "hooked.0", "probed.0", "halves.0"] {
        std::fs::write(home(scene, name).join("go"), "").unwrap();
    }
    // The new agent asks once more, and now it is answered.
    std::thread::spawn(move || {
        for mut peer in silent.incoming().flatten() {
            // Of the agent before there is nobody left to hear it.
            let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for name in STARTING {
        assert_eq!(fleet.wait_state(name, "RUNNING")["restarts"], 0, "{name}");
    }
    assert_eq!(text(scene, "hooked.0", "hooks"), "ran\n", "the hook ran once");
    wait_until("the other half", DEADLINE, || {
        let log = text(scene, "halves.0", "stdout.log");
        let whole = log.ends_with("Z one two\n") && log.lines().count() == 1;
        if whole { Ok(()) } else { Err(log) }
    });
}

#[test]
fn all_that_belongs_to_a_child_goes_along() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    fleet.set_secret("word", "open sesame");
    let reserved = Port::reserve();
    let port = reserved.number();
    // It takes what comes, and says nothing yet.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = fleet.file("rooms.toml", &programs(&scene, port, silent.local_addr().unwrap()));
    fleet.ok(&["apply", "--no-wait", &file]);
    let before = wait_begun(&scene, port);

    // What is handed over is kept where somebody wants to have it, for a new golden file.
    let kept = option_env!("RECORD_HANDOVER").map(PathBuf::from);
    let kept = kept.unwrap_or_else(|| fleet.path().join("handover"));
    let keeps = format!(
        "if taking:\n    open({kept:?}, 'w').write(open('/proc/self/fd/' + taking[0]).read())\n\
         os.execv({DSBUS:?}, words)"
    );
    scene.replace(&scene.python("keeps", &keeps));
    scene.hup();
    scene.wait_told("UPGRADED", 1);

    assert_eq!(Value::from(answer(port)), before[0], "the same child answers");
    for (name, pid) in RUNNING.iter().zip(&before) {
        assert_eq!(&fleet.row(name)["pid"], pid, "{name}");
    }
    fleet.wait_state("deaf:0", "STOPPING");
    wait_ended(&scene, silent);
    // The socket is open still when its child is another one.
    let pid = number(&before[0]);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_dead(pid);
    let again = answer(port);
    assert!(again != pid && alive(again));
    // The secret is known still.
    kill(Pid::from_raw(number(&before[2])), Signal::SIGKILL).unwrap();
    wait_until("the secret word", DEADLINE, || {
        let lines = scene.lines("secret.0");
        if lines == ["open sesame", "open sesame"] { Ok(()) } else { Err(lines) }
    });
    let watched = std::fs::File::options().append(true).open(fleet.path().join("watched"));
    watched.unwrap().write_all(b"#\n").unwrap();
    fleet.wait_row("watching:0", "restarted for its file", |row| {
        row["state"] == "RUNNING" && row["pid"] != before[3]
    });
    assert_gapless(&fleet.events());
}
