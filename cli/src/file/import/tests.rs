//! What is made of configurations in the style found in the wild, beside what Supervisor itself
//! makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dsbus_schema::program::expand::{self, Variables};
use dsbus_schema::program::{AutoRestart, ProgramSpec, Signal};
use serde_json::{Value, json};

use super::*;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Variables that the samples name.
const SAMPLES: [(&str, &str); 6] = [
    ("SAMPLE_PATH", "/usr/bin:/bin"),
    ("SAMPLE_ROLE", "leader"),
    ("SAMPLE_FILE", "/tmp/file"),
    ("SAMPLE_COPIES", "2"),
    ("SAMPLE_USER", "nobody"),
    ("SAMPLE_PRIORITY", "7"),
];

fn sample(name: &str) -> PathBuf {
    Path::new(TOP).join("tests/samples/supervisord").join(name).canonicalize().unwrap()
}

fn around() -> Surroundings {
    let mut around = Surroundings::here();
    let samples = SAMPLES.map(|(name, value)| (name.into(), value.into()));
    around.variables.extend(samples);
    around
}

fn imported(path: &Path) -> Imported {
    read(path, &around()).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n"))
    })
}

/// Each process as Supervisor has it, by `group:process`.
fn theirs(path: &Path) -> BTreeMap<String, Value> {
    let supervisor = Path::new(TOP).join(".tools/supervisor");
    assert!(supervisor.is_dir(), "Supervisor is missing: ./run setup fetches it");
    let dumped = Command::new("python3")
        .args([&sample("dump.py"), path])
        .env("PYTHONPATH", supervisor)
        .envs(SAMPLES)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&dumped.stderr);
    serde_json::from_slice(&dumped.stdout).unwrap_or_else(|e| panic!("{e}: {told}"))
}

/// Each copy as it would run on this machine.
fn ours(imported: &Imported) -> BTreeMap<String, Value> {
    let mut copies = BTreeMap::new();
    for declared in &imported.programs {
        let keys = declared.section.as_program(declared.keys.clone());
        let spec = ProgramSpec::read(&keys).unwrap();
        let group = spec.group.as_ref().unwrap_or(&declared.name);
        for index in 0..spec.numprocs {
            let variables = variables(&spec, &declared.name, group, index);
            let expand = |text: &str| expand::expand(text, &variables).unwrap();
            let template = spec.process_name.as_deref().unwrap_or("%(program_name)s");
            copies.insert(format!("{group}:{}", expand(template)), copy(&spec, expand));
        }
    }
    copies
}

fn variables(
    spec: &ProgramSpec,
    program: &ProgramName,
    group: &ProgramName,
    index: u32,
) -> Variables {
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let pairs = [
        ("program_name", program.to_string()),
        ("group_name", group.to_string()),
        ("process_num", (u64::from(index) + u64::from(spec.numprocs_start)).to_string()),
        ("numprocs", spec.numprocs.to_string()),
        ("host_node_name", host),
    ];
    let mut variables: Variables = pairs.map(|(key, value)| (key.to_owned(), value)).into();
    for (key, value) in &around().variables {
        let key = format!("ENV_{}", key.to_string_lossy());
        variables.insert(key, value.to_string_lossy().into_owned());
    }
    variables
}

