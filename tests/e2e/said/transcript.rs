//! Verbs, and all that they print, beside what they printed before.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, DSBUS, Fleet};

/// What is different each time, and what stands for it. The first that fit are taken first.
const CHANGES: [(&str, &str); 42] = [
    (r"\bU[A-Z2-7]{55}\b", "KEY"),
    (r"(listens on|web page:) http://127\.0\.0\.1:\d+", "${1} http://HERE"),
    (r"http://127\.0\.0\.1:\d+/", "http://HERE/"),
    (r"nats://127\.0\.0\.1:\d+", "nats://BUS"),
    (r"/tmp/\.tmp[A-Za-z0-9]+", "DIR"),
    (r"/tmp/dsbus-dev-[A-Za-z0-9]+", "DEVDIR"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
    (r#""(pid|agent_pid|supervisor_pid)": \d+"#, r#""${1}": PID"#),
    (r"pid(:? +)\d+", "pid${1}PID"),
    (r"(?m)^\d+$", "PID"),
    (r"process \d+ on \S+", "process PID on HOST"),
    (r"pid PID on [^w,]\S*,", "pid PID on HOST,"),
    // Who holds a name is known by an answer, or by a touch, which comes first on a busy machine.
    (r"held by a worker on \S+, directory", "held by pid PID on HOST, directory"),
    (r"supervisor \d+, agent \d+", "supervisor PID, agent PID"),
    // Of a rollout, since when.
    (r"(\d+/\d+ +)(\d+m )?\d+s ", "${1}AGE "),
    (r"[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", "WHEN"),
    (r"uptime \d+:\d\d:\d\d", "uptime AGE"),
    (r"(\d+m )?\d+s ago", "AGE ago"),
    // Columns of `status`: name, state, worker; pid, epoch, since, restarts.
    (r"(?m)^(\S+ +[A-Z]+ +\S+ +)\d+ +(\d+) +(\d+m )?\d+s +(\d+)", "${1}PID  ${2}  AGE  ${4}"),
    (r"(?m)^(\S+ +[A-Z]+ +\S+ +)- +(\S+) +(\d+m )?\d+s +(\d+)", "${1}-  ${2}  AGE  ${4}"),
    (
        r"(?m)^NAME +STATE +WORKER +PID +EPOCH +SINCE +RESTARTS",
        "NAME STATE WORKER PID EPOCH SINCE RESTARTS",
    ),
    // Columns of `recover`: name, worker, pid, epoch, what.
    (r"(?m)^NAME +WORKER +PID +EPOCH +WHAT", "NAME WORKER PID EPOCH WHAT"),
    (r"(?m)^(\S+ +w\d) +\d+ +(\d+) +known$", "${1} PID ${2} known"),
    (r"(?m)^(\S+ +w\d) +- +(\d+) +known$", "${1} - ${2} known"),
    (r"(?m)^(\w+) {9,}known$", "${1} known"),
    (r#""sequence": "\d+""#, r#""sequence": "SEQ""#),
    (r"as sequence \d+", "as sequence SEQ"),
    (r#""(cpu_ms|memory_peak|since)": (\d+|"[^"]*")"#, r#""${1}": ..."#),
    (r"\b\d+\.\d+ s of processor time(, at most [0-9.]+ [KM]iB)?", "SOME processor time"),
    // What `doctor` measures.
    (r"answers in [0-9.]+ ms", "answers in SOME ms"),
    (r"streams \d+, consumers \d+", "streams N, consumers N"),
    // How full the disks of this machine are is no matter of these tests.
    (r"(?m)^! disks .*\n .*\n", ""),
    (r"(?m)^disks\n", ""),
    (r"Nothing is wrong; 1 warning\.", "All is well."),
    (r"differ by [0-9.]+ s", "differ by SOME s"),
    (r"\b[0-9.]+ [KMG]iB\b", "SIZE"),
    (r" +\n", "\n"),
    (r"dsbus \d+\.\d+\.\d+", "dsbus VERSION"),
    (r"nats-server \d+\.\d+\.\d+", "nats-server VERSION"),
    (r"(?m)^((dsbus|nats-server|scheduler|worker) .*)\b\d+\.\d+\.\d+$", "${1}VERSION"),
];

/// How lines end that are said on a busy machine only.
const BUSY: [&str; 2] = ["(still waiting)", "this process was frozen for a while"];

/// Verbs, one after the other, and all that they print.
pub(super) struct Transcript<'a> {
    fleet: &'a Fleet,
    /// Whether the verbs are told where the bus is.
    told: bool,
    text: String,
}

impl Transcript<'_> {
    pub(super) fn of(fleet: &Fleet) -> Transcript<'_> {
        Transcript { fleet, told: true, text: String::new() }
    }

    /// The next verbs are not told where the bus is.
    pub(super) fn without_bus(&mut self) -> &mut Self {
        self.told = false;
        self
    }

    /// Waits until the fleet is so.
    pub(super) fn wait(&mut self, what: &str, is: impl Fn(&Fleet) -> bool) -> &mut Self {
        wait_until(what, DEADLINE, || if is(self.fleet) { Ok(()) } else { Err("not yet") });
        self
    }

    /// Runs a verb; its words are divided by blanks.
    pub(super) fn run(&mut self, line: &str) -> &mut Self {
        self.typed(line, "")
    }

    /// Runs a verb, and gives it something to read.
    pub(super) fn typed(&mut self, line: &str, input: &str) -> &mut Self {
        let (code, out, err) = Running::start(self.command(line), input).end(line);
        self.asked(line, input);
        self.printed(&out, &err);
        self.ended(code)
    }

    /// Runs a verb that asks around: again, until it prints what `is` wants. On a busy machine not everybody
    /// answers it in time.
    pub(super) fn calm(&mut self, line: &str, is: impl Fn(&str) -> bool) -> &mut Self {
        let (code, out, err) = wait_until(line, DEADLINE, || {
            let ended = Running::start(self.command(line), "").end(line);
            if is(&ended.1) { Ok(ended) } else { Err(ended) }
        });
        self.asked(line, "");
        self.printed(&out, &err);
        self.ended(code)
    }

    /// Runs a verb that prints much, and shows only how that begins.
    pub(super) fn begins(&mut self, line: &str, lines: usize) -> &mut Self {
        let (code, out, err) = Running::start(self.command(line), "").end(line);
        let shown: Vec<&str> = out.lines().take(lines).chain(["..."]).collect();
        let _ = writeln!(self.text, "$ dsbus {line}");
        self.printed(&shown.join("\n"), &err);
        self.ended(code)
    }

    /// Runs a daemon, and ends it by SIGTERM once it is as `is` wants it. It logs only what `log` names:
    /// what else it says depends on how busy the machine is.
    pub(super) fn daemon(
        &mut self,
        log: &str,
        line: &str,
        is: impl Fn(&Fleet, &str) -> bool,
    ) -> &mut Self {
        let mut command = self.command(line);
        let mut heading = format!("dsbus {line}");
        if !log.is_empty() {
            command.env("DSBUS_LOG", log);
            heading = format!("DSBUS_LOG={log} {heading}");
        }
        let mut running = Running::start(command, "");
        running.until(&heading, |said| is(self.fleet, said));
        let (code, out, err) = running.signal(Signal::SIGTERM).end(&heading);
        let _ = writeln!(self.text, "$ {heading}");
        self.printed(&out, &err);
        if code == Some(0) {
            self.text.push_str("[SIGTERM ends it]\n");
        }
        self.ended(code)
    }

    /// Runs a verb that goes on, gives it something to read, and ends it as Ctrl-C does once it has
    /// said what `is` wants.
    pub(super) fn interrupted(
        &mut self,
        line: &str,
        input: &str,
        is: impl Fn(&str) -> bool,
    ) -> &mut Self {
        let mut running = Running::start(self.command(line), input);
        running.until(line, is);
        let (code, out, err) = running.signal(Signal::SIGINT).end(line);
        self.asked(line, input);
        self.printed(&out, &err);
        self.text.push_str("[Ctrl-C ends it]\n");
        self.ended(code)
    }

    fn asked(&mut self, line: &str, input: &str) {
        let _ = writeln!(self.text, "$ dsbus {line}");
        for line in input.lines() {
            let _ = writeln!(self.text, "< {line}");
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = if self.told { self.fleet.command() } else { Command::new(DSBUS) };
        command.args(line.split(' ').filter(|word| !word.is_empty()));
        // What it finds around it is not this machine's.
        let here = self.fleet.path();
        let path = format!("{}:{}", here.display(), std::env!("PATH"));
        command.env("PATH", path).env("HOME", here).env("NO_COLOR", "1").current_dir(here);
        command.env("DSBUS_NATS_SERVER", dsbus_harness::nats_server()).env_remove("NATS_URL");
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "DSBUS_LOG", "RUST_LOG", "COLUMNS"] {
            command.env_remove(name);
        }
        command
    }

    fn printed(&mut self, out: &str, err: &str) {
        self.text.push_str(&settled(out).replace(DSBUS, "dsbus"));
        let is_busy = |line: &&str| BUSY.iter().any(|end| line.ends_with(end));
        for line in err.lines().filter(|line| !is_busy(line)) {
            let _ = writeln!(self.text, "! {line}");
        }
    }

    fn ended(&mut self, code: Option<i32>) -> &mut Self {
        match code {
            Some(0) => {}
            Some(code) => {
                let _ = writeln!(self.text, "[exit {code}]");
            }
            None => self.text.push_str("[killed]\n"),
        }
        self.text.push('\n');
        self
    }

    /// Compares all of it with what was printed before.
    pub(super) fn is(&self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, word) in CHANGES {
            settings.add_filter(pattern, word);
        }
        settings.bind(|| insta::assert_snapshot!(name, self.text));
    }
}

