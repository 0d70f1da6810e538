//! The same programs, the same steps, the same listener: once under Supervisor 4.3.0, once here.
//! What the listener is given is the same, byte for byte, but for process ids and serials.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dsbus_harness::wait_until;

use crate::bridge::{Bridge, Lines, recorder};
use crate::fleet::{DEADLINE, Fleet};
use crate::superlance::python_path;

/// Names of the programs, their commands, and their other keys, which both understand.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("steady", "sleep 1000", ""),
    ("good", "sh -c 'sleep 1.5; exit 0'", "autorestart=false"),
    ("coded", "sh -c 'sleep 1.5; exit 2'", "autorestart=false;exitcodes=0,2"),
    ("bad", "sh -c 'sleep 1.5; exit 3'", "autorestart=false"),
    ("hit", "sh -c 'sleep 1.5; kill -9 $$'", "autorestart=false"),
    ("quick", "false", "startretries=1;startsecs=30"),
    (
        "out",
        r#"sh -c 'printf "gr\303\274\303\237e \360\237\246\200\n no end"; sleep 1000'"#,
        "stdout_events_enabled=true",
    ),
    ("err", r#"sh -c 'printf "\344\275\240\n" >&2; sleep 1000'"#, "stderr_events_enabled=true"),
    (
        "tell",
        r#"sh -c 'printf "before<!--XSUPERVISOR:BEGIN-->w\303\266rd: 1\n<!--XSUPERVISOR:END-->and more than is held back"; sleep 1000'"#,
        "stdout_capture_maxbytes=1MB",
    ),
    ("pair", "sleep 1000", "numprocs=2;process_name=%(program_name)s_%(process_num)02d"),
];

/// What the scenario does, and the event by which each step has ended. Where nothing is done, it is what
/// a program says that runs already.
const STEPS: &[(&str, &str, &str)] = &[
    ("start", "steady", "PROCESS_STATE_RUNNING"),
    ("stop", "steady", "PROCESS_STATE_STOPPED"),
    ("start", "good", "PROCESS_STATE_EXITED"),
    ("start", "coded", "PROCESS_STATE_EXITED"),
    ("start", "bad", "PROCESS_STATE_EXITED"),
    ("start", "hit", "PROCESS_STATE_EXITED"),
    ("start", "quick", "PROCESS_STATE_FATAL"),
    ("start", "out", "PROCESS_STATE_RUNNING"),
    ("start", "err", "PROCESS_STATE_RUNNING"),
    ("start", "tell", "PROCESS_STATE_RUNNING"),
    ("", "out", "PROCESS_LOG_STDOUT"),
    ("", "err", "PROCESS_LOG_STDERR"),
    ("", "tell", "PROCESS_COMMUNICATION_STDOUT"),
    ("start", "duo:", "PROCESS_STATE_RUNNING"),
    ("stop", "out", "PROCESS_STATE_STOPPED"),
];
const USER_EVENT: (&str, &str) = ("deploy", "v 1.2: grüße\n");

/// What a listener was given, without what differs from run to run: by the process it is about, and
/// whether that is its state, so that the order of things that go on at once does not matter.
type Heard = BTreeMap<(String, bool), Vec<String>>;

fn heard(lines: &[String]) -> Heard {
    let mut heard = Heard::new();
    let mut poolserials = Vec::new();
    for line in lines {
        let mut fields = line.split('\t').skip(1);
        let (header, payload) = (fields.next().unwrap(), fields.next().unwrap());
        let token = |name: &str| {
            let value = header.split(' ').find_map(|token| token.strip_prefix(name));
            value.unwrap_or_else(|| panic!("no {name} in {header:?}")).to_owned()
        };
        poolserials.push(token("poolserial:").parse::<usize>().unwrap());
        let event = token("eventname:");
        let kept = header.split(' ').filter(|token| {
            !["serial:", "poolserial:", "len:"].iter().any(|name| token.starts_with(name))
        });
        let names: Vec<&str> =
            header.split(' ').map(|token| token.split(':').next().unwrap()).collect();
        let payload = without_pid(payload);
        let about =
            payload.split("processname:").nth(1).map_or("", |rest| rest.split(' ').next().unwrap());
        if about == "rec" {
            continue;
        }
        let said = format!("{} {names:?} {payload}", kept.collect::<Vec<_>>().join(" "));
        heard.entry((about.to_owned(), event.starts_with("PROCESS_STATE"))).or_default().push(said);
    }
    assert_eq!(poolserials, (0..poolserials.len()).collect::<Vec<_>>(), "counted without a gap");
    heard
}

/// `pid:4711` becomes `pid:N`; `pid:0` says that there is none.
fn without_pid(payload: &str) -> String {
    let Some((before, rest)) = payload.split_once(" pid:") else { return payload.to_owned() };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let pid = if rest.starts_with('0') { "0" } else { "N" };
    format!("{before} pid:{pid}{after}")
}

/// Whether a step is done: as many events of that name as there are processes it is about.
fn is_done(lines: &[String], program: &str, event: &str) -> bool {
    let (what, count) = match program {
        "duo:" => ("groupname:duo ".to_owned(), 2),
        name => (format!("processname:{name} "), 1),
    };
    let event = format!("eventname:{event} ");
    lines.iter().filter(|line| line.contains(&event) && line.contains(&what)).count() == count
}

/// Goes through the steps; `act` does one.
fn play(out: &Lines, act: impl Fn(&str, &str)) {
    for (verb, program, event) in STEPS {
        if !verb.is_empty() {
            act(verb, program);
        }
        out.wait(&format!("{event} of {program}"), |lines| is_done(lines, program, event));
    }
}

