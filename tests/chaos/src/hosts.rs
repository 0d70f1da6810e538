//! Hosts: network namespaces on one switch, each with a freezer of its own.
//!
//! - The switch is in a namespace, too: nothing is added to the machine's own network.
//! - nsenter and not `ip netns exec`: that one mounts another /sys, and agents need the cgroups.
//! - All that is started carries a mark in its environment; by it the end finds everything.
//! - What a run that was killed left behind is removed by the next one.
//!
//! Where the machine has no namespaces, hosts are addresses of its loopback, and cannot be cut.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use crate::{Outcome, process};

/// Begins the name of all that is ours; then comes the process id.
const PREFIX: &str = "dschaos-";
/// The mark in the environment.
const MARK: &str = "DSCHAOS";
const NAMESPACES: &str = "/run/netns";
/// The freezer of cgroup v1. Unlike SIGSTOP, and the freezer of v2, it holds even SIGKILL back, as
/// a machine that stands still does.
const FREEZER: &str = "/sys/fs/cgroup/freezer";
/// Between two tries to remove a cgroup, or to kill what is left.
const AGAIN: Duration = Duration::from_millis(20);
/// How often that is tried: processes die within moments.
const TRIES: usize = 250;

/// Where the NATS servers of all hosts listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) clients: u16,
    pub(crate) routes: u16,
    pub(crate) monitor: u16,
}

/// Which way packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Both.
    Both,
    /// What comes to the host.
    In,
    /// What the host sends.
    Out,
}

/// All hosts of a run; they and all processes in them end with the value.
#[derive(Debug)]
pub(crate) struct Hosts {
    run: String,
    names: Vec<String>,
    /// Why there are no namespaces.
    pub(crate) no_network: Option<String>,
    pub(crate) ports: Ports,
    freezer: Option<PathBuf>,
}

impl Hosts {
    /// Makes hosts of these names. The first one becomes the host of this process: call it before
    /// there are threads.
    pub(crate) fn build(names: &[String], network: bool) -> Outcome<Hosts> {
        sweep();
        let run = format!("{PREFIX}{}", std::process::id());
        let freezer = Path::new(FREEZER).join(&run);
        let freezer = fs::create_dir(&freezer).is_ok().then_some(freezer);
        let mut hosts =
            Hosts { run, names: names.to_vec(), no_network: None, ports: Ports::free()?, freezer };
        if let Some(freezer) = &hosts.freezer {
            for name in names {
                fs::create_dir(freezer.join(name))?;
            }
        }
        hosts.no_network = if network {
            hosts.network().err().map(|why| why.to_string())
        } else {
            Some("not wanted".to_owned())
        };
        Ok(hosts)
    }

