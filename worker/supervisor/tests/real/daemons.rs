//! Programs that fork into the background.

use dsbus_schema::state::{Exit, State};
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, script, signal_one, stopped};

/// Forks twice, as daemons do; the one that stays writes its process id. The first one ends when the
/// one in between is about to: on a busy machine that could take long otherwise.
const DAEMON: &str = "import os, sys, time
r, w = os.pipe()
if os.fork():
    os.read(r, 1)
    os._exit(0)
os.setsid()
if os.fork():
    os.write(w, b'x')
    os._exit(0)
open('pid', 'w').write('%d\\n' % os.getpid())
time.sleep(1000)";

fn daemon(stage: &Stage, named: bool) -> dsbus_supervisor::protocol::Order {
    let pidfile = stage.file("web", "pid").display().to_string();
    script("web", &format!("exec python3 -c \"{DAEMON}\""), |spec| {
        spec.daemon = true;
        spec.pidfile = named.then_some(pidfile);
    })
}

fn supervised(settings: &[&str], named: bool) {
    let mut stage = Stage::open_with(settings);
    let order = daemon(&stage, named);
    stage.place(&order);
    let first = stage.change("web", State::Starting).0.pid.unwrap();
    let main = stage.change("web", State::Running).0.pid.unwrap();
    let written: i32 = stage.read(&stage.file("web", "pid")).trim().parse().unwrap();
    assert_eq!(main, written);
    assert!(main != first && alive(main) && !alive(first));
    // Its death is seen, and repaired.
    std::fs::remove_file(stage.file("web", "pid")).unwrap();
    signal_one(main, Signal::SIGKILL);
    assert_eq!(stage.change("web", State::Exited).0.exit, Some(Exit::signal(9)));
    let next = stage.change("web", State::Running).0.pid.unwrap();
    stage.place(&stopped(&order));
    assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(15)));
    assert!(!alive(next));
}

#[test]
fn the_process_that_is_left_is_supervised() {
    supervised(&[], false);
}

#[test]
fn the_process_of_the_pidfile_is_supervised() {
    supervised(&[], true);
}

#[test]
fn the_same_without_cgroups() {
    supervised(&["no-cgroups"], false);
    supervised(&["no-cgroups"], true);
}

#[test]
fn one_that_leaves_nothing_has_failed() {
    let mut stage = Stage::open();
    stage.place(&script("web", "exit 0", |spec| spec.daemon = true));
    let (backoff, _) = stage.change("web", State::Backoff);
    assert!(backoff.reason.unwrap().contains("before it was ready"));
}

/// Writes that it was asked to end, and ends; its pidfile never appears.
const UNFOUND: &str = "import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
def asked(*_):
    open('asked', 'w').write('by SIGTERM\\n')
    os._exit(0)
signal.signal(signal.SIGTERM, asked)
open('there', 'w').write('yes\\n')
time.sleep(1000)";

fn unfound(settings: &[&str]) {
    let mut stage = Stage::open_with(settings);
    let nowhere = stage.file("web", "nowhere").display().to_string();
    let order = script("web", &format!("exec python3 -c \"{UNFOUND}\""), |spec| {
        spec.daemon = true;
        spec.pidfile = Some(nowhere);
        // Long enough that its end can only be an answer to the signal.
        spec.startsecs = "1000".parse().unwrap();
        spec.stopwaitsecs = "1000".parse().unwrap();
    });
    stage.place(&order);
    stage.change("web", State::Starting);
    stage.wait_for("the daemon", || stage.file("web", "there").exists());
    stage.place(&stopped(&order));
    stage.change("web", State::Stopped);
    assert_eq!(stage.read(&stage.file("web", "asked")), "by SIGTERM\n");
}

#[test]
fn one_that_was_not_found_yet_is_asked_to_stop() {
    unfound(&[]);
    unfound(&["no-cgroups"]);
}