/// A supervisord with these programs; it ends with the value.
struct Supervisor<'a> {
    directory: &'a Path,
    child: Child,
}

impl Supervisor<'_> {
    fn start<'a>(fleet: &'a Fleet, recorder: &str, out: &Lines) -> Supervisor<'a> {
        let directory = fleet.path();
        let mut conf = format!(
            "[supervisord]\nnodaemon=true\nlogfile={0}/supervisord.log\npidfile={0}/pid\nchildlogdir={0}\n\
             [unix_http_server]\nfile={0}/s.sock\n[supervisorctl]\nserverurl=unix://{0}/s.sock\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [eventlistener:rec]\ncommand=python3 {recorder} {1}\nevents=EVENT\nbuffer_size=10000\n\
             [group:duo]\nprograms=pair\n",
            directory.display(),
            out.path()
        );
        for (name, command, keys) in PROGRAMS {
            let command = command.replace('%', "%%");
            let keys = keys.replace(';', "\n");
            let keys = keys + "\n";
            conf += &["[program:", name, "]\ncommand=", &command, "\nautostart=false\n", &keys]
                .concat();
        }
        let conf = fleet.file("supervisord.conf", &conf);
        let log = File::create(directory.join("supervisord.out")).unwrap();
        let child = python(&["-m", "supervisor.supervisord", "-n", "-c", &conf])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let supervisor = Supervisor { directory, child };
        wait_until("supervisord to answer", DEADLINE, || {
            let said = supervisor.ctl(&["status", "rec"]);
            if said.contains("RUNNING") { Ok(()) } else { Err(said) }
        });
        supervisor
    }

    fn ctl(&self, args: &[&str]) -> String {
        let conf = self.directory.join("supervisord.conf");
        let mut python = python(&["-m", "supervisor.supervisorctl", "-c", conf.to_str().unwrap()]);
        let output = python.args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    fn emit(&self, name: &str, text: &str) {
        let script = "import sys, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
server = xmlrpc.client.ServerProxy('http://x', SupervisorTransport(None, None, 'unix://' + sys.argv[1]))
server.supervisor.sendRemoteCommEvent(sys.argv[2], sys.argv[3])";
        let socket = self.directory.join("s.sock");
        let mut python = python(&["-c", script, socket.to_str().unwrap(), name, text]);
        assert!(python.status().unwrap().success());
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.join("supervisord.out"));
            let told = format!("--- log of supervisord\n{}", log.unwrap_or_default());
            let _ = std::io::stderr().write_all(told.as_bytes());
        }
        self.ctl(&["shutdown"]);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(args: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(args).env("PYTHONPATH", python_path()).stdin(Stdio::null());
    python
}

/// The same programs as a file of ours.
fn declarations() -> String {
    let mut text = String::new();
    for (name, command, keys) in PROGRAMS {
        let head = ["[program.", name, "]\ncommand = '''", command, "'''\nautostart = false\n"];
        text += &head.concat();
        text += "max_fail_count = 1\n";
        let keys =
            keys.split(';').filter(|key| !key.is_empty()).filter_map(|key| key.split_once('='));
        for (key, value) in keys {
            text += &[key, " = \"", value, "\"\n"].concat();
        }
        if *name == "pair" {
            text += "group = \"duo\"\n";
        }
    }
    text
}

#[test]
fn a_listener_is_given_what_supervisor_gives_it() {
    let fleet = Fleet::start(1, 1);
    let recorder = recorder(&fleet);
    let theirs = Lines::of(&fleet, "supervisor.heard");
    let supervisor = Supervisor::start(&fleet, &recorder, &theirs);
    play(&theirs, |verb, program| drop(supervisor.ctl(&[verb, &program.replace("duo:", "duo:*")])));
    supervisor.emit(USER_EVENT.0, USER_EVENT.1);
    let remote = |lines: &[String]| lines.iter().any(|line| line.contains("REMOTE_COMMUNICATION"));
    let theirs = theirs.wait("the user's event", remote);
    drop(supervisor);

    let ours = Lines::of(&fleet, "dsbus.heard");
    let events = "PROCESS_STATE,PROCESS_LOG,PROCESS_COMMUNICATION,REMOTE_COMMUNICATION,SUPERVISOR_STATE_CHANGE";
    let args = [
        "--from-seq",
        "1",
        "--name",
        "rec",
        "--identifier",
        "supervisor",
        "-e",
        events,
        "--",
        "python3",
        &recorder,
        ours.path(),
    ];
    let bridge = Bridge::start(&fleet, &args, &[]);
    fleet.apply(&declarations());
    play(&ours, |verb, program| {
        fleet.ok(&[verb, "--no-wait", program.trim_end_matches(':')]);
    });
    fleet.ok(&["emit", USER_EVENT.0, USER_EVENT.1]);
    let ours = ours.wait("the user's event", remote);
    bridge.stop();

    let unheard = |line: &&String| {
        !line.contains("eventname:TICK") && !line.contains("eventname:PROCESS_GROUP")
    };
    let (mut theirs, ours) = (theirs, ours);
    // Its pool counts what is not compared, too.
    theirs.retain(|line| unheard(&line));
    let theirs = heard(&renumbered(&theirs));
    let ours = heard(&ours);
    for (what, lines) in &theirs {
        assert_eq!(ours.get(what), Some(lines), "{what:?}");
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert!(theirs.len() > PROGRAMS.len(), "{theirs:#?}");
}

/// The lines with other poolserials: one after the other.
fn renumbered(lines: &[String]) -> Vec<String> {
    let number = |(n, line): (usize, &String)| {
        let (before, rest) = line.split_once(" poolserial:").unwrap();
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before} poolserial:{n}{after}")
    };
    lines.iter().enumerate().map(number).collect()
}
