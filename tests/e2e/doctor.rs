//! `dsbus doctor`, `config` and `version` on real fleets, well and ill.

use dsbus_harness::wait_until;
use serde_json::Value;

use crate::fleet::{DEADLINE, Fleet, said};

/// What was found of each check that is not well, and the exit code.
fn ill(fleet: &Fleet, args: &[&str]) -> (Vec<(String, String)>, Option<i32>) {
    let output = fleet.command().args(args).args(["doctor", "-o", "json"]).output().unwrap();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ill = found.as_array().unwrap().iter().filter(|finding| finding["verdict"] != "good");
    // Whether this machine has cgroups to give, and how full its disk is, is not what is tested.
    let ill = ill.filter(|f| f["check"] != "cgroups" && f["check"] != "disks");
    let ill = ill.map(|finding| {
        assert!(!text(&finding["fix"]).is_empty(), "{finding}");
        (text(&finding["check"]), text(&finding["text"]))
    });
    (ill.collect(), output.status.code())
}

fn has(found: &[(String, String)], check: &str, said: &str) -> bool {
    found.iter().any(|(c, text)| c == check && text.contains(said))
}

/// Waits until this is found, and the exit code is so: on a busy machine somebody may answer late, which
/// is found as well.
fn wait_ill(fleet: &Fleet, code: i32, wanted: &[(&str, &str)]) {
    wait_until(&format!("the doctor to find {wanted:?} ({code})"), DEADLINE, || {
        let (found, ended) = ill(fleet, &[]);
        let all = wanted.iter().all(|(check, said)| has(&found, check, said));
        if all && ended == Some(code) { Ok(()) } else { Err((found, ended)) }
    });
}

/// Waits until the doctor says this, and ends so.
fn wait_said(fleet: &Fleet, code: i32, is: impl Fn(&str) -> bool) {
    wait_until("the doctor's words", DEADLINE, || {
        let output = fleet.run(&["doctor"]);
        let told = said(&output);
        if is(&told) && output.status.code() == Some(code) { Ok(()) } else { Err(told) }
    });
}

#[test]
fn a_fleet_falls_ill_and_each_time_the_doctor_says_of_what() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    wait_until("a healthy one", DEADLINE, || match ill(&fleet, &[]) {
        (found, Some(0)) if found.is_empty() => Ok(()),
        other => Err(other),
    });
    wait_said(&fleet, 0, |text| text.contains("✓ schedulers  2 answer: s1 s2"));

    // A configuration that somebody has chosen, and one that cannot be worked with.
    let info = fleet.nats.ask("$JS.API.STREAM.INFO.DSBUS_EVENTS");
    let mut config = serde_json::from_str::<Value>(&info).unwrap()["config"].take();
    config["max_age"] = 3_600_000_000_000_u64.into();
    let answer = fleet.nats.ask_with("$JS.API.STREAM.UPDATE.DSBUS_EVENTS", &config.to_string());
    assert!(!answer.contains("error"), "{answer}");
    // It may be so.
    wait_ill(&fleet, 0, &[("streams", "DSBUS_EVENTS: max_age is 3600 s")]);
    config["subjects"] = serde_json::json!(["dsbus.default.evt.only.>"]);
    let answer = fleet.nats.ask_with("$JS.API.STREAM.UPDATE.DSBUS_EVENTS", &config.to_string());
    assert!(!answer.contains("error"), "{answer}");
    wait_ill(&fleet, 1, &[("streams", "must be")]);

    fleet.kill_worker("w2");
    fleet.kill("s1");
    fleet.kill("s2");
    wait_ill(&fleet, 1, &[("workers", "w2")]);
    wait_ill(&fleet, 1, &[("schedulers", "none answers")]);

    let answer = fleet.nats.ask("$JS.API.STREAM.DELETE.KV_dsbus_goals");
    assert!(answer.contains("success"), "{answer}");
    wait_ill(&fleet, 1, &[("streams", "missing: KV_dsbus_goals")]);

    wait_until("the version of w1", DEADLINE, || {
        let version = fleet.try_json(&["version", "-o", "json"])?;
        assert_eq!(version["schedulers"].as_array().map(Vec::len), Some(0), "{version}");
        if version["workers"][0]["name"] == "w1" { Ok(()) } else { Err(version.to_string()) }
    });
}

