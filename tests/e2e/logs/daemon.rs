//! What a worker itself says is read like any log.

use super::*;

#[test]
fn a_worker_s_own_log_is_followed_over_its_restart() {
    let mut fleet = Fleet::start(1, 2);
    // What an agent says comes a moment after what it does.
    let shown = wait_until("supervisor and agent to say it", DEADLINE, || {
        let shown = fleet.ok(&["logs", "--daemon", "w1"]);
        let both =
            ["worker w1 starts in", "ready worker=w1"].iter().all(|part| shown.contains(part));
        if both { Ok(shown) } else { Err(shown) }
    });
    assert!(!shown.contains('\u{1b}'), "no colours in a file: {shown}");
    assert_eq!(fleet.ok(&["logs", "--daemon", "w1", "-n", "1"]).lines().count(), 1);
    let told = fleet.fails(1, &["logs", "--daemon", "w7"]);
    assert!(told.contains("no worker w7"), "{told}");

    // On a busy machine it may have said more since.
    let follower = Follower::start(&fleet, &["--daemon", "w1", "-n", "1000"]);
    follower.wait_shown("ready worker=w1");
    fleet.kill_worker("w1");
    follower.wait_said("w1 does not answer; still following");
    fleet.worker("w1");
    wait_until("its second start to be shown", DEADLINE, || {
        let shown = follower.shown();
        if shown.matches("worker w1 starts in").count() == 2 { Ok(()) } else { Err(shown) }
    });
    follower.wait_said("w1 answers again");
}

#[test]
fn a_log_that_is_named_is_shown_and_links_do_not_outlive_their_names() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let named = fleet.path().join("logs/here.log");
    fs::create_dir(named.parent().unwrap()).unwrap();
    let config = fleet.file("worker.toml", &format!("logfile = {named:?}\nsilent = true\n"));
    fleet.worker_with("w1", &["--config", &config]);
    fleet.wait_ready(1);
    // It may just be saying more.
    let shown = wait_until("all that is in the file", DEADLINE, || {
        let shown = fleet.ok(&["logs", "--daemon", "w1"]);
        let kept = fs::read_to_string(&named).unwrap();
        if shown == kept { Ok(shown) } else { Err((shown, kept)) }
    });
    assert!(shown.contains("worker w1 starts in"), "{shown}");
    fleet.signal("w1", Signal::SIGTERM);
    fleet.wait_exit("w1");
    fleet.worker("w1");
    fleet.wait_ready(1);
    let shown = fleet.ok(&["logs", "--daemon", "w1"]);
    let kept = fs::read_to_string(&named).unwrap();
    assert!(shown.contains("worker w1 starts in") && !kept.ends_with(&shown), "{shown}");
    assert!(!fleet.worker_directory("w1").join("worker.log").is_symlink());
}
