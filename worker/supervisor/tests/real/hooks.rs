//! Hooks of real children.

use dsbus_harness::{DEADLINE, wait_until};
use dsbus_schema::event::Notice;
use dsbus_schema::program::{Hook, HookPoint, ProgramSpec};
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::protocol::Order;

use crate::stage::{Stage, alive, script, stopped};

fn hook(text: &str, timeout: &str) -> Hook {
    let json = serde_json::json!({ "command": text, "shell": true, "timeout": timeout });
    serde_json::from_value(json).unwrap()
}

/// A child that writes `child`, with hooks that write their names into the same file.
fn hooked(edit: impl FnOnce(&mut ProgramSpec)) -> Order {
    script("web", "echo child >> story; exec sleep 1000", |spec| {
        spec.pre_start = Some(hook("echo pre_start >> story", "30s"));
        // It may run before the child says its first word.
        let text = "until grep -q child story; do sleep 0.02; done; \
                    echo post_start of $DSBUS_PID >> story";
        spec.post_start = Some(hook(text, "30s"));
        spec.pre_stop = Some(hook("echo pre_stop of $DSBUS_PID >> story", "30s"));
        spec.post_stop =
            Some(hook("echo post_stop $DSBUS_EXIT_SIGNAL >> story; echo end >> done", "30s"));
        edit(spec);
    })
}

#[test]
fn hooks_run_in_order_and_know_the_child() {
    let mut stage = Stage::open();
    let order = hooked(|_| {});
    let pid = stage.run(&order);
    let done = stage.notice("web", Notice::HookDone);
    assert_eq!((done.hook, done.exit), (Some(HookPoint::PostStart), Some(Exit::code(0))));
    stage.place(&stopped(&order));
    stage.change("web", State::Stopped);
    let story = stage.read(&stage.file("web", "story"));
    let told: Vec<&str> = story.lines().collect();
    let [post_start, pre_stop] = ["post_start", "pre_stop"].map(|name| format!("{name} of {pid}"));
    assert_eq!(told, ["pre_start", "child", &post_start, &pre_stop, "post_stop 15"]);
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_all_it_started() {
    let mut stage = Stage::open();
    let order = hooked(|spec| {
        // Long enough for a shell to come so far on a busy machine.
        spec.pre_stop = Some(hook("sleep 1000 & echo $! > sleeper; wait", "6s"));
    });
    stage.run(&order);
    stage.notice("web", Notice::HookDone);
    stage.place(&stopped(&order));
    let late = stage.notice("web", Notice::HookTimedOut);
    assert_eq!(late.hook, Some(HookPoint::PreStop));
    assert!(late.reason.contains("6s"), "{}", late.reason);
    let sleeper: i32 = stage.read(&stage.file("web", "sleeper")).trim().parse().unwrap();
    stage.change("web", State::Stopped);
    wait_until("the sleeper to be dead", DEADLINE, || {
        if alive(sleeper) { Err(sleeper) } else { Ok(()) }
    });
}

#[test]
fn a_start_whose_hook_fails_says_why() {
    let mut stage = Stage::open();
    stage.place(&hooked(|spec| spec.pre_start = Some(hook("echo no database >&2; exit 3", "30s"))));
    let failed = stage.notice("web", Notice::HookFailed);
    assert_eq!(failed.exit, Some(Exit::code(3)));
    let (backoff, _) = stage.change("web", State::Backoff);
    let reason = backoff.reason.unwrap();
    assert_eq!(reason, "pre_start failed: exit code 3 (no database)");
    assert!(!stage.file("web", "story").exists(), "nothing was started");
}

#[test]
fn a_hook_that_cannot_be_run_has_failed() {
    let mut stage = Stage::open();
    let hook: Hook = serde_json::from_value(serde_json::json!("/no/such --now")).unwrap();
    stage.place(&hooked(|spec| spec.pre_start = Some(hook)));
    let (backoff, _) = stage.change("web", State::Backoff);
    assert!(backoff.reason.as_ref().unwrap().contains("/no/such"), "{backoff:?}");
}

#[test]
fn after_a_crash_the_last_hook_runs_before_the_next_child() {
    let mut stage = Stage::open();
    let order =
        script("web", "echo child >> story; [ -e done ] || exit 7; exec sleep 1000", |spec| {
            spec.post_stop =
                Some(hook("echo post_stop $DSBUS_EXIT_CODE >> story; echo > done", "30s"));
        });
    stage.place(&order);
    stage.change("web", State::Exited);
    stage.change("web", State::Running);
    let story = stage.file("web", "story");
    stage.wait_for("the second child", || {
        std::fs::read_to_string(&story).unwrap() == "child\npost_stop 7\nchild\n"
    });
}

#[test]
fn what_a_hook_starts_ends_with_it() {
    for settings in [&[][..], &["no-cgroups"]] {
        let mut stage = Stage::open_with(settings);
        let order = hooked(|spec| {
            let text = "setsid sleep 1000 & echo $! > stays; true";
            spec.pre_start = Some(hook(text, "30s"));
        });
        stage.run(&order);
        let stays: i32 = stage.read(&stage.file("web", "stays")).trim().parse().unwrap();
        stage.wait_for("it to go", || !alive(stays));
    }
}