/// A verb that runs; it is ended with the value.
struct Running {
    child: Child,
    /// Standard output and standard error.
    said: [Heard; 2],
}

impl Running {
    fn start(mut command: Command, input: &str) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Most of them read nothing, and may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let said = [hear(child.stdout.take().unwrap()), hear(child.stderr.take().unwrap())];
        Running { child, said }
    }

    fn so_far(&self) -> String {
        self.said.iter().map(|(text, _)| text.lock().unwrap().clone()).collect()
    }

    /// Waits until it is so, or it has ended.
    fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        wait_until(&format!("{what} to be ready"), DEADLINE, || {
            let text = self.so_far();
            let ended = self.child.try_wait().unwrap().is_some();
            if ended || is(&text) { Ok(()) } else { Err(text) }
        });
    }

    fn signal(self, signal: Signal) -> Running {
        // It may have ended.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal);
        self
    }

    /// Waits for its end; its exit code, and what it has said.
    fn end(mut self, what: &str) -> (Option<i32>, String, String) {
        let status = wait_until(&format!("{what} to end"), DEADLINE, || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| self.so_far())
        });
        let [out, err] = self.said.each_mut().map(|(text, reader)| {
            reader.take().unwrap().join().unwrap();
            std::mem::take(&mut *text.lock().unwrap())
        });
        (status.code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process says so far, and who reads it.
type Heard = (Arc<Mutex<String>>, Option<JoinHandle<()>>);

/// Reads what a process says, line by line, until it closes that.
fn hear(from: impl Read + Send + 'static) -> Heard {
    let text = Arc::new(Mutex::new(String::new()));
    let kept = text.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = writeln!(kept.lock().unwrap(), "{line}");
        }
    });
    (text, Some(reader))
}

/// Instances are told of as they come, several of them in any order: here they are in order.
fn settled(text: &str) -> String {
    let is_instance = |line: &&str| {
        let mut parts = line.splitn(3, ':');
        let index = parts.nth(1).is_some_and(|index| index.parse::<u32>().is_ok());
        index && !line.contains("  ")
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut settled = String::new();
    for part in lines.chunk_by(|a, b| is_instance(a) == is_instance(b)) {
        let mut part = part.to_vec();
        if part.first().is_some_and(is_instance) {
            part.sort_unstable();
        }
        for line in part {
            settled.push_str(line);
            settled.push('\n');
        }
    }
    settled
}
