//! Never two live copies: a child that writes the time every millisecond proves the gap.

use std::path::Path;

use crate::fleet::{DEADLINE, Fleet, alive, number, wait_dead};
use crate::proxy::Proxy;
use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The lives of the witness: epoch, first and last moment.
fn lives(directory: &Path) -> Vec<(u64, u64, u64)> {
    let mut lives: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("witness-"))
        .filter_map(|e| {
            let text = std::fs::read_to_string(e.path()).unwrap();
            let mut lines = text.lines().filter(|l| l.split(' ').count() == 3);
            let at = |line: &str, n: usize| line.split(' ').nth(n)?.parse::<u64>().ok();
            let first = lines.next()?;
            let last = lines.next_back().unwrap_or(first);
            Some((at(first, 1)?, at(first, 0)?, at(last, 0)?))
        })
        .collect();
    lives.sort_by_key(|(_, first, _)| *first);
    lives
}

/// Asserts that no two lives overlap, and that their epochs grow, once there are so many.
pub(crate) fn assert_never_two(directory: &Path, at_least: usize) {
    let lives = assert_apart(directory, at_least);
    assert!(lives.is_sorted_by_key(|(epoch, _, _)| *epoch), "{lives:?}");
}

/// Asserts that no two lives overlap, once there are so many, and gives them.
pub(crate) fn assert_apart(directory: &Path, at_least: usize) -> Vec<(u64, u64, u64)> {
    let lives = wait_lives(directory, at_least);
    for pair in lives.windows(2) {
        let ((epoch, _, last), (next_epoch, first, _)) = (pair[0], pair[1]);
        assert!(
            last < first,
            "two live copies: epoch {epoch} until {last}, {next_epoch} from {first}"
        );
    }
    lives
}

/// Waits until so many lives were written down: a child that is stopped before it has written
/// anything has none.
pub(crate) fn wait_lives(directory: &Path, at_least: usize) -> Vec<(u64, u64, u64)> {
    wait_until("the witness to write", DEADLINE, || {
        let lives = lives(directory);
        if lives.len() >= at_least { Ok(lives) } else { Err(lives) }
    })
}

/// An exclusive program `one` that writes down when it lives, and under which epoch.
pub(crate) fn witness(lives: &Path, touch_timeout: u32) -> String {
    let witness = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/witness.py");
    format!(
        r#"
        [program.one]
        command = ["python3", "{}", "{}"]
        exclusive = true
        touch_timeout = {touch_timeout}
        stopwaitsecs = 1
        startsecs = 0
        "#,
        witness.display(),
        lives.display()
    )
}

/// A lease, in seconds: a busy machine that stands still for 5 s, just before a touch is due, misses none.
const TOUCH: u32 = 9;

struct Scene {
    fleet: Fleet,
    proxy: Proxy,
    lives: tempfile::TempDir,
}

/// One exclusive witness on w1, whose way to the bus can be cut, and w2 that could take it.
fn scene(touch_timeout: u32) -> Scene {
    let mut fleet = Fleet::start(2, 0);
    let proxy = Proxy::start(fleet.nats.port());
    fleet.worker_at("w1", &proxy.url());
    fleet.wait_ready(1);
    let lives = tempfile::tempdir().unwrap();
    fleet.apply(&witness(lives.path(), touch_timeout));
    fleet.worker("w2");
    fleet.wait_ready(2);
    assert_eq!(fleet.row("one:0")["worker"], "w1");
    wait_lives(lives.path(), 1);
    Scene { fleet, proxy, lives }
}

fn wait_on_w2(fleet: &Fleet) -> Value {
    fleet.wait_row("one:0", "running on w2", |r| r["state"] == "RUNNING" && r["worker"] == "w2")
}

#[test]
fn when_the_worker_is_killed() {
    let mut s = scene(TOUCH);
    s.fleet.kill_worker("w1");
    wait_on_w2(&s.fleet);
    assert_never_two(s.lives.path(), 2);
}

#[test]
fn when_the_connection_is_cut_the_child_dies_by_itself() {
    let s = scene(TOUCH);
    let pid = number(&s.fleet.row("one:0")["pid"]);
    s.proxy.cut();
    wait_on_w2(&s.fleet);
    assert!(!alive(pid), "the old child is dead before the new one starts");
    assert_never_two(s.lives.path(), 2);
    s.proxy.heal();
    let fenced = |e: &Value| e["data"]["change"] == "FENCED" && e["data"]["worker"] == "w1";
    s.fleet.wait_event("FENCED", fenced);
    s.fleet.wait_ready(2);
    assert_never_two(s.lives.path(), 2);
    crate::fleet::assert_gapless(
        &s.fleet.events().into_iter().filter(|e| e["data"]["worker"] == "w2").collect::<Vec<_>>(),
    );
}

#[test]
fn when_agent_and_supervisor_are_frozen_one_after_the_other() {
    let s = scene(TOUCH);
    let pid = number(&s.fleet.row("one:0")["pid"]);
    let agent = s.fleet.agent_pid("w1");
    kill(Pid::from_raw(agent), Signal::SIGSTOP).unwrap();
    s.fleet.signal("w1", Signal::SIGSTOP);
    wait_on_w2(&s.fleet);
    wait_dead(pid);
    assert_never_two(s.lives.path(), 2);
    // Thawed, neither revives anything.
    let _ = kill(Pid::from_raw(agent), Signal::SIGCONT);
    wait_until("the old worker's agent to end", DEADLINE, || {
        if alive(agent) { Err(()) } else { Ok(()) }
    });
    assert_never_two(s.lives.path(), 2);
}

#[test]
fn when_the_supervisor_is_frozen_and_then_its_agent() {
    let s = scene(TOUCH);
    let agent = s.fleet.agent_pid("w1");
    s.fleet.signal("w1", Signal::SIGSTOP);
    kill(Pid::from_raw(agent), Signal::SIGSTOP).unwrap();
    wait_on_w2(&s.fleet);
    assert_never_two(s.lives.path(), 2);
}

#[test]
fn when_only_the_supervisor_is_frozen() {
    let s = scene(TOUCH);
    s.fleet.signal("w1", Signal::SIGSTOP);
    wait_on_w2(&s.fleet);
    assert_never_two(s.lives.path(), 2);
}

#[test]
fn a_frozen_agent_is_replaced_and_the_child_lives_on() {
    // Long enough for an agent to be replaced however busy the machine is.
    let s = scene(20);
    let pid = number(&s.fleet.row("one:0")["pid"]);
    let agent = s.fleet.agent_pid("w1");
    kill(Pid::from_raw(agent), Signal::SIGSTOP).unwrap();
    wait_until("a new agent", DEADLINE, || {
        let row = s.fleet.worker_row("w1");
        if number(&row["agent_pid"]) == agent { Err(row) } else { Ok(()) }
    });
    assert_eq!(number(&s.fleet.row("one:0")["pid"]), pid);
    assert!(alive(pid));
    assert_never_two(s.lives.path(), 1);
}
