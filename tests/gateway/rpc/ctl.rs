//! supervisorctl 4.3.0.

use std::process::{Command, Stdio};

use dsbus_harness::wait_until;

use super::ctl;
use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;
use crate::supervisord::{ACTIONS, PROGRAMS, Supervisord, lasting, sorted};

/// What a fleet answers as one supervisord does, beside [`ACTIONS`].
const MORE: &[&str] = &["reread", "update", "update all", "update shop"];

#[test]
fn it_says_the_same_of_a_gateway_as_of_a_supervisord() {
    let mut fleet = Fleet::start(1, 1);
    let peer = Supervisord::start(&fleet);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let programs = fleet.file("programs.conf", PROGRAMS);
    // `once` has ended with 3, and so this fails.
    fleet.run(&["apply", &programs]);
    let run = |mut command: Command, words: &str| {
        lasting(&command.args(words.split(' ')).stdin(Stdio::null()).output().unwrap())
    };
    let ours = |words: &str| run(ctl(&fleet, &gateway), words);
    let theirs = |words: &str| run(peer.ctl(), words);
    wait_until("both to run the same", DEADLINE, || {
        let (ours, theirs) = (ours("status"), theirs("status"));
        let ready = ours.0.contains("EXITED") && ours.0.matches("RUNNING").count() == 5;
        if ready && ours == theirs { Ok(()) } else { Err(format!("{ours:?}\n{theirs:?}")) }
    });
    let mut wrong = Vec::new();
    for action in MORE.iter().chain(ACTIONS) {
        // Each starts a Python; what one does is nothing to the other.
        let (mut ours, mut theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| theirs(action));
            (ours(action), theirs.join().unwrap())
        });
        if action.starts_with("stop ") || action.starts_with("restart ") {
            // In the order in which they happen to end.
            (ours, theirs) = (sorted(ours), sorted(theirs));
        }
        if ours != theirs {
            wrong.push(format!("--- {action}\nours {ours:?}\nis   {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
