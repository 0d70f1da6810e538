//! Secrets as programs have them: given, changed, lacking, and copied where they do not belong.

use dsbus_client::{Bus, ConnectOptions, Write};
use dsbus_harness::wait_until;
use dsbus_schema::ids::{FleetName, SecretName, UserName, WorkerName};
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::storage::{Bucket, secret_key};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, Fleet, said, wait_dead};

const WEB: &str = r#"
[program.web]
command = "sleep 1000"
startsecs = 0
startretries = 0
max_fail_count = 1
environment = { DB = { secret = "db-password" } }
"#;

/// The process of web:0 that has this value, once there is one. Children are known by what they are
/// told in their environment, since there may be no bus to ask.
fn child(fleet: &Fleet, variable: &str) -> i32 {
    let home = fleet.path().to_str().unwrap().to_owned();
    wait_until(&format!("a child with {variable}"), DEADLINE, || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let has = |pid: &i32| {
            let read =
                |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let variables = read("environ");
            let mut variables = variables.split(|byte| *byte == 0);
            let here = std::fs::read_link(format!("/proc/{pid}/cwd"));
            here.is_ok_and(|path| path.starts_with(&home))
                && read("cmdline").starts_with(b"sleep\0")
                && variables.any(|one| one == variable.as_bytes())
        };
        pids.into_iter().find(has).ok_or("there is none")
    })
}

fn kill_child(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_dead(pid);
}

#[test]
fn a_secret_that_lacks_fails_the_start_with_what_to_do_and_then_it_is_there() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("web.toml", WEB);
    let why = fleet.fails(1, &["apply", &file]);
    let told = "environment DB: worker w1 has no secret db-password; \
                run: dsbus secret set db-password --workers w1";
    assert!(why.contains(told), "{why}");
    fleet.wait_event("that it was given up", |event| {
        let reason = event["data"]["reason"].as_str().unwrap_or_default();
        event["data"]["state"] == "FATAL" && reason.contains(told)
    });
    let doctor = fleet.run(&["doctor"]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("w1 lacks db-password, and web cannot start there"), "{doctor}");
    fleet.set_secret("db-password", "one\n");
    // Its worker hears of the secret and of the start for itself.
    wait_until("it to start", DEADLINE, || {
        let output = fleet.run(&["start", "web"]);
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    });
    child(&fleet, "DB=one");
    // The list tells who joined later.
    let list = fleet.json(&["secret", "list", "-o", "json"]);
    assert_eq!(
        (&list[0]["workers"][0], &list[0]["missing"][0]),
        (&"w1".into(), &None::<()>.into())
    );
}

#[test]
fn a_child_restarts_with_its_secret_without_a_bus_and_a_change_waits_for_the_next_start() {
    let mut fleet = Fleet::start(1, 1);
    fleet.set_secret("db-password", "one");
    fleet.apply(WEB);
    let first = child(&fleet, "DB=one");
    fleet.nats.kill();
    kill_child(first);
    let second = child(&fleet, "DB=one");
    fleet.nats.restart();
    fleet.wait_ready(1);
    fleet.set_secret("db-password", "two");
    let told = fleet.wait_event("of the change", |e| e["data"]["change"] == "SECRET_CHANGED");
    let reason = told["data"]["reason"].as_str().unwrap();
    assert_eq!(reason, "secret db-password was set: from the next start on of web:0");
    assert_eq!(child(&fleet, "DB=one"), second, "it goes on with what it has");
    // A new agent knows as much, and tells nothing that is not new.
    let agent = fleet.agent_pid("w1");
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    kill_child(second);
    child(&fleet, "DB=two");
    wait_until("the new agent to be known", DEADLINE, || {
        if fleet.agent_pid("w1") == agent { Err(agent) } else { Ok(()) }
    });
    // So does a new supervisor.
    fleet.kill_worker("w1");
    fleet.worker("w1");
    child(&fleet, "DB=two");
    fleet.wait_ready(1);
    fleet.ok(&["secret", "remove", "db-password"]);
    fleet.wait_event("of its end", |e| {
        e["data"]["reason"] == "secret db-password was taken away: from the next start on of web:0"
    });
    let why = fleet.fails(1, &["restart", "web"]);
    assert!(why.contains("has no secret db-password"), "{why}");
    let changes = fleet.events();
    let changes = changes.iter().filter(|e| e["data"]["change"] == "SECRET_CHANGED").count();
    assert_eq!(changes, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_value_opens_under_its_own_name_only() {
    let fleet = Fleet::start(1, 1);
    fleet.set_secret("other", "of another");
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: false,
    };
    let bus = Bus::connect(options).await.unwrap();
    let worker: WorkerName = "w1".parse().unwrap();
    let key = |name: &str| secret_key(&worker, &SecretName::parse(name).unwrap());
    let entry = bus.get(Bucket::Secrets, &key("other")).await.unwrap().unwrap();
    let sealed: SealedSecret = entry.json().unwrap().unwrap();
    bus.write(Bucket::Secrets, Write::put(key("db-password"), &sealed).unwrap()).await.unwrap();
    let file = fleet.file("web.toml", WEB);
    let mut why = fleet.fails(1, &["apply", &file]);
    let told = "worker w1 cannot read its secret db-password: it was sealed as secret other of \
                worker w1 in fleet default, and copied";
    wait_until("its worker to have heard of it", DEADLINE, || {
        if why.contains(told) {
            return Ok(());
        }
        Err(std::mem::replace(&mut why, fleet.fails(1, &["start", "web"])))
    });
    // One that is sealed to another key than the worker has.
    let key_of_another = dsbus_schema::secret::SealKeys::random().public();
    let elsewhere = SealedSecret { key: key_of_another, ..sealed };
    bus.write(Bucket::Secrets, Write::put(key("db-password"), &elsewhere).unwrap()).await.unwrap();
    let list = fleet.json(&["secret", "list", "-o", "json"]);
    assert_eq!(list[0]["unreadable"][0], "w1", "{list}");
}

/// Soft and hard limit of core files of a process.
fn cores(pid: &str) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn a_value_from_a_file_is_read_at_each_start() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("value", "one\n");
    let web = format!(
        "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\nstartretries = 0\nmax_fail_count = 1\n\
         environment = {{ DB = {{ file = \"{file}\" }} }}\n"
    );
    fleet.apply(&web);
    let first = child(&fleet, "DB=one");
    // Neither side of the worker leaves its memory anywhere; its children's limit is as it was.
    let started = cores("self");
    assert_eq!(cores(&first.to_string()), started);
    if started.1 != "0" {
        let supervisor = fleet.pid("w1");
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let agent = children.split_whitespace().find(|pid| **pid != first.to_string()).unwrap();
        for daemon in [supervisor.to_string(), agent.to_owned()] {
            assert_eq!(cores(&daemon), ("1".to_owned(), started.1.clone()));
        }
    }
    fleet.file("value", "two");
    kill_child(first);
    child(&fleet, "DB=two");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
    let why = fleet.fails(1, &["restart", "web"]);
    assert!(why.contains(&format!("environment DB: {file}: is a link")), "{why}");
}
