//! Ours: a private nats-server, schedulers and workers, from the binary beside this one.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dsbus_harness::NatsServer;
use serde_json::Value;

use crate::Outcome;
use crate::clock::look;

/// What a fleet of this size needs no second of.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks through the command line.
const LOOK: Duration = Duration::from_millis(50);

/// A fleet; all of it ends with the value.
pub(crate) struct Fleet {
    pub(crate) nats: NatsServer,
    /// Port at which the server tells of itself.
    pub(crate) monitor: u16,
    directory: tempfile::TempDir,
    dsbus: PathBuf,
    daemons: BTreeMap<String, Child>,
}

impl Fleet {
    /// Schedulers s1.. and workers w1.., all ready.
    pub(crate) fn start(schedulers: usize, workers: usize) -> Outcome<Fleet> {
        Fleet::start_in(&std::env::temp_dir(), schedulers, workers)
    }

    /// The same, with its directory in this one.
    pub(crate) fn start_in(room: &Path, schedulers: usize, workers: usize) -> Outcome<Fleet> {
        let built = crate::beside("dsbus")?;
        let directory = tempfile::tempdir_in(room)?;
        // What processes of one file share counts half for each. A worker mostly is alone on its
        // machine: schedulers and verbs run from another copy.
        let dsbus = directory.path().join("dsbus");
        std::fs::copy(&built, &dsbus)?;
        let monitor = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let nats = NatsServer::start_with(&format!("http: \"127.0.0.1:{monitor}\""));
        let mut fleet = Fleet { nats, monitor, directory, dsbus, daemons: BTreeMap::new() };
        for n in 1..=schedulers {
            let id = format!("s{n}");
            let mut command = fleet.command(&["scheduler", "--id", &id]);
            fleet.daemon(&id, &mut command)?;
        }
        for n in 1..=workers {
            fleet.worker(&format!("w{n}"))?;
        }
        Ok(fleet)
    }

    /// Starts a worker, and waits until all are ready.
    pub(crate) fn worker(&mut self, name: &str) -> Outcome<()> {
        let directory = self.path().join(name);
        let mut command = Command::new(crate::beside("dsbus")?);
        command.args(["--nats", &self.nats.url(), "worker", "--name", name, "--dir"]);
        self.daemon(name, command.arg(directory))?;
        let workers = self.daemons.keys().filter(|name| name.starts_with('w')).count();
        look("all workers to be ready", DEADLINE, LOOK, || {
            let rows = self.rows(&["workers"]).unwrap_or_default();
            let ready = rows.iter().filter(|row| row["state"] == "ready").count();
            Ok((ready == workers).then_some(()))
        })
    }

    /// Starts a gateway at this address.
    pub(crate) fn gateway(&mut self, address: &str) -> Outcome<()> {
        let mut command = self.command(&["gateway", "--listen", address]);
        self.daemon("gateway", &mut command)
    }

    fn daemon(&mut self, name: &str, command: &mut Command) -> Outcome<()> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.insert(name.to_owned(), command.env_remove("NATS_URL").spawn()?);
        Ok(())
    }

    /// Forgets a worker that was killed.
    pub(crate) fn bury(&mut self, name: &str) -> Outcome<()> {
        if let Some(mut dead) = self.daemons.remove(name) {
            dead.wait()?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the logs of an instance are.
    pub(crate) fn logs(&self, worker: &str, name: &str) -> PathBuf {
        self.path().join(worker).join("instances").join(name.replace(':', "."))
    }

    /// The process of a scheduler.
    pub(crate) fn pid(&self, name: &str) -> Outcome<i32> {
        let child = self.daemons.get(name).ok_or("no such daemon")?;
        Ok(i32::try_from(child.id())?)
    }

    /// The processes of a worker: supervisor and agent.
    pub(crate) fn pids(&self, worker: &str) -> Outcome<(i32, i32)> {
        let rows = self.rows(&["workers"])?;
        let row = rows.iter().find(|row| row["name"] == worker).ok_or("no such worker")?;
        Ok((number(&row["supervisor_pid"])?, number(&row["agent_pid"])?))
    }

    /// A verb to be run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.dsbus);
        command
            .args(["--nats", &self.nats.url()])
            .args(args)
            .current_dir(self.path())
            .env_remove("NATS_URL")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs a verb that must succeed.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome<Output> {
        let output = self.command(args).output()?;
        // `status` says by 3 that something does not run; its table is as good.
        if matches!(output.status.code(), Some(0 | 3)) {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("dsbus {}: {}: {said}", args.join(" "), output.status).into())
    }

    /// What a verb shows.
    pub(crate) fn rows(&self, args: &[&str]) -> Outcome<Vec<Value>> {
        let output = self.run(&[args, &["-o", "json"]].concat())?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Declares programs, and waits until they run.
    pub(crate) fn apply(&self, toml: &str) -> Outcome<()> {
        self.declare(toml, &["--timeout", "120"])
    }

    /// Declares programs, and does not wait.
    pub(crate) fn ask_for(&self, toml: &str) -> Outcome<()> {
        self.declare(toml, &["--no-wait"])
    }

    fn declare(&self, toml: &str, options: &[&str]) -> Outcome<()> {
        let file = self.path().join("apply.toml");
        std::fs::write(&file, toml)?;
        self.run(&[&["apply"], options, &[&*file.display().to_string()]].concat())?;
        Ok(())
    }

    /// Removes programs, and waits until nothing is left of any.
    pub(crate) fn remove(&self, name: &str) -> Outcome<()> {
        self.run(&["remove", "--timeout", "120", name])?;
        let prefix = format!("{name}:");
        look("a program to be gone", DEADLINE, LOOK, || {
            let rows = self.rows(&["status"])?;
            let left = rows
                .iter()
                .any(|row| row["name"].as_str().is_some_and(|name| name.starts_with(&prefix)));
            Ok((!left).then_some(()))
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.daemons.values_mut() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

pub(crate) fn number(value: &Value) -> Outcome<i32> {
    Ok(i32::try_from(value.as_i64().ok_or_else(|| format!("{value} is no number"))?)?)
}

/// A declaration. JSON's strings and lists are TOML's, too.
pub(crate) fn program(name: &str, command: &[String], rest: &str) -> String {
    let words = Value::from(command.to_vec());
    format!("[program.{name}]\ncommand = {words}\nstartsecs = 0\n{rest}\n")
}
