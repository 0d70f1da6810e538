//! `dsbus supervisorctl` beside supervisorctl 4.3.0, which asks a supervisord that runs the same
//! programs: the same words come out, and the same exit codes.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use dsbus_harness::{Terminal, wait_until};

use crate::fleet::{DEADLINE, Fleet, said};
use crate::superlance::python_path;

const PROGRAMS: &str = "
[program:web]
command=sleep 1000
numprocs=2
process_name=web_%(process_num)02d
startsecs=0
priority=5

[program:api]
command=sleep 1000
startsecs=0

[program:db]
command=sleep 1000
startsecs=0

[program:once]
command=sh -c 'echo hello; echo world; echo oops >&2; exit 3'
autorestart=false
startsecs=0

[program:mute]
command=sleep 1000
startsecs=0
redirect_stderr=true

[program:bad]
command=/no/such/file
autostart=false

[program:quick]
command=sh -c 'exit 1'
autostart=false
startretries=0

[group:shop]
programs=api,db
";

/// A real supervisord, which ends with the value.
struct Supervisord {
    child: Child,
    conf: String,
}

impl Supervisord {
    fn start(fleet: &Fleet) -> Supervisord {
        let conf = fleet.file(
            "supervisord.conf",
            &format!(
                "[supervisord]\nlogfile={0}/main.log\npidfile={0}/main.pid\nchildlogdir={0}\nnodaemon=true\n\
                 [unix_http_server]\nfile={0}/s.sock\n\
                 [rpcinterface:supervisor]\n\
                 supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
                 [supervisorctl]\nserverurl=unix://{0}/s.sock\n{PROGRAMS}",
                fleet.path().display()
            ),
        );
        let mut command = python("supervisor.supervisord", &conf);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Supervisord { child: command.spawn().unwrap(), conf }
    }

    fn ctl(&self) -> Command {
        python("supervisor.supervisorctl", &self.conf)
    }
}

impl Drop for Supervisord {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its children along.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        drop(self.child.wait());
    }
}

fn python(module: &str, conf: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-m", module, "-c", conf]).env("PYTHONPATH", python_path());
    command
}

/// What was said, without what differs from run to run.
fn lasting(output: &Output) -> (String, Option<i32>) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (text.split('\n').map(lasting_line).collect::<Vec<_>>().join("\n"), output.status.code())
}

fn lasting_line(line: &str) -> String {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if line != "0" && number(line) {
        return "PID".to_owned();
    }
    if let Some((before, after)) = line.split_once("pid ")
        && let Some((pid, uptime)) = after.split_once(", uptime ")
        && number(pid)
    {
        let shape: String =
            uptime.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        return format!("{before}pid N, uptime {shape}");
    }
    // "Nov 27 12:28 AM".
    match line.len().checked_sub(15).and_then(|at| line.split_at_checked(at)) {
        Some((before, date)) if date.ends_with(" AM") || date.ends_with(" PM") => {
            let shape: String = date
                .char_indices()
                .map(|(at, c)| match c {
                    c if c.is_ascii_digit() => '0',
                    c if at < 3 || at == 13 => {
                        if c.is_ascii_alphabetic() {
                            'A'
                        } else {
                            c
                        }
                    }
                    c => c,
                })
                .collect();
            format!("{before}{shape}")
        }
        _ => line.to_owned(),
    }
}

fn sorted((text, code): (String, Option<i32>)) -> (String, Option<i32>) {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    (lines.join("\n"), code)
}

/// Actions, one after the other; each sees what those before it have done.
const ACTIONS: &[&str] = &[
    "status",
    "status all",
    "status web:*",
    "status web",
    "status shop:api web:web_01",
    "status nope nope:* web:web_00 shop:nope",
    "status mute",
    "pid all",
    "pid web:web_00",
    "pid nope web:* bad mute",
    "pid bad",
    "start shop:api",
    "start api",
    "start shop:*",
    "start nope nope:*",
    "start nope:* nope",
    "start bad",
    "start quick",
    "start bad quick mute",
    "status bad",
    "start",
    "stop shop:api",
    "stop shop:api",
    "status shop:*",
    "stop shop:*",
    "stop shop:*",
    "stop once bad",
    "stop web: nope",
    "stop nope:*",
    "stop",
    "start web:web_00 web:web_00",
    "restart web:*",
    "restart shop:db",
    "restart nope",
    "restart nope:*",
    "restart",
    "start shop:*",
    "status shop:api shop:db web:*",
    "tail once",
    "tail once stderr",
    "tail -7 once",
    "tail -4 once stdout",
    "tail once STDERR",
    "tail mute",
    "tail mute stderr",
    "tail nope",
    "tail shop:*",
    "tail shop:api",
    "tail once foo",
    "tail -x once",
    "tail -5",
    "tail",
    "tail a b c d",
    // (Of a process that does not run, Supervisor says so and empties nothing.)
    "clear shop:api",
    "tail shop:api",
    "clear nope",
    "clear shop:*",
    "clear once shop:api nope",
    "clear",
    "clear all",
    "version",
    "version now",
    "avail now",
    "reload now",
    "shutdown now",
    "add web",
    "add nope",
    "add",
    "remove shop",
    "remove nope",
    "fg",
    "fg nope",
    "fg bad",
    "fg a b",
    "signal",
    "signal HUP",
    "signal NOPE web:web_00",
    "signal HUP bad nope",
    "signal HUP nope:*",
    "signal CONT web:web_00",
    "signal SIGCONT web:*",
    "signal 18 mute web:web_01 bad",
    "signal CONT all",
    "signal NOPE web:*",
    "foo",
    "foo bar",
    "foo-bar",
    "help",
    "help help",
    "help start",
    "help tail",
    "help signal",
    "help foo",
    "?stop",
    "quit",
    "exit",
    "start all",
    "stop all",
    "stop all",
    "status",
    "remove shop once",
    "status",
    "status shop:*",
    "start all",
    "status web:web_00 mute",
];

