//! Event listeners of Supervisor's kind on a fleet: `dsbus listen`, and `[eventlistener.NAME]`.

use std::collections::BTreeSet;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use crate::bridge::{Bridge, Lines, recorder, repository};
use crate::fleet::{DEADLINE, Fleet, said, wait_dead};

/// A program that ends by itself when a file is there, with this code.
fn ending(name: &str, fleet: &Fleet, code: u8) -> String {
    let gate = fleet.path().join(format!("{name}.end"));
    format!(
        "[program.{name}]\nautorestart = false\nstartsecs = 0\n\
         command = [\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.05; done; exit {code}\"]\n",
        gate.display()
    )
}

fn end(name: &str, fleet: &Fleet) {
    fleet.file(&format!("{name}.end"), "");
}

#[test]
fn the_classic_alert_script_tells_of_what_ended_unexpectedly() {
    let fleet = Fleet::start(1, 1);
    let sent = Lines::of(&fleet, "alerts");
    let alert = format!("cat >> {}", sent.path());
    let script = repository("examples/alert.py");
    let args = ["-e", "PROCESS_STATE_EXITED", "--", "python3", &script];
    fleet.apply(&(ending("good", &fleet, 0) + &ending("bad", &fleet, 3)));
    let bridge = Bridge::start(&fleet, &args, &[("ALERT_COMMAND", &alert)]);
    bridge.wait_log("listens to PROCESS_STATE_EXITED");
    for name in ["good", "bad"] {
        end(name, &fleet);
        fleet.wait_state(&format!("{name}:0"), "EXITED");
    }
    let lines = sent.wait("an alert", |lines| !lines.is_empty());
    assert!(lines[0].starts_with("bad:bad ended unexpectedly (pid "), "{lines:?}");
    assert_eq!(bridge.stop(), Some(0));
    assert_eq!(sent.all().len(), 1, "one alert, and none for what was expected");
}

#[test]
fn what_happens_while_no_listener_runs_waits_for_it() {
    let fleet = Fleet::start(1, 1);
    let sent = Lines::of(&fleet, "alerts");
    let script = repository("examples/alert.py");
    let args = ["-e", "PROCESS_STATE_EXITED", "--", "python3", &script];
    let programs: String = (0..6).map(|n| ending(&format!("p{n}"), &fleet, 3)).collect();
    fleet.apply(&programs);
    // The first two cannot be sent, so they come again, and the second bridge has them, too.
    let bridge = Bridge::start(&fleet, &args, &[("ALERT_COMMAND", "exit 1")]);
    bridge.wait_log("listens to");
    end("p0", &fleet);
    end("p1", &fleet);
    bridge.wait_log("not sent, so the event has to come again");
    fleet.wait_event("the rejection", |e| e["data"]["change"] == "REJECTED");
    assert_eq!(bridge.stop(), Some(0));
    end("p2", &fleet);
    end("p3", &fleet);
    fleet.wait_state("p2:0", "EXITED");
    fleet.wait_state("p3:0", "EXITED");
    let alert = format!("cat >> {}", sent.path());
    let bridge = Bridge::start(&fleet, &args, &[("ALERT_COMMAND", &alert)]);
    sent.wait("four alerts", |lines| lines.len() >= 4);
    end("p4", &fleet);
    let lines = sent.wait("five alerts", |lines| lines.len() >= 5);
    let of = |line: &String| line.split(':').next().unwrap().to_owned();
    let names: Vec<String> = lines.iter().map(of).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!((names.len(), distinct.len()), (5, 5), "each once: {lines:?}");
    let serials: Vec<u64> = lines.iter().map(|line| serial(line)).collect();
    assert!(serials.is_sorted(), "in their order: {lines:?}");
    bridge.stop();
}

fn serial(line: &str) -> u64 {
    let digits = line.rsplit("serial ").next().unwrap();
    digits.trim_end_matches(')').parse().unwrap()
}

