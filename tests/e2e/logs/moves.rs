//! Children, agents and workers that die, and moves.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::*;
use crate::fleet::{alive, number};

/// Kills a process by its number in a row.
fn shoot(pid: &Value) {
    kill(Pid::from_raw(number(pid)), Signal::SIGKILL).unwrap();
}

/// Waits until the talker runs elsewhere than on `worker`; where.
fn wait_moved(fleet: &Fleet, worker: &str) -> String {
    let row = fleet.wait_row("talk:0", "running elsewhere", |row| {
        row["state"] == "RUNNING" && row["worker"] != worker && row["worker"].is_string()
    });
    row["worker"].as_str().unwrap().to_owned()
}

/// Stops the talker, so that nothing more is written.
fn silence(fleet: &Fleet) {
    fleet.ok(&["stop", "talk"]);
}

#[test]
fn each_line_once_over_rotations_restarts_and_agents() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&talker(""));
    let follower = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    follower.wait_for_more(1000);
    for _ in 0..3 {
        // What follows may still be of the one before, and so may the row.
        let row = fleet.wait_row("talk:0", "running", |row| {
            row["state"] == "RUNNING" && alive(number(&row["pid"]))
        });
        shoot(&row["pid"]);
        follower.wait_for_more(1000);
    }
    let agent = fleet.worker_row("w1")["agent_pid"].clone();
    shoot(&agent);
    // It goes on without the schedulers noticing anything, and so does the follower.
    follower.wait_for_more(1000);
    fleet.ok(&["restart", "talk"]);
    follower.wait_for_more(1000);
    silence(&fleet);
    let written = written(&fleet, "w1");
    follower.wait_for(&written);
    assert_each_once(&written);
    assert!(written.len() > 5 * 60_000, "it was rotated a few times: {}", written.len());
    wait_until("another agent", DEADLINE, || {
        let now = fleet.worker_row("w1")["agent_pid"].clone();
        if now == agent { Err(now) } else { Ok(()) }
    });
    assert!(!follower.said().contains("rotated away"), "{}", follower.said());
}

#[test]
fn each_line_once_over_moves_and_back_with_compressed_logs() {
    let fleet = Fleet::start(2, 2);
    let declared = talker("log_compress = true");
    fleet.apply(&declared.replace("backups = 900", "backups = 20"));
    let follower = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    follower.wait_for_more(1000);
    let mut at = fleet.row("talk:0")["worker"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        fleet.ok(&["drain", &at]);
        let next = wait_moved(&fleet, &at);
        fleet.ok(&["undrain", &at]);
        follower.wait_for_more(1000);
        at = next;
    }
    silence(&fleet);
    // Of the older epochs some files may be gone by now; what is left was shown. Some may just be
    // being compressed.
    let epochs = wait_until("all of it", DEADLINE, || {
        let epochs = by_epochs(&["w1", "w2"].map(|worker| written(&fleet, worker)));
        let shown = by_epochs(&[follower.shown()]);
        let all = epochs.iter().all(|(epoch, text)| {
            shown.get(epoch).is_some_and(|shown| shown.ends_with(text.as_str()))
        });
        if all { Ok(epochs) } else { Err(follower.said()) }
    });
    assert_eq!(epochs.len(), 4, "{:?}", epochs.keys());
    let shown = follower.shown();
    assert_each_once(&shown);
    assert!(shown.lines().map(epoch).is_sorted(), "no epoch before an older one has ended");
    assert!(!follower.said().contains("rotated away"), "{}", follower.said());
}

/// What is guaranteed when a worker is lost: of its last epoch a beginning is shown, and how much
/// is missing is not known, which is told; of the next epoch all is shown, from its first line on.
/// Nothing is shown twice, nor out of order, also not when the worker is back.
#[test]
fn a_lost_worker_takes_at_most_the_end_of_its_output_with_it() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(&talker(""));
    let follower = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    follower.wait_for_more(1000);
    let lost = fleet.row("talk:0")["worker"].as_str().unwrap().to_owned();
    fleet.kill_worker(&lost);
    let other = wait_moved(&fleet, &lost);
    follower.wait_for_more(1000);
    follower.wait_said("may be missing");
    fleet.worker(&lost);
    fleet.wait_ready(2);
    follower.wait_for_more(1000);
    fleet.ok(&["drain", &other]);
    assert_eq!(wait_moved(&fleet, &other), lost);
    follower.wait_for_more(1000);
    silence(&fleet);
    let epochs = by_epochs(&[written(&fleet, &lost), written(&fleet, &other)]);
    let mut texts = epochs.values();
    let (first, second, third) =
        (texts.next().unwrap(), texts.next().unwrap(), texts.next().unwrap());
    wait_until("the end of the last epoch", DEADLINE, || {
        if follower.shown().ends_with(third.as_str()) { Ok(()) } else { Err(follower.said()) }
    });
    let shown = follower.shown();
    let begin = shown.strip_suffix(&format!("{second}{third}")).expect("two whole epochs");
    // Its last line may be cut off.
    let whole = begin.trim_end_matches('\n');
    assert!(begin.lines().count() >= 1000 && first.starts_with(whole));
    let lines = &first[..=first[..whole.len()].rfind('\n').unwrap()];
    assert_each_once(&format!("{lines}{second}{third}"));
}

#[test]
fn a_follower_hears_of_a_worker_that_leaves_with_its_last_words() {
    let mut fleet = Fleet::start(1, 1);
    fleet.worker_with("w2", &["--drain"]);
    fleet.wait_ready(2);
    // It begins where nobody else would take it, and may go anywhere.
    fleet.ok(&["cordon", "w1"]);
    fleet.apply(&talker(""));
    fleet.ok(&["uncordon", "w1"]);
    let follower = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    follower.wait_for_more(1000);
    fleet.signal("w2", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w2"), Some(0));
    assert_eq!(wait_moved(&fleet, "w2"), "w1");
    follower.wait_for_more(1000);
    silence(&fleet);
    let epochs = by_epochs(&["w1", "w2"].map(|worker| written(&fleet, worker)));
    let all: String = epochs.into_values().collect();
    follower.wait_for(&all);
}

#[test]
fn a_follower_goes_on_when_the_bus_is_back() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(&talker(""));
    let follower = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    follower.wait_for_more(1000);
    fleet.nats.stop();
    // It says more meanwhile than one part holds.
    let before = written(&fleet, "w1").len();
    wait_until("more output", DEADLINE, || {
        let now = written(&fleet, "w1").len();
        if now > before + 1_000_000 { Ok(()) } else { Err((before, now)) }
    });
    fleet.nats.restart();
    follower.wait_for_more(1000);
    wait_until("the schedulers to answer", DEADLINE, || {
        fleet.try_json(&["status", "-o", "json"]).map(drop)
    });
    silence(&fleet);
    let written = written(&fleet, "w1");
    follower.wait_for(&written);
    assert_each_once(&written);
}
