//! Real children of this test process.

mod births;
mod descriptors;
mod errors;
mod identity;
mod speed;
mod surroundings;

use std::io::Read;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::program::{Command, Hook};
use dsbus_schema::secret::SealKeys;
use dsbus_schema::state::Exit;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

/// A worker that starts children, but is not there.
pub(crate) struct Place {
    pub(crate) home: TempDir,
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    pub(crate) secrets: Secrets,
    pub(crate) sockets: Sockets,
    pub(crate) name: InstanceId,
    pub(crate) incarnation: Incarnation,
    worker: WorkerName,
    fleet: FleetName,
}

impl Place {
    pub(crate) fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        // Children of other users must be able to enter it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).unwrap();
        Place {
            home,
            settings: Settings::default(),
            machine: Machine::without_cgroups(),
            secrets: Secrets::new(SealKeys::random(), "f1".parse().unwrap(), "w1".parse().unwrap()),
            sockets: Sockets::default(),
            name: "web:3".parse().unwrap(),
            incarnation: Incarnation(Uuid::now_v7()),
            worker: "w1".parse().unwrap(),
            fleet: "f1".parse().unwrap(),
        }
    }

    pub(crate) fn who(&self) -> Who<'_> {
        Who {
            name: &self.name,
            id: ProgramId(Uuid::nil()),
            epoch: Epoch(7),
            worker: &self.worker,
            fleet: &self.fleet,
            home: self.home.path(),
            settings: &self.settings,
            machine: &self.machine,
            secrets: &self.secrets,
            notify: None,
            incarnation: self.incarnation,
            number: 1,
        }
    }

    pub(crate) fn start(&self, spec: &ProgramSpec) -> Result<Spawned, String> {
        self.start_in(spec, &self.who(), None)
    }

    pub(crate) fn start_in(
        &self,
        spec: &ProgramSpec,
        who: &Who<'_>,
        cgroup: Option<&Cgroup>,
    ) -> Result<Spawned, String> {
        child(spec, who, &variables(spec, who)?, &self.sockets, cgroup)
    }

    /// What a child says on standard output, which is to end well.
    pub(crate) fn said(&self, spec: &ProgramSpec) -> String {
        let spawned = self.start(spec).unwrap();
        let text = read(spawned.stdout);
        let told = spawned.stderr.map(read).unwrap_or_default();
        assert_eq!(end_of(spawned.pid), Exit::code(0), "{text}{told}");
        text
    }
}

pub(crate) fn script(text: &str) -> ProgramSpec {
    let words = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    ProgramSpec { command: Command::Words(words), ..ProgramSpec::default() }
}

fn read(mut pipe: PipeReader) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for one child, and for no other test's.
pub(crate) fn end_of(pid: i32) -> Exit {
    let status = waitpid(Pid::from_raw(pid), None).unwrap();
    if let WaitStatus::Signaled(_, signal, _) = status {
        return Exit::signal(signal as i32);
    }
    let WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
    Exit::code(code)
}

/// Whether this worker may do what only root may; says so when not.
pub(crate) fn root(place: &Place) -> bool {
    let is = place.machine.switches_users();
    if !is {
        eprintln!("not root: nothing is tested");
    }
    is
}

/// Runs a test in a process of its own: `true` there, `false` here, where there is nothing more to
/// do. For tests of what belongs to the whole process, such as being the parent of orphans.
pub(crate) fn alone(test: &str) -> bool {
    const ALONE: &str = "DSBUS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1", "--nocapture"]).env(ALONE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{told}");
    false
}

#[test]
fn a_helper_is_as_its_child_and_speaks_in_one_pipe() {
    let place = Place::new();
    let mut spec = script("exit 9");
    spec.environment.insert("A".into(), "b".into());
    let hook = Hook {
        command: Command::Line("echo $A $X $DSBUS_INSTANCE; echo err >&2; umask; exit 4".into()),
        shell: true,
        timeout: dsbus_schema::lenient::Span::from_secs(1),
    };
    spec.umask = Some("027".parse().unwrap());
    let extra = [("X", "y".to_owned())];
    let who = place.who();
    let known = variables(&spec, &who).unwrap();
    let argv = hook.argv().unwrap();
    let started = helper(&argv, &spec, &who, &known, None, &extra).unwrap();
    assert_eq!(read(started.output), "b y web:3\nerr\n0027\n");
    assert_eq!(end_of(started.pid), Exit::code(4));
}

#[test]
fn what_a_child_says_of_itself_is_heard_and_its_barrier_does_not_hold_it_up() {
    use crate::notify::{Message, NotifySocket};
    let tool = Path::new("/usr/bin/systemd-notify");
    if !tool.exists() {
        eprintln!("no systemd-notify on this machine: nothing is tested");
        return;
    }
    let place = Place::new();
    let socket = NotifySocket::open(&Uuid::now_v7().to_string(), place.machine.uid).unwrap();
    let who = Who { notify: Some(socket.name()), ..place.who() };
    // It waits until the barrier's descriptor is closed, or five seconds, and then fails: as on a
    // machine that stands still for so long.
    let spec = script("systemd-notify --ready --status='all is well'");
    let mut heard = Vec::new();
    let mut once = || {
        let spawned = place.start_in(&spec, &who, None).unwrap();
        loop {
            heard.extend(socket.recv());
            match reap::reap_of(spawned.pid) {
                Some(reaped) => break reaped.exit,
                None => std::thread::yield_now(),
            }
        }
    };
    assert!((0..3).any(|_| once() == Exit::code(0)), "it is held up");
    assert!(heard.contains(&Message::Ready), "{heard:?}");
    assert!(heard.contains(&Message::Status("all is well".into())), "{heard:?}");
}

#[test]
fn how_it_ended_is_told_with_what_it_used() {
    let place = Place::new();
    let mut spec = script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; kill -SEGV $$");
    spec.rlimits.insert("core".into(), "unlimited".parse().unwrap());
    let spawned = place.start(&spec).unwrap();
    let reaped = loop {
        match reap::reap_of(spawned.pid) {
            Some(reaped) => break reaped,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!(Exit { core: false, ..reaped.exit }, Exit::signal(libc::SIGSEGV));
    assert!(reaped.usage.cpu_ms > 0 && reaped.usage.cpu_ms < 60_000, "{reaped:?}");
    let spawned = place.start(&script("kill -40 $$")).unwrap();
    let reaped = std::iter::repeat_with(|| reap::reap_of(spawned.pid)).find_map(|r| r).unwrap();
    assert_eq!(reaped.exit, Exit::signal(40), "a real-time signal is not lost");
}
