//! What happens to workers and schedulers.

use std::os::unix::fs::symlink;
use std::process::Command;

use dsbus_client::{Bus, ConnectOptions, Write};
use dsbus_harness::wait_until;
use dsbus_schema::ids::{Epoch, FleetName, InstanceId, UserName, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::storage::{Bucket, instance_key};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::book::{record, wait};
use crate::fleet::{DEADLINE, DSBUS, Fleet};
use crate::proxy::Proxy;

pub(crate) async fn connect(fleet: &Fleet) -> Bus {
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::parse("ann").unwrap(),
        access: dsbus_client::Access::default(),
        label: "catalogue".to_owned(),
        wait: false,
    };
    Bus::connect(options).await.unwrap()
}

#[test]
fn come_and_go() {
    let mut fleet = Fleet::start(2, 3);
    fleet.set_secret("db-password", "correct horse");
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\nstartsecs = 0\n\
         environment = { DB = { secret = \"db-password\" } }\n",
    );
    fleet.set_secret("db-password", "battery staple");
    wait(&fleet, &["worker.SECRET_CHANGED"]);
    kill(Pid::from_raw(fleet.agent_pid("w2")), Signal::SIGKILL).unwrap();
    fleet.ok(&["--as", "ann", "cordon", "w2"]);
    fleet.ok(&["--as", "ann", "uncordon", "w2"]);
    fleet.ok(&["--as", "ann", "drain", "w2"]);
    wait(
        &fleet,
        &["worker.AGENT_STARTED", "worker.CORDONED", "worker.UNCORDONED", "worker.DRAINED"],
    );
    fleet.ok(&["undrain", "w2"]);
    fleet.kill_worker("w1");
    wait(&fleet, &["worker.LOST"]);
    fleet.worker("w1");
    wait(&fleet, &["worker.BACK"]);
    fleet.signal("w3", Signal::SIGTERM);
    wait(&fleet, &["worker.STOPPING", "worker.STOPPED"]);
    fleet.kill("s2");
    wait(&fleet, &["scheduler.LOST"]);
    fleet.scheduler("s3");
    wait(&fleet, &["scheduler.JOINED"]);
    fleet.signal("s3", Signal::SIGTERM);
    wait(&fleet, &["scheduler.LEFT"]);
    record(&fleet);
}

#[test]
fn many_at_once() {
    let mut fleet = Fleet::start(1, 3);
    for name in ["w1", "w2"] {
        fleet.signal(name, Signal::SIGSTOP);
    }
    wait(&fleet, &["worker.AWAITED"]);
    for name in ["w1", "w2"] {
        fleet.signal(name, Signal::SIGCONT);
    }
    // A second machine with the name of the first takes it when that is frozen for long enough.
    fleet.kill_worker("w3");
    wait(&fleet, &["worker.LOST"]);
    record(&fleet);
}

#[test]
fn an_exclusive_child_without_a_bus() {
    let mut fleet = Fleet::start(1, 0);
    let proxy = Proxy::start(fleet.nats.port());
    fleet.worker_at("w1", &proxy.url());
    fleet.wait_ready(1);
    fleet.apply(
        "[program.db]\ncommand = \"sleep 1000\"\nexclusive = true\ntouch_timeout = 3\nstartsecs = 0\n\
         stopwaitsecs = 1\n",
    );
    fleet.worker("w2");
    fleet.wait_ready(2);
    proxy.cut();
    fleet.wait_row("db:0", "running on w2", |r| r["state"] == "RUNNING" && r["worker"] == "w2");
    proxy.heal();
    wait(&fleet, &["worker.FENCED"]);
    record(&fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_placement_of_another() {
    let mut fleet = Fleet::start(1, 0);
    let proxy = Proxy::start(fleet.nats.port());
    fleet.worker_at("w1", &proxy.url());
    fleet.wait_ready(1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    // A placement with an epoch that was before.
    let bus = connect(&fleet).await;
    let (worker, instance) =
        (WorkerName::parse("w1").unwrap(), "web:0".parse::<InstanceId>().unwrap());
    let key = instance_key(&worker, &instance);
    // A scheduler would put it right before anybody sees it, and so does an agent that knows better.
    let agent = fleet.agent_pid("w1");
    fleet.kill("s1");
    let entry = bus.get(Bucket::Fleet, &key).await.unwrap().unwrap();
    let mut placement: Placement = entry.json().unwrap().unwrap();
    placement.epoch = Epoch(placement.epoch.0 - 1);
    bus.write(Bucket::Fleet, Write::put(key, &placement).unwrap().expect(entry.seq)).await.unwrap();
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    wait(&fleet, &["worker.REFUSED"]);
    fleet.scheduler("s2");
    fleet.wait_ready(1);
    // While w1 is away, another machine takes its name.
    proxy.cut();
    wait(&fleet, &["worker.LOST"]);
    let (url, other) = (fleet.nats.url(), fleet.path().join("other"));
    let mut second = Command::new(DSBUS)
        .args(["--nats", &url, "worker", "--name", "w1", "--dir", other.to_str().unwrap()])
        .spawn()
        .unwrap();
    wait(&fleet, &["worker.BACK"]);
    proxy.heal();
    wait(&fleet, &["worker.NAME_TAKEN"]);
    record(&fleet);
    kill(Pid::from_raw(i32::try_from(second.id()).unwrap()), Signal::SIGTERM).unwrap();
    second.wait().unwrap();
}

/// More is said than a worker without a bus may keep.
#[test]
fn a_bus_that_is_away_for_too_long() {
    let mut fleet = Fleet::start(1, 0);
    let proxy = Proxy::start(fleet.nats.port());
    fleet.worker_at("w1", &proxy.url());
    fleet.wait_ready(1);
    let gate = fleet.path().join("talk");
    fleet.apply(&format!(
        "[program.talker]\nshell = true\nstdout_events_enabled = true\nstartsecs = 0\n\
         command = \"until [ -e {} ]; do sleep 0.1; done; yes chatter | head -c 100000000; exec sleep 1000\"\n",
        gate.display()
    ));
    proxy.cut();
    std::fs::write(&gate, "").unwrap();
    let log = fleet.worker_directory("w1").join("instances/talker.0/stdout.log");
    wait_until("all to be said", DEADLINE, || {
        let rotated = log.with_extension("log.1").metadata().map_or(0, |file| file.len());
        let said = log.metadata().map_or(0, |file| file.len()) + rotated;
        if said >= 100_000_000 { Ok(()) } else { Err(said) }
    });
    proxy.heal();
    // A disk that does not take what is to be kept.
    let other = fleet.worker_directory("w2");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("reports"), "a file, where a folder should be").unwrap();
    fleet.worker("w2");
    wait(&fleet, &["worker.EVENTS_DROPPED", "worker.EVENTS_UNSAVED"]);
    record(&fleet);
}

#[test]
fn another_version() {
    let mut fleet = Fleet::start(1, 0);
    let (binary, other) = (fleet.path().join("dsbus"), fleet.path().join("other"));
    symlink(DSBUS, &binary).unwrap();
    let (url, directory) = (fleet.nats.url(), fleet.worker_directory("w1"));
    let args = ["--nats", &url, "worker", "--name", "w1", "--dir", directory.to_str().unwrap()];
    fleet.spawn_from(&binary, "w1", &args, "info");
    fleet.wait_ready(1);
    std::fs::copy(DSBUS, &other).unwrap();
    for (by, told) in [("/bin/true", "UPGRADE_FAILED"), (other.to_str().unwrap(), "UPGRADED")] {
        let new = fleet.path().join("dsbus.new");
        symlink(by, &new).unwrap();
        std::fs::rename(&new, &binary).unwrap();
        fleet.signal("w1", Signal::SIGHUP);
        wait(&fleet, &[&format!("worker.{told}")]);
    }
    record(&fleet);
}
