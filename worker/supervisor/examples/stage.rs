//! The other processes of this crate's tests: `stage worker DIR SOCKET [WORDS]` is a supervisor,
//! whose agent is `stage agent SOCKET`, which passes everything on between it and a test. WORDS are
//! settings: `no-cgroups`, and `drain=MILLISECONDS`, `log=FILE`, `syslog=SOCKET`, `childlogdir=DIR`, `compressor=COMMAND`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_supervisor::protocol::{ToAgent, ToSupervisor};
use dsbus_supervisor::{
    AGENT_FD, AgentCommand, CgroupChoice, Config, LogFile, Owner, Rotation, Settings,
};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|role| role.to_str()) {
        Some("worker") => {
            let directory = words[2].clone().into();
            let agent = [words[0].clone(), "agent".into(), words[3].clone()];
            let words: Vec<String> =
                words[4..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let log = value(&words, "log")
                .map(|path| Arc::new(Mutex::new(LogFile::open(path.into(), Rotation::default()))));
            let code = dsbus_supervisor::run(Config {
                worker: WorkerName::parse("w1")?,
                fleet: FleetName::default(),
                directory,
                agent: AgentCommand { argv: agent.to_vec(), ..AgentCommand::default() },
                settings: settings(&words),
                owner: Box::new(Nobody(words)),
                log,
                echo: None,
                itself: dsbus_supervisor::Itself::default(),
                handover: None,
                given_back: None,
            })?;
            Ok(ExitCode::from(code))
        }
        Some("agent") => pass_on(UnixStream::connect(&words[2])?),
        _ => Err("worker DIR SOCKET, or agent SOCKET".into()),
    }
}

/// Whoever runs the worker: its settings are the words.
#[derive(Debug)]
struct Nobody(Vec<String>);

impl Owner for Nobody {
    fn reload(&mut self) -> Result<Settings, String> {
        Ok(settings(&self.0))
    }
    fn reopen_log(&mut self) {}
}

fn value<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn settings(words: &[String]) -> Settings {
    let mut settings = Settings::default();
    if words.iter().any(|word| word == "no-cgroups") {
        settings.cgroup = CgroupChoice::None;
    }
    settings.drain =
        value(words, "drain").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    if let Some(path) = value(words, "syslog") {
        settings.syslog = path.into();
    }
    settings.childlogdir = value(words, "childlogdir").map(Into::into);
    let compressor = value(words, "compressor").unwrap_or_default();
    settings.compressor = compressor.split_whitespace().map(OsString::from).collect();
    settings
}

/// Says its process id first, as a line. It speaks to the supervisor by itself, and answers what it is
/// asked: a supervisor replaces an agent that is silent for longer than a busy test may be.
fn pass_on(mut test: UnixStream) -> Result<ExitCode, Box<dyn std::error::Error>> {
    writeln!(test, "{}", std::process::id())?;
    let mut from_test = BufReader::new(test.try_clone()?);
    thread::spawn(move || {
        let mut line = Vec::new();
        while let Ok(1..) = from_test.read_until(b'\n', &mut line) {
            say(&line);
            line.clear();
        }
        // Wakes the loop below, whatever comes of it.
        let _ = shutdown(AGENT_FD, Shutdown::Both);
    });
    let (pass, passed) = mpsc::channel::<Vec<u8>>();
    let passing = thread::spawn(move || {
        // A test that hears no more has ended.
        passed.iter().all(|line| test.write_all(&line).is_ok())
    });
    say(&line(&ToSupervisor::Ping { number: 0 })?);
    let (mut bytes, mut heard) = (vec![0; 1 << 16], Vec::new());
    while let Ok(count @ 1..) = recv(AGENT_FD, &mut bytes, MsgFlags::empty()) {
        for part in bytes[..count].split_inclusive(|byte| *byte == b'\n') {
            heard.extend_from_slice(part);
            if !heard.ends_with(b"\n") {
                continue;
            }
            let whole = std::mem::take(&mut heard);
            // Those two are short.
            let short: Option<ToAgent> =
                (whole.len() < 100).then(|| serde_json::from_slice(&whole).ok()).flatten();
            match short {
                Some(ToAgent::Ping { number }) => say(&line(&ToSupervisor::Pong { number })?),
                Some(ToAgent::Pong { number: 0 }) => {}
                _ => drop(pass.send(whole)),
            }
        }
    }
    drop(pass);
    // It has passed on all, or there is nobody to hear it.
    let _ = passing.join();
    Ok(ExitCode::SUCCESS)
}

fn line(message: &ToSupervisor) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Says a line to the supervisor: one at a time.
fn say(line: &[u8]) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rest = line;
    while let Ok(sent @ 1..) = send(AGENT_FD, rest, MsgFlags::MSG_NOSIGNAL) {
        rest = &rest[sent..];
        if rest.is_empty() {
            return;
        }
    }
}
