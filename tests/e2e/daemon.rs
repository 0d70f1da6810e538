//! A worker as a daemon: its own file, log, pidfile, limits and user, and the signals about itself.
//! No bus is there: a worker starts without one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::fleet::{DEADLINE, DSBUS, alive, said, wait_dead};

/// A machine with one `worker.toml`. Workers that were started on it end with it.
struct Machine {
    directory: tempfile::TempDir,
    pids: Vec<i32>,
}

impl Machine {
    fn new(file: &str) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        // A worker that gives up root must still find its files.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        let machine = Machine { directory, pids: Vec::new() };
        machine.write(file);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, file: &str) {
        let text = format!("name = \"w1\"\nlogfile = \"log/w.log\"\n{file}");
        // Whole at once: a worker may be reading it because of an earlier signal.
        fs::write(self.path("worker.toml.new"), text).unwrap();
        fs::rename(self.path("worker.toml.new"), self.path("worker.toml")).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A worker to be started. Nothing listens at that address.
    ///
    /// `shell` is what stands before it on a shell's command line.
    fn command(&self, shell: &str, state: &str) -> Command {
        let mut command = Command::new("sh");
        let words = format!(
            "{shell} '{DSBUS}' --nats nats://127.0.0.1:1 worker -c worker.toml --dir {state}"
        );
        command.args(["-c", &words]).current_dir(self.directory.path()).stdin(Stdio::null());
        for variable in ["NATS_URL", "DSBUS_LOG", "RUST_LOG", "DSBUS_FLEET"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts a worker in the foreground, and waits until it says that it runs.
    fn start(&mut self, shell: &str) -> Child {
        let mut command = self.command(shell, "state");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.pids.push(pid(&child));
        self.wait_log("worker w1 starts in");
        child
    }

    /// Starts one that is to fail; its exit code and what it said.
    fn fail(&self, state: &str) -> (Option<i32>, String) {
        let output = self.command("exec timeout 60", state).output().unwrap();
        (output.status.code(), said(&output))
    }

    /// Waits until the log says something.
    fn wait_log(&self, what: &str) {
        wait_until(&format!("{what:?} in the log"), DEADLINE, || {
            let log = self.read("log/w.log");
            if log.contains(what) { Ok(()) } else { Err(log) }
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pid in &self.pids {
            // It may have ended already. Its agent ends with it.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(pid(child)), signal).unwrap();
}

fn end(mut child: Child) -> Option<i32> {
    wait_until("the worker to end", DEADLINE, || child.try_wait().unwrap().ok_or("it runs")).code()
}

#[test]
fn the_log_is_opened_again_after_somebody_moved_it() {
    let mut machine = Machine::new("silent = true\n");
    let worker = machine.start("exec");
    fs::rename(machine.path("log/w.log"), machine.path("log/moved")).unwrap();
    signal(&worker, Signal::SIGUSR2);
    machine.wait_log("the log was opened again");
    let moved = machine.read("log/moved");
    assert!(moved.contains("starts in") && !moved.contains("opened again"), "{moved}");
    // No colours in a file, and times that sort.
    for line in moved.lines() {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let time = line.split(' ').next().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z') && time.contains('T'), "{line:?}");
    }
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
}

#[test]
fn the_log_is_rotated_by_size() {
    let mut machine = Machine::new("logfile_maxbytes = 2000\nlogfile_backups = 2\n");
    let worker = machine.start("exec");
    wait_until("both backups", DEADLINE, || {
        signal(&worker, Signal::SIGHUP);
        if machine.path("log/w.log.2").exists() { Ok(()) } else { Err(machine.read("log/w.log")) }
    });
    assert!(machine.read("log/w.log.2").len() >= 2000);
    // The old size stays until the file is read again; then the new one counts.
    machine.write("logfile_maxbytes = 0\n");
    signal(&worker, Signal::SIGHUP);
    machine.wait_log("changed: logfile_backups, logfile_maxbytes");
    wait_until("the log to outgrow its old size", DEADLINE, || {
        signal(&worker, Signal::SIGHUP);
        let size = machine.read("log/w.log").len();
        if size > 4000 { Ok(()) } else { Err(size) }
    });
    assert!(!machine.path("log/w.log.3").exists());
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
}

#[test]
fn a_worker_that_drains_stops_in_time_although_nobody_takes_its_instances() {
    let mut machine = Machine::new("drain = true\ndrain_timeout = \"1s\"\n");
    let worker = machine.start("exec");
    signal(&worker, Signal::SIGTERM);
    machine.wait_log("giving the instances away, for 1s at most");
    machine.wait_log("not everything could be given away in time");
    assert_eq!(end(worker), Some(0));
    // A second signal does not wait, nor does a worker whose file says so no longer.
    machine.write("drain = true\n");
    fs::remove_file(machine.path("log/w.log")).unwrap();
    let worker = machine.start("exec");
    signal(&worker, Signal::SIGTERM);
    machine.wait_log("giving the instances away, for 5m at most");
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
    fs::remove_file(machine.path("log/w.log")).unwrap();
    let worker = machine.start("exec");
    machine.write("");
    signal(&worker, Signal::SIGHUP);
    machine.wait_log("changed: drain");
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
    assert!(!machine.read("log/w.log").contains("giving the instances away"));
}

#[test]
fn the_pidfile_is_there_as_long_as_the_worker() {
    let mut machine = Machine::new("pidfile = \"log/pid\"\n");
    let worker = machine.start("exec");
    assert_eq!(machine.read("log/pid"), format!("{}\n", worker.id()));
    let (code, told) = machine.fail("another");
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("another worker (pid {}) lives", worker.id())), "{told}");
    assert_eq!(
        machine.read("log/pid"),
        format!("{}\n", worker.id()),
        "it is still the first one's"
    );

    signal(&worker, Signal::SIGKILL);
    end(worker);
    assert!(!machine.read("log/pid").is_empty(), "it is stale");
    fs::remove_file(machine.path("log/w.log")).unwrap();
    let worker = machine.start("exec");
    assert_eq!(machine.read("log/pid"), format!("{}\n", worker.id()));
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
    assert!(!machine.path("log/pid").exists());
}

#[test]
fn in_the_background_a_start_returns_when_the_worker_runs_or_says_why_it_does_not() {
    let mut machine = Machine::new("nodaemon = false\npidfile = \"log/pid\"\n");
    // That this ends shows that the worker holds none of the pipes that it was given.
    let started: Output = machine.command("exec", "state").output().unwrap();
    assert_eq!(started.status.code(), Some(0), "{}", said(&started));
    let worker: i32 = machine.read("log/pid").trim().parse().unwrap();
    machine.pids.push(worker);
    assert!(said(&started).contains(&format!("the worker runs (pid {worker})")));
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    assert_eq!(session, worker.to_string(), "it has a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{worker}/cwd")).unwrap(), PathBuf::from("/"));

    machine.write("nodaemon = false\n");
    let (code, told) = machine.fail("state");
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("another worker (pid {worker}) uses")), "{told}");
    machine.write("nodaemon = false\nminfds = 2147483584\n");
    let (code, told) = machine.fail("other");
    assert_eq!(code, Some(2));
    assert!(told.contains("minfds = 2147483584 is more than"), "{told}");
    assert!(alive(worker));
    kill(Pid::from_raw(worker), Signal::SIGTERM).unwrap();
    wait_dead(worker);
    assert!(!machine.path("log/pid").exists());
}