#[test]
fn a_listener_is_a_program_that_outlives_its_worker() {
    let mut fleet = Fleet::start(1, 3);
    let sent = Lines::of(&fleet, "alerts");
    let script = repository("examples/alert.py");
    let programs: String =
        (0..9).map(|n| ending(&format!("p{n}"), &fleet, 3) + "machines = \"w3\"\n").collect();
    fleet.apply(&format!(
        "[eventlistener.alert]\ncommand = \"python3 {script}\"\nevents = \"PROCESS_STATE_EXITED\"\n\
         machines = [\"w1\", \"w2\"]\ntouch_timeout = 3\n\
         environment = {{ ALERT_COMMAND = \"cat >> {}\" }}\n{programs}",
        sent.path()
    ));
    let row = fleet.row("alert:0");
    assert_eq!(row["state"], "RUNNING");
    let worker = row["worker"].as_str().unwrap().to_owned();
    for n in 0..3 {
        end(&format!("p{n}"), &fleet);
    }
    sent.wait("three alerts", |lines| lines.len() >= 3);
    fleet.kill_worker(&worker);
    for n in 3..6 {
        end(&format!("p{n}"), &fleet);
    }
    fleet.wait_row("alert:0", "on the other worker", |row| {
        row["state"] == "RUNNING" && row["worker"] != worker.as_str()
    });
    for n in 6..9 {
        end(&format!("p{n}"), &fleet);
    }
    let names = |lines: &[String]| {
        lines.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    sent.wait("an alert for each", |lines| names(lines).len() == 9);
    let told = fleet.events();
    let exits = told.iter().filter(|e| e["data"]["state"] == "EXITED").count();
    assert_eq!(exits, 9);
}

#[test]
fn a_listener_that_leaves_the_protocol_is_seen_and_started_anew() {
    let fleet = Fleet::start(1, 1);
    let noise =
        fleet.file("noise.py", "print('hello', flush=True)\nimport time\ntime.sleep(1000)\n");
    let file = fleet.file(
        "apply.toml",
        &format!(
            "[eventlistener.noisy]\ncommand = \"python3 {noise}\"\nevents = \"EVENT\"\nstartsecs = 0\n"
        ),
    );
    fleet.ok(&["apply", "--no-wait", &file]);
    let event = fleet.wait_event("that it left", |e| e["data"]["change"] == "UNKNOWN");
    assert_eq!(event["data"]["listener"], "noisy");
    let reason = event["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("hello") && reason.contains("READY"), "{reason}");
    fleet.wait_row("noisy:0", "restarted", |row| row["restarts"].as_u64() >= Some(2));
    let ended = fleet.wait_event("its end", |e| e["data"]["state"] == "EXITED");
    assert_eq!(ended["data"]["exit"]["code"], 1);
}

#[test]
fn a_listener_that_cannot_run_is_an_error_where_it_is_written() {
    let fleet = Fleet::start(1, 1);
    let slip = "[eventlistener.x]\ncommand = \"true\"\nevents = [\"PROCES_STATE\"]\n";
    let said = fleet.fails(1, &["apply", &fleet.file("slip.toml", slip)]);
    assert!(said.contains("slip.toml:3") && said.contains("did you mean PROCESS_STATE?"), "{said}");
    let said = fleet
        .fails(1, &["apply", &fleet.file("none.toml", "[eventlistener.x]\ncommand = \"true\"\n")]);
    assert!(said.contains("eventlistener.x.events: is missing"), "{said}");
    let said = fleet.fails(2, &["listen", "-e", "PROCESS_STATE,EXITED", "--", "true"]);
    assert!(said.contains("did you mean PROCESS_STATE_EXITED?"), "{said}");
    let said = fleet.fails(1, &["listen", "--", "/no/such/listener"]);
    assert!(said.contains("/no/such/listener: No such file"), "{said}");
    let missing = "[eventlistener.x]\ncommand = \"/no/such/listener\"\nevents = \"EVENT\"\nstartretries = 0\n";
    fleet.fails(1, &["apply", &fleet.file("missing.toml", missing)]);
    let row = fleet.wait_state("x:0", "FATAL");
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("/no/such/listener does not exist"), "{reason}");
}

#[test]
fn a_pool_shares_and_the_end_of_its_bridge_ends_it() {
    let fleet = Fleet::start(1, 1);
    let out = Lines::of(&fleet, "heard");
    let recorder = recorder(&fleet);
    let args =
        ["--pool", "3", "--name", "rec", "--startsecs", "0", "--from-seq", "1", "--", "python3"];
    let args = [&args[..], &[&recorder, out.path()]].concat();
    let program = |n: u32| format!("[program.p{n}]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let programs = (0..10).map(program).collect::<Vec<_>>().concat();
    fleet.apply(&programs);
    let bridge = Bridge::start(&fleet, &args, &[]);
    // STARTING and RUNNING of each, each to one of three processes.
    let lines = out.wait("twenty events", |lines| lines.len() >= 20);
    let field = |line: &String, at: usize| line.split('\t').nth(at).unwrap().to_owned();
    let headers: BTreeSet<String> = lines.iter().map(|line| field(line, 1)).collect();
    assert_eq!((lines.len(), headers.len()), (20, 20), "{lines:?}");
    let who = |at: usize| lines.iter().map(|line| field(line, at)).collect::<BTreeSet<_>>();
    assert!(who(3).is_subset(&["rec_00", "rec_01", "rec_02"].map(str::to_owned).into()));
    assert_eq!(who(4), ["rec".to_owned()].into());
    let pids = wait_until("a pool of three", DEADLINE, || {
        let pids = bridge.children();
        if pids.len() == 3 { Ok(pids) } else { Err(pids) }
    });
    bridge.signal(Signal::SIGKILL);
    // Nobody stops them, but their standard input ends.
    pids.into_iter().for_each(wait_dead);
}

/// A program that is declared together with others hears all of them from the first moment on.
#[test]
fn a_listener_that_is_declared_with_twenty_programs_misses_none_of_their_events() {
    let fleet = Fleet::start(2, 2);
    let out = Lines::of(&fleet, "heard");
    let recorder = recorder(&fleet);
    let program = |n: u32| format!("[program.p{n:02}]\ncommand = \"sleep 1000\"\n");
    let programs = (0..20).map(program).collect::<Vec<_>>().concat();
    fleet.apply(&format!(
        "{programs}[eventlistener.rec]\ncommand = \"python3 {recorder} {}\"\nevents = \"PROCESS_STATE\"\n",
        out.path()
    ));
    // STARTING and RUNNING of each, and of the listener itself.
    let lines = out.wait("42 events", |lines| lines.len() >= 42);
    let payloads: BTreeSet<String> =
        lines.iter().map(|line| line.split('\t').nth(2).unwrap().to_owned()).collect();
    assert_eq!((lines.len(), payloads.len()), (42, 42), "{lines:?}");
    let environment: Vec<&str> = lines[0].split('\t').skip(3).collect();
    assert_eq!(environment, ["rec", "rec", "1", ""]);
    // As the server keeps them.
    let consumers = fleet.nats.directory().join("store/jetstream/$G/streams/DSBUS_EVENTS/obs");
    let place = || {
        let names = std::fs::read_dir(&consumers).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).find(|name| name.starts_with("rec-"))
    };
    assert!(place().is_some());
    fleet.ok(&["remove", "rec"]);
    wait_until("its place to be forgotten", DEADLINE, || place().map_or(Ok(()), Err));
}

#[test]
fn a_bus_that_is_away_is_waited_for_and_the_listener_is_not_bothered() {
    let mut fleet = Fleet::start(1, 1);
    let out = Lines::of(&fleet, "heard");
    let recorder = recorder(&fleet);
    let args =
        ["-e", "REMOTE_COMMUNICATION", "--name", "rec", "--", "python3", &recorder, out.path()];
    // It is started before there is a bus.
    fleet.nats.stop();
    let bridge = Bridge::start(&fleet, &args, &[]);
    fleet.nats.restart();
    bridge.wait_log("rec listens to");
    let emit = |fleet: &Fleet, name: &str| {
        wait_until("something to be said", DEADLINE, || {
            let output = fleet.run(&["emit", name, "x"]);
            if output.status.success() { Ok(()) } else { Err(said(&output)) }
        });
    };
    // Until it listens, what is said is not for it.
    wait_until("the first event", DEADLINE, || {
        emit(&fleet, "first");
        if out.all().is_empty() { Err("not yet") } else { Ok(()) }
    });
    fleet.nats.restart();
    emit(&fleet, "second");
    let lines =
        out.wait("the second event", |lines| lines.iter().any(|l| l.contains("type:second")));
    let pids: BTreeSet<&str> = lines.iter().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(pids.len(), 1, "one process has heard them all: {lines:?}");
    assert_eq!(bridge.stop(), Some(0));
}

#[test]
fn copies_of_a_listener_share_its_events() {
    let fleet = Fleet::start(1, 3);
    let out = Lines::of(&fleet, "heard");
    let recorder = recorder(&fleet);
    fleet.apply(&format!(
        "[eventlistener.rec]\ncommand = \"python3 {recorder} {}\"\nevents = \"REMOTE_COMMUNICATION\"\n\
         numprocs = 3\nbuffer_size = 3\n",
        out.path()
    ));
    for n in 0..30 {
        fleet.ok(&["emit", "work", &n.to_string()]);
    }
    let lines = out.wait("thirty events", |lines| lines.len() >= 30);
    let of = |at: usize| {
        lines.iter().map(|line| line.split('\t').nth(at).unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!((lines.len(), of(2).len()), (30, 30), "each once: {lines:?}");
    assert!(of(3).is_subset(&["rec_00", "rec_01", "rec_02"].into()), "{lines:?}");
}

#[test]
fn what_a_bridge_is_killed_with_comes_again_with_its_serial() {
    let fleet = Fleet::start(1, 1);
    let out = Lines::of(&fleet, "heard");
    let recorder = recorder(&fleet);
    // It never answers.
    let silent = fleet.file(
        "silent.py",
        "import sys\nprint('READY', flush=True)\nopen(sys.argv[1], 'w').write(sys.stdin.readline())\nsys.stdin.read()\n",
    );
    let got = Lines::of(&fleet, "got");
    let args = |script: &str, file: &Lines| {
        let words =
            ["-e", "REMOTE_COMMUNICATION", "--name", "rec", "--from-seq", "1", "--", "python3"];
        let own = [script.to_owned(), file.path().to_owned()];
        words.into_iter().map(str::to_owned).chain(own).collect::<Vec<_>>()
    };
    let start = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Bridge::start(&fleet, &args, &[])
    };
    fleet.ok(&["emit", "first", "x"]);
    let bridge = start(&args(&silent, &got));
    let first = got.wait("an event in its hands", |lines| !lines.is_empty()).remove(0);
    bridge.signal(Signal::SIGKILL);
    fleet.ok(&["emit", "second", "x"]);
    let bridge = start(&args(&recorder, &out));
    let lines = out.wait("both events", |lines| lines.len() >= 2);
    let serial = |line: &str| {
        line.split_once(" serial:").unwrap().1.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(serial(&lines[0]), serial(&first), "first, and the same: {lines:?}");
    assert!(lines[1].contains("type:second"), "{lines:?}");
    bridge.stop();
}
