//! A real supervisord, and what its client is asked for.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::fleet::Fleet;

/// Programs of which something is to be said in every state.
pub(crate) const PROGRAMS: &str = "
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
pub(crate) struct Supervisord {
    child: Child,
    conf: String,
}

impl Supervisord {
    /// With [`PROGRAMS`].
    pub(crate) fn start(fleet: &Fleet) -> Supervisord {
        Supervisord::start_with(fleet, PROGRAMS)
    }

    /// With these programs.
    pub(crate) fn start_with(fleet: &Fleet, programs: &str) -> Supervisord {
        let conf = fleet.file(
            "supervisord.conf",
            &format!(
                "[supervisord]\nlogfile={0}/main.log\npidfile={0}/main.pid\nchildlogdir={0}\nnodaemon=true\n\
                 [unix_http_server]\nfile={0}/s.sock\n\
                 [rpcinterface:supervisor]\n\
                 supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
                 [supervisorctl]\nserverurl=unix://{0}/s.sock\n{programs}",
                fleet.path().display()
            ),
        );
        let mut command = python("supervisor.supervisord", &conf);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Supervisord { child: command.spawn().unwrap(), conf }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.conf.replace("supervisord.conf", "s.sock"))
    }

    /// supervisorctl, which asks it.
    pub(crate) fn ctl(&self) -> Command {
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

/// A module of Supervisor, with this file.
pub(crate) fn python(module: &str, conf: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-m", module, "-c", conf]).env("PYTHONPATH", python_path());
    command
}

/// What was said, without what differs from run to run.
pub(crate) fn lasting(output: &Output) -> (String, Option<i32>) {
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

/// The same, whatever the order of its lines.
pub(crate) fn sorted((text, code): (String, Option<i32>)) -> (String, Option<i32>) {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    (lines.join("\n"), code)
}

/// Actions, one after the other; each sees what those before it have done.
pub(crate) const ACTIONS: &[&str] = &[
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

/// `PYTHONPATH` of superlance, and of the Supervisor that it imports.
pub(crate) fn python_path() -> String {
    let parts = ["superlance", "supervisor"]
        .map(|name| format!("{}/../.tools/{name}", env!("CARGO_MANIFEST_DIR")));
    for part in &parts {
        assert!(Path::new(part).is_dir(), "{part} is missing: ./run setup fetches it");
    }
    parts.join(":")
}
