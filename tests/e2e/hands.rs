//! People lay hands on what runs: signals, standard input, attach, and one-offs.

mod attach;
mod run;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fleet::{DEADLINE, Fleet, number, said};

/// Runs a verb with this on its standard input.
fn with_input(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut pipe, input) = (child.stdin.take().unwrap(), input.to_vec());
    // Whoever does not read it to the end closes it.
    let writing = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

fn verb(fleet: &Fleet, args: &[&str]) -> Command {
    let mut command = fleet.command();
    command.args(args);
    command
}

/// Bytes of every kind, none like those around it.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// Waits until a worker's file of an instance is just this.
fn wait_for_file(fleet: &Fleet, worker: &str, path: &str, wanted: &[u8]) {
    let path = fleet.worker_directory(worker).join("instances").join(path);
    wait_until("what it was given", DEADLINE, || {
        let found = std::fs::read(&path).unwrap_or_default();
        if found == wanted { Ok(()) } else { Err((found.len(), wanted.len())) }
    });
}

#[test]
fn signals_reach_the_child_that_is_meant_once() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.trap]\ncommand = '''trap 'echo got $((n+=1))' USR1; echo up; while :; do sleep 0.05; done'''\n\
         shell = true\nstartsecs = 0\nnumprocs = 2\n\
         [program.off]\ncommand = \"sleep 1000\"\nautostart = false\n",
    );
    wait_for_file(&fleet, "w1", "trap.0/stdout.log", b"up\n");
    wait_for_file(&fleet, "w1", "trap.1/stdout.log", b"up\n");
    let pid = number(&fleet.row("trap:0")["pid"]);
    for name in ["USR1", "sigusr1", "10"] {
        let shown = fleet.ok(&["--as", "ann", "signal", name, "trap:0"]);
        assert_eq!(shown, format!("trap:0: USR1 sent to pid {pid} on w1\n"));
        let count = 1 + ["USR1", "sigusr1", "10"].iter().position(|n| *n == name).unwrap();
        let got = (1..=count).map(|n| format!("got {n}\n")).collect::<Vec<_>>().concat();
        wait_for_file(&fleet, "w1", "trap.0/stdout.log", format!("up\n{got}").as_bytes());
    }
    let rows = fleet.json(&["signal", "USR1", "trap", "-o", "json"]);
    assert_eq!(
        (rows[1]["name"].as_str(), rows[1]["result"].as_str()),
        (Some("trap:1"), Some("done"))
    );
    wait_for_file(&fleet, "w1", "trap.1/stdout.log", b"up\ngot 1\n");
    let by_ann = |e: &Value| e["data"]["change"] == "SIGNALLED" && e["data"]["by"] == "ann";
    let event = fleet.wait_event("SIGNALLED", by_ann);
    let data = &event["data"];
    assert_eq!((&data["signal"], &data["pid"]), (&"USR1".into(), &pid.into()));
    // A worker answers, and tells it then.
    wait_until("each to be told once", DEADLINE, || {
        let all = fleet.events();
        let told = |by: &str| {
            let is = |e: &&Value| e["data"]["change"] == "SIGNALLED" && e["data"]["by"] == by;
            all.iter().filter(is).count()
        };
        let told = (told("ann"), told("anonymous"));
        if told == (3, 2) { Ok(()) } else { Err(told) }
    });

    let slip = fleet.fails(2, &["signal", "USR3", "trap"]);
    assert!(slip.contains("did you mean \"usr"), "{slip}");
    let swapped = fleet.fails(2, &["signal", "off", "USR1"]);
    assert!(swapped.contains("did you mean dsbus signal USR1 off"), "{swapped}");
    let off = fleet.fails(1, &["signal", "HUP", "off"]);
    assert!(
        off.contains("off:0 has no process: it is STOPPED") && off.contains("dsbus start"),
        "{off}"
    );
    let strange = fleet.fails(1, &["signal", "HUP", "nobody"]);
    assert!(strange.contains("nobody"), "{strange}");
}

/// What ends by a signal of a person has that as its cause in the events, before its end.
#[test]
fn an_end_by_a_signal_has_a_cause() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\nautorestart = false\n");
    fleet.ok(&["--as", "ann", "signal", "KILL", "web"]);
    fleet.wait_state("web:0", "EXITED");
    let exit = fleet.row("web:0")["exit"]["signal"].clone();
    assert_eq!(exit, 9);
    fleet.wait_event("EXITED", |e| e["data"]["state"] == "EXITED");
    let events = fleet.events();
    let at = |key: &str, value: &str| events.iter().position(|e| e["data"][key] == value).unwrap();
    assert!(at("change", "SIGNALLED") < at("state", "EXITED"));
}

