//! A fleet of `dsbus dev`, and what finds it: the `dsbus` under test, nats-server, and `nats`.

use std::ffi::OsString;
use std::fs::{File, read_to_string};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dsbus_harness::{nats_server, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The binary under test.
pub(crate) const DSBUS: &str = env!("CARGO_BIN_EXE_dsbus");

/// Generous: a busy machine with two cores runs several of these fleets at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What a person has set for dsbus or NATS, which must not lead elsewhere.
const FOREIGN: &[&str] =
    &["NATS_URL", "NATS_CONTEXT", "DSBUS_NATS", "DSBUS_FLEET", "DSBUS_USER", "DSBUS_CONFIG"];

/// What stands in for `nats` begins slowly on a busy machine: whoever asks after he began to listen waits
/// until that has come about.
const SUB_BEFORE_REQ: &str = r#"begins="$HOME/nats-sub-begins"
case $1 in
  sub) : >"$begins"; export DSBUS_BEGINS="$begins" ;;
  req) n=0; while [ -e "$begins" ] && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done ;;
esac
"#;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A directory of its own, with what the manual expects on PATH.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        for path in [&bin, &directory.path().join("here")] {
            std::fs::create_dir(path).unwrap();
        }
        symlink(DSBUS, bin.join("dsbus")).unwrap();
        // One that is on PATH is found anyway.
        if nats_server().is_absolute() {
            symlink(nats_server(), bin.join("nats-server")).unwrap();
        }
        let find = Command::new("sh").args(["-c", "command -v nats"]).output().unwrap();
        let found = String::from_utf8(find.stdout).unwrap().trim().to_owned();
        let (tool, first) = if found.is_empty() {
            (root().join("tests/manual/nats-tool.py").display().to_string(), SUB_BEFORE_REQ)
        } else {
            (found, "")
        };
        // A context that whoever runs the tests has selected leads elsewhere.
        let script = format!(
            "#!/bin/sh\n: \"${{NATS_URL:=$(cat .dsbus/url)}}\"\nexport NATS_URL\n{first}exec {tool} \"$@\"\n"
        );
        std::fs::write(bin.join("nats"), script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bin.join("nats"), mode).unwrap();
        Place { directory }
    }

    /// Where commands are typed.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("here")
    }

    /// A command that is typed there.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut path = OsString::from(self.directory.path().join("bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.path()).env("PATH", path).env("HOME", self.directory.path());
        command.env("DSBUS_NATS_SERVER", nats_server()).stdin(Stdio::null());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }
}

/// A `dsbus dev` that runs in a place.
pub(crate) struct Dev {
    child: Child,
    pub(crate) place: Place,
    /// Where its gateway listens: `127.0.0.1:9001`.
    pub(crate) gateway: Option<String>,
}

impl Dev {
    pub(crate) fn start(place: Place, args: &[&str]) -> Dev {
        let log = place.directory.path().join("dev.log");
        let out = File::create(&log).unwrap();
        let mut command = place.command(DSBUS);
        command.arg("dev").args(args).stdout(out.try_clone().unwrap()).stderr(out);
        let mut child = command.spawn().unwrap();
        let said = wait_until("the fleet to run", DEADLINE, || {
            let said = read_to_string(&log).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{said}");
            if said.contains("Ctrl-C") { Ok(said) } else { Err(said) }
        });
        let page = said.split_once("web page: http://");
        let gateway = page.and_then(|(_, rest)| Some(rest.lines().next()?.to_owned()));
        if let Some(address) = &gateway {
            // One that has just begun does not know the fleet yet.
            wait_until("the gateway to know the fleet", DEADLINE, || {
                ureq::get(format!("http://{address}/readyz")).call().map(drop)
            });
        }
        Dev { child, place, gateway }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What a program has said, for whoever has to mend it.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
