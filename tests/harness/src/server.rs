//! A nats-server of the test's own: its port and its store survive its restarts.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binary::nats_server;
use crate::port::Port;
use crate::wait::{DEADLINE, wait_until};

/// After this time without an answer one asks again: a busy machine answers within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A server that accepts and says nothing is asked again after this.
const GREETING_MAX: Duration = Duration::from_secs(1);

/// A nats-server with `JetStream`. Dropping it kills it and removes its store.
#[derive(Debug)]
pub struct NatsServer {
    port: Port,
    directory: TempDir,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not.
    pub fn start() -> NatsServer {
        NatsServer::start_with("")
    }

    /// Starts one with more lines of configuration.
    ///
    /// # Panics
    /// When it does not accept connections.
    pub fn start_with(lines: &str) -> NatsServer {
        let mut server = NatsServer::prepare(Port::reserve(), "n1", lines);
        server.restart();
        server
    }

    /// Writes the configuration of a server that is to be started later.
    pub(crate) fn prepare(port: Port, name: &str, lines: &str) -> NatsServer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = directory.path().join("store");
        let mut conf = String::new();
        writeln!(conf, "server_name: {name}\nlisten: \"127.0.0.1:{}\"", port.number())
            .expect("a string");
        writeln!(conf, "jetstream {{ store_dir: \"{}\" }}\n{lines}", store.display())
            .expect("a string");
        fs::write(directory.path().join("nats.conf"), conf).expect("the configuration");
        NatsServer { port, directory, child: None }
    }

    /// Where it listens: `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process; `None` while it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its directory: configuration, log and store.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// File that it logs to.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Whether it was started and not stopped since.
    pub fn running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it, after stopping it if it runs; the port and the store stay.
    ///
    /// # Panics
    /// When it does not accept connections.
    pub fn restart(&mut self) {
        self.stop();
        wait_until("a nats-server", DEADLINE, || {
            if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|e| e.is_some())) {
                // It is new, or has ended by itself.
                self.child = Some(self.spawn());
            }
            greeting(self.port()).map_err(|e| {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                (e.to_string(), log.lines().last().unwrap_or_default().to_owned())
            })
        });
    }

    /// Starts it without waiting for anything.
    pub(crate) fn launch(&mut self) {
        self.child = Some(self.spawn());
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log()).expect("its log");
        Command::new(nats_server())
            .arg("-c")
            .arg(self.directory.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .spawn()
            .expect("nats-server")
    }

    /// Asks it to stop, and waits until it has. Nothing happens when it does not run.
    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Stops it, and takes away all that it has stored.
    ///
    /// # Panics
    /// When that cannot be removed.
    pub fn lose(&mut self) {
        self.kill();
        fs::remove_dir_all(self.store()).expect("the store to be removed");
    }

    /// Where it stores streams.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Kills it with SIGKILL. Nothing happens when it does not run.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Freezes it: its connections stay open and silent.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Thaws it.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks something of it with an empty body, past every client; the answer's body.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, subject: &str) -> String {
        self.ask_with(subject, "")
    }

    /// The same with a body. A server that begins lets drop what it cannot answer yet: it is asked
    /// again.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask_with(&self, subject: &str, body: &str) -> String {
        wait_until(&format!("an answer to {subject}"), DEADLINE, || self.ask_once(subject, body))
    }

    fn ask_once(&self, subject: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port()))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let asked = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
            body.len()
        );
        stream.write_all(asked.as_bytes())?;
        let mut lines = BufReader::new(stream).lines();
        let mut line = || lines.next().unwrap_or_else(|| Err(ErrorKind::UnexpectedEof.into()));
        while !line()?.starts_with("MSG ") {}
        line()
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("its end");
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
            kill(pid, signal).expect("a signal to a child that was not waited for");
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Waits for the line with which a server greets.
fn greeting(port: u16) -> std::io::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(GREETING_MAX))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.starts_with("INFO ") { Ok(()) } else { Err(std::io::Error::other(line)) }
}
