//! A private fleet of real processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dsbus_harness::{NatsServer, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Generous: a busy machine with two cores runs several of these fleets at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const DSBUS: &str = env!("CARGO_BIN_EXE_dsbus");
/// Verbs that change nothing.
const LOOKS: [&str; 6] = ["events", "explain", "groups", "history", "status", "workers"];
/// What [`said`] begins with when nobody answered in time.
const UNANSWERED: &str = "exit status: 4\n";

/// A service of two, whose environment is nobody's business.
pub(crate) const SHOP: &str = r#"
[program.web]
command = "sleep 1000"
numprocs = 2
startsecs = 0
group = "shop"
environment = { TOKEN = "not-for-everybody" }
"#;

/// A nats-server, schedulers and workers; all of it ends with the value.
pub(crate) struct Fleet {
    pub(crate) nats: NatsServer,
    directory: tempfile::TempDir,
    processes: BTreeMap<String, Child>,
}

impl Fleet {
    /// A fleet whose workers w1..wn are all ready.
    pub(crate) fn start(schedulers: usize, workers: usize) -> Fleet {
        let mut fleet = Fleet::bare();
        for n in 1..=schedulers {
            fleet.scheduler(&format!("s{n}"));
        }
        for n in 1..=workers {
            fleet.worker(&format!("w{n}"));
        }
        fleet.wait_ready(workers);
        fleet
    }

    /// Only a nats-server.
    pub(crate) fn bare() -> Fleet {
        Fleet::bare_with("")
    }

    /// Only a nats-server, with more lines of configuration.
    pub(crate) fn bare_with(lines: &str) -> Fleet {
        let directory = tempfile::tempdir().unwrap();
        Fleet { nats: NatsServer::start_with(lines), directory, processes: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn scheduler(&mut self, id: &str) {
        let url = self.nats.url();
        self.spawn(id, &["--nats", &url, "scheduler", "--id", id]);
    }

    pub(crate) fn worker(&mut self, name: &str) {
        let url = self.nats.url();
        self.worker_at(name, &url);
    }

    /// A worker that reaches the bus by another way.
    pub(crate) fn worker_at(&mut self, name: &str, url: &str) {
        let directory = self.worker_directory(name);
        let directory = directory.to_str().unwrap().to_owned();
        self.spawn(name, &["--nats", url, "worker", "--name", name, "--dir", &directory]);
    }

    /// A worker with options of its own.
    pub(crate) fn worker_with(&mut self, name: &str, options: &[&str]) {
        let (url, directory) = (self.nats.url(), self.worker_directory(name));
        let mut args = vec!["--nats", &url, "worker", "--name", name, "--dir"];
        args.push(directory.to_str().unwrap());
        args.extend(options);
        self.spawn(name, &args);
    }

    pub(crate) fn worker_directory(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn spawn(&mut self, name: &str, args: &[&str]) {
        self.spawn_logging(name, args, "info");
    }

    /// A process that logs what `level` names.
    pub(crate) fn spawn_logging(&mut self, name: &str, args: &[&str], level: &str) {
        self.spawn_from(Path::new(DSBUS), name, args, level);
    }

    /// The same from another executable.
    pub(crate) fn spawn_from(&mut self, binary: &Path, name: &str, args: &[&str], level: &str) {
        let log = File::options().create(true).append(true).open(self.log(name)).unwrap();
        let child = Command::new(binary)
            .args(args)
            .env("DSBUS_LOG", level)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.insert(name.to_owned(), child);
    }

    /// What a process of the fleet says.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.log"))
    }

    pub(crate) fn pid(&self, name: &str) -> i32 {
        i32::try_from(self.processes[name].id()).unwrap()
    }

    /// Sends a signal to a process of the fleet: a scheduler, or a worker's supervisor.
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        kill(Pid::from_raw(self.pid(name)), signal).unwrap();
    }

    /// Waits until a process of the fleet has ended; its exit code.
    pub(crate) fn wait_exit(&mut self, name: &str) -> Option<i32> {
        let mut child = self.processes.remove(name).unwrap();
        wait_until(&format!("{name} to end"), DEADLINE, || {
            child.try_wait().unwrap().ok_or("still running")
        })
        .code()
    }

    /// kill -9 of a scheduler.
    pub(crate) fn kill(&mut self, name: &str) {
        let mut child = self.processes.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// kill -9 of both processes of a worker, the agent first.
    pub(crate) fn kill_worker(&mut self, name: &str) {
        kill(Pid::from_raw(self.agent_pid(name)), Signal::SIGKILL).unwrap();
        self.kill(name);
    }

    pub(crate) fn agent_pid(&self, name: &str) -> i32 {
        number(&self.worker_row(name)["agent_pid"])
    }

    pub(crate) fn worker_row(&self, name: &str) -> Value {
        let rows = self.json(&["workers", "-o", "json"]);
        rows.as_array().unwrap().iter().find(|w| w["name"] == name).unwrap().clone()
    }

    /// Waits until every scheduler knows that so many workers are ready: it is asked so often in a
    /// row that each will have answered.
    pub(crate) fn wait_ready(&self, workers: usize) {
        for _ in 0..6 {
            self.wait_one_knows_ready(workers);
        }
    }

    fn wait_one_knows_ready(&self, workers: usize) {
        wait_until("all workers to be ready", DEADLINE, || {
            let rows = self.try_json(&["workers", "-o", "json"])?;
            let ready = rows.as_array().unwrap().iter().filter(|w| w["state"] == "ready").count();
            if ready == workers { Ok(()) } else { Err(rows.to_string()) }
        });
    }

    /// Runs a verb.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// A verb to be run: it finds the fleet, and nothing of the machine's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(DSBUS);
        command
            .args(["--nats", &self.nats.url()])
            .current_dir(self.path())
            .env_remove("NATS_URL")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs a verb that must succeed; its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "dsbus {args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives all workers a secret.
    pub(crate) fn set_secret(&self, name: &str, value: &str) {
        let file = self.file("value", value);
        self.ok(&["secret", "set", name, "--file", &file]);
        std::fs::remove_file(file).unwrap();
    }

    /// Runs a verb that must fail with this exit code; its standard error.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "dsbus {args:?}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn try_json(&self, args: &[&str]) -> Result<Value, String> {
        let output = self.run(args);
        match output.status.code() {
            // `status` says by 3 that something does not run; its table is as good.
            Some(0 | 3) => serde_json::from_slice(&output.stdout).map_err(|e| e.to_string()),
            _ => Err(said(&output)),
        }
    }

    /// Runs a verb that must succeed; what it says as JSON. One that only looks is run again when
    /// nobody answers it: a busy machine may take longer than the verb waits.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let unanswered = |why: &String| LOOKS.contains(&args[0]) && why.starts_with(UNANSWERED);
        wait_until("an answer", DEADLINE, || match self.try_json(args) {
            Err(why) if unanswered(&why) => Err(why),
            answer => Ok(answer),
        })
        .unwrap()
    }

