//! Steps of rollouts.

use crate::book::{record, wait};
use crate::fleet::Fleet;

fn declare(command: &str, update: &str) -> String {
    format!(
        "[program.web]\ncommand = \"{command}\"\nnumprocs = 3\nstartsecs = 0\nstartretries = 0\n\
         max_fail_count = 1\nupdate = {{ {update} }}\n"
    )
}

#[test]
fn steps() {
    let fleet = Fleet::start(1, 2);
    fleet.apply(&declare("sleep 1000", "canary = 1"));
    let file = fleet.file("two.toml", &declare("sleep 2000", "canary = 1"));
    fleet.ok(&["--as", "ann", "apply", "--no-wait", &file]);
    wait(&fleet, &["rollout.STARTED"]);
    for step in ["pause", "resume", "promote"] {
        // It says by its exit code that the canary waits.
        fleet.run(&["--as", "ann", "rollout", step, "web"]);
    }
    wait(&fleet, &["rollout.PAUSED", "rollout.RESUMED", "rollout.PROMOTED", "rollout.DONE"]);
    let file = fleet.file("three.toml", &declare("/nowhere/web", "auto_revert = true"));
    fleet.ok(&["--as", "ann", "apply", "--no-wait", &file]);
    wait(&fleet, &["rollout.REVERTED"]);
    let file = fleet.file("four.toml", &declare("/nowhere/web", "auto_revert = false"));
    fleet.ok(&["--as", "ann", "apply", "--no-wait", &file]);
    wait(&fleet, &["rollout.FAILED"]);
    record(&fleet);
}
