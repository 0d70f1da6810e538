//! A fleet with users, each with the least that it needs: what `dsbus auth` makes lets a fleet work, and
//! lets nobody do more.

mod listener;
mod matrix;
mod told;
mod wire;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dsbus_harness::{Port, nats_server, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet::{DEADLINE, DSBUS, said};

/// What the server writes down of whoever tries what it may not.
const VIOLATION: &str = "Violation";

/// A directory made by `dsbus auth init`, a server that has its configuration, and what was started.
struct Place {
    directory: tempfile::TempDir,
    children: Vec<(String, Child)>,
    port: Port,
}

impl Place {
    fn new(more: &[&str]) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let place = Place { directory, children: Vec::new(), port };
        let servers = format!("tls://127.0.0.1:{}", place.port.number());
        let at = place.auth();
        let init = ["auth", "init", at.to_str().unwrap(), "--servers", &servers];
        place.done(&[&init, more].concat());
        place
    }

    fn auth(&self) -> PathBuf {
        self.directory.path().join("auth")
    }

    fn serve(&mut self) {
        let conf = self.auth().join("nats/nats.conf");
        let mut server = Command::new(nats_server());
        server.arg("-c").arg(conf);
        self.spawn("nats", server);
        wait_until("the server", DEADLINE, || {
            let log = self.log("nats");
            if log.contains("Server is ready") { Ok(()) } else { Err(log) }
        });
    }

    fn reload(&self) {
        let (_, server) = self.children.iter().find(|(name, _)| name == "nats").unwrap();
        let reloaded = || self.log("nats").matches("Reloaded server configuration").count();
        let before = reloaded();
        kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
        wait_until("the reload", DEADLINE, || {
            if reloaded() > before { Ok(()) } else { Err(self.log("nats")) }
        });
    }

    fn spawn(&mut self, name: &str, mut command: Command) {
        let log = File::create(self.path(name)).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push((name.to_owned(), command.spawn().unwrap()));
    }

    /// In the folder of a user, and knowing nothing else.
    fn user(&self, user: &str, args: &[&str]) -> Command {
        let mut command = Command::new(DSBUS);
        command
            .args(args)
            .current_dir(self.auth().join("users").join(user))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self, name: &str, user: &str, args: &[&str]) {
        let command = self.user(user, args);
        self.spawn(name, command);
    }

    fn worker(&mut self, name: &str) {
        let state = self.path(&format!("{name}.state"));
        let args = ["worker", "--config", "worker.toml", "--dir", state.to_str().unwrap()];
        self.start(name, name, &args);
    }

    fn run(&self, user: &str, args: &[&str]) -> Output {
        self.user(user, args).output().unwrap()
    }

    fn works(&self, user: &str, args: &[&str]) -> String {
        let output = self.run(user, args);
        assert!(output.status.success(), "{user}: {args:?}: {}{}", said(&output), self.logs());
        said(&output)
    }

    /// `dsbus auth`, which works.
    fn done(&self, args: &[&str]) -> String {
        let mut command = Command::new(DSBUS);
        let output = command.args(args).env("NO_COLOR", "1").current_dir(self.directory.path());
        let output = output.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        said(&output)
    }

    fn manage(&self, args: &[&str]) -> String {
        let at = self.auth();
        self.done(&[&["auth"], args, &["--dir", at.to_str().unwrap()]].concat())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let all = self.children.iter().map(|(name, _)| format!("\n{name}:\n{}", self.log(name)));
        all.collect()
    }

