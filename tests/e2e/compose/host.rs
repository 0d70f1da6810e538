//! This machine in the place of a container engine: each service of the file as a process, with the
//! file's command, environment and order; its volumes are directories, and its hosts are addresses of
//! the loopback network.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use dsbus_harness::{Port, nats_server, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::file::{self, Need, Service};
use crate::fleet::{DEADLINE, DSBUS, said};

/// Ports that containers have to themselves, and this machine has once.
const PORTS: [&str; 4] = ["4222", "6222", "8222", "9001"];

pub(super) struct Host {
    directory: tempfile::TempDir,
    services: Vec<Service>,
    /// Addresses of the NATS servers.
    addresses: Vec<(String, String)>,
    ports: Vec<Port>,
    running: Vec<(String, Child)>,
    completed: Vec<String>,
}

impl Host {
    pub(super) fn new(file: &Value) -> Host {
        let services = file::services(file);
        // Other runs of this test have others.
        let [.., a, b] = std::process::id().to_be_bytes();
        let servers = services.iter().filter(|service| service.image == "dsbus-nats");
        let addresses = servers
            .enumerate()
            .map(|(i, of)| (of.name.clone(), format!("127.{}.{b}.{}", 64 + a % 128, i + 1)));
        let host = Host {
            addresses: addresses.collect(),
            directory: tempfile::tempdir().unwrap(),
            ports: PORTS.iter().map(|_| Port::reserve()).collect(),
            running: Vec::new(),
            completed: Vec::new(),
            services,
        };
        for service in &host.services {
            host.mount(service);
        }
        host
    }

    /// Makes the files that a service sees: its volumes, and what it has of this repository.
    fn mount(&self, service: &Service) {
        for (source, target) in &service.mounts {
            let source = if source.starts_with('.') {
                file::directory().join(source)
            } else {
                self.volume(source)
            };
            fs::create_dir_all(&source).unwrap();
            let target = self.root(service).join(target.trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            symlink(source, target).unwrap();
        }
    }

    pub(super) fn volume(&self, name: &str) -> PathBuf {
        self.directory.path().join("volumes").join(name)
    }

    fn root(&self, service: &Service) -> PathBuf {
        self.directory.path().join("services").join(&service.name)
    }

    fn service(&self, name: &str) -> &Service {
        self.services.iter().find(|service| service.name == name).unwrap()
    }

    /// What a word of a service is here: hosts, ports, and paths.
    fn here(&self, service: &Service, word: &str) -> String {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (format!("{option}="), value),
            _ => (String::new(), word),
        };
        let covers = |target: &str| {
            Path::new(target).starts_with(value) || Path::new(value).starts_with(target)
        };
        let mounted = value.starts_with('/') && service.mounts.iter().any(|(_, t)| covers(t));
        let root = self.root(service);
        let value = self.renamed(&service.name, value);
        if mounted {
            format!("{option}{}{value}", root.display())
        } else {
            format!("{option}{value}")
        }
    }