    /// Writes a file beside the fleet; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Applies a file and waits until what it declares runs.
    pub(crate) fn apply(&self, toml: &str) {
        let file = self.file("apply.toml", toml);
        self.ok(&["apply", &file]);
    }

    pub(crate) fn status(&self) -> Vec<Value> {
        self.json(&["status", "-o", "json"]).as_array().unwrap().clone()
    }

    /// One instance's row.
    pub(crate) fn row(&self, name: &str) -> Value {
        self.json(&["status", name, "-o", "json"])[0].clone()
    }

    /// Waits until an instance's row is as `is` wants it.
    pub(crate) fn wait_row(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("{name} to be {what}"), DEADLINE, || {
            let row = self.try_json(&["status", name, "-o", "json"])?[0].clone();
            if is(&row) { Ok(row) } else { Err(row.to_string()) }
        })
    }

    pub(crate) fn wait_state(&self, name: &str, state: &str) -> Value {
        self.wait_row(name, state, |row| row["state"] == state)
    }

    /// Every event there is.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.json(&["events", "--type", "*", "-n", "100000", "-o", "json"])
            .as_array()
            .unwrap()
            .clone()
    }

    /// Waits for an event.
    pub(crate) fn wait_event(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("the event {what}"), DEADLINE, || {
            let events = self.events();
            let found = events.iter().find(|e| is(e)).cloned();
            found.ok_or_else(|| {
                let last = events.iter().rev().take(12).map(ToString::to_string);
                last.collect::<Vec<_>>().join("\n")
            })
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let mut told = Vec::new();
        for (name, child) in &mut self.processes {
            // A frozen process does not die of anything but this, and may have ended already.
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGCONT);
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log =
                    std::fs::read_to_string(self.directory.path().join(format!("{name}.log")));
                let log = log.unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(25)..].join("\n");
                told.push(format!("--- log of {name}\n{tail}"));
            }
        }
        // The test is failing already; this explains it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), told.join("\n").as_bytes());
    }
}

/// What a verb said, for a failure's message.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn number(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))).unwrap()
}

/// Whether a process lives; a zombie does not.
pub(crate) fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim().starts_with('Z'))
}

/// Waits until a process is gone.
pub(crate) fn wait_dead(pid: i32) {
    wait_until(&format!("process {pid} to be gone"), DEADLINE, || {
        if alive(pid) { Err("alive") } else { Ok(()) }
    });
}

/// Asserts that, of every instance, the process events are ordered by (epoch, seq) without a gap
/// and without a repeat, in the order of the stream.
pub(crate) fn assert_gapless(events: &[Value]) {
    let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for event in events.iter().filter(|e| e["data"]["kind"] == "process") {
        let data = &event["data"];
        let seq = data["seq"].as_u64().unwrap();
        if seq == 0 {
            continue; // A scheduler's word, not a worker's.
        }
        let name = data["name"].as_str().unwrap().to_owned();
        let epoch = data["epoch"].as_u64().unwrap();
        let (last_epoch, last_seq) = last.get(&name).copied().unwrap_or((0, 0));
        let follows =
            (epoch == last_epoch && seq == last_seq + 1) || (epoch > last_epoch && seq == 1);
        assert!(follows, "{name}: ({epoch}, {seq}) after ({last_epoch}, {last_seq})");
        last.insert(name, (epoch, seq));
    }
    assert!(!last.is_empty(), "no process events at all");
}
