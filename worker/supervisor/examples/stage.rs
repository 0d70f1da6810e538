//! The other processes of this crate's tests: `stage worker DIR SOCKET [WORDS]` is a supervisor,
//! whose agent is `stage agent SOCKET`, which passes everything on between it and a test. WORDS are
//! settings: `no-cgroups`, and `drain=MILLISECONDS`, `log=FILE`, `syslog=SOCKET`, `childlogdir=DIR`, `compressor=COMMAND`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dsbus_schema::ids::{FleetName, WorkerName};
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

/// Says its process id first, as a line.
fn pass_on(mut test: UnixStream) -> Result<ExitCode, Box<dyn std::error::Error>> {
    writeln!(test, "{}", std::process::id())?;
    let mut from_test = test.try_clone()?;
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_test.read(&mut bytes) {
            let mut rest = &bytes[..count];
            while let Ok(sent @ 1..) = send(AGENT_FD, rest, MsgFlags::MSG_NOSIGNAL) {
                rest = &rest[sent..];
                if rest.is_empty() {
                    break;
                }
            }
        }
        // Wakes the loop below, whatever comes of it.
        let _ = shutdown(AGENT_FD, Shutdown::Both);
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = recv(AGENT_FD, &mut bytes, MsgFlags::empty()) {
        test.write_all(&bytes[..count])?;
    }
    Ok(ExitCode::SUCCESS)
}
