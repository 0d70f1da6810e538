//! Declaring programs: `apply`, `create`, `remove`.

use crate::fleet::{DEADLINE, Fleet};
use dsbus_harness::wait_until;
use serde_json::Value;

#[test]
fn apply_runs_what_a_file_declares_and_a_second_apply_changes_nothing() {
    let fleet = Fleet::start(2, 3);
    let file = fleet.file(
        "web.toml",
        r#"
        [program.web]
        command = "sleep 1000"
        numprocs = 3
        startsecs = "200ms"
        "#,
    );
    let out = fleet.ok(&["apply", &file]);
    assert!(out.contains("web") && out.contains("created"), "{out}");
    let rows = fleet.status();
    let workers: std::collections::BTreeSet<_> =
        rows.iter().map(|r| r["worker"].as_str().unwrap().to_owned()).collect();
    assert_eq!(workers.len(), 3, "spread over all workers: {rows:?}");
    for row in &rows {
        assert_eq!((row["state"].as_str(), row["statecode"].as_u64()), (Some("RUNNING"), Some(20)));
        for key in [
            "name",
            "id",
            "program",
            "index",
            "state",
            "statecode",
            "worker",
            "pid",
            "epoch",
            "revision",
            "since",
            "restarts",
            "exit",
            "reason",
            "spawnerr",
            "stdout_logfile",
            "stderr_logfile",
        ] {
            assert!(row.get(key).is_some(), "no {key} in {row}");
        }
    }
    let pids = |rows: &[Value]| rows.iter().map(|r| r["pid"].clone()).collect::<Vec<_>>();
    let out = fleet.ok(&["apply", &file]);
    assert!(out.contains("unchanged"), "{out}");
    assert_eq!(pids(&fleet.status()), pids(&rows));
    for key in ["name", "state", "agent_pid", "supervisor_pid", "instances", "last_touch"] {
        assert!(!fleet.worker_row("w1")[key].is_null(), "{key}");
    }
}

#[test]
fn a_changed_declaration_restarts_only_what_it_must() {
    let fleet = Fleet::start(1, 1);
    let declare = |startretries: u32, seconds: u32| {
        format!(
            "[program.a]\ncommand = \"sleep {seconds}\"\nstartsecs = 0\nstartretries = {startretries}\n[program.b]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"
        )
    };
    fleet.apply(&declare(3, 1000));
    let (a, b) = (fleet.row("a:0"), fleet.row("b:0"));
    fleet.apply(&declare(9, 1000));
    let same = fleet.row("a:0");
    assert_eq!((&same["pid"], &same["revision"]), (&a["pid"], &Value::from(2)));
    fleet.apply(&declare(9, 2000));
    let changed = fleet.row("a:0");
    assert_ne!(changed["pid"], a["pid"]);
    assert_eq!(changed["epoch"], a["epoch"], "a change on the same worker keeps the epoch");
    assert_eq!(fleet.row("b:0")["pid"], b["pid"]);
}

