//! `dsbus attach`.

use dsbus_harness::Terminal;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::verb;
use crate::fleet::{Fleet, alive, number};

/// A worker that stands still for some seconds, as one of a busy machine does, keeps `talk`.
const ECHO: &str = "[program.talk]\n\
     command = '''echo ready on $DSBUS_WORKER; while read line; do echo \"heard $line\"; echo \"oops $line\" >&2; done; echo closed; exec sleep 1000'''\n\
     shell = true\nstartsecs = 0\nstdin = true\ntouch_timeout = \"9s\"\n\
     [program.mute]\ncommand = \"echo hello; exec sleep 1000\"\nshell = true\nstartsecs = 0\nnumprocs = 2\n";

fn attach(fleet: &Fleet, args: &[&str]) -> Terminal {
    Terminal::start(verb(fleet, &[&["attach"], args].concat()), 100, 30)
}

#[test]
fn a_person_talks_with_an_instance_also_after_it_has_moved() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(ECHO);
    let row = fleet.row("talk:0");
    let mut terminal = attach(&fleet, &["talk"]);
    terminal.wait_for("attached to talk:0");
    terminal.wait_for("ready on");
    terminal.press("one\r");
    terminal.wait_for("heard one");
    terminal.wait_for("oops one");
    let worker = row["worker"].as_str().unwrap().to_owned();
    let other = if worker == "w1" { "w2" } else { "w1" };
    fleet.kill_worker(&worker);
    terminal.wait_for(&format!("talk:0 is on {other} now"));
    terminal.wait_for(&format!("ready on {other}"));
    terminal.press("two\r");
    terminal.wait_for("heard two");
    let pid = number(&fleet.row("talk:0")["pid"]);
    terminal.press("\x03");
    terminal.wait_for("detached; talk:0 goes on");
    assert_eq!(terminal.ended().code(), Some(0));
    assert!(alive(pid) && number(&fleet.row("talk:0")["pid"]) == pid);
}

/// What a frozen worker was sent it may have passed on: nobody else is given it.
#[test]
fn what_may_have_been_taken_is_not_given_to_another() {
    let fleet = Fleet::start(1, 2);
    fleet.apply(ECHO);
    let mut terminal = attach(&fleet, &["talk"]);
    terminal.wait_for("ready on");
    terminal.press("one\r");
    terminal.wait_for("heard one");
    let worker = fleet.row("talk:0")["worker"].as_str().unwrap().to_owned();
    let other = if worker == "w1" { "w2" } else { "w1" };
    let agent = Pid::from_raw(fleet.agent_pid(&worker));
    fleet.signal(&worker, Signal::SIGSTOP);
    kill(agent, Signal::SIGSTOP).unwrap();
    terminal.press("once\r");
    terminal.wait_for("ended perhaps before it took 5 bytes");
    terminal.wait_for(&format!("ready on {other}"));
    terminal.press("two\r");
    terminal.wait_for("heard two");
    let screen = terminal.shown();
    assert!(!screen.contains("heard once"), "{screen}");
    kill(agent, Signal::SIGCONT).unwrap();
    fleet.signal(&worker, Signal::SIGCONT);
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn the_end_of_the_input_detaches_or_is_passed_on() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(ECHO);
    let mut terminal = attach(&fleet, &["talk", "-n", "0"]);
    terminal.wait_for("so does Ctrl-D");
    terminal.press("three\r");
    terminal.wait_for("heard three");
    terminal.press("\x04");
    terminal.wait_for("detached; talk:0 goes on");
    assert_eq!(terminal.ended().code(), Some(0));

    let mut terminal = attach(&fleet, &["talk", "--eof"]);
    terminal.wait_for("Ctrl-D closes its input");
    terminal.wait_for("heard three");
    terminal.press("\x04");
    terminal.wait_for("closed");
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn what_has_no_input_is_only_shown() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(ECHO);
    let mut terminal = attach(&fleet, &["mute:0"]);
    terminal.wait_for("hello");
    terminal.wait_for("only its output is shown: mute:0 has no standard input");
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
    let several = fleet.fails(1, &["attach", "mute"]);
    assert!(several.contains("name one: mute:0, mute:1"), "{several}");
}
