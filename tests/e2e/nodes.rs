//! A cluster of NATS whose nodes have no room, go, and run out of disk, while a fleet works.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::exclusive::assert_never_two;
use crate::fleet::{DEADLINE, Fleet, alive, number, said, wait_dead};
use crate::recover::{children, wait_children};
use dsbus_harness::{Cluster, NatsServer, wait_until};

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

/// Sets how much a node may store. It is stopped before, and started after.
fn allow(node: &mut NatsServer, bytes: &str) {
    node.kill();
    let conf = node.directory().join("nats.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let (before, rest) = text.split_once("jetstream { ").unwrap();
    let rest = &rest[rest.find("store_dir").unwrap()..];
    std::fs::write(&conf, format!("{before}jetstream {{ max_file_store: {bytes}, {rest}")).unwrap();
}

/// Restarts a command until it is carried out.
fn insist(fleet: &Fleet, args: &[&str]) {
    wait_until("a command to be carried out", DEADLINE, || {
        let output = fleet.run(args);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
}

#[test]
fn a_scheduler_waits_for_a_node_that_has_room() {
    let mut cluster = Cluster::start(3);
    allow(&mut cluster.nodes[2], "1MB");
    cluster.nodes[2].restart();
    let fleet = fleet_on(&mut cluster, 1, 1);
    wait_until("the scheduler to say what it waits for", DEADLINE, || {
        let log = std::fs::read_to_string(fleet.log("s1")).unwrap_or_default();
        if log.contains("waits for more nodes of NATS") { Ok(()) } else { Err(log) }
    });
    allow(&mut cluster.nodes[2], "10GB");
    cluster.nodes[2].restart();
    fleet.wait_ready(1);
    let info = fleet.nats.ask("$JS.API.STREAM.INFO.DSBUS_EVENTS");
    assert!(info.contains("\"num_replicas\":3"), "{info}");
}

/// A small disk of its own, below a directory.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Disk {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(at);
        assert!(mount.status().unwrap().success());
        Disk(at.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Until not a byte is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for size in [1 << 16, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// nats-server 2.12 to 2.15 end `JetStream` on a node that cannot write; the node goes on without.
#[test]
fn the_disk_of_a_node_may_be_full() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut cluster = Cluster::start(3);
    allow(&mut cluster.nodes[1], "10GB");
    let disk = Disk::mount(&cluster.nodes[1].store());
    cluster.nodes[1].restart();
    let fleet = fleet_on(&mut cluster, 2, 2);
    fleet.wait_ready(2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    let before = children(&fleet);
    // The worst case: what is full leads the buckets.
    wait_until("the small node to lead", DEADLINE, || {
        let lead = |stream: &str| {
            let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
            let answer = fleet.nats.ask_with(&subject, r#"{"placement":{"preferred":"n2"}}"#);
            (cluster.leader(stream) == 1).then_some(()).ok_or(answer)
        };
        ["KV_dsbus_fleet", "KV_dsbus_goals", "DSBUS_EVENTS"].into_iter().try_for_each(lead)
    });
    disk.fill();
    insist(&fleet, &["restart", "web:0"]);
    insist(&fleet, &["restart", "web:0"]);
    let pid = |name: &str| before[name].0;
    wait_dead(pid("web:0"));
    assert!(alive(pid("web:1")), "nothing else has stopped");
    let doctor = wait_until("doctor to name the node", DEADLINE, || {
        let said = said(&fleet.run(&["doctor"]));
        if said.contains("behind or away: n2") { Ok(said) } else { Err(said) }
    });
    assert!(doctor.contains("look at the log and the disk of n2"), "{doctor}");
    // Room is not enough: the server has to be started anew. Then it catches up.
    std::fs::remove_file(disk.filler()).unwrap();
    cluster.nodes[1].restart();
    wait_until("the node to catch up", DEADLINE, || {
        let said = said(&fleet.run(&["doctor"]));
        if said.contains("behind or away") { Err(said) } else { Ok(()) }
    });
    insist(&fleet, &["restart", "web:0"]);
    assert!(alive(pid("web:1")));
    drop(cluster);
}

#[test]
fn the_disk_of_the_only_node_may_be_full() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut fleet = Fleet::bare();
    allow(&mut fleet.nats, "10GB");
    let disk = Disk::mount(&fleet.nats.store());
    fleet.nats.restart();
    fleet.scheduler("s1");
    fleet.worker("w1");
    fleet.wait_ready(1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    let before = children(&fleet);
    disk.fill();
    let output = fleet.run(&["restart", "web:0", "--timeout", "2s"]);
    assert!(!output.status.success(), "{}", said(&output));
    // Whoever dies is started again, though nobody can be told of it.
    let (one, other) = (before["web:0"], before["web:1"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(one.0), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    wait_dead(one.0);
    assert!(alive(other.0));
    std::fs::remove_file(disk.filler()).unwrap();
    fleet.nats.restart();
    insist(&fleet, &["status"]);
    let after = fleet.wait_row("web:0", "running anew", |row| {
        row["state"] == "RUNNING" && number(&row["pid"]) != one.0
    });
    assert_eq!(after["epoch"], one.1, "it has not moved");
    assert_eq!(children(&fleet)["web:1"], other);
    insist(&fleet, &["restart", "web:0"]);
}

#[test]
fn three_nodes_may_go_one_after_the_other_and_come_back() {
    let mut cluster = Cluster::start(3);
    let mut fleet = fleet_on(&mut cluster, 2, 2);
    fleet.wait_ready(2);
    let lives = tempfile::tempdir().unwrap();
    let witness = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/witness.py");
    fleet.apply(&format!(
        r#"
        [program.web]
        command = "sleep 1000"
        numprocs = 2
        startsecs = 0
        [program.one]
        command = ["python3", "{}", "{}"]
        exclusive = true
        touch_timeout = 3
        startsecs = 0
        "#,
        witness.display(),
        lives.path().display()
    ));
    let before = children(&fleet);
    // One is down: after an election commands are answered again.
    cluster.nodes[1].kill();
    insist(&fleet, &["stop", "web:1"]);
    wait_dead(before["web:1"].0);
    insist(&fleet, &["start", "web:1"]);
    let one = number(&fleet.wait_state("one:0", "RUNNING")["pid"]);
    let mut before = children(&fleet);
    before.remove("one:0");
    let live = || assert!(before.values().all(|(pid, _)| alive(*pid)), "a child was stopped");
    // Two are down: nothing can be written.
    cluster.nodes[2].kill();
    let output = fleet.run(&["restart", "web:0", "--timeout", "2s"]);
    assert!(!output.status.success(), "{}", said(&output));
    // Nobody can renew its lease, so it ends; the others have none.
    wait_dead(one);
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
    insist(&fleet, &["restart", "web:0"]);
    fleet.wait_state("one:0", "RUNNING");
    assert_never_two(lives.path(), 2);
}