#[test]
fn bad_files_are_told_all_at_once_and_nothing_is_applied() {
    let fleet = Fleet::start(1, 1);
    let good = fleet.file("good.toml", "[program.good]\ncommand = \"sleep 1000\"\n");
    let one = fleet.file(
        "one.toml",
        "[program.web]\ncommand = \"sleep 1\"\nnumproc = 3\nstartsecs = \"soon\"\n",
    );
    let two = fleet.file("two.toml", "[program.api]\nnumprocs = 0\n");
    let said = fleet.fails(1, &["apply", &good, &one, &two]);
    for part in [
        "one.toml",
        ":3",
        "numproc",
        "did you mean",
        "numprocs",
        ":4",
        "startsecs",
        "soon",
        "^",
        "two.toml",
        "command",
        "is missing",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    assert!(fleet.status().is_empty(), "nothing is applied");
}

#[test]
fn create_answers_with_the_id_and_keeps_a_definition_that_fails() {
    let fleet = Fleet::start(1, 1);
    let id = fleet.ok(&["create", "job", "--startsecs", "0", "--", "sleep", "1000"]);
    let id = id.trim();
    assert_eq!(fleet.row("job")["id"], id);
    assert_eq!(fleet.row("job")["restarts"], 0, "started once");
    assert_eq!(fleet.row(id)["name"], "job:0", "the id is a name, too");
    let said = fleet.fails(1, &["create", "job", "--", "sleep", "1"]);
    assert!(said.contains("live") && said.contains(id), "{said}");

    let failed = fleet.run(&[
        "create",
        "bad",
        "--startretries=0",
        "--max_fail_count=1",
        "--",
        "/no/such/program",
    ]);
    assert_eq!(failed.status.code(), Some(1));
    let stdout = String::from_utf8(failed.stdout).unwrap();
    let stderr = String::from_utf8(failed.stderr).unwrap();
    let row = fleet.wait_state("bad:0", "FATAL");
    assert_eq!(stdout.trim(), row["id"].as_str().unwrap());
    assert!(stderr.contains("/no/such/program"), "{stderr}");

    // A stopped one may be replaced; its id stays.
    fleet.ok(&["stop", "job"]);
    let again = fleet.ok(&["create", "job", "--startsecs", "0", "--", "sleep", "2000"]);
    assert_eq!(again.trim(), id);
    assert_eq!(fleet.row("job:0")["revision"], 2);
}

#[test]
fn remove_stops_and_forgets() {
    let fleet = Fleet::start(1, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    let pid = crate::fleet::number(&fleet.row("web:0")["pid"]);
    let epoch = fleet.row("web:0")["epoch"].as_u64().unwrap();
    fleet.ok(&["remove", "web"]);
    assert!(!crate::fleet::alive(pid));
    assert!(fleet.status().is_empty());
    let said = fleet.fails(1, &["remove", "wep"]);
    assert!(said.contains("wep"), "{said}");
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    assert!(fleet.row("web:0")["epoch"].as_u64().unwrap() > epoch);
}

/// Both ways in: as it is, and as the TOML file that is made of it.
#[test]
fn a_configuration_of_supervisor_is_applied_as_it_is() {
    let fleet = Fleet::start(1, 2);
    std::fs::create_dir(fleet.path().join("conf.d")).unwrap();
    let conf = "[unix_http_server]\nfile=/tmp/s.sock\n[supervisord]\nenvironment=WHERE=\"%(here)s\"\n\
                [include]\nfiles=conf.d/*.conf\n[group:shop]\nprograms=web,mail\n";
    let conf = fleet.file("supervisord.conf", conf);
    let web = "[program:web]   ; the shop itself\ncommand=sh -c 'echo \"$WHERE $N\"; exec sleep 1000'\n\
               process_name=%(program_name)s_%(process_num)02d\nnumprocs=2\nnumprocs_start=8\n\
               environment=N=\"%(process_num)d\"\nstartsecs=0\n";
    fleet.file("conf.d/web.conf", web);
    fleet.file("conf.d/mail.conf", "[program:mail]\ncommand=sleep 1000\nautostart=no\n");

    let out = fleet.run(&["apply", &conf]);
    let told = crate::fleet::said(&out);
    assert!(out.status.success() && told.contains("[unix_http_server]: people and"), "{told}");
    let rows = fleet.json(&["status", "shop", "-o", "json"]);
    let states: Vec<_> =
        rows.as_array().unwrap().iter().map(|r| (&r["name"], &r["state"])).collect();
    let wanted = [("mail:0", "STOPPED"), ("web:0", "RUNNING"), ("web:1", "RUNNING")];
    let wanted: Vec<_> = wanted.map(|(name, state)| (Value::from(name), Value::from(state))).into();
    assert_eq!(states, wanted.iter().map(|(n, s)| (n, s)).collect::<Vec<_>>());
    let here = fleet.path().display().to_string();
    wait_until("the copy to say where and which it is", DEADLINE, || {
        let said = fleet.ok(&["logs", "web:1"]);
        if said.contains(&format!("{here} 9")) { Ok(()) } else { Err(said) }
    });

    let toml = fleet.ok(&["import", &conf]);
    let toml = fleet.file("programs.toml", &toml);
    let out = fleet.ok(&["apply", &toml]);
    assert_eq!(out.matches("unchanged").count(), 2, "{out}");

    let bad = fleet.file("bad.conf", "[program:x]\ncommand=x\nnumprocs=many\n");
    let told = fleet.fails(1, &["apply", &bad]);
    assert!(told.contains("bad.conf:3:1") && told.contains("nothing was applied"), "{told}");
}

#[test]
fn what_is_declared_is_exported_and_applied_again_changes_nothing() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.web]
        command = ["sh", "-c", "exec sleep 1000 # '\"$N\"'"]
        numprocs = 2
        startsecs = "200ms"
        environment = { N = "a \"quoted\" %%(x)s\n", E = "" }
        stopsignal = ["INT:2s", "TERM"]
        stdout_logfile = ["AUTO", "/dev/stdout"]
        stdout_logfile_maxbytes = "1MB"
        exitcodes = [0, 2]
        touch_timeout = "7s"
        update = { max_unavailable = 2, min_healthy = "1s" }
        readiness = { exec = "true", interval = "1s" }
        meta = { owner = "me", list = [1, 2.5, true] }
        [program.job]
        command = "true"
        kind = "oneshot"
        autostart = false
        [program.cron]
        command = "true"
        schedule = { cron = "0 3 * * mon-fri", timezone = "Europe/Berlin" }
        [eventlistener.ear]
        command = "cat"
        events = ["PROCESS_STATE", "TICK_60"]
        autostart = false
        "#,
    );
    let toml = fleet.ok(&["export"]);
    let file = fleet.file("all.toml", &toml);
    let out = fleet.ok(&["apply", "--dry-run", &file]);
    assert_eq!(out.matches("unchanged").count(), 4, "{out}{toml}");
    assert!(!toml.contains("stderr_logfile_backups"), "what is a default is left out: {toml}");
    let one = fleet.ok(&["export", "job"]);
    assert!(one.contains("[program.job]") && !one.contains("web"), "{one}");
    assert!(fleet.fails(1, &["export", "nobody"]).contains("no program is named"));
}

#[test]
fn what_is_declared_to_run_again_runs_again() {
    let fleet = Fleet::start(1, 1);
    let with =
        |lines: &str| format!("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n{lines}\n");
    let runs = with("");
    for stops in ["autostart = false", "schedule = { cron = \"0 3 1 1 *\" }"] {
        fleet.apply(&runs);
        fleet.wait_state("web:0", "RUNNING");
        fleet.apply(&with(stops));
        fleet.wait_state("web:0", "STOPPED");
        fleet.apply(&runs);
        fleet.wait_state("web:0", "RUNNING");
    }
}