#[test]
fn it_says_what_supervisorctl_says_and_exits_as_it_does() {
    let fleet = Fleet::start(1, 1);
    let peer = Supervisord::start(&fleet);
    let programs = fleet.file("programs.conf", PROGRAMS);
    // `once` has ended with 3, and so this fails.
    fleet.run(&["apply", &programs]);
    let ctl = |command: &mut Command, words: &str| {
        lasting(&command.args(words.split(' ')).stdin(Stdio::null()).output().unwrap())
    };
    let ours = |words: &str| ctl(fleet.command().arg("supervisorctl"), words);
    let theirs = |words: &str| ctl(&mut peer.ctl(), words);
    wait_until("both to run the same", DEADLINE, || {
        let (ours, theirs) = (ours("status"), theirs("status"));
        let ready = ours.0.contains("EXITED") && ours.0.matches("RUNNING").count() == 5;
        if ready && ours == theirs { Ok(()) } else { Err(format!("{ours:?}\n{theirs:?}")) }
    });
    let mut wrong = Vec::new();
    for action in ACTIONS {
        let (mut ours, mut theirs) = (ours(action), theirs(action));
        if action.starts_with("stop ") || action.starts_with("restart ") {
            // In the order in which they happen to end.
            (ours, theirs) = (sorted(ours), sorted(theirs));
        }
        if ours != theirs {
            wrong.push(format!("--- {action}\nours {ours:?}\nis   {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // There by the order of the file, in which what was removed still is; here by name.
    let (ours, theirs) = (sorted(ours("avail")), sorted(theirs("avail")));
    let kept = |text: &str| {
        text.lines().filter(|line| line.contains("in use")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((kept(&ours.0), ours.1), (kept(&theirs.0), theirs.1));
}

#[test]
fn lines_from_a_pipe_are_actions() {
    let fleet = Fleet::start(1, 1);
    let peer = Supervisord::start(&fleet);
    let programs = fleet.file("programs.conf", PROGRAMS);
    fleet.run(&["apply", &programs]);
    let typed = |mut command: Command, lines: &str| {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        lasting(&child.wait_with_output().unwrap())
    };
    let ours = |lines: &str| {
        let mut command = fleet.command();
        command.arg("supervisorctl");
        typed(command, lines)
    };
    for lines in ["version\n\nfoo\nstatus mute\nquit\nversion\n", "stop mute\nstart mute\n", ""] {
        wait_until("both to run the same", DEADLINE, || {
            let (ours, theirs) = (ours(lines), typed(peer.ctl(), lines));
            if ours == theirs { Ok(()) } else { Err(format!("{lines:?}\n{ours:?}\n{theirs:?}")) }
        });
    }
}

#[test]
fn a_bus_that_is_away_and_what_a_fleet_has_not_is_told() {
    let fleet = Fleet::start(1, 1);
    let run = |words: &[&str]| {
        let output = fleet.run(&[&["supervisorctl"], words].concat());
        (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code(), said(&output))
    };
    for action in ["status", "start all", "avail", "pid all", "remove web", "tail web"] {
        let words: Vec<&str> = action.split(' ').collect();
        let (out, code, _) = run(&[&["-s", "nats://127.0.0.1:1"], &*words].concat());
        assert_eq!((&*out, code), ("nats://127.0.0.1:1 refused connection\n", Some(4)), "{action}");
    }
    for action in
        ["pid", "maintail", "maintail -f", "reread", "update", "update all", "reload", "shutdown"]
    {
        let (out, code, all) = run(&action.split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(3), "{action}: {all}");
        assert!(out.to_lowercase().starts_with("error: ") && out.contains("fleet"), "{all}");
    }
    let (out, code, all) =
        run(&["-s", "http://localhost:9001", "-u", "me", "-p", "x", "-c", "x.conf", "version"]);
    assert_eq!((&*out, code), ("4.3.0\n", Some(0)));
    assert!(all.contains("-s http://localhost:9001 has no effect"), "{all}");
    let (out, code, _) = run(&["open", "http://localhost:9001"]);
    assert_eq!((&*out, code), ("ERROR: url must be nats:// or tls://\n", Some(1)));
}

#[test]
fn a_log_is_followed_until_control_c() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.talk]\ncommand = \"while :; do echo hello; sleep 0.1; done\"\nshell = true\nstartsecs = 0\n",
    );
    let mut command = fleet.command();
    command.args(["supervisorctl", "tail", "-f", "talk"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.wait_for("==> Press Ctrl-C to exit <==");
    terminal.wait_for("hello");
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_process_is_in_the_foreground_until_control_c() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.echo]\ncommand = \"while read line; do echo heard $line; done\"\nshell = true\nstdin = true\nstartsecs = 0\n",
    );
    let mut command = fleet.command();
    command.args(["supervisorctl", "fg", "echo"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.wait_for("==> Press Ctrl-C to exit <==");
    terminal.press("a word\r");
    terminal.wait_for("heard a word");
    terminal.press("\x03");
    terminal.wait_for("Exiting foreground");
    assert_eq!(terminal.ended().code(), Some(0));
}
