//! A `dsbus listen` beside a fleet, and what its listener writes down.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, Fleet};

/// A file of this repository.
pub(crate) fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    path.to_str().unwrap().to_owned()
}

/// A `dsbus listen`.
pub(crate) struct Bridge {
    child: Child,
    log: PathBuf,
}

impl Bridge {
    pub(crate) fn start(fleet: &Fleet, args: &[&str], environment: &[(&str, &str)]) -> Bridge {
        let log = fleet.path().join("bridge.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command: Command = fleet.command();
        command.arg("listen").args(args).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Bridge { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn wait_log(&self, words: &str) {
        wait_until(&format!("{words:?} in the log"), DEADLINE, || {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Its listeners.
    pub(crate) fn children(&self) -> Vec<i32> {
        let pid = self.child.id();
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Stops it as a service manager does; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let told = format!("--- log of the bridge\n{}", self.log());
            let _ = std::io::stderr().write_all(told.as_bytes());
        }
    }
}

/// Lines of a file that a test waits for.
pub(crate) struct Lines(pub(crate) PathBuf);

impl Lines {
    pub(crate) fn of(fleet: &Fleet, name: &str) -> Lines {
        Lines(fleet.path().join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn wait(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        wait_until(what, DEADLINE, || {
            let lines = self.all();
            if is(&lines) { Ok(lines) } else { Err(lines.join("\n")) }
        })
    }
}

/// A listener that writes what it is given, each event on a line: its pid, the first line, the
/// payload, and what it is called.
pub(crate) fn recorder(fleet: &Fleet) -> String {
    fleet.file(
        "recorder.py",
        "import os, sys
while True:
    sys.stdout.write('READY\\n'); sys.stdout.flush()
    header = sys.stdin.readline()
    if not header: break
    length = int(dict(token.split(':') for token in header.split())['len'])
    payload = sys.stdin.read(length)
    names = [os.environ.get('SUPERVISOR_' + n, '') for n in ('PROCESS_NAME', 'GROUP_NAME', 'ENABLED', 'SERVER_URL')]
    with open(sys.argv[1], 'a') as out:
        out.write('\\t'.join([str(os.getpid()), header.strip(), repr(payload), *names]) + '\\n')
    sys.stdout.write('RESULT 2\\nOK'); sys.stdout.flush()
",
    )
}
