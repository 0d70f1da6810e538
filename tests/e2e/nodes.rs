//! A cluster of NATS whose nodes come late, go, and run out of disk, while a fleet works.

use std::process::Command;

use crate::fleet::{DEADLINE, Fleet, alive, said};
use crate::recover::{children, wait_children};
use dsbus_harness::{Cluster, wait_until};

/// A fleet on a cluster, whose first node is the fleet's own server.
fn fleet_on(cluster: &mut Cluster, schedulers: usize, workers: usize) -> Fleet {
    let urls = cluster.urls().join(",");
    let mut fleet = Fleet::bare();
    std::mem::swap(&mut fleet.nats, &mut cluster.nodes[0]);
    for n in 1..=schedulers {
        let id = format!("s{n}");
        fleet.spawn(&id, &["--nats", &urls, "scheduler", "--id", &id, "--replicas", "3"]);
    }
    for n in 1..=workers {
        let name = format!("w{n}");
        let directory = fleet.worker_directory(&name);
        let directory = directory.to_str().unwrap();
        fleet.spawn(&name, &["--nats", &urls, "worker", "--name", &name, "--dir", directory]);
    }
    fleet
}

#[test]
fn a_scheduler_that_is_there_before_the_third_node_waits_for_it() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[2].kill();
    let mut fleet = fleet_on(&mut cluster, 1, 1);
    wait_until("the scheduler to say what it waits for", DEADLINE, || {
        let log = std::fs::read_to_string(fleet.log("s1")).unwrap_or_default();
        if log.contains("waits for more nodes of NATS") { Ok(()) } else { Err(log) }
    });
    cluster.nodes[2].restart();
    fleet.wait_ready(1);
    let info = fleet.nats.ask("$JS.API.STREAM.INFO.DSBUS_EVENTS");
    assert!(info.contains("\"num_replicas\":3"), "{info}");
}

#[test]
fn three_nodes_may_go_one_after_the_other_and_come_back() {
    let mut cluster = Cluster::start(3);
    let mut fleet = fleet_on(&mut cluster, 2, 2);
    fleet.wait_ready(2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    let before = children(&fleet);
    // One is down: after an election commands are answered again.
    cluster.nodes[1].kill();
    wait_until("a command to be carried out", DEADLINE, || {
        let output = fleet.run(&["stop", "web:1"]);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
    crate::fleet::wait_dead(before["web:1"].0);
    fleet.ok(&["start", "web:1"]);
    let before = children(&fleet);
    let live = || assert!(before.values().all(|(pid, _)| alive(*pid)), "a child was stopped");
    // Two are down: nothing can be written.
    cluster.nodes[2].kill();
    let output = fleet.run(&["restart", "web:0", "--timeout", "2s"]);
    assert!(!output.status.success(), "{}", said(&output));
    live();
    // All are down.
    fleet.nats.kill();
    live();
    fleet.nats.restart();
    cluster.nodes[1].restart();
    cluster.nodes[2].restart();
    fleet.wait_ready(2);
    wait_children(&fleet, &before);
    live();
    fleet.ok(&["restart", "web:0"]);
}

