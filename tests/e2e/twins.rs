//! Two schedulers that were given one id.

use dsbus_harness::wait_until;

use crate::fleet::{DEADLINE, Fleet, alive};

#[test]
fn of_two_schedulers_with_one_id_the_later_one_ends_and_both_say_so() {
    let mut fleet = Fleet::start(1, 0);
    let url = fleet.nats.url();
    fleet.spawn("twin", &["--nats", &url, "scheduler", "--id", "s1"]);
    assert_eq!(fleet.wait_exit("twin"), Some(1));
    let log = |name: &str| std::fs::read_to_string(fleet.log(name)).unwrap();
    let first = format!("(pid {} on", fleet.pid("s1"));
    assert!(log("twin").contains("give each an id of its own"), "{}", log("twin"));
    assert!(log("twin").contains(&first), "{}", log("twin"));
    wait_until("the first one to say so", DEADLINE, || {
        let said = log("s1");
        if said.contains("with the id s1, which is this one's") { Ok(()) } else { Err(said) }
    });
    assert!(alive(fleet.pid("s1")));
    // One that is started in its place, within its lease, is none too many.
    fleet.kill("s1");
    fleet.scheduler("s1");
    fleet.wait_ready(0);
    let file = fleet.file("a.toml", "[program.a]\ncommand = \"sleep 1000\"\n");
    fleet.ok(&["apply", "--no-wait", &file]);
    fleet.ok(&["healthy", "scheduler", "s1"]);
    assert!(alive(fleet.pid("s1")));
}
