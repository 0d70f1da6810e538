//! Whoever may not do something, or is not let in, is told so: once, at once, and with what to do.

use std::fs;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use super::{Place, everywhere};
use crate::fleet::{DEADLINE, said};

impl Place {
    /// A verb that fails, and says why. A fleet that is slow to answer is asked again.
    pub(super) fn is_told(&self, user: &str, args: &[&str], what: &str, is: impl Fn(&str) -> bool) {
        wait_until(&format!("{user} to be told {what}: {args:?}"), DEADLINE, || {
            let output = self.run(user, args);
            let text = said(&output);
            assert!(!output.status.success(), "{user}: {args:?}: {text}");
            if is(&text) { Ok(()) } else { Err(text) }
        });
    }
}

/// Asks for what is refused: afterwards the same children run on w2.
pub(super) fn changes_nothing(place: &Place, refuse: impl Fn(&Place)) {
    let children = || {
        let rows = place.json("viewer", &["status"]).as_array().cloned().unwrap_or_default();
        let pids: Vec<_> = rows.iter().filter_map(|row| row["pid"].as_i64()).collect();
        if everywhere(place, "w2") && pids.len() == 2 { Ok(pids) } else { Err(rows) }
    };
    let before = wait_until("both to run on w2", DEADLINE, children);
    refuse(place);
    assert_eq!(wait_until("both to run as before", DEADLINE, children), before, "nothing is done");
}

#[test]
fn who_may_only_look_is_told_what_he_may_not() {
    let mut place = Place::new(&["--workers", "w1"]);
    place.serve();
    place.worker("w1");
    place.wait("the worker to say what it waits for", |place| {
        let told = place.run("viewer", &["version"]);
        drop(told);
        let state = fs::read_to_string(place.path("w1.state/worker.log")).unwrap_or_default();
        (state + &place.log("w1")).contains("waits for a scheduler to make the buckets")
    });
    place.start("s1", "scheduler", &["scheduler", "--id", "s1"]);
    place.wait("the worker", |place| place.json("admin", &["workers"])[0]["state"] == "ready");
    let made = place.violations().iter().filter(|line| line.contains("STREAM.CREATE")).count();
    assert!(made <= 1, "{:?}", place.violations());

    let web = "[program.web]\ncommand = \"echo hello; exec sleep 1000\"\nshell = true\n\
               startsecs = 0\n";
    fs::write(place.path("web.toml"), web).unwrap();
    place.works("admin", &["apply", place.path("web.toml").to_str().unwrap()]);
    // What is declared he may not read, and what runs he may.
    assert!(place.works("viewer", &["supervisorctl", "status"]).contains("RUNNING"));
    place.wait("its word", |place| {
        place.works("viewer", &["supervisorctl", "tail", "web"]).contains("hello")
    });
    for (args, why) in [
        (&["supervisorctl", "stop", "all"][..], "viewer may not stop here"),
        (&["supervisorctl", "restart", "all"], "viewer may not stop here"),
        (&["scale", "web=2"], "viewer may not scale here"),
        (&["secret", "list"], "viewer may not read dsbus_secrets here"),
    ] {
        place.is_told("viewer", args, why, |text| text.contains(why));
    }
    wait_until("the doctor to say what is not known", DEADLINE, || {
        let output = place.run("viewer", &["doctor"]);
        let doctor = said(&output);
        let told = doctor.contains("not known: the viewer viewer may not read dsbus_fleet");
        let well = output.status.success() && !doctor.contains("is lost");
        if told && well && !doctor.contains("forget") { Ok(()) } else { Err(doctor) }
    });
    let doctor = said(&place.run("w1", &["doctor"]));
    assert!(!doctor.contains("permit"), "{doctor}");

    // Another worker under that name does not speak for the one that lives.
    let state = place.path("other.state");
    let args = ["worker", "--config", "worker.toml", "--dir", state.to_str().unwrap()];
    // What it has no time to tell, its next run does.
    wait_until("the name to be told as taken", DEADLINE, || {
        place.is_told("w1", &args, "who holds it", |text| text.contains("is held by"));
        let events = place.works("viewer", &["events", "-n", "100"]);
        assert!(!events.contains("STOPPED"), "{events}");
        if events.contains("NAME_TAKEN") { Ok(()) } else { Err(events) }
    });
}

