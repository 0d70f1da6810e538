//! What daemons tell whoever started them, as systemd hears it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_harness::previous;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, DSBUS, Fleet};

/// Listens to one daemon as systemd does.
struct Init {
    directory: tempfile::TempDir,
    messages: Receiver<String>,
    child: Option<Child>,
}

impl Init {
    fn new() -> Init {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let (sender, messages) = channel();
        // Whatever the test does meanwhile: for what finds no room a daemon does not wait.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n) = socket.recv(&mut bytes) {
                if sender.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Init { directory, messages, child: None }
    }

    fn start(&mut self, words: &[&str]) {
        self.start_from(Path::new(DSBUS), words);
    }

    /// The same from another executable.
    fn start_from(&mut self, binary: &Path, words: &[&str]) {
        let mut command = Command::new("sh");
        // The process id is this shell's, and so its successor's.
        command.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""]).arg(binary).args(words);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command.env("WATCHDOG_USEC", Duration::from_secs(3).as_micros().to_string());
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        self.child =
            Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn next(&self) -> String {
        self.messages.recv_timeout(DEADLINE).unwrap_or_else(|e| {
            panic!("{e}: {}", std::fs::read_to_string(self.directory.path().join("log")).unwrap())
        })
    }

    /// The first message from now on that says this, whole.
    fn wait(&self, what: &str) -> String {
        loop {
            let message = self.next();
            if message.contains(what) {
                return message;
            }
            assert!(!message.contains("STOPPING=1"), "{what}, but: {message}");
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn each_daemon_says_when_it_is_ready_and_that_it_goes_round_and_that_it_stops() {
    let fleet = Fleet::bare();
    let url = fleet.nats.url();
    let state = fleet.worker_directory("w1");
    let alert = fleet.file(
        "alert.toml",
        "[[rule]]\nname = \"r\"\nevents = [\"FATAL\"]\nsend = [\"t\"]\n\
         [target.t]\ntype = \"command\"\ncommand = \"cat\"\n",
    );
    let mut inits = Vec::new();
    let worker = ["worker", "--name", "w1", "--dir", state.to_str().unwrap()];
    for (words, status) in [
        (&["scheduler", "--id", "s1"][..], "STATUS=schedules as s1"),
        (&["gateway", "--listen", "127.0.0.1:0"], "STATUS=listens on http://127.0.0.1:"),
        (&["alert", &alert], "STATUS=tells by the rules alert"),
        (&worker, "STATUS=runs 0 children"),
    ] {
        let mut init = Init::new();
        init.start(&[&["--nats", &url], words].concat());
        let first = init.next();
        assert!(first.contains("STATUS=waits for the bus") && !first.contains("READY"), "{first}");
        let ready = init.wait("READY=1");
        assert!(ready.contains(status), "{ready}");
        init.wait("WATCHDOG=1");
        inits.push(init);
    }
    fleet.apply("[program.p]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let worker = &inits[3];
    worker.wait("STATUS=runs 1 child\n");
    // It reads its file again, and is ready again.
    worker.signal(Signal::SIGHUP);
    worker.wait("RELOADING=1");
    worker.wait("READY=1");
    // What its children have is their own business.
    fleet.apply("[program.e]\ncommand = \"sh -c 'env; sleep 1000'\"\nstartsecs = 0\n");
    let said = dsbus_harness::wait_until("its environment", DEADLINE, || {
        let said = fleet.ok(&["logs", "e:0", "-n", "100"]);
        if said.contains("DSBUS_INSTANCE") { Ok(said) } else { Err(said) }
    });
    assert!(!said.contains("NOTIFY_SOCKET") && !said.contains("WATCHDOG"), "{said}");
    for init in inits.iter().rev() {
        init.signal(Signal::SIGTERM);
        init.wait("STOPPING=1");
    }
}

#[test]
fn a_worker_without_a_bus_is_ready_after_a_while_and_one_that_cannot_run_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let nowhere = ["--nats", "nats://127.0.0.1:1", "worker", "--name", "w1", "--dir", state];
    let mut init = Init::new();
    init.start(&nowhere);
    let first = init.next();
    assert!(first.contains("STATUS=waits for the bus"), "{first}");
    // A machine comes up without the bus; until then it asks for patience.
    init.wait("EXTEND_TIMEOUT_USEC=");
    let ready = init.wait("READY=1");
    assert!(ready.contains("STATUS=was not told yet what it is to run"), "{ready}");
    let mut second = Init::new();
    second.start(&nowhere);
    let why = second.wait("STOPPING=1");
    assert!(why.contains("STATUS=the worker ends: another worker (pid"), "{why}");
}

#[test]
fn a_worker_that_brings_in_a_new_version_is_ready_when_that_is_done() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let (binary, state) = (fleet.path().join("dsbus"), fleet.worker_directory("w1"));
    symlink(previous(Path::new(DSBUS)), &binary).unwrap();
    let mut init = Init::new();
    let url = fleet.nats.url();
    let worker = ["--nats", &url, "worker", "--name", "w1", "--dir", state.to_str().unwrap()];
    init.start_from(&binary, &worker);
    init.wait("READY=1");
    // It takes its time until it may go on.
    let go = fleet.path().join("go");
    let slow = fleet.path().join("slow");
    let waits = format!(
        "#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.05; done\nexec {DSBUS} \"$@\"\n",
        go = go.display()
    );
    std::fs::write(&slow, waits).unwrap();
    std::fs::set_permissions(&slow, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&slow, &binary).unwrap();
    init.signal(Signal::SIGHUP);
    init.wait("RELOADING=1");
    // Its loop goes round all the time, and it is not ready.
    let mut rounds = 0;
    while rounds < 3 {
        let said = init.next();
        assert!(!said.contains("READY=1"), "{said}");
        rounds += usize::from(said.contains("WATCHDOG=1"));
    }
    std::fs::write(&go, "").unwrap();
    init.wait("READY=1");
    fleet.wait_event("of the new version", |event| event["data"]["change"] == "UPGRADED");
}
