//! What the owner of a machine does not allow, and what a worker without root cannot do: nothing of
//! it is started there, it is told, and it runs elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fleet::{DEADLINE, DSBUS, Fleet, alive, number, said};

/// Writes the `worker.toml` of a worker.
fn configure(fleet: &Fleet, worker: &str, text: &str) -> PathBuf {
    let directory = fleet.worker_directory(worker);
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("worker.toml");
    fs::write(&file, text).unwrap();
    file
}

fn reconfigure(fleet: &Fleet, worker: &str, text: &str) {
    configure(fleet, worker, text);
    fleet.signal(worker, Signal::SIGHUP);
}

/// What `dsbus explain` says of a worker.
fn verdict(fleet: &Fleet, instance: &str, worker: &str) -> String {
    let told = fleet.json(&["explain", instance, "-o", "json"]);
    let told = told.as_array().map_or(&told, |all| &all[0]);
    let workers = told["workers"].as_array().unwrap();
    let row = workers.iter().find(|row| row["name"] == worker).unwrap();
    row["refusal"].as_str().unwrap_or_default().to_owned()
}

/// Waits until an instance has no place because its worker refused it; why.
fn wait_refused(fleet: &Fleet, instance: &str) -> String {
    let row = fleet.wait_row(instance, "refused", |row| {
        let reason = row["reason"].as_str().unwrap_or_default();
        row["state"] == "PENDING" && reason.contains("w1 has refused it")
    });
    row["reason"].as_str().unwrap().to_owned()
}

fn is_refused(event: &Value, worker: &str) -> bool {
    let fact = &event["data"];
    fact["kind"] == "worker" && fact["change"] == "REFUSED" && fact["worker"] == worker
}

#[test]
fn what_is_not_allowed_is_not_started_and_runs_elsewhere() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let policy = "[policy]\nexecutables = [\"/no/such/*\"]\n";
    let file = configure(&fleet, "w1", policy);
    for worker in ["w1", "w2"] {
        fleet.worker(worker);
    }
    fleet.wait_ready(2);
    let witness = fleet.path().join("witness");
    let command = format!("echo $DSBUS_WORKER >> {}; exec sleep 1000", witness.display());
    fleet.apply(&format!(
        "[program.web]\ncommand = '{command}'\nshell = true\nexclusive = true\nstartsecs = 0\n"
    ));
    let row = fleet.wait_state("web:0", "RUNNING");
    assert_eq!(row["worker"], "w2");
    // It runs before it has written anything.
    wait_until("it to be started once", DEADLINE, || {
        let started = fs::read_to_string(&witness).unwrap_or_default();
        if started == "w2\n" { Ok(()) } else { Err(started) }
    });
    let event = fleet.wait_event("the refusal", |event| is_refused(event, "w1"));
    let reason = event["data"]["reason"].as_str().unwrap();
    let rule = format!("{}:2: policy.executables", file.display());
    assert!(reason.starts_with("web:0: command /bin/sh") && reason.contains(&rule), "{reason}");
    let why = verdict(&fleet, "web:0", "w1");
    assert!(why.starts_with("has refused it: command /bin/sh"), "{why}");
    let fatal = fleet.events().iter().any(|event| event["data"]["state"] == "FATAL");
    assert!(!fatal, "a refusal is no failure");
}

#[test]
fn where_nobody_allows_it_it_waits_and_a_new_policy_is_obeyed_at_the_next_start() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let tight = "[policy]\nenvironment_forbidden = [\"LD_*\"]\n";
    configure(&fleet, "w1", tight);
    fleet.worker("w1");
    fleet.wait_ready(1);
    let file = fleet.file(
        "web.toml",
        "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\nenvironment = { LD_DEBUG_OUTPUT = \"hidden-value\" }\n",
    );
    fleet.ok(&["apply", &file, "--no-wait"]);
    let reason = wait_refused(&fleet, "web:0");
    let wanted = "w1 has refused it: environment LD_DEBUG_OUTPUT: LD_* may not be set";
    assert!(reason.contains(wanted) && !reason.contains("hidden-value"), "{reason}");
    // The owner allows it: nobody has to ask for it.
    reconfigure(&fleet, "w1", "");
    let pid = number(&fleet.wait_state("web:0", "RUNNING")["pid"]);
    // What runs stays, and is told.
    reconfigure(&fleet, "w1", tight);
    wait_until("the warning", DEADLINE, || {
        let log = fs::read_to_string(fleet.log("w1")).unwrap_or_default();
        let told = log.contains("web:0 is not allowed any more, and runs until its next start");
        if told { Ok(()) } else { Err(log) }
    });
    assert!(alive(pid) && number(&fleet.row("web:0")["pid"]) == pid);
    fleet.run(&["restart", "web", "--no-wait"]);
    fleet.wait_state("web:0", "PENDING");
    assert!(!alive(pid));
}