#[test]
fn the_doctor_finds_slips_in_the_grants_of_its_directory() {
    let place = Place::new(&["--workers", "w1"]);
    place.manage(&["add", "operator", "ann"]);
    let file = place.auth().join("users/scheduler/grants.toml");
    let doctor = |grants: &str| {
        fs::write(&file, grants).unwrap();
        said(&place.run("admin", &["doctor"]))
    };
    // The gateway has a user monitor.
    let known = "[user.ann]\nverbs = [\"*\"]\nprograms = [\"*\"]\n[user.monitor]\nverbs = []\n";
    let text = doctor(known);
    assert!(text.contains("users/scheduler/grants.toml can be used"), "{text}");
    let text = doctor(&known.replace("ann", "anna"));
    assert!(
        text.contains("user.anna: neither dsbus auth nor a gateway here has that user"),
        "{text}"
    );
    assert!(text.contains("did you mean \"ann\"?") && !text.contains("user.monitor"), "{text}");
    let text = doctor(&known.replace("programs", "program"));
    let why = ["cannot be used", "line 3", "program", "expected one of `verbs`, `programs`"];
    assert!(why.iter().all(|why| text.contains(why)), "{text}");
}

#[test]
fn a_daemon_that_is_not_let_in_says_why() {
    let mut place = Place::new(&["--workers", "w1"]);
    place.serve();
    let other = place.path("other");
    place.done(&["auth", "init", other.to_str().unwrap()]);
    let key = other.join("users/scheduler/seed.nk");
    let ca = other.join("users/scheduler/ca.pem");
    let url = format!("tls://127.0.0.1:{}", place.port.number());
    let own = place.auth().join("users/scheduler");
    for (name, nkey, ca, why) in [
        ("stranger", &key, &own.join("ca.pem"), "does not let these credentials in"),
        ("distrust", &own.join("seed.nk"), &ca, "invalid peer certificate"),
    ] {
        let (nkey, ca) = (nkey.to_str().unwrap(), ca.to_str().unwrap());
        let args = ["scheduler", "--nats", &url, "--nkey", nkey, "--tls-ca", ca];
        place.start(name, "viewer", &args);
        place.wait(name, |place| place.log(name).contains(why));
        let log = place.log(name);
        assert!(!log.contains("async_nats"), "{log}");
        assert!(name == "distrust" || log.contains(nkey), "the file is named: {log}");
        place.end(name, Signal::SIGKILL);
    }
    for (args, needs) in [
        (&["scheduler"][..], "a scheduler needs those of a scheduler"),
        (&["gateway", "--listen", "127.0.0.1:0"], "a gateway needs those of a gateway"),
        (&["worker", "--name", "w1"], "a worker needs those of a worker"),
        (&["listen", "--", "cat"], "a listener needs those of a listener"),
    ] {
        let output = place.run("viewer", args);
        let text = said(&output);
        assert!(!output.status.success() && text.contains(needs), "{args:?}: {text}");
        assert!(text.contains("those of a viewer, viewer"), "{text}");
    }
    let output = place.run("w1", &["worker", "--name", "w2", "--config", "worker.toml"]);
    assert!(said(&output).contains("those of the worker w1"), "{}", said(&output));

    let seed = place.auth().join("users/viewer/seed.nk");
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    fs::set_permissions(&seed, open).unwrap();
    wait_until("a warning", DEADLINE, || {
        let text = said(&place.run("viewer", &["status"]));
        if text.contains("everybody on this machine can read") { Ok(()) } else { Err(text) }
    });
}
