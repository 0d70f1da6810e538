//! What may be written in each key, and what is said about what may not.

use serde_json::{Map, Value, json};

use super::*;

fn table(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not a table") };
    map
}

fn read(mut value: Value) -> Result<ProgramSpec, String> {
    value.as_object_mut().unwrap().entry("command").or_insert(json!("sleep 1"));
    ProgramSpec::read(&table(value))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Each value is refused with a sentence that names its key and holds these words.
#[track_caller]
fn refused(cases: &[(Value, &str)]) {
    for (value, words) in cases {
        let said = read(value.clone()).expect_err(&value.to_string());
        let named = value.as_object().unwrap().keys().any(|key| said.starts_with(key.as_str()));
        assert!(named && said.contains(words), "{value}: {said}");
    }
}

#[test]
fn a_stop_has_one_signal_or_several_with_their_waits() {
    let steps = |value: Value| {
        let spec = read(json!({ "stopsignal": value })).unwrap();
        let steps = spec.stopsignal.steps().iter().map(ToString::to_string).collect::<Vec<_>>();
        (steps.join(" "), serde_json::to_value(&spec.stopsignal).unwrap())
    };
    assert_eq!(steps(json!("SIGINT")), ("INT".to_owned(), json!("INT")));
    assert_eq!(steps(json!(10)), ("USR1".to_owned(), json!("USR1")));
    assert_eq!(
        steps(json!(["TERM:1m", "9"])),
        ("TERM:1m KILL".to_owned(), json!(["TERM:1m", "KILL"]))
    );
    assert_eq!(steps(json!("TERM:5, INT")).0, "TERM:5s INT");
    refused(&[
        (json!({ "stopsignal": [] }), "at least one"),
        (json!({ "stopsignal": "TERM:soon" }), "duration"),
        (json!({ "stopsignal": 0 }), "signal such as TERM"),
    ]);
}

#[test]
fn retries_may_be_without_end() {
    let retries = |value| read(json!({ "startretries": value })).unwrap().startretries;
    assert_eq!(retries(json!("infinite")), Retries::Infinite);
    assert_eq!(retries(json!("7")), Retries::Count(7));
    assert!(!Retries::Infinite.exhausted(u32::MAX));
    assert!(!Retries::Count(3).exhausted(3) && Retries::Count(3).exhausted(4));
    refused(&[
        (json!({ "startretries": -1 }), "infinite"),
        (json!({ "startretries": 2_000_000 }), "at most"),
    ]);
}

#[test]
fn output_goes_to_one_place_or_several() {
    let spec = read(json!({
        "stdout_logfile": ["/var/log/web.log", "syslog", "/dev/stdout"], "stderr_logfile": "off"
    }));
    let spec = spec.unwrap();
    assert_eq!(
        spec.stdout_logfile.targets(),
        [LogTarget::File("/var/log/web.log".to_owned()), LogTarget::Syslog, LogTarget::Stdout]
    );
    assert_eq!(spec.stderr_logfile.targets(), [LogTarget::Null]);
    assert_eq!(ProgramSpec::default().stdout_logfile.targets(), [LogTarget::Auto]);
    refused(&[
        (json!({ "stdout_logfile": "here.log" }), "absolute path"),
        (json!({ "stderr_logfile": "syslog@udp:host:514" }), "no network"),
        (json!({ "stdout_logfile": [] }), "AUTO or NONE"),
    ]);
}

#[test]
fn a_probe_asks_in_exactly_one_way() {
    let spec = read(json!({
        "readiness": { "http": "http://127.0.0.1:80%(process_num)02d/", "interval": "1s" },
        "liveness": { "exec": ["true"], "failures": "5", "timeout": 2 },
    }));
    let spec = spec.unwrap();
    assert!(spec.waits_to_be_ready());
    assert_eq!(spec.liveness.unwrap().failures, 5);
    refused(&[
        (json!({ "readiness": {} }), "exactly one of exec, http and tcp"),
        (json!({ "liveness": { "tcp": "a:1", "exec": "true" } }), "exactly one"),
        (json!({ "readiness": { "http": "https://a/" } }), "begin with http://"),
        (json!({ "readiness": { "tcp": "localhost" } }), "host:port"),
        (json!({ "liveness": { "exec": "a 'b" } }), "quote that is not closed"),
        (json!({ "liveness": { "exec": "a", "failures": 0 } }), "more than 0"),
        (json!({ "liveness": { "exec": "a", "interval": 0 } }), "more than 0"),
    ]);
}

#[test]
fn a_hook_is_a_command_or_a_table() {
    let spec = read(json!({
        "pre_start": "migrate --now",
        "post_stop": { "command": "rm -f /run/x | true", "shell": true, "timeout": "5s" },
    }));
    let spec = spec.unwrap();
    assert_eq!(spec.hook(HookPoint::PreStart).unwrap().argv().unwrap(), ["migrate", "--now"]);
    let last = spec.hook(HookPoint::PostStop).unwrap();
    assert_eq!((last.argv().unwrap()[0].as_str(), last.timeout.0.as_secs()), ("/bin/sh", 5));
    assert!(spec.hook(HookPoint::PreStop).is_none());
    refused(&[
        (json!({ "pre_start": "" }), "say what to run"),
        (json!({ "pre_stop": { "timeout": "5s" } }), "needs a command"),
        (json!({ "post_start": 5 }), "text or a list of words"),
    ]);
}

#[test]
fn limits_of_all_kinds() {
    let spec = read(json!({
        "limits": { "memory": "64MB", "cpu": 0.5, "pids": 10 },
        "rlimits": { "nofile": 1024, "core": "unlimited", "nproc": "10:20" },
        "nice": "-5", "oom_score_adj": 500, "umask": "027", "user": "www-data:adm",
        "capabilities": "CAP_NET_BIND_SERVICE, sys_time",
    }));
    let spec = spec.unwrap();
    assert_eq!(spec.umask, Some(Mode(0o27)));
    assert_eq!(spec.rlimits["core"], Rlimit { soft: None, hard: None });
    assert_eq!(spec.rlimits["nproc"], Rlimit { soft: Some(10), hard: Some(20) });
    assert_eq!(
        spec.needs(),
        [
            "user",
            "limits.memory",
            "limits.cpu",
            "limits.pids",
            "negative nice",
            "capability NET_BIND_SERVICE",
            "capability SYS_TIME"
        ]
    );
    refused(&[
        (json!({ "limits": { "memory": "1kb" } }), "memory must be at least"),
        (json!({ "limits": { "cpu": 0 } }), "cpu must be"),
        (json!({ "limits": { "pids": 0 } }), "at least 1"),
        (json!({ "rlimits": { "nofiles": 5 } }), "no limit of setrlimit(2)"),
        (json!({ "rlimits": { "nofile": "9:5" } }), "greater than the hard one"),
        (json!({ "rlimits": { "nofile": "unlimited:5" } }), "greater than the hard one"),
        (json!({ "nice": 20 }), "-20 to 19"),
        (json!({ "oom_score_adj": -2000 }), "-1000 to 1000"),
        (json!({ "umask": "9" }), "octal"),
        (json!({ "capabilities": ["FLY"] }), "capability such as"),
        (json!({ "user": "" }), "user or user:group"),
        (json!({ "user": "a:b:c" }), "user or user:group"),
        (json!({ "reload_signal": "KILL" }), "can heed"),
        (json!({ "exitcodes": [300] }), "exit codes, 0 to 255"),
        (json!({ "exitcodes": "a,b" }), "exit codes, 0 to 255"),
        (json!({ "socket": "tcp://127.0.0.1:0" }), "port 0"),
    ]);
}

#[test]
fn sockets_and_files() {
    let spec = read(json!({
        "socket": "unix:///run/%(program_name)s.sock", "socket_mode": "0770",
        "listen": ["tcp://:80%(process_num)02d", "tcp://[::1]:53"],
        "extra_files": ["/dev/null", "/var/lib/x:rw", "/tmp/a:b:a"],
    }));
    let spec = spec.unwrap();
    assert_eq!(spec.socket, Some(SocketAddress::Unix("/run/%(program_name)s.sock".to_owned())));
    assert_eq!(spec.listen[1].to_string(), "tcp://[::1]:53");
    let files: Vec<_> = spec.extra_files.iter().map(|f| (f.path.as_str(), f.mode)).collect();
    assert_eq!(
        files,
        [
            ("/dev/null", FileMode::Read),
            ("/var/lib/x", FileMode::ReadWrite),
            ("/tmp/a:b", FileMode::Append)
        ]
    );
    refused(&[
        (json!({ "socket": "/run/x" }), "unix:///path or tcp://"),
        (json!({ "listen": "tcp://localhost" }), "unix:///path or tcp://"),
        (json!({ "extra_files": "x" }), "absolute path"),
        (json!({ "socket_backlog": 0 }), "at least 1"),
    ]);
}

#[test]
fn names_and_paths_are_checked_with_what_they_expand() {
    assert!(read(json!({ "numprocs": 2, "process_name": "web_%(process_num)02d" })).is_ok());
    assert!(read(json!({ "command": "x --id %(process_num)d %(ENV_HOME)s 50%" })).is_ok());
    refused(&[
        (json!({ "process_name": "web", "numprocs": 2 }), "process_num"),
        (json!({ "process_name": "a b" }), "no blank"),
        (json!({ "process_name": "%(nobody)s" }), "known are"),
        (json!({ "directory": "%(nobody)s" }), "known are"),
        (json!({ "env_file": "x.env" }), "not absolute"),
        (json!({ "pidfile": "/run/x.pid" }), "daemon = true"),
        (json!({ "environment": { "A": "%(nobody)s" } }), "%%("),
        (json!({ "killasgroup": false, "stopasgroup": true }), "cannot be false"),
        (json!({ "backoff_factor": 0.5 }), "1 to 1000"),
        (json!({ "watchdog": 0 }), "more than 0"),
    ]);
}

#[test]
fn values_of_an_environment_may_stand_elsewhere() {
    let environment = json!({
        "A": "text", "DB": { "secret": "db-password" }, "KEY": { "file": "/run/%(program_name)s.key" },
        "URL": "%(ENV_A)s %(ENV_OTHER)s",
    });
    let spec = read(json!({ "environment": environment })).unwrap();
    assert_eq!(spec.secrets().map(ToString::to_string).collect::<Vec<_>>(), ["db-password"]);
    assert_eq!(spec.environment_files().collect::<Vec<_>>(), ["/run/%(program_name)s.key"]);
    assert_eq!(serde_json::to_value(&spec).unwrap()["environment"], environment);
    // A worker of an older version does not get it.
    let needs = spec.needs();
    assert_eq!(needs, [ENVIRONMENT_FILE, ENVIRONMENT_SECRET]);
    assert!(needs.iter().all(|need| key_of(need) == "environment"));
    assert_eq!(read(json!({ "environment": { "A": "b" } })).unwrap().needs(), [""; 0]);
    let shown = format!("{:?}", read(json!({ "environment": { "A": "hunter2" } })).unwrap());
    assert!(shown.contains("Text(..)") && !shown.contains("hunter2"), "{shown}");
    let with = |more: Value| {
        let mut keys = json!({ "environment": { "DB": { "secret": "db" } } });
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys
    };
    refused(&[
        (json!({ "environment": { "A": { "file": "run/x" } } }), "not absolute"),
        (json!({ "environment": { "A": { "file": "/%(nobody)s" } } }), "known are"),
        (json!({ "environment": { "A": { "secret": "a b" } } }), "letters, digits"),
        (json!({ "environment": { "A": { "secret": "a", "file": "/b" } } }), "no other table"),
        (json!({ "environment": { "A": { "value": "hunter2" } } }), "the value of A must be text"),
        (json!({ "environment": { "A": ["x"] } }), "found a list"),
        (with(json!({ "command": "web --password %(ENV_DB)s" })), "only the child may see"),
        (with(json!({ "directory": "/srv/%(ENV_DB)s" })), "only the child may see"),
    ]);
}

#[test]
fn copies_have_names_of_their_own() {
    let name = |edit: Value, index: u32| {
        let (spec, of) = (read(edit).unwrap(), InstanceId::new("web".parse().unwrap(), index));
        let worker = "w1".parse().unwrap();
        let known = spec.variables(&of, &worker, "host");
        (spec.copy_name(&of, &worker), spec.process_name(&of.program, &known).unwrap())
    };
    let several = Some("web_01".to_owned());
    assert_eq!(name(json!({}), 0), (None, "web".to_owned()));
    assert_eq!(name(json!({ "numprocs": 2 }), 1), (several.clone(), "web_01".to_owned()));
    assert_eq!(name(json!({ "system": true }), 1), (several, "web_01".to_owned()));
    let start = json!({ "numprocs": 2, "numprocs_start": 5, "process_name": "w%(process_num)d" });
    assert_eq!(name(start, 1), (Some("w6".to_owned()), "w6".to_owned()));
    let host = json!({ "process_name": "%(host_node_name)s" });
    assert_eq!(name(host, 0), (None, "host".to_owned()), "the fleet does not know it");
}

#[test]
fn what_acts_from_outside_needs_no_new_child() {
    let spec = |edit: Value| read(edit).unwrap();
    let plain = spec(json!({}));
    for live in [
        json!({ "stopsignal": "INT" }),
        json!({ "startretries": "infinite" }),
        json!({ "liveness": { "tcp": "localhost:1" } }),
        json!({ "meta": { "team": "a" } }),
        json!({ "stdout_logfile_backups": 3 }),
        json!({ "touch_timeout": 5 }),
    ] {
        assert!(plain.same_child(&spec(live.clone())), "{live}");
    }
    for anew in [
        json!({ "umask": "022" }),
        json!({ "user": "nobody" }),
        json!({ "nice": 1 }),
        json!({ "limits": { "pids": 5 } }),
        json!({ "notify": true }),
        json!({ "listen": "tcp://:1" }),
        json!({ "exclusive": true }),
        json!({ "env_file": "/x" }),
        json!({ "environment": { "COPIES": "%(numprocs)d" } }),
    ] {
        assert!(!plain.same_child(&spec(anew.clone())), "{anew}");
    }
    let copies = |n: u32, argument: &str| {
        let name = "%(program_name)s_%(process_num)d";
        spec(json!({ "command": ["x", argument], "numprocs": n, "process_name": name }))
    };
    assert!(copies(2, "").same_child(&copies(3, "")));
    let told = "%(numprocs)d";
    assert!(!copies(2, told).same_child(&copies(3, told)), "it was told how many there are");
}

#[test]
fn what_a_table_does_not_know_is_told() {
    let keys = json!({ "readiness": { "tcp": "a:1", "retries": 5 }, "environment": { "ANY": "x" },
        "limits": { "memory": "1GB", "disk": 3 }, "meta": { "any": { "thing": 1 } } });
    let strange = ProgramSpec::strange_inside(&table(keys));
    let strange: Vec<_> = strange.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(strange, [("limits", "disk"), ("readiness", "retries")]);
}

#[test]
fn meta_comes_back_untouched() {
    let meta = json!({ "a": [1, { "b": null }], "c": "x", "d": 1.5 });
    let spec = read(json!({ "meta": meta })).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap()["meta"], meta);
}

#[test]
fn every_key_is_known_and_described() {
    let keys = ProgramSpec::keys();
    for key in ["command", "umask", "liveness", "socket_owner", "meta", "max_fail_count"] {
        assert!(keys.iter().any(|known| known == key), "{key}");
    }
    let schema = schemars::schema_for!(ProgramSpec).to_value();
    for key in keys {
        let described = schema["properties"][key]["description"].as_str();
        assert!(described.is_some_and(|text| !text.is_empty()), "{key} has no description");
    }
}

#[test]
fn arguments_come_after_the_command_as_they_are() {
    let words = |spec: &ProgramSpec, arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        spec.with_arguments(&arguments).unwrap().argv().unwrap()
    };
    let plain = ProgramSpec { command: Command::Line("web -a".to_owned()), ..Default::default() };
    assert_eq!(words(&plain, &[]), ["web", "-a"]);
    assert_eq!(words(&plain, &["b c", "%(worker)s"]), ["web", "-a", "b c", "%%(worker)s"]);
    let shell = ProgramSpec { shell: true, ..plain };
    assert_eq!(words(&shell, &["b c", "$X", ""]), ["/bin/sh", "-c", "web -a 'b c' '$X' ''"]);
}