#[test]
fn what_a_record_says_is_known_before_anything_is_placed() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    configure(&fleet, "w1", "[policy]\nroot = false\nusers = [\"no-such-user\"]\n");
    for worker in ["w1", "w2"] {
        fleet.worker(worker);
    }
    fleet.wait_ready(2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\nstartsecs = 0\n");
    for name in ["web:0", "web:1", "web:2"] {
        assert_eq!(fleet.wait_state(name, "RUNNING")["worker"], "w2");
    }
    let why = verdict(&fleet, "web:0", "w1");
    assert!(why.starts_with("refuses it: user is not said, and would be"), "{why}");
    assert!(!fleet.events().iter().any(|event| is_refused(event, "w1")), "it was never asked");
}

#[test]
fn an_executable_is_held_to_its_content_and_no_child_has_a_descriptor_too_many() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let tool = fleet.path().join("tool");
    fs::copy("/bin/ls", &tool).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let sum = Command::new("sha256sum").arg(&tool).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split_whitespace().next().unwrap().to_owned();
    let policy = format!(
        "[policy]\nexecutables = [{{ path = \"{}\", sha256 = \"{sum}\" }}]\n",
        tool.display()
    );
    configure(&fleet, "w1", &policy);
    fleet.worker("w1");
    fleet.wait_ready(1);
    let program = format!(
        "[program.web]\ncommand = \"{} /proc/self/fd\"\nkind = \"oneshot\"\nstartsecs = 0\n",
        tool.display()
    );
    fleet.apply(&program);
    fleet.wait_state("web:0", "EXITED");
    let log = wait_until("its output", DEADLINE, || {
        let log = fleet.ok(&["logs", "web:0"]);
        if log.lines().count() >= 4 { Ok(log) } else { Err(log) }
    });
    let numbers: Vec<&str> =
        log.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "3 is the directory that it lists: {log}");
    // Another file in its place.
    let other = fleet.path().join("other");
    fs::copy("/bin/cat", &other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&other, &tool).unwrap();
    fleet.run(&["start", "web", "--no-wait"]);
    let event = fleet.wait_event("the refusal", |event| is_refused(event, "w1"));
    let reason = event["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("its sha256 is") && !reason.contains(&sum), "{reason}");
}

#[test]
fn paths_stay_within_the_directories_that_are_allowed() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let srv = fs::canonicalize(fleet.path()).unwrap().join("srv");
    fs::create_dir(&srv).unwrap();
    std::os::unix::fs::symlink("/etc", srv.join("out")).unwrap();
    configure(&fleet, "w1", &format!("[policy]\ndirectories = [\"{}\"]\n", srv.display()));
    fleet.worker("w1");
    fleet.wait_ready(1);
    let srv = srv.display();
    fleet.apply(&format!(
        "[program.fine]\ncommand = \"sleep 1000\"\nstartsecs = 0\ndirectory = \"{srv}\"\n\
         stdout_logfile = \"{srv}/logs/fine.log\"\n[program.auto]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"
    ));
    fleet.wait_state("fine:0", "RUNNING");
    fleet.wait_state("auto:0", "RUNNING");
    for (at, line) in [
        "directory = \"/\"".to_owned(),
        format!("stdout_logfile = \"{srv}/out/dsbus-e2e.log\""),
        format!("stderr_logfile = \"{srv}/../dsbus-e2e.log\""),
        "stdout_logfile = \"/proc/self/cwd/dsbus-e2e.log\"".to_owned(),
        "env_file = [\"/etc/shadow\"]".to_owned(),
        "environment = { X = { file = \"/etc/shadow\" } }".to_owned(),
        "listen = [\"unix:///tmp/dsbus-e2e.sock\"]".to_owned(),
        "extra_files = [\"/etc/passwd\"]".to_owned(),
        "pidfile = \"/tmp/dsbus-e2e.pid\"\ndaemon = true".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("[program.bad{at}]\ncommand = \"sleep 1000\"\n{line}\n");
        let file = fleet.file("bad.toml", &text);
        fleet.ok(&["apply", &file, "--no-wait"]);
        let name = format!("bad{at}:0");
        let (reason, key) = (wait_refused(&fleet, &name), line.split(' ').next().unwrap());
        assert!(reason.contains(key) && reason.contains("policy.directories"), "{line}: {reason}");
    }
    assert!(!PathBuf::from("/etc/dsbus-e2e.log").exists());
}

