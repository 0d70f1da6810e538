//! What cannot take over, or not now, does not: the version before goes on, and so do its children.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dsbus_harness::{minor_away, wait_until};

use super::{Scene, standing};
use crate::fleet::{DEADLINE, DSBUS, number, wait_dead};

/// An exclusive program with this `touch_timeout`.
fn db(touch_timeout: &str) -> String {
    format!(
        "[program.db]\ncommand = \"sleep 1000\"\nexclusive = true\nstartsecs = 0\n\
         touch_timeout = \"{touch_timeout}\"\n"
    )
}

#[test]
fn what_cannot_take_over_is_refused_and_the_old_version_goes_on() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    fleet.apply("[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let (before, agent) = (standing(&fleet.row("a:0")), fleet.agent_pid("w1"));
    let garbage = fleet.path().join("garbage");
    std::fs::write(&garbage, "no program").unwrap();
    std::fs::set_permissions(&garbage, PermissionsExt::from_mode(0o755)).unwrap();
    let complains = scene.script("complains", "echo 'error: unexpected argument' >&2; exit 2");
    let renamed = scene.script("renamed", &format!("exec env DSBUS_FLEET=other '{DSBUS}' \"$@\""));
    let cases = [
        (garbage, "neither a binary nor a script"),
        (PathBuf::from("/bin/true"), "no version of dsbus"),
        (complains, "unexpected argument"),
        (minor_away(Path::new(DSBUS), 3), "upgrade by one minor version at a time"),
        (renamed, "its fleet is other"),
    ];
    for (times, (file, why)) in (1..).zip(cases) {
        scene.replace(&file);
        scene.hup();
        let told = scene.wait_told("UPGRADE_FAILED", times);
        let reason = told["data"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{}: {reason}", file.display());
    }
    assert_eq!(standing(&fleet.row("a:0")), before);
    assert_eq!(fleet.agent_pid("w1"), agent, "the agent was not touched");
    assert!(scene.told("UPGRADED").is_empty());
    scene.upgrade(Path::new(DSBUS), 1);
    assert_eq!(standing(&fleet.row("a:0")), before);
}

#[test]
fn one_that_hangs_does_not_outlive_the_deadline_of_an_exclusive_child() {
    // Whoever started it ignores the signal of that timer, and so does it.
    let mut scene = Scene::start_as("trap '' ALRM", "");
    scene.fleet.apply(&db("15s"));
    let child = number(&scene.fleet.row("db:0")["pid"]);
    let hangs = format!("while taking:\n    signal.pause()\nos.execv({DSBUS:?}, words)");
    scene.replace(&scene.python("hangs", &hangs));
    scene.hup();
    // The timer that outlives the change ends it, and whoever runs workers would start it anew.
    assert_eq!(scene.fleet.wait_exit("w1"), None, "it is ended by a signal");
    wait_dead(child);
    assert!(scene.told("UPGRADED").is_empty());
}

#[test]
fn one_that_would_outlast_the_deadline_of_an_exclusive_child_is_not_executed() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    fleet.apply(&db("12s"));
    let before = standing(&fleet.row("db:0"));
    scene.replace(&scene.script("slow", &format!("sleep 6\nexec '{DSBUS}' \"$@\"")));
    scene.hup();
    let told = scene.wait_told("UPGRADE_FAILED", 1);
    let reason = told["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("a greater touch_timeout"), "{reason}");
    assert_eq!(standing(&fleet.row("db:0")), before);
    assert!(scene.told("UPGRADED").is_empty());
}

#[test]
fn one_that_can_take_over_and_then_does_not_gives_the_place_back() {
    let place = tempfile::tempdir().unwrap();
    let (path, gone) = (place.path().join("log"), place.path().join("gone"));
    let scene = Scene::start_as("", &format!("logfile = {path:?}\n"));
    let fleet = &scene.fleet;
    fleet.apply("[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let (before, worker) = (standing(&fleet.row("a:0")), fleet.pid("w1"));
    let far = minor_away(Path::new(DSBUS), 3);
    let log_goes =
        format!("os.rename({path:?}, {gone:?})\n    os.symlink('/no/such/place/log', {path:?})");
    for (times, what, why) in [
        // It cannot even read what it is given.
        (1, format!("os.execv({far:?}, words)"), "upgrade by one minor version at a time"),
        // It has read it, and its log is gone; the version before takes its place without one.
        (2, log_goes, "failed to open the logfile"),
    ] {
        let text = format!("if taking:\n    {what}\nos.execv({DSBUS:?}, words)");
        scene.replace(&scene.python(&format!("gives-back-{times}"), &text));
        scene.hup();
        let told = scene.wait_told("UPGRADE_FAILED", times);
        let reason = told["data"]["reason"].as_str().unwrap();
        assert!(reason.contains("gave up") && reason.contains(why), "{reason}");
        assert_eq!((standing(&fleet.row("a:0")), fleet.pid("w1")), (before.clone(), worker));
    }
    std::fs::rename(&gone, &path).unwrap();
    scene.upgrade(Path::new(DSBUS), 1);
    assert_eq!(standing(&fleet.row("a:0")), before);
    wait_until("its log", DEADLINE, || {
        let said = std::fs::read_to_string(&path).unwrap_or_default();
        if said.contains("took over 1 children") { Ok(()) } else { Err(said) }
    });
}