#[test]
fn a_file_with_mistakes_is_told_and_the_old_one_stays() {
    let mut machine = Machine::new("");
    let worker = machine.start("exec");
    machine.write("loglevl = \"debug\"\nchildlogdir = \"/no/such\"\n");
    signal(&worker, Signal::SIGHUP);
    machine.wait_log("the old one stays");
    machine.wait_log("worker.toml:3: loglevl: unknown key (did you mean \"loglevel\"?)");
    machine.wait_log("worker.toml:4: childlogdir: there is no directory /no/such");
    machine.write("loglevel = \"error\"\numask = \"031\"\npidfile = \"log/pid\"\n");
    signal(&worker, Signal::SIGHUP);
    wait_until("the new umask", DEADLINE, || {
        let status = fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
        if status.contains("Umask:\t0031") { Ok(()) } else { Err(status) }
    });
    let log = machine.read("log/w.log");
    assert!(!log.contains("was read again"), "that is info, and no longer told: {log}");
    machine.write("loglevel = \"info\"\npidfile = \"log/another\"\n");
    signal(&worker, Signal::SIGHUP);
    machine.wait_log("takes effect when the worker is started anew: pidfile, umask");
    assert!(!machine.path("log/another").exists());
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
}

#[test]
fn limits_are_raised_to_what_the_file_asks_for() {
    let mut machine = Machine::new("minfds = 1500\n");
    let worker = machine.start("ulimit -Sn 600; ulimit -Sc 7; exec");
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.id())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("1"), "its memory holds secrets: {cores}");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("1500"), "{files}");
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
    machine.write("minfds = 2147483584\n");
    let (code, told) = machine.fail("state");
    assert_eq!(code, Some(2));
    assert!(told.contains("raise the hard limit"), "{told}");
}

#[test]
fn root_is_given_up_for_the_user_of_the_file() {
    let mut machine = Machine::new("user = \"nobody\"\npidfile = \"log/pid\"\numask = \"027\"\n");
    if !geteuid().is_root() {
        machine.write("user = \"root\"\n");
        let (code, told) = machine.fail("state");
        assert_eq!(code, Some(2));
        assert!(told.contains("only root can become root"), "{told}");
        return;
    }
    // Its own log is nobody's to write yet.
    let (code, told) = machine.fail("state");
    assert_eq!(code, Some(1));
    assert!(told.contains("failed to open the logfile") && told.contains("as nobody"), "{told}");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    std::os::unix::fs::chown(machine.path("log"), Some(uid), Some(gid)).unwrap();
    let worker = machine.start("exec");
    let status = fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let numbers = |key: &str| -> Vec<String> {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(numbers("Uid:"), vec![uid.to_string(); 4]);
    assert_eq!(numbers("Gid:"), vec![gid.to_string(); 4]);
    assert!(!numbers("Groups:").contains(&"0".to_owned()), "{status}");
    assert_eq!(numbers("Umask:"), ["0027"]);
    assert!(machine.path("state/lock").exists(), "the state directory was made for that user");
    signal(&worker, Signal::SIGTERM);
    assert_eq!(end(worker), Some(0));
    assert!(!machine.path("log/pid").exists());
}

#[test]
fn gzip_ends_quietly_when_nobody_reads_it() {
    let machine = Machine::new("");
    // More than fits in a pipe, compressed: random bytes do not shrink.
    let words = format!("head -c 1000000 /dev/urandom | '{DSBUS}' gzip; echo $? >&2");
    let mut command = Command::new("sh");
    let mut child = command
        .args(["-c", &words])
        .current_dir(machine.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0\n");
}