    fn network(&self) -> Outcome<()> {
        let switch = self.namespace("sw");
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge", "stp_state", "0"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (index, name) in self.names.iter().enumerate() {
            let (host, port) = (self.namespace(name), port(name));
            ip(&["netns", "add", &host])?;
            let pair =
                ["link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch];
            ip(&[&["-n", &host], &pair[..]].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &host, "addr", "add", &format!("10.77.0.{}/24", index + 1), "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        }
        let first = self.names.first().ok_or("no hosts")?;
        // Each kind of fault is tried once, so that a run does not find out in its middle.
        self.cut(first, Way::In)?;
        self.heal(first)?;
        self.lose(first, 1)?;
        self.slow(first, 1000)?;
        self.heal(first)?;
        setns(
            fs::File::open(Path::new(NAMESPACES).join(self.namespace(first)))?,
            CloneFlags::CLONE_NEWNET,
        )?;
        Ok(())
    }

    /// The address of a host.
    pub(crate) fn address(&self, name: &str) -> String {
        let number = self.names.iter().position(|known| known == name).map_or(1, |i| i + 1);
        match self.no_network {
            None => format!("10.77.0.{number}"),
            // Runs on one machine differ in their process ids.
            Some(_) => {
                let id = std::process::id();
                format!("127.{}.{}.{number}", 64 + id / 250 % 128, 1 + id % 250)
            }
        }
    }

    /// A command that runs on a host.
    pub(crate) fn command(&self, host: &str, program: &Path) -> Command {
        let mut words = Vec::new();
        if let Some(freezer) = &self.freezer {
            let tasks = freezer.join(host).join("cgroup.procs");
            let script = format!("echo $$ > {} && exec \"$@\"", tasks.display());
            words.extend(["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
        }
        if self.no_network.is_none() {
            words.push("nsenter".to_owned());
            words.push(format!("--net={NAMESPACES}/{}", self.namespace(host)));
        }
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).env(MARK, &self.run).env_remove("NATS_URL");
        command
    }

    /// Loses all packets of a host. Nothing tells the host: its links stay up.
    pub(crate) fn cut(&self, host: &str, way: Way) -> Outcome<()> {
        match way {
            Way::Both => ip(&["-n", &self.namespace("sw"), "link", "set", &port(host), "nomaster"]),
            Way::In => self.nft(host, &chain("input", "iif lo accept; drop")),
            Way::Out => self.nft(host, &chain("output", "oif lo accept; drop")),
        }
    }

    /// Loses so many of a hundred packets, each way.
    pub(crate) fn lose(&self, host: &str, percent: u8) -> Outcome<()> {
        let rule = |lo: &str| format!("{lo} lo accept; numgen random mod 100 < {percent} drop");
        self.nft(host, &chain("input", &rule("iif")))?;
        self.nft(host, &chain("output", &rule("oif")))
    }

    /// Limits what a host sends to so many kilobits a second.
    pub(crate) fn slow(&self, host: &str, kilobits: u32) -> Outcome<()> {
        let rate = format!("{kilobits}kbit");
        let limit = ["rate", &rate, "burst", "8kb", "latency", "400ms"];
        let add = ["qdisc", "add", "dev", "eth0", "root", "tbf"];
        self.inside(host, &[&["tc"], &add[..], &limit[..]].concat())
    }

    /// Takes back whatever was done to a host's network.
    pub(crate) fn heal(&self, host: &str) -> Outcome<()> {
        ip(&["-n", &self.namespace("sw"), "link", "set", &port(host), "master", "br0", "up"])?;
        // Both fail when there is nothing to take back.
        drop(self.inside(host, &["nft", "delete", "table", "inet", "chaos"]));
        drop(self.inside(host, &["tc", "qdisc", "del", "dev", "eth0", "root"]));
        Ok(())
    }

    /// Whether a host can be frozen as a machine is.
    pub(crate) fn freezes(&self) -> bool {
        self.freezer.is_some()
    }

    /// Freezes all processes of a host.
    pub(crate) fn freeze(&self, host: &str) -> Outcome<()> {
        self.freezer_says(host, "FROZEN")
    }

    /// Thaws them.
    pub(crate) fn thaw(&self, host: &str) -> Outcome<()> {
        self.freezer_says(host, "THAWED")
    }

    fn freezer_says(&self, host: &str, word: &str) -> Outcome<()> {
        let freezer = self.freezer.as_ref().ok_or("no freezer")?;
        Ok(fs::write(freezer.join(host).join("freezer.state"), word)?)
    }

    fn nft(&self, host: &str, rules: &str) -> Outcome<()> {
        self.inside(host, &["nft", rules])
    }

    fn inside(&self, host: &str, words: &[&str]) -> Outcome<()> {
        let net = format!("--net={NAMESPACES}/{}", self.namespace(host));
        run("nsenter", &[&[net.as_str()], words].concat())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }
}

impl Ports {
    /// Ports that nobody uses on any address of this machine: hosts may share its loopback.
    fn free() -> Outcome<Ports> {
        let held = || TcpListener::bind("0.0.0.0:0");
        let held = [held()?, held()?, held()?];
        let port = |i: usize| held[i].local_addr().map(|address| address.port());
        Ok(Ports { clients: port(0)?, routes: port(1)?, monitor: port(2)? })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        remove(&self.run);
    }
}

/// Names of links are short.
fn port(host: &str) -> String {
    format!("p-{host}")
}

fn chain(hook: &str, rules: &str) -> String {
    let name = format!("{hook}s");
    let rules: Vec<String> =
        rules.split("; ").map(|rule| format!("add rule inet chaos {name} {rule};")).collect();
    format!(
        "add table inet chaos; add chain inet chaos {name} {{ type filter hook {hook} priority -300; }}; {}",
        rules.join(" ")
    )
}

fn ip(words: &[&str]) -> Outcome<()> {
    run("ip", words)
}

fn run(program: &str, words: &[&str]) -> Outcome<()> {
    let output =
        Command::new(program).args(words).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {said}", words.join(" ")).into())
}

/// Removes what runs left that were killed.
fn sweep() {
    let left = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    for name in left(NAMESPACES).into_iter().chain(left(FREEZER)) {
        let Some(id) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        let ours = id
            .parse()
            .is_ok_and(|id| process::words(id).first().is_some_and(|word| word.ends_with("chaos")));
        if !ours {
            remove(&format!("{PREFIX}{id}"));
        }
    }
}

/// Ends all processes of a run, and removes its namespaces and freezers.
fn remove(run: &str) {
    let freezer = Path::new(FREEZER).join(run);
    let inner = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    for host in inner(&freezer) {
        drop(fs::write(host.join("freezer.state"), "THAWED"));
    }
    let mark = format!("{MARK}={run}");
    for _ in 0..TRIES {
        let left = process::marked(&mark);
        if left.is_empty() {
            break;
        }
        for pid in left {
            process::signal(pid, Signal::SIGKILL);
        }
        std::thread::park_timeout(AGAIN);
    }
    for folder in inner(&freezer).into_iter().chain([freezer]) {
        // A process that has just died may still be counted.
        for _ in 0..TRIES {
            if !folder.exists() || fs::remove_dir(&folder).is_ok() {
                break;
            }
            std::thread::park_timeout(AGAIN);
        }
    }
    let names = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.strip_prefix(run).is_some_and(|rest| rest.starts_with('-')) {
            drop(ip(&["netns", "del", &name]));
        }
    }
}
