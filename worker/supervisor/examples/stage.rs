//! The other processes of this crate's tests: `stage worker DIR SOCKET` is a supervisor, whose
//! agent is `stage agent SOCKET`, which passes everything on between it and a test.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_supervisor::{AGENT_FD, Config, Owner, Settings};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|role| role.to_str()) {
        Some("worker") => {
            let agent = [words[0].clone(), "agent".into(), words[3].clone()];
            let code = dsbus_supervisor::run(Config {
                worker: WorkerName::parse("w1")?,
                fleet: FleetName::default(),
                directory: words[2].clone().into(),
                agent: agent.to_vec(),
                settings: Settings::default(),
                owner: Box::new(Nobody),
                log: None,
            })?;
            Ok(ExitCode::from(code))
        }
        Some("agent") => pass_on(UnixStream::connect(&words[2])?),
        _ => Err("worker DIR SOCKET, or agent SOCKET".into()),
    }
}

/// Keeps its settings, and has no log.
#[derive(Debug)]
struct Nobody;

impl Owner for Nobody {
    fn reload(&mut self) -> Result<Settings, String> {
        Ok(Settings::default())
    }
    fn reopen_log(&mut self) {}
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