    fn json(&self, user: &str, args: &[&str]) -> Value {
        let output = self.run(user, &[args, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn wait(&self, what: &str, is: impl Fn(&Place) -> bool) {
        wait_until(what, DEADLINE, || if is(self) { Ok(()) } else { Err(self.logs()) });
    }

    fn end(&mut self, name: &str, signal: Signal) {
        let at = self.children.iter().position(|(child, _)| child == name).unwrap();
        let (_, mut child) = self.children.remove(at);
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        child.wait().unwrap();
    }

    fn violations(&self) -> Vec<String> {
        self.log("nats").lines().filter(|l| l.contains(VIOLATION)).map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a gateway answers.
fn get(at: &str, path: &str, who: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(at) else { return String::new() };
    let who = STANDARD.encode(who);
    let asked = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Basic {who}\r\nConnection: close\r\n\r\n"
    );
    let mut answer = String::new();
    // One that is not there yet is asked again.
    let _ = stream.write_all(asked.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    answer
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_whole_fleet_works_by_what_its_users_may_do() {
    let mut place = Place::new(&["--workers", "w1,w2", "--listeners"]);
    place.manage(&["add", "operator", "rita", "--verbs", "start,stop"]);
    place.serve();
    place.start("s1", "scheduler", &["scheduler", "--id", "s1"]);
    place.start("s2", "scheduler", &["scheduler", "--id", "s2"]);
    // A worker that comes first tries to make the buckets, which schedulers do.
    place.wait("the schedulers", |place| place.run("admin", &["workers"]).status.success());
    place.worker("w1");
    place.worker("w2");
    let rows = |place: &Place, state: &str| {
        let rows = place.json("admin", &["workers"]).as_array().cloned().unwrap_or_default();
        rows.iter().filter(|row| row["state"] == state).count()
    };
    place.wait("both workers", |place| rows(place, "ready") == 2);

    // Reserved until the gateway has it.
    let port = Port::reserve();
    let web = format!("127.0.0.1:{}", port.number());
    stand_by(&mut place, &web);
    declare(&place, &web);
    act(&place);
    assert_eq!(place.violations(), Vec::<String>::new(), "{}", place.logs());
    lose(&mut place);
    told::changes_nothing(&place, refuse);
}

/// Whether both instances run, all on one worker where it is named.
fn everywhere(place: &Place, worker: &str) -> bool {
    let rows = place.json("viewer", &["status"]);
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.len() == 2
        && rows.iter().all(|row| row["state"] == "RUNNING")
        && rows.iter().all(|row| worker.is_empty() || row["worker"] == worker)
}

/// A listener, an alert, and a gateway that listens there.
fn stand_by(place: &mut Place, web: &str) {
    let listen = format!("echo READY; cat >> {}", place.path("heard").display());
    place.start("listener", "w1", &["listen", "--since", "1h", "--", "sh", "-c", &listen]);
    let told = place.path("told");
    let rules = format!(
        "[[rule]]\nname = \"runs\"\nevents = [\"RUNNING\"]\nsend = [\"file\"]\n\n\
         [target.file]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"cat >> {}\"]\n",
        told.display()
    );
    fs::write(place.auth().join("users/alert/alert.toml"), rules).unwrap();
    place.start("alert", "alert", &["alert", "alert.toml"]);
    place.wait("the alert to work", |place| place.log("alert").contains("works"));
    place.start("gateway", "gateway", &["gateway", "gateway.toml", "--listen", web]);
}

/// A program, of which all hear.
fn declare(place: &Place, web: &str) {
    let program = "[program.web]\ncommand = \"echo hello; exec sleep 1000\"\nshell = true\n\
                   startsecs = 0\nnumprocs = 2\nenvironment = { KEY = \"hush\" }\n";
    fs::write(place.path("web.toml"), program).unwrap();
    place.works("admin", &["apply", place.path("web.toml").to_str().unwrap()]);
    place.wait("both instances", |place| everywhere(place, ""));
    let heard = |place: &Place| ["told", "heard"].iter().all(|log| !place.log(log).is_empty());
    place.wait("the alert and the listener", heard);
    place.wait("the gateway", |place| place.log("gateway").contains("listens on"));
    let conf = fs::read_to_string(place.auth().join("users/gateway/gateway.toml")).unwrap();
    let password = conf.split("password = \"").nth(1).unwrap().split('"').next().unwrap();
    place.wait("the gateway to know the program", |_| {
        let answer = get(web, "/api/v1/programs/web", &format!("admin:{password}"));
        assert!(!answer.contains("hush"), "{answer}");
        answer.starts_with("HTTP/1.1 200") && answer.contains("numprocs")
    });
}

/// What people do.
fn act(place: &Place) {
    for user in ["admin", "viewer", "rita"] {
        for args in [
            &["status"][..],
            &["workers"],
            &["events", "-n", "5"],
            &["logs", "web:0"],
            &["explain", "web"],
            &["groups"],
            &["history", "web"],
            &["version"],
        ] {
            let shown = place.works(user, args);
            assert!(!shown.contains("hush"), "{user} {args:?}: {shown}");
        }
    }
    place.wait("its word", |place| place.works("viewer", &["logs", "web:0"]).contains("hello"));
    place.works("rita", &["stop", "web:1"]);
    place.works("rita", &["start", "web:1"]);
    place.works("admin", &["emit", "deployed", "by hand"]);
    place.works("admin", &["signal", "CONT", "web:0"]);
    place.works("admin", &["export", "web"]);
    place.works("admin", &["describe", "web"]);
    place.works("admin", &["run", "--name", "once", "--", "echo", "ran"]);
    place.wait("all to be well", |place| place.run("admin", &["doctor"]).status.success());
}

/// A worker is lost, and another one takes what it had.
fn lose(place: &mut Place) {
    let agent = wait_until("the agent of w1", DEADLINE, || {
        let rows = place.json("admin", &["workers"]);
        let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "w1"));
        row.and_then(|row| row["agent_pid"].as_i64()).ok_or(rows.clone())
    });
    let agent = i32::try_from(agent).unwrap();
    place.end("w1", Signal::SIGKILL);
    // It may have ended with its supervisor.
    let _ = kill(Pid::from_raw(agent), Signal::SIGKILL);
    place.end("s1", Signal::SIGTERM);
    place.wait("the other worker to have both", |place| everywhere(place, "w2"));
    assert_eq!(place.violations(), Vec::<String>::new(), "{}", place.logs());
}

/// What is not theirs is refused, at once and with the reason.
fn refuse(place: &Place) {
    for (user, args) in [
        ("viewer", &["stop", "web"][..]),
        ("rita", &["remove", "web"]),
        ("rita", &["signal", "TERM", "web:0"]),
        ("viewer", &["emit", "deployed"]),
        ("viewer", &["export", "web"]),
    ] {
        let denied = |text: &str| text.contains("denied") || text.contains("permi");
        place.is_told(user, args, "why not", denied);
    }
}

#[test]
fn keys_are_rotated_and_revoked_without_a_gap() {
    let mut place = Place::new(&["--workers", "w1"]);
    place.serve();
    let seed = |user: &str| place.auth().join("users").join(user).join("seed.nk");
    let (now, before) = (seed("admin"), place.path("before.nk"));
    fs::copy(&now, &before).unwrap();
    let refused = |place: &Place, user: &str, key: &Path| {
        let output = place.run(user, &["--nkey", key.to_str().unwrap(), "version"]);
        said(&output).to_lowercase().contains("authorization violation")
    };
    assert!(!refused(&place, "admin", &before));
    let first = fs::read_to_string(place.auth().join("users/w1/signers")).unwrap();
    place.manage(&["rotate", "admin"]);
    place.manage(&["rotate", "scheduler"]);
    let twice = fs::read_to_string(place.auth().join("users/w1/signers")).unwrap();
    let keys = |text: &str| text.lines().filter(|line| line.starts_with('U')).count();
    assert_eq!((keys(&first), keys(&twice)), (1, 2), "{twice}");
    place.reload();
    assert!([&before, &now].iter().all(|key| !refused(&place, "admin", key)), "both hold");
    place.manage(&["revoke", "admin", "--old"]);
    place.manage(&["revoke", "scheduler", "--old"]);
    place.reload();
    place.wait("the old one to be refused", |place| refused(place, "admin", &before));
    assert!(!refused(&place, "admin", &now), "the new one alone holds");
    let last = fs::read_to_string(place.auth().join("users/w1/signers")).unwrap();
    assert!(keys(&last) == 1 && last != first, "{last}");
    fs::copy(&now, &before).unwrap();
    place.manage(&["revoke", "admin", "--force"]);
    place.reload();
    place.wait("whoever was revoked to be refused", |place| refused(place, "viewer", &before));
    assert!(!place.auth().join("users/admin").exists());
    // One who has no key at all, and one who does not know the authority.
    let url = format!("nats://127.0.0.1:{}", place.port.number());
    for more in [&[][..], &["--tls-ca", "ca.pem"]] {
        let output = place.run("viewer", &[&["--nats", &url, "status"], more].concat());
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    }
}

#[test]
fn what_is_made_is_whole_and_nobody_elses() {
    let place = Place::new(&["--workers", "w1"]);
    let at = place.auth();
    assert_eq!(mode(&at), 0o700);
    for secret in ["tls/ca.key", "tls/server.key", "nats/nats.conf", "users/gateway/gateway.toml"] {
        assert_eq!(mode(&at.join(secret)), 0o600, "{secret}");
    }
    for user in fs::read_dir(at.join("users")).unwrap() {
        let folder = user.unwrap().path();
        let modes = (mode(&folder), mode(&folder.join("seed.nk")));
        assert_eq!(modes, (0o700, 0o600), "{}", folder.display());
    }
    let book = fs::read_to_string(at.join("auth.toml")).unwrap();
    let seeds =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|w| w.starts_with("SU"));
    assert!(!seeds(&book), "{book}");
    // Nothing is written over, and nothing is half done; neither by way of links.
    let cluster = place.path("cluster");
    let again = |more: &[&str]| {
        let mut command = Command::new(DSBUS);
        command.args(["auth", "init"]).args(more).output().unwrap()
    };
    let output = again(&[at.to_str().unwrap()]);
    assert!(!output.status.success() && said(&output).contains("is there already"));
    assert_eq!(fs::read_to_string(at.join("auth.toml")).unwrap(), book);
    std::os::unix::fs::symlink(&at, &cluster).unwrap();
    assert!(!again(&[cluster.to_str().unwrap()]).status.success());
    fs::remove_file(&cluster).unwrap();
    let output = again(&[cluster.to_str().unwrap(), "--servers", "http://x"]);
    assert!(!output.status.success() && !cluster.exists(), "{}", said(&output));
    let left: Vec<_> = fs::read_dir(place.directory.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // The nodes of a cluster, as the server reads them.
    let output = again(&[cluster.to_str().unwrap(), "--nodes", "n1,n2,n3", "--workers", "w1"]);
    assert!(output.status.success(), "{}", said(&output));
    for node in ["n1", "n2", "n3"] {
        let conf = cluster.join(format!("nats/{node}.conf"));
        let output = Command::new(nats_server()).arg("-t").arg("-c").arg(conf).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
}