fn copy(spec: &ProgramSpec, expand: impl Fn(&str) -> String) -> Value {
    let words = |key: &str| serde_json::to_value(spec).unwrap()[key].clone();
    let text = |key: &str| expand(words(key).as_str().unwrap());
    let log = |key: &str| match text(key).as_str() {
        // Supervisor's other word for `*_syslog`.
        "syslog" => "NONE".to_owned(),
        _ if key == "stderr_logfile" && spec.redirect_stderr => "NONE".to_owned(),
        log => log.to_owned(),
    };
    let syslog = |key: &str, too: bool| too || text(key) == "syslog";
    let listener = spec.eventlistener.as_ref();
    let events = |listener: &dsbus_schema::program::EventListener| {
        listener.events.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    json!({
        "command": spec.argv().unwrap().iter().map(|word| expand(word)).collect::<Vec<_>>(),
        "directory": spec.directory.as_deref().map(&expand),
        "uid": spec.user.as_deref().map(uid),
        "umask": spec.umask.map(|mask| mask.0),
        "priority": spec.priority,
        "autostart": spec.autostart,
        "autorestart": match spec.autorestart {
            AutoRestart::Always => json!(true),
            AutoRestart::Never => json!(false),
            AutoRestart::Unexpected => json!("unexpected"),
        },
        "startsecs": spec.startsecs.0.as_secs(),
        "startretries": words("startretries"),
        "exitcodes": spec.exitcodes,
        "stopsignal": text("stopsignal").parse::<Signal>().unwrap().number(),
        "stopwaitsecs": spec.stopwaitsecs.0.as_secs(),
        "stopasgroup": spec.stopasgroup,
        "redirect_stderr": spec.redirect_stderr,
        "stdout_logfile": log("stdout_logfile"),
        "stdout_logfile_maxbytes": spec.stdout_logfile_maxbytes.0,
        "stdout_logfile_backups": spec.stdout_logfile_backups,
        "stdout_capture_maxbytes": spec.stdout_capture_maxbytes.0,
        "stdout_events_enabled": spec.stdout_events_enabled,
        "stdout_syslog": syslog("stdout_logfile", spec.stdout_syslog),
        "stderr_logfile": log("stderr_logfile"),
        "stderr_logfile_maxbytes": spec.stderr_logfile_maxbytes.0,
        "stderr_logfile_backups": spec.stderr_logfile_backups,
        "stderr_capture_maxbytes": spec.stderr_capture_maxbytes.0,
        "stderr_events_enabled": spec.stderr_events_enabled,
        "stderr_syslog": syslog("stderr_logfile", spec.stderr_syslog),
        "environment": spec.environment.iter()
            .map(|(key, value)| (key.clone(), expand(value.text().unwrap()))).collect::<BTreeMap<_, _>>(),
        "events": listener.map_or_else(BTreeSet::new, events),
        "buffer_size": listener.map(|listener| listener.buffer_size),
        "socket": spec.socket.as_ref().map(|socket| expand(&socket.to_string())),
    })
}

fn uid(user: &str) -> u32 {
    let named = nix::unistd::User::from_name(user).unwrap();
    named.map_or_else(|| user.parse().unwrap(), |user| user.uid.as_raw())
}

/// Both make the same of a sample, but for groups that are named anew.
fn agree(path: &Path, renamed: &[(&str, &str)]) {
    let ours = ours(&imported(path));
    let mut theirs: BTreeMap<String, Value> = theirs(path)
        .into_iter()
        .map(|(name, process)| {
            let other = renamed.iter().find(|(from, _)| name.starts_with(from));
            (other.map_or(name.clone(), |(from, to)| name.replacen(from, to, 1)), process)
        })
        .collect();
    for (name, process) in &mut theirs {
        let Some(copy) = ours.get(name) else { panic!("{name} is not in {:?}", ours.keys()) };
        // What is not said is what the worker was started with, or the bridge's own choice.
        for key in ["umask", "buffer_size"] {
            if copy[key].is_null() {
                process[key] = Value::Null;
            }
        }
        assert_eq!(copy, process, "{name}");
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
}

fn notes(path: &Path) -> Vec<String> {
    let directory = sample("dump.py").parent().unwrap().display().to_string() + "/";
    imported(path).notes.iter().map(|note| note.to_string().replace(&directory, "")).collect()
}

#[test]
fn samples_mean_what_they_mean_to_supervisor() {
    for name in [
        "airflow",
        "debian",
        "django",
        "docker",
        "expansions",
        "fastcgi",
        "java",
        "laravel",
        "listeners",
        "node",
    ] {
        agree(&sample(&format!("{name}.conf")), &[]);
    }
    let renamed =
        [("web:", "web-group:"), ("all-of-it:", "all-of-it:"), ("job@night:", "job-night:")];
    agree(&sample("names.conf"), &renamed);
}

/// What `echo_supervisord_conf` prints, and the same with all that it shows as examples.
#[test]
fn the_example_of_supervisor_is_read() {
    let path = Path::new(TOP).join(".tools/supervisor/supervisor/skel/sample.conf");
    assert!(imported(&path).programs.is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut all = String::new();
    for line in text.lines() {
        let shown = line.strip_prefix(';').filter(|line| line.starts_with(|c: char| c != ' '));
        all.push_str(
            &shown
                .unwrap_or(line)
                .replace("chrism", "root")
                .replace("=supervisord ", "=root ")
                .replace("/path/to/", "/tmp/"),
        );
        all.push('\n');
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("supervisord.conf");
    let all = all.replace("relative/directory/*.ini", "*.ini").replace("/a/path", "/tmp");
    std::fs::write(&path, all.replace("progname1,progname2", "theprogramname")).unwrap();
    agree(&path, &[]);
}

#[test]
fn what_has_no_meaning_is_named() {
    let asked = "people and tools speak to a fleet over its bus, not to a worker";
    assert_eq!(
        notes(&sample("node.conf")),
        [
            &format!("node.conf:1: [inet_http_server]: {asked}"),
            &format!("node.conf:6: [inet_http_server:second]: {asked}"),
            "node.conf:14: [ctlplugin:cache]: plugins in Python are not run",
            "node.conf:25: [program:node] comand: Supervisor does not know this key; did you mean \
             \"command\"?",
            "node.conf:26: [program:node] restart_pause: Supervisor does not know this key",
            "node.conf:28: [watchdog]: Supervisor does not know this section",
        ]
    );
    assert_eq!(
        notes(&sample("names.conf")),
        [
            "names.conf:24: [group:web]: is named web-group: programs and groups share their names",
            "names.conf:6: [program:api.example.com]: is named api-example-com: a name has letters, \
             digits, _ and -",
            "names.conf:14: [program:job@night]: is named job-night: a name has letters, digits, _ \
             and -",
            "names.conf:22: [program:parked] numprocs: no copy of it runs, and it is left out",
        ]
    );
    assert_eq!(notes(&sample("docker.conf")), Vec::<String>::new());
}

/// The text is read as what it was made from.
#[test]
fn the_text_says_the_same() {
    for name in ["django", "fastcgi", "java", "listeners", "names", "expansions"] {
        let imported = imported(&sample(&format!("{name}.conf")));
        let text = imported.text();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("programs.toml");
        std::fs::write(&path, &text).unwrap();
        let (programs, _) = crate::file::read_all(&[path], &around()).unwrap();
        let declared = imported.programs.iter().map(|declared| {
            (declared.name.clone(), declared.section.as_program(declared.keys.clone()))
        });
        assert_eq!(programs, declared.collect(), "{text}");
    }
}

/// Supervisor gives a pipe to whatever has no socket and is no listener; that is said once if all have one.
#[test]
fn programs_have_an_input_as_with_supervisor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.conf");
    let text = |text: &str| {
        std::fs::write(&path, text).unwrap();
        imported(&path).text()
    };
    let one = "[program:a]\ncommand=a\n";
    let two = format!("{one}[program:b]\ncommand=b\n");
    let listener = "[eventlistener:c]\ncommand=c\nevents=EVENT\n";
    let socket = "[fcgi-program:d]\ncommand=d\nsocket=tcp://127.0.0.1:1\n";
    assert_eq!(text(one).matches("stdin = true").count(), 1);
    let said = text(&two);
    assert!(said.contains("[defaults]\nstdin = true\n"), "{said}");
    assert_eq!(said.matches("stdin").count(), 1, "{said}");
    let mixed = text(&format!("{two}{listener}{socket}"));
    assert!(!mixed.contains("[defaults]") && mixed.matches("stdin = true").count() == 2, "{mixed}");
}

#[test]
fn mistakes_are_told_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.conf");
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let found = read(&path, &around()).map(|imported| imported.text()).unwrap_err();
        let directory = directory.path().display().to_string() + "/";
        found.iter().map(|one| one.one_line().replace(&directory, "")).collect::<Vec<_>>()
    };
    assert_eq!(
        told(
            "[program:a]\ncommand=a\nnumprocs=two\nautostart=maybe\n[program:b]\nuser=b\n\
             [group:g]\nprograms=a,c\n"
        ),
        [
            "x.conf:3: [program:a] numprocs: expected a whole number, found \"two\"",
            "x.conf:4: [program:a] autostart: expected yes, true, on, 1, no, false, off or 0, \
             found \"maybe\"",
            "x.conf:5: [program:b]: has no command",
            "x.conf:8: [group:g] programs: there is no [program:c]",
        ]
    );
    assert_eq!(
        told(
            "[program:a]\ncommand=date +%Y\n[program:b]\ncommand=b %(nobody)s\n\
             [program:c]\ncommand=c\nuser=%(ENV_NOBODY_SETS_THIS)s\n\
             [eventlistener:d]\ncommand=d\nevents=NOTHING\n"
        ),
        [
            "x.conf:2: [program:a] command: %Y is no expansion; a literal % is written %%",
            "x.conf:4: [program:b] command: %(nobody) is not known here; known are group_name, \
             host_node_name, numprocs, process_num, program_name, worker and ENV_NAME",
            "x.conf:7: [program:c] user: NOBODY_SETS_THIS is not set here, and must be known now: \
             set it, and read the file again",
            "x.conf:10: [eventlistener:d] events: \"NOTHING\" is no event of Supervisor; known are \
             EVENT, PROCESS_STATE, PROCESS_COMMUNICATION, PROCESS_LOG, REMOTE_COMMUNICATION, \
             SUPERVISOR_STATE_CHANGE, TICK, PROCESS_GROUP, and what is below them",
        ]
    );
    assert_eq!(
        told("a=1\n[program:a]\ncommand\n"),
        [
            "x.conf:1: stands before the first [section]",
            "x.conf:3: is neither [section] nor key = value",
        ]
    );
    // All at once, however early each is found; without what follows from others.
    std::fs::write(directory.path().join("y.conf"), "[program:y]\nnumprocs=two\nbroken\n").unwrap();
    std::fs::write(directory.path().join("z.conf"), b"\xff").unwrap();
    assert_eq!(
        told(
            "[program:a]\ncommand\nnumprocs=two\n[include]\nfiles=y.conf z.conf\n\
             [group:g]\nprograms=a,z\npriority=high\nodd\n[program:!]\nautostart=maybe\n\
             [supervisord]\nminfds=few\n"
        ),
        [
            "x.conf:2: is neither [section] nor key = value",
            "x.conf:3: [program:a] numprocs: expected a whole number, found \"two\"",
            "x.conf:8: [group:g] priority: expected a whole number, found \"high\"",
            "x.conf:9: is neither [section] nor key = value",
            "x.conf:11: [program:!] autostart: expected yes, true, on, 1, no, false, off or 0, \
             found \"maybe\"",
            "x.conf:13: [supervisord] minfds: expected a whole number, found \"few\"",
            "y.conf:2: [program:y] numprocs: expected a whole number, found \"two\"",
            "y.conf:3: is neither [section] nor key = value",
            "z.conf: is not UTF-8 text (line 1)",
        ]
    );
    assert_eq!(
        told("[include]\n"),
        ["x.conf:1: [include]: has no files, which an include must have"]
    );
}
