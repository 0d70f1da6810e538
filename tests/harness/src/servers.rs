//! Servers that others deliver to: a web server and a mail server, in Python. They answer as they are
//! told, and write down what they were given.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::wait::{DEADLINE, wait_until};

const HTTP: &str = include_str!("servers/http.py");
const SMTP: &str = include_str!("servers/smtp.py");

/// A certificate and its key, in PEM files.
pub type Pair<'a> = (&'a Path, &'a Path);

/// A server; dropping it ends it.
#[derive(Debug)]
pub struct Recorder {
    directory: TempDir,
    child: Child,
    port: u16,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpWay {
    /// In the clear.
    None,
    /// By STARTTLS, which it requires.
    Starttls,
    /// In TLS from the beginning.
    Tls,
}

impl Recorder {
    /// A web server. `answers` is a list of `{"status": 500, "headers": {}, "body": "", "delay": 0}`:
    /// the first one for the first request, the last one for all that follow. With a certificate it
    /// speaks TLS.
    ///
    /// # Panics
    /// When it does not start.
    pub fn http(answers: &Value, pair: Option<Pair<'_>>) -> Recorder {
        Recorder::start(HTTP, answers, &[], pair)
    }

    /// A mail server. `answers` is a list of texts such as `250 OK`. With a certificate it wants
    /// users to log in, as dsbus with the password secret. Recipients that begin with `nobody@` are
    /// refused.
    ///
    /// # Panics
    /// When it does not start: aiosmtpd may be missing.
    pub fn smtp(answers: &Value, way: SmtpWay, pair: Option<Pair<'_>>) -> Recorder {
        let way = match way {
            SmtpWay::None => "none",
            SmtpWay::Starttls => "starttls",
            SmtpWay::Tls => "tls",
        };
        Recorder::start(SMTP, answers, &[way], pair)
    }

    fn start(script: &str, answers: &Value, options: &[&str], pair: Option<Pair<'_>>) -> Recorder {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("server.py"), script).expect("the script");
        fs::write(path("answers"), answers.to_string()).expect("the answers");
        fs::write(path("log"), "").expect("the log");
        let errors = fs::File::create(path("errors")).expect("a file for errors");
        let mut child = Command::new("python3")
            .args([path("server.py"), path("answers"), path("log")])
            .args(options)
            .args(pair.iter().flat_map(|(certificate, key)| [certificate, key]))
            .env("PYTHONPATH", python_path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let said = child.stdout.take().expect("its standard output");
        BufReader::new(said).read_line(&mut line).expect("its port");
        let port = line.trim().parse().unwrap_or_else(|_| {
            let errors = fs::read_to_string(path("errors")).unwrap_or_default();
            panic!("the server did not start (./run setup fetches what it needs): {errors}")
        });
        Recorder { directory, child, port }
    }

    /// Its port on 127.0.0.1, which is localhost in certificates.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers so from now on.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn answer(&self, answers: &Value) {
        // In one step: it may be reading.
        let new = self.path("answers.new");
        fs::write(&new, answers.to_string()).expect("the answers");
        fs::rename(new, self.path("answers")).expect("the answers");
    }

    /// What it was given, in order.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn given(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.path("log")).expect("its log");
        // The last line may be on its way.
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits until it was given so much; all of it.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_given(&self, count: usize) -> Vec<Value> {
        wait_until(&format!("{count} to be given"), DEADLINE * 2, || {
            let given = self.given();
            if given.len() >= count { Ok(given) } else { Err(given) }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `./run setup` fetched, and what the environment has.
fn python_path() -> std::ffi::OsString {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/python");
    let given = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let all = std::env::split_paths(&given).chain([fetched]);
    std::env::join_paths(all).expect("paths without colons")
}
