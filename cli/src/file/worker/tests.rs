use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/worker.toml");

fn around(home: &str) -> Surroundings {
    Surroundings {
        variables: [("HOME".into(), home.into()), ("ZONE".into(), "eu".into())].into(),
        directory: "/etc".into(),
        machine: None,
    }
}

fn parsed(text: &str) -> Found {
    let source = Source { name: "worker.toml", text };
    parse(&source, Path::new("/etc/dsbus"), &around("/home/ann"))
}

fn keys(text: &str) -> Keys {
    let found = parsed(text);
    assert_eq!(found.diagnostics, [], "{text}");
    found.keys
}

fn wrong(text: &str) -> Vec<String> {
    let mut found = parsed(text);
    let source = Source { name: "worker.toml", text };
    for problem in check::problems(&found.keys, &found.spans, nix::unistd::Uid::from_raw(1000)) {
        found.tell(&source, problem);
    }
    found.diagnostics.sort_by_key(Diagnostic::position);
    found.diagnostics.iter().map(Diagnostic::one_line).collect()
}

/// The keys of the example, as if their lines had no `#`.
fn of_the_example() -> String {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    let keys = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    keys.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_names_every_key_and_its_default() {
    assert_eq!(keys(EXAMPLE), Keys::default(), "as it is, it changes nothing");
    let found = parsed(&of_the_example());
    assert_eq!(found.diagnostics, []);
    let named: BTreeSet<String> = found.spans.into_keys().collect();
    assert_eq!(named, Keys::names());
    let changed = Keys::default().changed(&found.keys);
    for key in [
        "logfile_maxbytes",
        "logfile_backups",
        "loglevel",
        "nodaemon",
        "minfds",
        "syslog",
        "cgroup",
        "drain",
        "drain_timeout",
    ] {
        assert!(!changed.contains(&key.to_owned()), "{key} has another default");
    }
}

#[test]
fn values_are_read_as_supervisor_reads_them() {
    let keys = keys(
        "loglevel = \"BLATHER\"\nlogfile_maxbytes = \"1KB\"\nnodaemon = \"no\"\nsilent = 1\n\
         umask = 22\nminfds = \"4096\"\nenvironment = 'A=\"x,y\",B=%(ENV_ZONE)s'\n",
    );
    assert_eq!((keys.loglevel, keys.logfile_maxbytes), (LogLevel::Blather, Size(1024)));
    assert!(!keys.nodaemon && keys.silent);
    assert_eq!((keys.umask, keys.minfds), (Some(Mode(0o22)), 4096));
    let pairs = [("A", "x,y"), ("B", "eu")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(keys.environment, pairs.into());
}

#[test]
fn paths_are_relative_to_the_file() {
    assert_eq!(keys("logfile = \"none\"").logfile, None);
    let keys = keys(
        "logfile = \"log/w.log\"\npidfile = \"~/pid\"\ndir = \"%(here)s/state\"\n\
         directory = \"/srv\"\ncgroup = \"NONE\"\nserverurl = \"AUTO\"\n",
    );
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(keys.logfile, path("/etc/dsbus/log/w.log"));
    assert_eq!(keys.pidfile, path("/home/ann/pid"));
    assert_eq!(keys.dir, path("/etc/dsbus/state"));
    assert_eq!(keys.directory, path("/srv"));
    assert_eq!((keys.cgroup.as_str(), keys.serverurl), ("none", None));
}

#[test]
fn every_mistake_is_told_where_it_stands() {
    let told = wrong(
        "loglevl = \"info\"\nloglevel = \"loud\"\nlogfile = \"syslog\"\nminfds = \"many\"\n\
         childlogdir = \"/no/such\"\nuser = \"nobody-of-this-name\"\nserverurl = \"host\"\n\
         cgroup = \"/no/cgroup\"\npidfile = \"\"\ndirectory = \"%(her)s\"\n",
    );
    for (said, expected) in told.iter().zip([
        "worker.toml:1: loglevl: unknown key (did you mean \"loglevel\"?)",
        "worker.toml:2: loglevel: expected one of critical, error,",
        "worker.toml:3: logfile: the worker's own log does not go to syslog",
        "worker.toml:4: minfds: expected a whole number, found \"many\"",
        "worker.toml:5: childlogdir: there is no directory /no/such",
        "worker.toml:6: user: there is no user \"nobody-of-this-name\"",
        "worker.toml:7: serverurl: expected an address",
        "worker.toml:8: cgroup: there is no directory /no/cgroup",
        "worker.toml:9: pidfile: is empty",
        "worker.toml:10: directory: %(her) is not known here; known are here,",
    ]) {
        assert!(said.starts_with(expected), "{said:?} does not begin with {expected:?}");
    }
    assert_eq!(told.len(), 10, "{told:?}");
}

#[test]
fn what_no_machine_allows_is_refused_before_it_is_tried() {
    let told = wrong("minfds = 99999999999\nminprocs = 4194305\n");
    let starts = [
        "worker.toml:1: minfds: 99999999999 is more open files than any Linux allows",
        "worker.toml:2: minprocs: 4194305 is more processes than any Linux allows",
    ];
    assert!(told.iter().zip(starts).all(|(told, start)| told.starts_with(start)), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(wrong("minfds = 2147483584\nminprocs = 4194304\n"), Vec::<String>::new());
}

#[test]
fn labels_and_capacity_are_keys_or_sections() {
    let inline = keys("labels = 'zone=eu'\ncapacity = { cpu = \"1.5\", memory = \"8GB\" }\n");
    let sections =
        "[labels]\nzone = \"%(ENV_ZONE)s\"\n[capacity]\ncpu = 1.5\nmemory = 8589934592\n";
    assert_eq!(inline, keys(sections));
    assert_eq!(inline.labels, [("zone".to_owned(), "eu".to_owned())].into());
    let capacity = CapacityKeys { cpu: Some(1.5), memory: Some(Size(8 << 30)) };
    assert_eq!(inline.capacity, capacity);
    for (text, expected) in [
        ("labels = { \"a b\" = 1 }", "labels: label \"a b\": the name may hold only"),
        ("labels = { a = \"x\\ty\" }", "labels: label \"a=x\\ty\": the value holds a control"),
        ("labels = { a = [1] }", "labels: the value of a must be text, found a list"),
        ("[capacity]\ncpus = 4", "capacity: cpus: unknown key; known: cpu or memory"),
        ("[capacity]\ncpu = 0", "capacity: cpu must be greater than 0"),
        ("[capacity]\ncpu = \"all\"", "capacity: cpu: expected a number, found \"all\""),
        ("[capacity]\nmemory = 0", "capacity: memory must be greater than 0"),
        ("[capacity]\nmemory = \"8XB\"", "capacity: memory: expected bytes or a size"),
    ] {
        let told = wrong(text);
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
    }
}

#[test]
fn what_does_not_go_together_is_told() {
    for (text, expected) in [
        ("name = \"a\"\nidentifier = \"b\"", "identifier: is Supervisor's word for name"),
        ("nodaemon = false", "nodaemon: a worker in the background has no standard error"),
        ("silent = true", "silent: without a logfile"),
        ("user = \"root\"", "user: only root can become root"),
        ("logfile = \"/no/such/log\"", "logfile: there is no directory /no/such"),
        ("logfile = \"/etc\"", "logfile: /etc is a directory"),
    ] {
        let told = wrong(text);
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
    }
    assert_eq!(wrong("name = \"a\"\nidentifier = \"a\""), [""; 0]);
}

#[test]
fn what_people_bring_from_supervisor_is_told_with_the_reason() {
    for (text, expected) in [
        ("[supervisord]\nlogfile = \"x\"", "its keys stand at the top"),
        ("[unix_http_server]\nfile = \"x\"", "serves no HTTP"),
        ("[program.web]\ncommand = \"x\"", "dsbus apply"),
        ("profile_options = \"x\"", "profiler"),
        ("nats = \"nats://h\"", "NATS_URL"),
        ("[program:x]", "dsbus apply"),
        ("logfile=/var/log/x.log ; the log", "logfile = \"/var/log/x.log\""),
        ("; a comment", "begins with #"),
    ] {
        let told = wrong(text);
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
    }
}
