//! The nats-server that `dsbus dev` starts.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use dsbus_schema::version::NATS_SERVER_MIN;

use crate::config::Surroundings;
use crate::failure::Failure;

/// Where the repository keeps one; the script that starts the demo puts it there.
const IN_REPOSITORY: &str = ".tools/nats-server";
/// Names a binary outright.
const VARIABLE: &str = "DSBUS_NATS_SERVER";

/// A binary that is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Its path.
    pub(super) path: PathBuf,
    /// Its version: `2.15.1`.
    pub(super) version: String,
}

impl Server {
    /// Finds one: `DSBUS_NATS_SERVER`, then PATH, then `.tools/` above the current directory or
    /// above this binary.
    ///
    /// # Errors
    /// When there is none that is new enough.
    pub(super) fn find(around: &Surroundings) -> Result<Server, Failure> {
        let (major, minor) = NATS_SERVER_MIN;
        if let Some(path) = around.variable(VARIABLE) {
            return check(Path::new(path))
                .map_err(|why| Failure::failed(format!("{VARIABLE} names {path}, which {why}")));
        }
        let on_path = around.path().into_iter().map(|dir| dir.join("nats-server"));
        let binary = std::env::current_exe().unwrap_or_default();
        let above = [around.directory.clone(), binary];
        let in_repository =
            above.iter().flat_map(|from| from.ancestors().map(|dir| dir.join(IN_REPOSITORY)));
        let mut refused = Vec::new();
        for path in on_path.chain(in_repository).filter(|path| path.is_file()) {
            match check(&path) {
                Ok(server) => return Ok(server),
                Err(why) => refused.push(format!("\n  {} {why}", path.display())),
            }
        }
        refused.dedup();
        let said = format!("no nats-server {major}.{minor} or newer found{}", refused.concat());
        Err(Failure::failed(said).hint(format!(
            "install one (https://nats.io/download), or name it: {VARIABLE}=/path/to/nats-server; \
             in the repository, ./run installs it; or use a bus that runs: dsbus dev --nats URL"
        )))
    }

    /// Its command line. Without a port it takes a free one, and writes which into `data/run`.
    pub(super) fn command(&self, data: &Path, port: Option<u16>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.path.clone().into()];
        words.extend(["--jetstream", "--addr", "127.0.0.1", "--port"].map(OsString::from));
        words.push(port.map_or("-1".to_owned(), |port| port.to_string()).into());
        words.extend(["--store_dir".into(), data.join("nats").into()]);
        words.extend(["--ports_file_dir".into(), ports(data).into()]);
        words
    }
}

/// Refuses a port that another process listens on, before anything is started.
///
/// # Errors
/// When it is taken, or may not be used.
pub(super) fn must_be_free(port: u16) -> Result<(), Failure> {
    let wrong =
        |why: String| Err(Failure::failed(format!("port {port} {why}; choose another --port")));
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => wrong("is taken".to_owned()),
        Err(e) => wrong(format!("cannot be used: {e}")),
    }
}

/// Directory of the files in which servers write their ports.
pub(super) fn ports(data: &Path) -> PathBuf {
    data.join("run")
}

/// The address that the server with this process id wrote, once it did.
pub(super) fn address(data: &Path, pid: u32) -> Option<String> {
    let names = std::fs::read_dir(ports(data)).ok()?.flatten().map(|entry| entry.path());
    let ending = format!("_{pid}.ports");
    let file = names.into_iter().find(|path| path.to_string_lossy().ends_with(&ending))?;
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    Some(written["nats"].get(0)?.as_str()?.to_owned())
}

fn check(path: &Path) -> Result<Server, String> {
    let answer =
        Command::new(path).arg("--version").output().map_err(|e| format!("does not run: {e}"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let version = version(&text).ok_or("does not tell its version")?;
    if new_enough(&version) {
        Ok(Server { path: path.to_owned(), version })
    } else {
        Err(format!("is {version}, which is too old"))
    }
}

/// `nats-server: v2.15.1` -> `2.15.1`.
fn version(text: &str) -> Option<String> {
    let word = text.split_whitespace().last()?;
    let version = word.trim_start_matches('v');
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= NATS_SERVER_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        assert_eq!(version("what?"), None);
        for (text, enough) in [
            ("2.15.1", true),
            ("2.12.0-RC.1", true),
            ("3.0", true),
            ("2.11.9", false),
            ("2", false),
            ("x", false),
        ] {
            assert_eq!(new_enough(text), enough, "{text}");
        }
    }

    #[test]
    fn a_missing_server_is_told_with_its_fix() {
        let around = Surroundings {
            variables: [(VARIABLE.into(), "/nonexistent".into())].into(),
            directory: "/".into(),
            machine: None,
        };
        let said = Server::find(&around).unwrap_err().message;
        assert!(said.contains("/nonexistent, which does not run"), "{said}");
    }
}
