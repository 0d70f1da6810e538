//! Agents that come and go, and what is left behind by a worker that died.

use dsbus_schema::state::State;
use dsbus_supervisor::protocol::ToAgent;
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, script, signal_one, sleeper};

fn numbers(heard: &[ToAgent]) -> Vec<u64> {
    let number = |message: &ToAgent| match message {
        ToAgent::Report(report) => Some(report.number),
        _ => None,
    };
    heard.iter().filter_map(number).collect()
}

fn after_hello(heard: &[ToAgent], generation: u64) -> &[ToAgent] {
    let hello = |m: &ToAgent| matches!(m, ToAgent::Hello(h) if h.generation == generation);
    &heard[heard.iter().position(hello).unwrap()..]
}

#[test]
fn a_killed_agent_is_replaced_and_no_report_is_lost() {
    let mut stage = Stage::open();
    let first = stage.hello(1);
    assert_eq!((first.supervisor_pid, first.children.len()), (stage.pid(), 0));
    stage.bus_away(true);
    let pid = stage.run(&sleeper("web"));
    let known = numbers(&stage.heard());
    let agent = stage.agent_pid();
    signal_one(agent, Signal::SIGKILL);
    let second = stage.hello(2);
    assert_eq!((second.incarnation, second.started), (first.incarnation, first.started));
    assert_eq!(second.children.iter().map(|child| child.pid).collect::<Vec<_>>(), [pid]);
    assert!(alive(pid) && stage.agent_pid() != agent);
    stage.change("web", State::Running);
    stage.bus_away(false);
    stage.run(&sleeper("other"));
    let heard = stage.heard();
    let again = numbers(after_hello(&heard, 2));
    assert!(known.iter().all(|number| again.contains(number)), "{known:?} {again:?}");
    assert!(again.windows(2).all(|two| two[1] == two[0] + 1), "{again:?}");
}

#[test]
fn what_the_bus_has_is_not_told_again() {
    let mut stage = Stage::open();
    stage.run(&sleeper("web"));
    let known = *numbers(&stage.heard()).last().unwrap();
    // The agent's answer to the last report is on its way before this one.
    stage.run(&sleeper("other"));
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    stage.hello(2);
    stage.run(&sleeper("third"));
    let heard = stage.heard();
    assert!(numbers(after_hello(&heard, 2)).into_iter().all(|number| number > known));
}

#[test]
fn a_frozen_agent_is_replaced() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    let agent = stage.agent_pid();
    signal_one(agent, Signal::SIGSTOP);
    let second = stage.hello(2);
    assert_eq!(second.children.iter().map(|child| child.pid).collect::<Vec<_>>(), [pid]);
    stage.wait_for("the end of the frozen one", || !alive(agent));
    assert!(alive(pid));
    // Children are looked after all the while.
    signal_one(pid, Signal::SIGKILL);
    stage.change("web", State::Exited);
    stage.change("web", State::Running);
}

#[test]
fn agents_that_die_young_are_still_replaced() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    for generation in 2..5 {
        signal_one(stage.agent_pid(), Signal::SIGKILL);
        stage.hello(generation);
    }
    assert!(alive(pid));
}

#[test]
fn a_directory_has_one_worker() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    let mut second = Stage::open_in(stage.directory(), &[], &[]);
    let (code, _, said) = second.ended();
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("another worker (pid {})", stage.pid())), "{said}");
    assert!(alive(pid));
}

#[test]
fn what_a_killed_worker_leaves_is_gone_before_the_next_one_speaks() {
    let mut stage = Stage::open();
    let text = "trap '' TERM; sleep 1000 & echo $! > left; wait";
    let order = script("web", text, |_| {});
    let pid = stage.run(&order);
    let left: i32 = stage.read(&stage.file("web", "left")).trim().parse().unwrap();
    let other = stage.run(&sleeper("other"));
    stage.signal(Signal::SIGKILL);
    stage.wait_for("the death of the children", || !alive(pid) && !alive(other));
    assert!(alive(left), "the parent-death signal does not reach it");
    let mut next = Stage::open_in(stage.directory(), &[], &[]);
    let hello = next.hello(1);
    assert!(hello.children.is_empty() && !alive(left));
    next.run(&order);
}
