//! An agent whose log nobody reads: the supervisor that reads it may be frozen or gone, and the
//! agent must kill its children just then.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command, Stdio};

use dsbus_harness::{DEADLINE, wait_for};
use dsbus_schema::ids::{Epoch, Incarnation, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::worker::{Capacity, Labels};
use dsbus_supervisor::process::start_time;
use dsbus_supervisor::protocol::{Child, Hello, ToAgent};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

fn sleeper() -> Process {
    Command::new("sleep").arg("1000").process_group(0).spawn().unwrap()
}

/// A child whose deadline passed long ago.
fn told(process: &Process) -> Child {
    let pid = i32::try_from(process.id()).unwrap();
    Child {
        name: "web:0".parse().unwrap(),
        epoch: Epoch(1),
        pid,
        group: None,
        start_time: start_time(pid).unwrap(),
        lease: Some(5),
        cgroup: None,
    }
}

fn hello(child: Child) -> ToAgent {
    ToAgent::Hello(Hello {
        worker: WorkerName::parse("w1").unwrap(),
        incarnation: Incarnation(uuid::Uuid::nil()),
        generation: 2,
        started: Timestamp::from_unix_nanos(0),
        supervisor_pid: i32::try_from(std::process::id()).unwrap(),
        directory: "/nonexistent".to_owned(),
        stopping: false,
        draining: false,
        children: vec![child],
        facilities: Vec::new(),
        policy: None,
        labels: Labels::new(),
        capacity: Capacity::default(),
        seal_key: None,
        leases: vec![(5, BootTime(1))],
        held: 0,
        memory: None,
    })
}

fn killed(process: &mut Process) {
    let status = wait_for("its end", DEADLINE, || process.try_wait().unwrap());
    assert_eq!(status.signal(), Some(9));
}

/// Runs an agent that logs to `stderr`, and sees that it kills one child after the other.
fn kills_all_the_same(stderr: OwnedFd) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let text = "exec \"$0\" --nats nats://127.0.0.1:1 agent --fd 3 3<&0 </dev/null";
    let mut agent = Command::new("sh")
        .args(["-c", text, env!("CARGO_BIN_EXE_dsbus")])
        .env("DSBUS_LOG", "debug")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::from(stderr))
        .spawn()
        .unwrap();
    let mut first = sleeper();
    ours.write_all(&hello(told(&first)).line()).unwrap();
    killed(&mut first);
    let mut second = sleeper();
    ours.write_all(&ToAgent::Child(told(&second)).line()).unwrap();
    killed(&mut second);
    // Nor does the supervisor's death wait for anybody.
    let mut third = sleeper();
    let free = Child { lease: None, ..told(&third) };
    ours.write_all(&ToAgent::Child(free).line()).unwrap();
    drop(ours);
    killed(&mut third);
    let status = wait_for("the end of the agent", DEADLINE, || agent.try_wait().unwrap());
    assert_eq!(status.signal(), None, "{status}");
}

#[test]
fn one_whose_log_nobody_reads_kills_all_the_same() {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    while writer.write(b"x").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(flags)).unwrap();
    kills_all_the_same(writer.into());
    drop(reader);
}

#[test]
fn one_whose_reader_is_gone_kills_all_the_same() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    kills_all_the_same(writer.into());
}