#[test]
fn programs_that_have_failed_are_found() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let well = "✓ programs    the only instance is as it should be";
    wait_said(&fleet, 0, |text| text.contains(well));
    let bad = "[program.bad]\ncommand = \"false\"\nstartretries = 0\nmax_fail_count = 1\n";
    let file = fleet.file("bad.toml", bad);
    fleet.fails(1, &["apply", &file]);
    fleet.wait_state("bad:0", "FATAL");
    wait_ill(&fleet, 1, &[("programs", "bad:0 (FATAL)")]);
    wait_said(&fleet, 1, |told| {
        assert!(!told.contains("All is well"), "{told}");
        told.contains("dsbus explain bad:0")
    });
}

#[test]
fn leftovers_are_found() {
    let fleet = Fleet::start(1, 1);
    let old = "gone-0190aaaabbbb7cccddddeeeeffff0000";
    let config = format!(
        "{{\"stream_name\":\"DSBUS_EVENTS\",\"config\":{{\"durable_name\":\"{old}\",\"ack_policy\":\"explicit\"}}}}"
    );
    let create = format!("$JS.API.CONSUMER.DURABLE.CREATE.DSBUS_EVENTS.{old}");
    let answer = fleet.nats.ask_with(&create, &config);
    assert!(!answer.contains("error"), "{answer}");
    // Warnings are not wrong.
    wait_ill(&fleet, 0, &[("leftovers", old), ("schedulers", "s1 is the only one")]);
    fleet.ok(&["listen", "--forget", old]);
    assert!(!ill(&fleet, &[]).0.iter().any(|(check, _)| check == "leftovers"));
}

