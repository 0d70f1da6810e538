//! The peer: a real supervisord, asked over its own XML-RPC.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::clock::look;

/// Python needs a moment to begin.
const START_MAX: Duration = Duration::from_secs(20);
/// It stops a thousand children on its way out.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Three pipes and two logs.
const FDS_PER_CHILD: usize = 5;
const FDS_OF_ITS_OWN: usize = 100;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// A supervisord in a directory of its own.
#[derive(Debug)]
pub(crate) struct Supervisor {
    directory: tempfile::TempDir,
    child: Child,
}

impl Supervisor {
    /// Starts one that has these programs, and waits until it answers.
    pub(crate) fn start(programs: &str) -> Outcome<Supervisor> {
        Supervisor::start_in(&std::env::temp_dir(), 100, programs)
    }

    /// The same, with its directory in this one, for so many children.
    pub(crate) fn start_in(room: &Path, children: usize, programs: &str) -> Outcome<Supervisor> {
        let directory = tempfile::tempdir_in(room)?;
        let path = directory.path().display();
        // Each of its children closes as many descriptors as it may have: no more than it needs,
        // and no less than its default.
        let descriptors = (children * FDS_PER_CHILD + FDS_OF_ITS_OWN).max(1024);
        let configuration = format!(
            "[unix_http_server]\nfile={path}/sock\n\
             [supervisord]\nlogfile={path}/log\nlogfile_maxbytes=0\npidfile={path}/pid\n\
             childlogdir={path}\nminfds={descriptors}\nminprocs=2000\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [include]\nfiles={path}/*.ini\n"
        );
        std::fs::write(directory.path().join("conf"), configuration)?;
        std::fs::write(directory.path().join("programs.ini"), programs)?;
        let printed = File::create(directory.path().join("printed"))?;
        let child = python()
            .args(["-m", "supervisor.supervisord", "-n", "-c"])
            .arg(directory.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()?;
        let mut supervisor = Supervisor { directory, child };
        let ready = look("supervisord to answer", START_MAX, LOOK, || {
            if let Some(ended) = supervisor.child.try_wait()? {
                return Err(format!("supervisord: {ended}").into());
            }
            Ok(supervisor.call("supervisor.getState", "").ok())
        });
        if let Err(error) = ready {
            let printed = std::fs::read_to_string(supervisor.path("printed")).unwrap_or_default();
            return Err(format!("{error}: {}", printed.lines().last().unwrap_or("")).into());
        }
        Ok(supervisor)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pid(&self) -> Outcome<i32> {
        Ok(i32::try_from(self.child.id())?)
    }

    /// Calls a method; `parameters` is their XML.
    pub(crate) fn call(&self, method: &str, parameters: &str) -> Outcome<String> {
        call(&self.path("sock"), method, parameters)
    }

    /// A `supervisorctl` to be run.
    pub(crate) fn control(&self, words: &[&str]) -> Outcome<Command> {
        let file = self.path("ctl");
        let address = self.path("sock").display().to_string();
        std::fs::write(&file, format!("[supervisorctl]\nserverurl=unix://{address}\n"))?;
        let mut command = python();
        command.args(["-m", "supervisor.supervisorctl", "-c"]).arg(file).args(words);
        Ok(command)
    }

    /// How often its log says that a program is RUNNING.
    pub(crate) fn told_running(&self) -> Outcome<usize> {
        let log = std::fs::read_to_string(self.path("log"))?;
        Ok(log.matches("entered RUNNING state").count())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It takes its children along; the witnesses die with it anyway.
        if let Ok(pid) = self.pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended = look("supervisord to end", STOP_MAX, LOOK, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Calls a method of whoever answers on this socket as Supervisor does; `parameters` is their XML.
pub(crate) fn call(socket_path: &Path, method: &str, parameters: &str) -> Outcome<String> {
    let body = format!(
        "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName>\
         <params>{parameters}</params></methodCall>"
    );
    let mut socket = UnixStream::connect(socket_path)?;
    socket.set_read_timeout(Some(STOP_MAX))?;
    write!(
        socket,
        "POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.0 200") && !answer.contains("<fault>") {
        Ok(answer)
    } else {
        Err(format!("{method}: {answer}").into())
    }
}

/// A text among the parameters of a call.
pub(crate) fn text(value: &str) -> String {
    format!("<param><value><string>{value}</string></value></param>")
}

/// A section of its configuration.
pub(crate) fn program(name: &str, command: &[String], rest: &str) -> String {
    format!(
        "[program:{name}]\ncommand={}\nprocess_name=%(program_name)s_%(process_num)04d\n\
         startsecs=0\n{rest}\n",
        command.join(" ")
    )
}

/// What it is, as it says.
pub(crate) fn version() -> Outcome<String> {
    let output = python().args(["-m", "supervisor.supervisord", "--version"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !said.is_empty() {
        return Ok(said);
    }
    Err("there is no supervisord in .tools/supervisor: start this by ./run bench".into())
}

fn python() -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/supervisor");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools);
    python
}
