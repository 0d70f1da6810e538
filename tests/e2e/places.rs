//! Where listeners stand in the events: what is shown of it, and how it is forgotten.

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bridge::{Bridge, Lines, recorder};
use crate::fleet::{DEADLINE, Fleet, number};
use crate::shell::completed;

/// Names of durable consumers of events.
fn places(fleet: &Fleet) -> Vec<String> {
    let list = fleet.json(&["listen", "--list", "-o", "json"]);
    let name = |place: &serde_json::Value| place["name"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn the_place_of_a_removed_listener_is_forgotten_however_it_ended() {
    let fleet = Fleet::start(1, 1);
    let recorder = recorder(&fleet);
    let out = Lines::of(&fleet, "heard");
    let listener = |name: &str, command: &str, keys: &str| {
        format!("[eventlistener.{name}]\ncommand = {command:?}\nevents = \"EVENT\"\n{keys}\n")
    };
    let works = format!("python3 {recorder} {}", out.path());
    let toml = listener("rests", &works, "")
        + &listener("fatal", "echo noise", "startretries = 0\nstartsecs = 60\n")
        + &listener("killed", &works, "autorestart = false\n");
    fleet.ok(&["apply", "--no-wait", &fleet.file("listeners.toml", &toml)]);
    for (name, state) in [("rests:0", "RUNNING"), ("fatal:0", "FATAL"), ("killed:0", "RUNNING")] {
        fleet.wait_state(name, state);
    }
    wait_until("their places", DEADLINE, || {
        let places = places(&fleet);
        if places.len() == 3 { Ok(()) } else { Err(format!("{places:?}")) }
    });
    fleet.ok(&["stop", "rests"]);
    let bridge = number(&fleet.row("killed:0")["pid"]);
    kill(Pid::from_raw(bridge), Signal::SIGKILL).unwrap();
    fleet.wait_state("killed:0", "EXITED");
    assert_eq!(places(&fleet).len(), 3, "they would go on there");
    fleet.ok(&["remove", "rests", "fatal", "killed"]);
    wait_until("their places to be forgotten", DEADLINE, || {
        let places = places(&fleet);
        if places.is_empty() { Ok(()) } else { Err(format!("{places:?}")) }
    });
}

#[test]
fn who_listens_is_shown_and_what_is_left_of_a_listener_can_be_forgotten() {
    let fleet = Fleet::start(1, 0);
    let recorder = recorder(&fleet);
    let out = Lines::of(&fleet, "heard");
    let words = |more: &[&str]| {
        let all = ["-e", "REMOTE_COMMUNICATION", "--name", "rec", "--startsecs", "0"];
        let command = ["--", "python3", &recorder, out.path()];
        let all = all.iter().chain(more).chain(&command).map(|word| (*word).to_owned());
        all.collect::<Vec<String>>()
    };
    let start = |more: &[&str]| {
        let words = words(more);
        Bridge::start(&fleet, &words.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    };
    let place = |waiting: u64, read: bool| {
        wait_until("how it stands", DEADLINE, || {
            let list = fleet.json(&["listen", "--list", "-o", "json"]);
            let so = list[0]["waiting"] == waiting && list[0]["read"] == read;
            if so { Ok(()) } else { Err(list.to_string()) }
        });
    };
    let said = fleet.fails(1, &["listen", "--forget", "rec"]);
    assert!(said.contains("there is no listener rec") && said.contains("--list"), "{said}");
    let bridge = start(&[]);
    bridge.wait_log("rec listens to");
    fleet.ok(&["emit", "first", "x"]);
    out.wait("the first event", |lines| !lines.is_empty());
    place(0, true);
    // Another one that shares would take its events, and it would take them back.
    let other = words(&["--share"]);
    let other = [&["listen"], &other.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let said = fleet.fails(1, &other);
    assert!(said.contains("a listener rec runs already, without --share"), "{said}");
    let said = fleet.fails(1, &["listen", "--forget", "rec"]);
    assert!(said.contains("somebody listens"), "{said}");
    bridge.signal(Signal::SIGKILL);
    drop(bridge);
    fleet.ok(&["emit", "second", "x"]);
    // Once the one that was killed is gone, others may read in their own way.
    let bridge = start(&["--share"]);
    out.wait("the second event", |lines| lines.len() >= 2);
    bridge.stop();
    fleet.ok(&["emit", "third", "x"]);
    place(1, false);
    let table = fleet.ok(&["listen", "--list"]);
    assert!(table.contains("rec") && table.contains("none"), "{table}");
    // Whoever presses a key does not wait for a busy machine, and presses it again.
    wait_until("its name to be completed", DEADLINE, || {
        let found = completed(&fleet, &["listen", "--forget", "r"]);
        if found == ["rec"] { Ok(()) } else { Err(found) }
    });
    assert_eq!(fleet.ok(&["listen", "--forget", "rec"]), "rec is forgotten.\n");
    assert_eq!(places(&fleet), [""; 0]);
}
