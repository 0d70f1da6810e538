//! `dsbus run`.

use std::io::Write;
use std::process::Stdio;

use dsbus_harness::{Terminal, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{noise, verb, with_input};
use crate::fleet::{DEADLINE, Fleet, said};

/// Nothing of runs is left: no program, no goal, no placement.
fn assert_no_leftovers(fleet: &Fleet) {
    wait_until("no leftovers", DEADLINE, || {
        let rows = fleet.json(&["status", "-o", "json"]);
        if rows.as_array().unwrap().is_empty() { Ok(()) } else { Err(rows.to_string()) }
    });
    wait_until("no leftovers on workers", DEADLINE, || {
        let left: Vec<_> = ["w1", "w2"]
            .iter()
            .filter_map(|name| fleet.worker_directory(name).join("instances").read_dir().ok())
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn its_exit_code_and_output_are_ours() {
    let fleet = Fleet::start(1, 2);
    for (code, stdout, stderr, words) in [
        (0, "out\n", "err\n", &["sh", "-c", "echo out; echo err >&2"][..]),
        (7, "", "", &["sh", "-c", "exit 7"]),
        (143, "half a line", "", &["sh", "-c", "printf 'half a line'; kill -TERM $$"]),
        (137, "", "", &["sh", "-c", "kill -KILL $$"]),
        (0, "--numprocs 5\n", "", &["echo", "--numprocs", "5"]),
    ] {
        let args = [&["run", "--"], words].concat();
        let output = with_input(verb(&fleet, &args), b"");
        let shown = (output.status.code(), &*output.stdout, &*output.stderr);
        assert_eq!(shown, (Some(code), stdout.as_bytes(), stderr.as_bytes()), "{words:?}");
    }
    for (code, words, why) in [
        (
            127,
            &["--", "no-such-command"][..],
            "no file no-such-command is in any directory of PATH",
        ),
        (127, &["--", "/no/such/file"], "/no/such/file does not exist"),
        (126, &["--", "/etc/passwd"], "/etc/passwd is not executable"),
        (125, &["--directory", "/no/such", "--", "true"], "/no/such does not exist"),
        (125, &["--numprocs", "2", "--", "true"], "--numprocs: must be 1"),
        (125, &["--numproc", "2", "--", "true"], "--numprocs"),
        (
            125,
            &["--labels", "zone = mars", "--timeout", "500ms", "--", "true"],
            "did not start in time",
        ),
    ] {
        let args = [&["run"], words].concat();
        let output = with_input(verb(&fleet, &args), b"");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(told.contains(why) && output.stdout.is_empty(), "{words:?}: {told}");
    }
    assert_no_leftovers(&fleet);
}

#[test]
fn five_megabytes_come_back_as_they_went() {
    let fleet = Fleet::start(1, 2);
    let noise = noise(5_000_000);
    let output = with_input(verb(&fleet, &["run", "--", "cat"]), &noise);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == noise, "{} of {} bytes", output.stdout.len(), noise.len());
    // One that does not want all of it ends when it likes.
    let first = with_input(verb(&fleet, &["run", "--", "head", "-c", "10"]), &noise);
    assert_eq!((first.status.code(), &*first.stdout), (Some(0), &noise[..10]));
    assert_no_leftovers(&fleet);
}

#[test]
fn one_that_is_detached_stays_until_it_is_removed() {
    let fleet = Fleet::start(1, 2);
    let output = fleet.run(&["run", "--detach", "--", "sh", "-c", "cat; echo done; exit 4"]);
    let (name, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let name = name.trim();
    assert!(told.contains(&format!("dsbus logs {name}")), "{told}");
    assert!(told.contains(&format!("dsbus remove {name}")), "{told}");
    assert!(name.starts_with("run-") && name.len() == 12, "{name}");
    fleet.ok(&["wait", "--for", "stopped", name]);
    assert_eq!(fleet.row(name)["exit"]["code"], 4);
    assert_eq!(fleet.ok(&["logs", name]), "done\n");
    fleet.ok(&["remove", name]);
    let quiet = fleet.run(&["-q", "run", "--detach", "--name", "silent", "--", "true"]);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), (&b"silent\n"[..], &b""[..]));
    let kept = with_input(verb(&fleet, &["run", "--keep", "--name", "nightly", "--", "true"]), b"");
    assert!(kept.status.success(), "{}", said(&kept));
    let taken = fleet.fails(125, &["run", "--name", "nightly", "--", "true"]);
    assert!(taken.contains("nightly exists already") && taken.contains("dsbus remove"), "{taken}");
    assert_eq!(fleet.row("nightly:0")["state"], "EXITED");
}

#[test]
fn control_c_asks_it_to_stop_and_a_second_one_kills_it() {
    let fleet = Fleet::start(1, 1);
    let run = |script: &str| {
        Terminal::start(
            verb(&fleet, &["run", "--stopwaitsecs", "1000", "--", "sh", "-c", script]),
            80,
            24,
        )
    };
    let mut polite =
        run("trap 'echo bye; exit 3' INT; echo up; read line; echo \"you said $line\"; read line");
    polite.wait_for("up");
    polite.press("hello\r");
    polite.wait_for("you said hello");
    polite.press("\x03");
    polite.wait_for("is asked to stop; once more kills it");
    polite.wait_for("bye");
    assert_eq!(polite.ended().code(), Some(3));

    // As in a terminal, the whole of it hears Ctrl-C: a shell waits for what it runs.
    let mut plain = run("echo up; sleep 1000; echo no");
    plain.wait_for("up");
    plain.press("\x03");
    assert_eq!(plain.ended().code(), Some(130));

    let mut stubborn = run("trap '' INT; echo up; while :; do sleep 0.1; done");
    stubborn.wait_for("up");
    stubborn.press("\x03");
    stubborn.wait_for("once more kills it");
    stubborn.press("\x03");
    assert_eq!(stubborn.ended().code(), Some(130));
    assert_no_leftovers(&fleet);
}

#[test]
fn who_stops_reading_ends_it() {
    let fleet = Fleet::start(1, 1);
    let mut command = verb(&fleet, &["run", "--", "yes"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = wait_until("its end", DEADLINE, || child.try_wait().unwrap().ok_or("runs"));
    assert_eq!(status.code(), Some(141));
    assert_no_leftovers(&fleet);
}

/// It has ended, and is not read to the end: Ctrl-C still ends us.
#[test]
fn control_c_ends_what_is_left_to_be_shown() {
    let fleet = Fleet::start(1, 1);
    let words = ["run", "--keep", "--name", "long", "--", "head", "-c", "3000000", "/dev/zero"];
    let mut command = verb(&fleet, &words);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("its end", DEADLINE, || {
        let rows = fleet.try_json(&["status", "long", "-o", "json"])?;
        if rows[0]["state"] == "EXITED" { Ok(()) } else { Err(rows.to_string()) }
    });
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let status = wait_until("our end", DEADLINE, || {
        kill(pid, Signal::SIGINT).unwrap();
        child.try_wait().unwrap().ok_or("goes on")
    });
    assert_eq!(status.code(), Some(130));
}

/// Whoever removes it may declare another program under its name, before we hear of it.
#[test]
fn another_program_of_its_name_is_left_alone() {
    let fleet = Fleet::start(1, 1);
    let mut command = verb(&fleet, &["run", "--name", "nightly", "--", "cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"mine\n").unwrap();
    let log = fleet.worker_directory("w1").join("instances/nightly.0/stdout.log");
    wait_until("its word", DEADLINE, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text == "mine\n" { Ok(()) } else { Err(text) }
    });
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    fleet.ok(&["remove", "nightly"]);
    fleet.ok(&["create", "nightly", "--stdin", "--startsecs", "0", "--", "cat"]);
    let other = fleet.row("nightly:0")["pid"].clone();
    kill(pid, Signal::SIGCONT).unwrap();
    // It may have ended by now.
    drop(pipe.write_all(b"for mine only\n"));
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{err}");
    assert!(err.contains("nightly was removed"), "{err}");
    let row = fleet.row("nightly:0");
    assert_eq!((&row["state"], &row["pid"]), (&"RUNNING".into(), &other));
    assert!(!std::fs::read_to_string(&log).unwrap().contains("for mine only"));
}

/// Its worker is lost. What had used up some of its input is not run again on the rest of it.
#[test]
fn a_lost_worker_is_told_of_and_input_is_not_given_twice() {
    let mut fleet = Fleet::start(1, 2);
    let words = [
        "run",
        "--touch-timeout",
        "9s",
        "--",
        "sh",
        "-c",
        "echo up on $DSBUS_WORKER; cat; echo done",
    ];
    let mut again = verb(&fleet, &words[..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let row = wait_until("its child", DEADLINE, || {
        let rows = fleet.try_json(&["status", "-o", "json"])?;
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["pid"].is_number())
            .cloned()
            .ok_or(rows.to_string())
    });
    let worker = row["worker"].as_str().unwrap().to_owned();
    fleet.kill_worker(&worker);
    let other = if worker == "w1" { "w2" } else { "w1" };
    fleet.wait_row(row["name"].as_str().unwrap(), "elsewhere", |row| {
        row["worker"] == other && row["pid"].is_number()
    });
    // Nothing was used up: it has all of it now.
    again.stdin.take().unwrap().write_all(b"late\n").unwrap();
    let output = again.wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.ends_with("late\ndone\n"), "{out}");
    assert!(err.contains(&format!("runs again, on {other}")), "{err}");

    fleet.worker(&worker);
    fleet.wait_ready(2);
    let mut used = verb(&fleet, &words[..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = used.stdin.take().unwrap();
    pipe.write_all(b"early\n").unwrap();
    let name = wait_until("its child", DEADLINE, || {
        let rows = fleet.try_json(&["status", "-o", "json"])?;
        let is = |row: &&Value| row["pid"].is_number();
        rows.as_array().unwrap().iter().find(is).cloned().ok_or(rows.to_string())
    });
    let worker = name["worker"].as_str().unwrap().to_owned();
    let log = format!("{}/stdout.log", name["name"].as_str().unwrap().replace(':', "."));
    wait_until("its word", DEADLINE, || {
        let path = fleet.worker_directory(&worker).join("instances").join(&log);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with("early\n") { Ok(()) } else { Err(text) }
    });
    fleet.kill_worker(&worker);
    let output = used.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{err}");
    assert!(err.contains("6 bytes of its input were used up"), "{err}");
    drop(pipe);
}

/// It is stopped there first, which is not its end.
#[test]
fn a_worker_that_is_told_to_stop_hands_it_over() {
    let mut fleet = Fleet::start(1, 2);
    let words = ["run", "--stopwaitsecs", "1", "--stdin", "false", "--", "sh", "-c"];
    // Only the first one stays.
    let marker = fleet.path().join("first");
    let script = format!(
        "{}; if mkdir {} 2>/dev/null; then while :; do sleep 0.05; done; fi; exit 9",
        "trap '' INT; echo up on $DSBUS_WORKER",
        marker.display()
    );
    let child = verb(&fleet, &[&words[..], &[&script]].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the first one", DEADLINE, || if marker.is_dir() { Ok(()) } else { Err("none") });
    let rows = fleet.json(&["status", "-o", "json"]);
    let worker = rows[0]["worker"].as_str().unwrap().to_owned();
    let other = if worker == "w1" { "w2" } else { "w1" };
    fleet.signal(&worker, Signal::SIGTERM);
    assert_eq!(fleet.wait_exit(&worker), Some(0));
    let output = child.wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(9), "{out}{err}");
    assert_eq!(out, format!("up on {worker}\nup on {other}\n"), "{err}");
    assert!(err.contains(&format!("runs again, on {other}")), "{err}");
    wait_until("that it is forgotten", DEADLINE, || {
        let rows = fleet.json(&["status", "-o", "json"]);
        if rows.as_array().unwrap().is_empty() { Ok(()) } else { Err(rows.to_string()) }
    });
}