/// A supervisor that is frozen sends it when it thaws, which whoever asked is told.
#[test]
fn a_signal_that_may_yet_be_sent_is_told_of() {
    let fleet = Fleet::start(1, 1);
    // Its worker is not lost meanwhile.
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\ntouch_timeout = 60\n");
    fleet.signal("w1", Signal::SIGSTOP);
    let told = fleet.fails(1, &["--as", "ann", "signal", "CONT", "web"]);
    fleet.signal("w1", Signal::SIGCONT);
    assert!(told.contains("did not say whether CONT was sent"), "{told}");
    assert!(told.contains("dsbus events web:0 --type SIGNALLED"), "{told}");
    fleet.wait_event("SIGNALLED", |e| e["data"]["change"] == "SIGNALLED");
}

#[test]
fn what_is_written_to_a_child_arrives_whole_and_once() {
    let mut fleet = Fleet::start(1, 1);
    // Slow enough that its pipe is full most of the time.
    let slow = "import sys, time\n\
                out = open('got', 'wb')\n\
                while True:\n    part = sys.stdin.buffer.raw.read(50000)\n    if not part: break\n    \
                out.write(part); out.flush(); time.sleep(0.005)\n\
                open('end', 'w').write('end')\ntime.sleep(1000)\n";
    let script = fleet.file("slow.py", slow);
    fleet.apply(&format!(
        "[program.slow]\ncommand = [\"python3\", \"{script}\"]\nstdin = true\nstartsecs = 0\n\
         [program.none]\ncommand = \"sleep 1000\"\nstartsecs = 0\nnumprocs = 2\n"
    ));
    let pid = number(&fleet.row("slow:0")["pid"]);
    let shown = fleet.ok(&["stdin", "slow", "a", "line"]);
    assert_eq!(shown, format!("slow:0: 7 bytes written to pid {pid} on w1\n"));
    let noise = noise(3_000_000);
    let mut command = verb(&fleet, &["stdin", "--eof", "slow:0"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&noise[..1_000_000]).unwrap();
    // Its agent dies with requests on their way: what is asked again is not written again.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(fleet.agent_pid("w1")), Signal::SIGKILL)
        .unwrap();
    pipe.write_all(&noise[1_000_000..]).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let wanted = [b"a line\n", &*noise].concat();
    wait_for_file(&fleet, "w1", "slow.0/got", &wanted);
    wait_for_file(&fleet, "w1", "slow.0/end", b"end");
    let closed = fleet.fails(1, &["stdin", "slow", "more"]);
    assert!(
        closed.contains("standard input of slow:0") && closed.contains("is closed"),
        "{closed}"
    );
    let event = fleet.wait_event("STDIN_CLOSED", |e| e["data"]["change"] == "STDIN_CLOSED");
    assert_eq!(event["data"]["pid"], pid);

    let none = fleet.fails(1, &["stdin", "none:0", "x"]);
    assert!(
        none.contains("none:0 has no standard input") && none.contains("stdin = true"),
        "{none}"
    );
    let several = fleet.fails(1, &["stdin", "none", "x"]);
    assert!(several.contains("name one: none:0, none:1"), "{several}");
    fleet.kill_worker("w1");
}

/// A child is known by epoch and process: what was meant for one does not reach the next.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_does_not_reach_the_next_child() {
    use dsbus_client::Error;
    use dsbus_schema::call::{SignalAsk, SignalSent, StdinAsk, StdinTaken, WorkerVerb};

    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"cat\"\nstdin = true\nstartsecs = 0\n");
    let before = fleet.row("web:0");
    fleet.ok(&["restart", "web"]);
    let after = fleet.row("web:0");
    assert_ne!(before["pid"], after["pid"]);
    let bus = crate::bus::connect(&fleet).await;
    let worker = "w1".parse().unwrap();
    for (row, pid, reaches) in [
        (&before, &before["pid"], false),
        (&after, &before["pid"], false),
        (&after, &after["pid"], true),
    ] {
        let mut ask = serde_json::json!({
            "name": "web:0", "epoch": row["epoch"], "pid": pid, "signal": "CONT", "by": "ann",
        });
        let signal: SignalAsk = serde_json::from_value(ask.clone()).unwrap();
        let sent: Result<SignalSent, Error> =
            bus.call_worker(&worker, WorkerVerb::Signal, &signal, DEADLINE).await;
        ask["writer"] = uuid::Uuid::now_v7().to_string().into();
        ask["offset"] = 0.into();
        ask["base64"] = StdinAsk::encoded(b"x\n").into();
        let stdin: StdinAsk = serde_json::from_value(ask).unwrap();
        let written: Result<StdinTaken, Error> =
            bus.call_worker(&worker, WorkerVerb::Stdin, &stdin, DEADLINE).await;
        assert_eq!((sent.is_ok(), written.is_ok()), (reaches, reaches), "{sent:?} {written:?}");
    }
    wait_for_file(&fleet, "w1", "web.0/stdout.log", b"x\n");
}