#[test]
fn a_bus_without_a_fleet_and_no_bus() {
    let mut fleet = Fleet::bare();
    wait_ill(&fleet, 1, &[("streams", "there is no such fleet")]);
    wait_until("the server's version", DEADLINE, || {
        let version = fleet.try_json(&["version", "-o", "json"])?;
        let known = version["nats_server"].as_str().is_some_and(|known| known.starts_with("2."));
        if known { Ok(()) } else { Err(version.to_string()) }
    });
    fleet.nats.stop();
    wait_ill(&fleet, 1, &[("bus", "cannot reach the bus")]);
    let output = fleet.run(&["version"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("cannot reach the bus"), "{}", said(&output));
}

#[test]
fn no_jetstream_and_no_permission() {
    let accounts = "accounts {
        A { users: [ { user: none, password: x } ] }
        B { jetstream: enabled, users: [
            { user: all, password: x },
            { user: viewer, password: x, permissions: { publish: { deny: [
                \"dsbus.*.cmd.*.stop\", \"dsbus.*.cmdall.*.stop\", \"$KV.>\"
            ] } } },
            { user: blind, password: x, permissions: { publish: { deny: [ \"$JS.API.>\" ] } } },
        ] }
    }";
    let mut fleet = Fleet::bare_with(accounts);
    let as_user =
        |fleet: &Fleet, name: &str| fleet.nats.url().replace("//", &format!("//{name}:x@"));
    let url = as_user(&fleet, "all");
    fleet.spawn("s1", &["--nats", &url, "scheduler", "--id", "s1"]);
    let doctor = |fleet: &Fleet, name: &str| {
        let url = as_user(fleet, name);
        let mut command = std::process::Command::new(crate::fleet::DSBUS);
        command.args(["--nats", &url, "doctor", "-o", "json"]).current_dir(fleet.path());
        let output = command.output().unwrap();
        let all: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all: Vec<_> =
            all.as_array().unwrap().iter().map(|f| (text(&f["check"]), text(&f["text"]))).collect();
        (all, output.status.code())
    };
    let wait = |name: &str, code: i32, wanted: &[(&str, &str)]| {
        wait_until(&format!("{name} to be told {wanted:?} ({code})"), DEADLINE, || {
            let (found, ended) = doctor(&fleet, name);
            let all = wanted.iter().all(|(check, said)| has(&found, check, said));
            if all && ended == Some(code) { Ok(found) } else { Err((found, ended)) }
        })
    };
    wait("all", 0, &[]);
    // One may be meant to look only.
    let denied = "viewer, in account B: denied are the commands stop";
    wait("viewer", 0, &[("permissions", denied), ("permissions", "writing dsbus_programs")]);
    // What may not be read is not known, and not wrong.
    let unread = "not known: this user may not read";
    wait("blind", 0, &[("permissions", "reading"), ("unread", unread)]);
    let found = wait("none", 1, &[("jetstream", "JetStream")]);
    assert!(!found.iter().any(|(check, _)| check == "streams"), "said once: {found:?}");
}

#[test]
fn settings_are_shown_with_their_places_and_used() {
    let fleet = Fleet::start(1, 1);
    let url = fleet.nats.url();
    let directory = fleet.path().join("project/below");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        fleet.path().join("project/dsbus.toml"),
        format!("nats = \"{url}\"\noutput = \"json\"\n"),
    )
    .unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(crate::fleet::DSBUS);
        command.args(args).current_dir(&directory).env_remove("NATS_URL").env("HOME", fleet.path());
        command.output().unwrap()
    };
    let rows: Value = serde_json::from_slice(&run(&["config"]).stdout).unwrap();
    assert_eq!(rows[0]["value"], url.as_str(), "{rows}");
    assert!(rows[0]["from"].as_str().unwrap().ends_with("project/dsbus.toml:1"), "{rows}");
    let workers: Value = serde_json::from_slice(&run(&["workers"]).stdout).unwrap();
    assert_eq!(workers[0]["name"], "w1");
    assert_eq!(String::from_utf8(run(&["workers", "-o", "name"]).stdout).unwrap(), "w1\n");

    std::fs::write(fleet.path().join("project/dsbus.toml"), "nats = \"x\"\nflet = \"y\"\n")
        .unwrap();
    let output = run(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("dsbus.toml:2") && said(&output).contains("\"fleet\""),
        "{}",
        said(&output)
    );
    assert!(run(&["completion", "bash"]).status.success(), "what needs no settings works");
}

#[test]
fn quiet_says_errors_and_what_was_asked_for() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("web.toml", "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    for args in [&["-q", "apply", &file][..], &["-q", "restart", "web"], &["stop", "web", "-q"]] {
        let output = fleet.run(args);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0), "{}", said(&output));
    }
    assert!(fleet.run(&["-q", "status"]).stdout.starts_with(b"NAME"), "it was asked for");
    let output = fleet.run(&["-q", "start", "nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty(), "errors are told");
}

#[test]
fn colours_are_where_they_are_wanted() {
    let fleet = Fleet::start(1, 1);
    let colours = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = fleet.command();
        command.env_remove("NO_COLOR").args(args).envs(variables.iter().copied());
        command.output().unwrap().stdout.contains(&b'\x1b')
    };
    assert!(!colours(&["doctor"], &[]), "a pipe is no terminal");
    assert!(colours(&["--color", "always", "doctor"], &[("NO_COLOR", "1")]), "the nearest word");
    assert!(colours(&["doctor"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colours(&["--color", "never", "doctor"], &[("CLICOLOR_FORCE", "1")]));
    assert!(colours(&["workers", "--color=always"], &[]), "tables, too");
}
