//! Children in real cgroups. Where the machine gives none, or no controllers, the tests say so and
//! end; `./run vm` has all of them.

use std::path::PathBuf;
use std::process::Command;

use dsbus_schema::lenient::Size;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::Exit;

use super::*;
use crate::config::CgroupChoice;
use crate::spawn::tests::{Place, alone, end_of, script};
use crate::spawn::{self, Spawned};

/// A directory for cgroups of its own, which goes with the test.
pub(crate) struct Root(pub(crate) CgroupRoot);

impl Root {
    /// `None` where there is none to be had.
    pub(crate) fn open(test: &str) -> Option<Root> {
        let base = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let base = base.into_iter().find(|base| base.join("cgroup.controllers").exists())?;
        let home = format!("/{test}/{}", std::process::id());
        let (fleet, worker) = ("f".parse().unwrap(), "w".parse().unwrap());
        let (root, trouble) = place(&CgroupChoice::Path(base), &fleet, &worker, Path::new(&home));
        if root.is_none() {
            eprintln!("nothing is tested: {trouble:?}");
        }
        root.map(Root)
    }

    fn start(&self, desk: &Place, spec: &ProgramSpec) -> (Cgroup, Result<Spawned, String>) {
        let cgroup = Cgroup::make(&self.0, &desk.name, desk.incarnation, 1, &spec.limits).unwrap();
        let spawned = desk.start_in(spec, &desk.who(), Some(&cgroup));
        (cgroup, spawned)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        kill_all(&self.0.path);
        for _ in 0..10_000 {
            if remove_all(&self.0.path).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn until(mut is: impl FnMut() -> bool) {
    while !is() {
        std::thread::yield_now();
    }
}

#[test]
fn a_kill_leaves_nobody_and_the_end_is_an_event() {
    let Some(root) = Root::open("kill") else { return };
    let desk = Place::new();
    let mark = desk.home.path().join("mark");
    let text = format!("(setsid env -i sleep 1000 &) ; echo > {}; sleep 1000", mark.display());
    let (cgroup, spawned) = root.start(&desk, &script(&text));
    let pid = spawned.unwrap().pid;
    let line = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let name = cgroup.path().file_name().unwrap().to_str().unwrap().to_owned();
    let is = |line: &str| line.starts_with("0::") && line.ends_with(&format!("/{name}"));
    assert!(line.lines().any(is), "{line}");
    let run = desk.incarnation.to_string();
    assert_eq!(name, format!("web.3.{}.1", &run[run.len() - RUN_DIGITS..]));
    let hides = |member: &i32| process::stat(*member).is_some_and(|stat| stat.session != pid);
    until(|| mark.exists() && members(cgroup.path()).iter().any(hides));
    assert!(cgroup.populated() && cgroup.remove().is_err());
    cgroup.kill();
    assert_eq!(end_of(pid), Exit::signal(9));
    until(|| !cgroup.populated());
    cgroup.remove().unwrap();
    assert!(!cgroup.populated() && !cgroup.path().exists());
    assert_eq!(cgroup.oom_kills(), 0);
    let usage = Usage { cpu_ms: 1, memory_peak: 7 };
    assert_eq!(cgroup.usage(usage), usage, "nothing more is known");
}

#[test]
fn a_command_beside_a_child_has_a_cgroup_of_its_own() {
    let Some(root) = Root::open("beside") else { return };
    let desk = Place::new();
    let (cgroup, spawned) = root.start(&desk, &script("sleep 1000"));
    let child = spawned.unwrap().pid;
    let beside =
        Cgroup::make(&root.0, &desk.name, desk.incarnation, 2, &Limits::default()).unwrap();
    let spec = script("");
    let who = spawn::Who { number: 2, ..desk.who() };
    let known = spawn::variables(&spec, &who).unwrap();
    let words = ["sh", "-c", "echo $DSBUS_CHILD; (setsid env -i sleep 1000 &) ; sleep 1000"];
    let words = words.map(str::to_owned);
    let started = spawn::helper(&words, &spec, &who, &known, Some(&beside), &[]).unwrap();
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(started.output), &mut line).unwrap();
    assert_eq!(line.trim(), format!("{}.2", desk.incarnation));
    let away = |member: &i32| {
        *member != started.pid && process::stat(*member).is_some_and(|s| s.session == *member)
    };
    until(|| beside.members().iter().any(away));
    beside.kill();
    assert_eq!(end_of(started.pid), Exit::signal(9));
    until(|| beside.remove().is_ok());
    assert!(cgroup.populated(), "the child lives");
    cgroup.kill();
    assert_eq!(end_of(child), Exit::signal(9));
    until(|| cgroup.remove().is_ok());
}

#[test]
fn an_old_cgroup_is_not_that_of_another_run() {
    let Some(root) = Root::open("runs") else { return };
    let (first, second) = (Place::new(), Place::new());
    let make = |of: &Place| {
        Cgroup::make(&root.0, &of.name, of.incarnation, 1, &Limits::default()).unwrap()
    };
    assert_ne!(make(&first).path(), make(&second).path());
}

#[test]
fn what_an_earlier_run_left_is_killed_and_removed() {
    let Some(root) = Root::open("sweep") else { return };
    let desk = Place::new();
    let (cgroup, spawned) = root.start(&desk, &script("sleep 1000"));
    fs::create_dir(cgroup.path().join("of-its-own")).unwrap();
    let pid = spawned.unwrap().pid;
    let again = Root::open("sweep").unwrap();
    assert_eq!(again.0, root.0);
    assert_eq!(end_of(pid), Exit::signal(9));
    assert!(!cgroup.path().exists() && again.0.path.exists());
}

#[test]
fn a_limit_without_its_controller_is_an_error_of_the_start() {
    let Some(root) = Root::open("without") else { return };
    let (name, run) = ("web:0".parse().unwrap(), Place::new().incarnation);
    let poor = CgroupRoot { memory: false, cpu: false, pids: false, ..root.0.clone() };
    for (limits, told) in [
        (
            Limits { memory: Some(Size(1 << 20)), ..Limits::default() },
            "limits.memory cannot be kept",
        ),
        (Limits { cpu: Some(1.0), ..Limits::default() }, "limits.cpu cannot be kept"),
        (Limits { pids: Some(1), ..Limits::default() }, "limits.pids cannot be kept"),
    ] {
        let why = Cgroup::make(&poor, &name, run, 1, &limits).unwrap_err();
        assert!(why.starts_with(told), "{why}");
        assert_eq!(below(&root.0.path).count(), 0);
    }
}

#[test]
fn limits_are_kept_where_the_controllers_are() {
    let Some(root) = Root::open("limits") else { return };
    if !(root.0.memory && root.0.cpu && root.0.pids) {
        eprintln!("this machine has no controllers of cgroup version 2: nothing is tested");
        return;
    }
    let desk = Place::new();
    let mut spec = script("x=a; while :; do x=$x$x; done");
    spec.limits = Limits { memory: Some(Size(16 << 20)), cpu: Some(0.5), pids: Some(5) };
    let (cgroup, spawned) = root.start(&desk, &spec);
    let pid = spawned.unwrap().pid;
    let file = |name: &str| fs::read_to_string(cgroup.path().join(name)).unwrap();
    assert_eq!(file("cpu.max").trim(), "50000 100000");
    assert_eq!(file("pids.max").trim(), "5");
    assert_eq!(end_of(pid), Exit::signal(9));
    if cgroup.path().join("memory.peak").exists() {
        let peak = cgroup.usage(Usage::default()).memory_peak;
        assert!((8 << 20..=16 << 20).contains(&peak), "{peak}");
    }
    assert!(cgroup.oom_kills() > 0);
    until(|| cgroup.remove().is_ok());
    spec.limits = Limits { pids: Some(1), ..Limits::default() };
    let busy = script("sleep 1000 & wait");
    let (cgroup, spawned) = root.start(&desk, &ProgramSpec { limits: spec.limits, ..busy });
    assert_ne!(end_of(spawned.unwrap().pid), Exit::code(0), "its fork is refused");
    until(|| cgroup.remove().is_ok());
    assert!(Command::new("true").status().is_ok());
}

#[test]
fn a_worker_makes_room_for_controllers_below_its_own_cgroup() {
    const NAME: &str = "cgroup::tests::a_worker_makes_room_for_controllers_below_its_own_cgroup";
    let Some(root) = Root::open("aside") else { return };
    if !root.0.memory {
        eprintln!("this machine has no controllers of cgroup version 2: nothing is tested");
        return;
    }
    if !alone(NAME) {
        return;
    }
    // Now this process is a worker in a cgroup of its own, as in a unit of systemd.
    let own = root.0.path.join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("cgroup.procs"), "0").unwrap();
    let (fleet, worker) = ("f".parse().unwrap(), "w".parse().unwrap());
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let (below, trouble) = place(&CgroupChoice::Auto, &fleet, &worker, Path::new("/x"));
    assert!(trouble.is_some_and(|why| why.contains("besides this worker")));
    assert!(!below.unwrap().memory);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let (below, trouble) = place(&CgroupChoice::Auto, &fleet, &worker, Path::new("/x"));
    assert_eq!(trouble, None);
    let below = below.unwrap();
    assert!(below.memory && below.cpu && below.pids && below.path.starts_with(&own));
    assert_eq!(members(&own.join("worker")), [nix::unistd::getpid().as_raw()]);
    // Its children are beside it, and it can end them without ending itself.
    let desk = Place::new();
    let cgroup = Cgroup::make(&below, &desk.name, desk.incarnation, 1, &Limits::default()).unwrap();
    let spec = script("sleep 1000");
    let spawned = desk.start_in(&spec, &desk.who(), Some(&cgroup)).unwrap();
    cgroup.kill();
    assert_eq!(end_of(spawned.pid), Exit::signal(9));
    // The test's root is removed from outside of it.
    let top = root.0.path.parent().unwrap().join("cgroup.procs");
    fs::write(top, "0").unwrap();
}
