//! What dsbus costs, measured: memory and CPU at rest, messages at rest, and the time that a crash
//! and the loss of a worker take. Prints the table of README.md. `./run cost`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]
#![expect(clippy::print_stdout, reason = "the table is all that it is for")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dsbus_harness::{NatsServer, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Instances of the fleet that is measured.
const INSTANCES: usize = 300;
/// How long a fleet at rest is watched.
const REST: Duration = Duration::from_secs(20);
/// Crashes, and losses of a worker, that are timed.
const CRASHES: usize = 50;
const LOSSES: usize = 5;
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    nats: NatsServer,
    directory: tempfile::TempDir,
    dsbus: PathBuf,
    daemons: Vec<(String, Child)>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for (_, child) in &mut self.daemons {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bench {
    fn start() -> Bench {
        // target/<profile>/examples/cost -> target/<profile>/dsbus
        let me = std::env::current_exe().unwrap();
        let dsbus = me.parent().unwrap().parent().unwrap().join("dsbus");
        let nats = NatsServer::start_with("http: 127.0.0.1:0");
        let mut bench =
            Bench { nats, directory: tempfile::tempdir().unwrap(), dsbus, daemons: Vec::new() };
        for id in ["s1", "s2"] {
            bench.daemon(id, &["scheduler", "--id", id]);
        }
        for name in ["w1", "w2", "w3"] {
            bench.worker(name);
        }
        bench
    }

    fn worker(&mut self, name: &str) {
        let directory = self.directory.path().join(name);
        self.daemon(name, &["worker", "--name", name, "--dir", directory.to_str().unwrap()]);
        self.wait("all workers to be ready", |b| {
            let rows = b.json(&["workers", "-o", "json"]);
            let known = b.daemons.iter().filter(|(name, _)| name.starts_with('w')).count();
            rows.iter().filter(|w| w["state"] == "ready").count() == known
        });
    }

    fn daemon(&mut self, name: &str, args: &[&str]) {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.push((name.to_owned(), command.spawn().unwrap()));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.dsbus);
        command.args(["--nats", &self.nats.url()]).args(args).current_dir(self.directory.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        serde_json::from_slice(&self.run(args).stdout).unwrap_or_default()
    }

    fn status(&self) -> Vec<Value> {
        self.json(&["status", "-o", "json"])
    }

    fn wait(&self, what: &str, is: impl Fn(&Bench) -> bool) {
        wait_until(what, DEADLINE, || if is(self) { Ok(()) } else { Err("not yet") });
    }

    fn apply(&self, copies: usize) {
        let file = self.directory.path().join("rest.toml");
        let text = format!(
            "[program.rest]\ncommand = \"sleep 100000\"\nnumprocs = {copies}\nstartsecs = 0\n"
        );
        std::fs::write(&file, text).unwrap();
        assert!(self.run(&["apply", file.to_str().unwrap()]).status.success());
    }

    fn pids(&self, name: &str) -> Vec<i32> {
        let rows = self.json(&["workers", "-o", "json"]);
        let row = rows.iter().find(|w| w["name"] == name).unwrap();
        ["supervisor_pid", "agent_pid"].map(|key| number(&row[key])).to_vec()
    }

    fn pid(&self, name: &str) -> i32 {
        let child = &self.daemons.iter().find(|(n, _)| n == name).unwrap().1;
        i32::try_from(child.id()).unwrap()
    }

    /// How long after a kill -9 another child of the instance runs, by the note of its supervisor.
    fn crash(&self, row: &Value) -> Duration {
        let name = row["name"].as_str().unwrap().replace(':', ".");
        let worker = row["worker"].as_str().unwrap();
        let note = self.directory.path().join(worker).join("instances").join(name).join("child");
        let noted = |note: &Path| -> Option<i32> {
            std::fs::read_to_string(note).ok()?.split(' ').next()?.parse().ok()
        };
        let old = noted(&note).unwrap();
        let begun = Instant::now();
        kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
        loop {
            if noted(&note).is_some_and(|pid| pid != old) {
                return begun.elapsed();
            }
            std::hint::spin_loop();
        }
    }

    /// How long after a kill -9 of both of its processes all of a worker's instances run elsewhere.
    fn loss(&mut self, name: &str) -> Duration {
        let pids = self.pids(name);
        let begun = Instant::now();
        for pid in pids.iter().rev() {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        }
        self.wait("its instances to run elsewhere", |b| {
            b.status().iter().all(|r| r["state"] == "RUNNING" && r["worker"] != name)
        });
        let took = begun.elapsed();
        let at = self.daemons.iter().position(|(n, _)| n == name).unwrap();
        let (_, mut dead) = self.daemons.remove(at);
        dead.wait().unwrap();
        self.worker(name);
        took
    }
}

fn number(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap()).unwrap()
}

/// Proportional set size, in KiB.
fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time so far, in ticks of 10 ms.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn rest(bench: &Bench, what: &str) {
    let worker = bench.pids("w1");
    let scheduler = vec![bench.pid("s1")];
    let cpu = |pids: &[i32]| pids.iter().map(|p| ticks(*p)).sum::<u64>();
    let before = (cpu(&worker), cpu(&scheduler));
    std::thread::park_timeout(REST);
    let share = |ticks: u64| f64::from(u32::try_from(ticks).unwrap()) / REST.as_secs_f64();
    let memory = |pids: &[i32]| pids.iter().map(|p| pss(*p)).sum::<u64>() / 1024;
    println!(
        "| {what}: a worker (both processes) | {} MiB, {:.1} % of a core |",
        memory(&worker),
        share(cpu(&worker) - before.0)
    );
    println!(
        "| {what}: a scheduler | {} MiB, {:.1} % of a core |",
        memory(&scheduler),
        share(cpu(&scheduler) - before.1)
    );
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

fn main() {
    let mut bench = Bench::start();
    println!("| what | measured |\n| --- | --- |");
    bench.apply(3);
    rest(&bench, "3 workers, 3 instances");
    let begun = Instant::now();
    bench.apply(INSTANCES);
    println!(
        "| `apply` of {INSTANCES} instances to the last one RUNNING | {:.1} s |",
        begun.elapsed().as_secs_f64()
    );
    rest(&bench, &format!("3 workers, {INSTANCES} instances"));
    let rows = bench.status();
    let crashes = rows.iter().take(CRASHES).map(|row| bench.crash(row)).collect();
    let (middle, worst) = median(crashes);
    println!(
        "| kill -9 of a child to its successor's start | {:.1} ms median, {:.1} ms worst of {CRASHES} |",
        middle.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    );
    bench.apply(3);
    bench.wait("three instances", |b| b.status().len() == 3);
    let losses = (0..LOSSES).map(|n| bench.loss(["w1", "w2", "w3"][n % 3])).collect();
    let (middle, worst) = median(losses);
    println!(
        "| kill -9 of a worker to its instances RUNNING elsewhere (`touch_timeout` 5 s) | {:.1} s median, {:.1} s worst of {LOSSES} |",
        middle.as_secs_f64(),
        worst.as_secs_f64()
    );
}
