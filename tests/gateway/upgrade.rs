//! A gateway of another version comes in while it is asked.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dsbus_harness::{Port, previous, wait_until};
use nix::sys::signal::Signal;

use crate::fleet::{DEADLINE, DSBUS, Fleet};
use crate::served::{Gateway, SILENT};

/// Ends whoever asks, also when the test fails meanwhile.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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
    let (done, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let accepted = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut accepted, mut tries) = (1, 0);
            loop {
                let last = done.load(Ordering::Relaxed);
                tries += usize::from(last);
                assert!(tries < 1000, "it serves again, and does not answer");
                let count = accepted % 3 + 1;
                let body = format!("{{\"numprocs\":{count}}}");
                // Nobody listens for a moment. Who is answered is answered well.
                match gateway.try_post("/api/v1/programs/a/scale", &body) {
                    // The scheduler was slow to answer; it is asked for another number next.
                    Ok(answer)
                        if answer.code == SILENT && answer.body.contains("it may be done") => {}
                    Ok(answer) => {
                        assert_eq!(answer.code, 200, "{}", answer.body);
                        accepted = count;
                        if last {
                            return accepted;
                        }
                    }
                    Err(_) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let last = Done(&done);
        fleet.signal("g1", Signal::SIGTERM);
        assert_eq!(fleet.wait_exit("g1"), Some(0));
        // Whoever asks may be slow: it is away until he has seen that it is.
        wait_until("somebody to find it away", DEADLINE, || {
            match refused.load(Ordering::Relaxed) {
                0 => Err("all were answered"),
                _ => Ok(()),
            }
        });
        fleet.spawn("g1", &args);
        gateway.wait_served();
        drop(last);
        asking.join().unwrap()
    });
    wait_until("as many as were accepted", DEADLINE, || {
        let rows = gateway.json("/api/v1/instances?state=RUNNING");
        let count = rows.as_array().unwrap().len();
        if count == accepted { Ok(()) } else { Err(rows.to_string()) }
    });
}
