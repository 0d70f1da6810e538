//! What has ended for good stays so over a restart of its worker, and what is too old is replaced.

use dsbus_schema::event::Notice;
use dsbus_schema::placement::Rest;
use dsbus_schema::program::{AutoRestart, Kind};
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::protocol::Order;
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, order, script, signal_one};

/// A oneshot that ends with code 5, and the file in which it counts its runs.
fn job() -> Order {
    script("job", "echo run >> runs; exit 5", |spec| {
        spec.kind = Kind::Oneshot;
        spec.autorestart = AutoRestart::Never;
    })
}

#[test]
fn a_oneshot_that_has_ended_is_not_run_again_by_a_restart_of_its_worker() {
    let mut stage = Stage::open();
    let mut order = job();
    stage.place(&order);
    let (exited, status) = stage.change("job", State::Exited);
    assert_eq!((exited.expected, status.rests), (Some(false), true));
    order.placement.rest = Rest::told(&order.placement, &status);
    // It was met before, so this changes nothing.
    stage.place(&order);
    let directory = stage.directory();
    drop(stage);

    let mut stage = Stage::open_in(directory, &[], &[]);
    stage.place(&order);
    let shown = stage.status("job", |_| true);
    assert_eq!((shown.state, shown.rests, shown.pid), (State::Exited, true, None));
    assert_eq!(
        (shown.exit, shown.reason.as_deref()),
        (Some(Exit::code(5)), status.reason.as_deref())
    );
    assert_eq!((shown.since, shown.seq, shown.wanted), (status.since, status.seq, status.wanted));
    assert_eq!(stage.read(&stage.file("job", "runs")), "run\n");
    let again = {
        let mut again = order.clone();
        (again.placement.rest, again.placement.wanted.starts) = (None, 1);
        again
    };
    stage.place(&again);
    let (starting, _) = stage.change("job", State::Starting);
    assert_eq!((starting.from, starting.seq), (State::Exited, status.seq + 1));
    stage.change("job", State::Exited);
    assert_eq!(stage.read(&stage.file("job", "runs")), "run\nrun\n");
}

#[test]
fn a_child_that_is_too_old_is_replaced_whatever_becomes_of_its_agent() {
    let mut stage = Stage::open();
    let order = order("web", &["sleep", "1000"], |spec| {
        spec.max_age = Some("1s".parse().unwrap());
        spec.restart_limit = 1;
    });
    let first = stage.run(&order);
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    assert_eq!(stage.notice("web", Notice::Recycled).pid, Some(first));
    let (stopping, _) = stage.change("web", State::Stopping);
    assert!(stopping.reason.unwrap().contains("max_age is 1s"));
    let second = stage.change("web", State::Running).0.pid.unwrap();
    assert!(second != first && !alive(first));
    // And again, although one restart is the limit.
    assert_eq!(stage.notice("web", Notice::Recycled).pid, Some(second));
    stage.change("web", State::Running);
}