    /// Replaces hosts and ports in a text, where they stand as words of their own.
    fn renamed(&self, service: &str, text: &str) -> String {
        let own = self.addresses.iter().find(|(name, _)| name == service);
        let own = own.map_or("127.0.0.1", |(_, address)| address);
        let ports =
            PORTS.iter().zip(&self.ports).map(|(port, of)| (*port, of.number().to_string()));
        let mut names: Vec<(&str, String)> = ports.collect();
        names.extend(["0.0.0.0", "127.0.0.1"].map(|any| (any, own.to_owned())));
        names.extend(self.addresses.iter().map(|(name, at)| (name.as_str(), at.clone())));
        let mut all = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let begins = !all.ends_with(|c: char| c.is_ascii_alphanumeric());
            let word = names.iter().find(|(name, _)| {
                begins
                    && rest
                        .strip_prefix(name)
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
            });
            if let Some((name, at)) = word {
                all += at;
                rest = &rest[name.len()..];
            } else {
                all.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        all
    }

    /// What `auth` wrote for containers is for these processes.
    fn adopt(&self) {
        for service in &self.services {
            let settings = self.root(service).join("etc/dsbus/dsbus.toml");
            let conf = self
                .root(service)
                .join(format!("etc/dsbus/nats/{}.conf", self.renamed("", &service.name)));
            for path in [settings, conf].iter().filter(|path| path.exists()) {
                let text = fs::read_to_string(path).unwrap();
                let root = self.root(service);
                // A line at a time, since paths are values of their own.
                let line = |line: &str| {
                    let line = self.renamed(&service.name, line);
                    let paths = ["\"/etc/dsbus/", "\"/data/"];
                    paths.iter().fold(line, |line, path| {
                        line.replace(path, &format!("\"{}{}", root.display(), &path[1..]))
                    })
                };
                let text: Vec<String> = text.lines().map(line).collect();
                // Several services have one volume; what is done is not done again.
                fs::write(path, text.join("\n")).unwrap();
            }
        }
    }

    fn command(&self, service: &Service, words: &[String]) -> Command {
        let words: Vec<String> = words.iter().map(|word| self.here(service, word)).collect();
        let (program, words) = match words[0].as_str() {
            "dsbus" => (Path::new(DSBUS), &words[1..]),
            _ if service.image == "dsbus-nats" => (nats_server(), &words[..]),
            _ => (Path::new(DSBUS), &words[..]),
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(self.here(service, &service.directory))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("NO_COLOR", "1")
            .envs(service.environment.iter().map(|(name, value)| (name, self.here(service, value))))
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self, service: &Service) {
        let log = File::create(self.log_of(&service.name)).unwrap();
        let mut command = self.command(service, &service.command);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push((service.name.clone(), command.spawn().unwrap()));
    }

    /// Starts everything, in the order that the file asks for.
    pub(super) fn up(&mut self) {
        let mut left = self.services.clone();
        let mut last = String::new();
        wait_until("all services to be started", DEADLINE * 3, || {
            self.collect();
            let ready: Vec<Service> =
                left.iter().filter(|s| self.unmet(s).is_empty()).cloned().collect();
            left.retain(|s| !ready.iter().any(|ready| ready.name == s.name));
            for service in &ready {
                self.start(service);
            }
            if left.is_empty() {
                return Ok(());
            }
            let waits = left.iter().map(|s| format!("{} waits for {:?}; ", s.name, self.unmet(s)));
            last = waits.collect();
            Err(format!("{last}{}", self.logs()))
        });
    }

    /// Takes note of what has ended, which only some may.
    fn collect(&mut self) {
        let mut ended = Vec::new();
        self.running.retain_mut(|(name, child)| match child.try_wait().unwrap() {
            None => true,
            Some(status) => {
                ended.push((name.clone(), status));
                false
            }
        });
        for (name, status) in ended {
            assert!(status.success(), "{name}: {status}: {}", self.log(&name));
            self.completed.push(name.clone());
            if name == "auth" {
                self.adopt();
            }
        }
    }

    fn unmet(&self, service: &Service) -> Vec<String> {
        let met = |(name, need): &&(String, Need)| match need {
            Need::Completed => self.completed.contains(name),
            Need::Started => self.running.iter().any(|(running, _)| running == name),
            Need::Healthy => {
                self.running.iter().any(|(running, _)| running == name)
                    && self.check(name).status.success()
            }
        };
        service.needs.iter().filter(|need| !met(need)).map(|(name, _)| name.clone()).collect()
    }

    /// The health check of a service, once.
    pub(super) fn check(&self, name: &str) -> Output {
        let service = self.service(name);
        self.command(service, &service.check).output().unwrap()
    }

    pub(super) fn completed(&mut self, name: &str) -> bool {
        self.collect();
        self.completed.iter().any(|completed| completed == name)
    }

    /// `dsbus` in the container `admin`.
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let words: Vec<String> =
            args.iter().chain(&["-o", "json"]).map(|w| (*w).to_owned()).collect();
        let output = self.command(self.service("admin"), &words).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(said(&output)))
    }

    /// Kills a service as an engine does, all of it.
    pub(super) fn kill(&mut self, name: &str) {
        let at = self.running.iter().position(|(running, _)| running == name).unwrap();
        let (_, mut child) = self.running.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The address of this machine that a NATS server has.
    pub(super) fn address(&self, server: &str) -> String {
        self.renamed("", server)
    }

    /// The port of this machine that a container's is.
    pub(super) fn port(&self, port: &str) -> String {
        self.renamed("", port)
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_of(name)).unwrap_or_default()
    }

    pub(super) fn logs(&self) -> String {
        let log = |s: &Service| format!("\n{}:\n{}", s.name, self.log(&s.name));
        self.services.iter().map(log).collect::<Vec<_>>().concat()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Workers end what they run.
        for (name, child) in &self.running {
            if name.starts_with('w') {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM);
            }
        }
        for (name, child) in self.running.iter_mut().rev() {
            if !name.starts_with('w') {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
