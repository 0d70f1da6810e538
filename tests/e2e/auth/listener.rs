//! Python in a fleet with users, by what `dsbus auth` gave and nothing else: a listener, and a person who
//! commands as the client's page shows it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Place;

/// How the example's block begins.
const FENCE: &str = "```python in a fleet with users\n";

/// A process that is ended with the value.
struct Listener(Child);

impl Listener {
    fn start(place: &Place, subject: &str, said: &Path) -> Listener {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/listen.py");
        let said = File::options().create(true).append(true).open(said).unwrap();
        let mut command = Command::new("python3");
        command
            .arg(example)
            .current_dir(place.auth().join("users/audit"))
            .env("NATS_URL", format!("tls://127.0.0.1:{}", place.port.number()))
            .env("NATS_NKEY", "seed.nk")
            .env("NATS_CA", "ca.pem")
            .env("NATS_INBOX_PREFIX", "_INBOX.listener.audit")
            .env("LISTENER", "audit")
            .env("LISTENER_SUBJECT", subject)
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        Listener(command.spawn().unwrap())
    }

    fn ends(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success(), "it stops when it is asked to");
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_listener_in_python_reads_by_the_key_of_its_user() {
    let found = Command::new("python3").args(["-c", "import nats, nkeys"]).output().unwrap();
    assert!(found.status.success(), "run the tests by ./run test, which fetches nats-py and nkeys");
    let mut place = Place::new(&["--workers", "w1"]);
    place.manage(&["add", "listener", "audit", "--events", "FATAL"]);
    let at = place.auth();
    let users = place.json("admin", &["auth", "list", "--dir", at.to_str().unwrap()]);
    let audit = users.as_array().unwrap().iter().find(|user| user["name"] == "audit").unwrap();
    let subject = audit["subject"].as_str().unwrap().to_owned();
    place.serve();
    place.start("s1", "scheduler", &["scheduler", "--id", "s1"]);
    place.worker("w1");
    place.wait("the worker", |place| place.json("admin", &["workers"])[0]["state"] == "ready");
    let fails = |name: &str| {
        let file = place.path("bad.toml");
        let text = format!("[program.{name}]\ncommand = \"/no/such\"\nstartretries = 0\n");
        fs::write(&file, text).unwrap();
        place.run("admin", &["apply", "--no-wait", file.to_str().unwrap()]);
    };
    let said = place.path("listener.said");
    let told = |name: &str| {
        place.wait(name, |_| {
            let text = fs::read_to_string(&said).unwrap_or_default();
            text.lines().any(|line| line.contains(&format!(" {name}:0 FATAL ")))
        });
    };
    fails("one");
    let mut first = Listener::start(&place, &subject, &said);
    told("one");
    first.ends();
    fs::remove_file(&said).unwrap();
    fails("two");
    let mut second = Listener::start(&place, &subject, &said);
    told("two");
    second.ends();
    let text = fs::read_to_string(&said).unwrap();
    assert!(!text.contains("one:0"), "it goes on where it ended: {text}");
    let denied = |line: &str| line.starts_with("the bus: ") && line.contains("iolation");
    assert!(!text.lines().any(denied), "nothing was denied to it: {text}");
}

#[test]
fn a_person_commands_from_python_by_his_key() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let page = fs::read_to_string(format!("{root}/clients/python/README.md")).unwrap();
    let block = page.split_once(FENCE).unwrap().1.split_once("```").unwrap().0;
    let mut place = Place::new(&["--workers", "w1"]);
    place.manage(&["add", "operator", "ann"]);
    place.serve();
    place.start("s1", "scheduler", &["scheduler", "--id", "s1"]);
    place.worker("w1");
    place.wait("the worker", |place| place.json("admin", &["workers"])[0]["state"] == "ready");
    let bus = format!("tls://127.0.0.1:{}", place.port.number());
    assert!(block.contains("\"tls://bus:4222\""), "{block}");
    let mut path: Vec<PathBuf> =
        vec![format!("{root}/clients/python/src").into(), format!("{root}/.tools/python").into()];
    path.extend(std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths));
    let ran = Command::new("python3")
        .args(["-c", &block.replace("tls://bus:4222", &bus)])
        .current_dir(place.auth().join("users/ann"))
        .env("PYTHONPATH", std::env::join_paths(path).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}{}", crate::fleet::said(&ran), place.logs());
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "job:0 RUNNING\n");
}