#[test]
fn a_worker_without_root_refuses_what_it_cannot_do() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing is tested");
        return;
    }
    let mut fleet = Fleet::bare();
    fs::set_permissions(fleet.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fleet.scheduler("s1");
    let file = configure(&fleet, "w1", "user = \"nobody\"\n");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    for path in [file.parent().unwrap(), &file] {
        nix::unistd::chown(path, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    fleet.worker("w1");
    fleet.wait_ready(1);
    fleet.apply("[program.own]\ncommand = \"sleep 1000\"\nuser = \"nobody\"\nstartsecs = 0\n");
    fleet.wait_state("own:0", "RUNNING");
    // What the record tells: no scheduler lets it in.
    for line in
        ["user = \"daemon\"", "nice = -5", "oom_score_adj = -5", "capabilities = [\"KILL\"]"]
    {
        let text = format!("[program.bad]\ncommand = \"sleep 1000\"\n{line}\n");
        let said = fleet.fails(1, &["apply", &fleet.file("bad.toml", &text)]);
        assert!(said.contains("no worker of this fleet has"), "{line}: {said}");
    }
    // What only the worker knows: it is refused before it is tried.
    for (name, line, why) in [
        (
            "limit",
            "rlimits = { nofile = 4000000000 }",
            "rlimits.nofile 4000000000: the worker's own",
        ),
        (
            "owner",
            "socket = \"unix:///tmp/dsbus-e2e-o.sock\"\nsocket_owner = \"root\"",
            "socket_owner root",
        ),
    ] {
        let text = format!("[program.{name}]\ncommand = \"sleep 1000\"\n{line}\n");
        fleet.ok(&["apply", &fleet.file("bad.toml", &text), "--no-wait"]);
        let reason = wait_refused(&fleet, &format!("{name}:0"));
        assert!(reason.contains(why) && reason.contains("the worker runs as nobody"), "{reason}");
    }
    assert!(
        !fleet.events().iter().any(|event| event["data"]["state"] == "BACKOFF"),
        "nothing was tried"
    );
}

#[test]
fn a_policy_is_checked_and_printed() {
    let fleet = Fleet::bare();
    let check = |text: &str| {
        let file = configure(&fleet, "w1", text);
        Command::new(DSBUS).args(["worker", "--check-config", "-c"]).arg(file).output().unwrap()
    };
    let fine = check("[policy]\nusers = [\"app\"]\n[policy.limits]\nmemory = \"1GB\"\n");
    let text = said(&fine);
    assert!(fine.status.success() && text.contains("policy           = {"), "{text}");
    assert!(text.contains("users = [\"app\"]") && text.contains("memory ="), "{text}");
    let wrong = check("[policy]\nroot = false\nuser = \"app\"\n");
    let text = said(&wrong);
    assert!(text.contains(":3:") && text.contains("policy.user"), "{text}");
    let wrong = check("[policy]\nexecutables = [{ path = \"/x\", sha256 = \"12\" }]\n");
    assert!(said(&wrong).contains("64 hexadecimal digits"), "{}", said(&wrong));
}
