//! A gateway of another version comes in while it is asked.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dsbus_harness::{Port, previous, wait_until};
use nix::sys::signal::Signal;

use crate::fleet::{DEADLINE, DSBUS, Fleet};
use crate::served::Gateway;

#[test]
fn what_was_accepted_is_done_whoever_serves() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let (port, nats) = (Port::reserve(), fleet.nats.url());
    let listen = format!("127.0.0.1:{}", port.number());
    let args = ["--nats", &nats, "gateway", "--listen", &listen];
    fleet.spawn_from(&previous(Path::new(DSBUS)), "g1", &args, "info");
    let gateway = Gateway::at(&format!("http://{listen}"));
    gateway.wait_served();
    let done = AtomicBool::new(false);
    let (accepted, refused) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut accepted, mut refused) = (1, 0);
            loop {
                let last = done.load(Ordering::Relaxed);
                let count = accepted % 3 + 1;
                let body = format!("{{\"numprocs\":{count}}}");
                // Nobody listens for a moment. Who is answered is answered well.
                match gateway.try_post("/api/v1/programs/a/scale", &body) {
                    Ok(answer) => {
                        assert_eq!(answer.code, 200, "{}", answer.body);
                        accepted = count;
                        if last {
                            return (accepted, refused);
                        }
                    }
                    Err(_) => refused += 1,
                }
            }
        });
        fleet.signal("g1", Signal::SIGTERM);
        assert_eq!(fleet.wait_exit("g1"), Some(0));
        fleet.spawn("g1", &args);
        gateway.wait_served();
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    assert!(refused > 0, "it was away");
    wait_until("as many as were accepted", DEADLINE, || {
        let rows = gateway.json("/api/v1/instances?state=RUNNING");
        let count = rows.as_array().unwrap().len();
        if count == accepted { Ok(()) } else { Err(rows.to_string()) }
    });
}
