//! The second enforcer, with real children.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command};

use dsbus_harness::{DEADLINE, wait_for_async};
use dsbus_schema::ids::Epoch;
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::protocol::Child;

use crate::fleet::{Fleet, name, placement};
use crate::supervisor::{Supervisor, hello};

fn sleeper() -> Process {
    Command::new("sleep").arg("1000").process_group(0).spawn().unwrap()
}

fn told(process: &Process, index: u32, lease: Option<u64>) -> Child {
    let pid = i32::try_from(process.id()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_time = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    let start_time = start_time.parse().unwrap();
    Child { name: name(index), epoch: Epoch(1), pid, start_time, lease, cgroup: None, group: None }
}

async fn killed(process: &mut Process) {
    let status = wait_for_async("its end", DEADLINE, async || process.try_wait().unwrap()).await;
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn a_child_that_a_frozen_supervisor_does_not_kill_is_killed_at_its_deadline() {
    let fleet = Fleet::start().await;
    // Long enough that a busy machine touches in time.
    fleet.place(0, &placement(1, 9)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let (mut exclusive, mut other) = (sleeper(), sleeper());
    supervisor.child(&told(&exclusive, 0, Some(9)));
    supervisor.child(&told(&other, 1, None));
    // It outlives more than one deadline while the lease is extended.
    let first = supervisor.extended(9, BootTime(0)).await;
    supervisor.extended(9, first + std::time::Duration::from_secs(9)).await;
    assert!(exclusive.try_wait().unwrap().is_none());
    supervisor.freeze();
    killed(&mut exclusive).await;
    assert!(other.try_wait().unwrap().is_none(), "one that is not exclusive lives on");
    // Then the supervisor dies.
    let ended = supervisor.die().await;
    assert!(matches!(ended, Err(dsbus_agent::Error::SupervisorGone { .. })), "{ended:?}");
    killed(&mut other).await;
}

#[tokio::test]
async fn deadlines_of_an_earlier_agent_are_enforced_without_a_bus() {
    let mut fleet = Fleet::start().await;
    fleet.server.stop();
    let directory = tempfile::tempdir().unwrap();
    let mut process = sleeper();
    let mut hello = hello(directory.path(), 1);
    hello.generation = 2;
    hello.children = vec![told(&process, 0, Some(5))];
    hello.leases = vec![(5, BootTime(1))];
    let supervisor = Supervisor::start(&fleet, hello);
    killed(&mut process).await;
    drop(supervisor);
}
