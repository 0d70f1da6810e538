//! `dsbus healthy`: a line and an exit code, for the health checks of containers.

use std::io::{Read, Write};
use std::net::TcpListener;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use crate::fleet::{DEADLINE, Fleet, said};

pub(crate) const RULES: &str = "[[rule]]\nname = \"fatal\"\nevents = \"FATAL\"\nsend = \"ops\"\n\
                     [target.ops]\ntype = \"command\"\ncommand = \"cat\"\n";

#[test]
fn a_daemon_is_well_as_long_as_it_holds_its_lease() {
    let mut fleet = Fleet::start(1, 1);
    let is = |fleet: &Fleet, args: &[&str], text: &str| {
        wait_until(text, DEADLINE, || {
            let output = fleet.run(&[&["healthy"], args].concat());
            let well = text.ends_with("holds its lease");
            let told = said(&output);
            if output.status.success() == well && told.contains(text) { Ok(()) } else { Err(told) }
        });
    };
    is(&fleet, &["worker", "w1"], "worker w1 holds its lease");
    is(&fleet, &["scheduler", "s1"], "scheduler s1 holds its lease");
    is(&fleet, &["worker", "w9"], "the bus holds no lease of worker w9");
    is(&fleet, &["scheduler", "s9"], "the bus holds no lease of scheduler s9");
    fleet.kill_worker("w1");
    is(&fleet, &["worker", "w1"], "the bus holds no lease of worker w1");

    let rules = fleet.file("alert.toml", RULES);
    let url = fleet.nats.url();
    is(&fleet, &["alert"], "the bus holds no lease of alert alert");
    fleet.spawn("a1", &["--nats", &url, "alert", &rules, "--name", "night"]);
    is(&fleet, &["alert", "night"], "alert night holds its lease");
    is(&fleet, &["alert"], "the bus holds no lease of alert alert");
    fleet.kill("a1");
    is(&fleet, &["alert", "night"], "the bus holds no lease of alert night");
}

/// Serves one answer, and gives back what was asked.
pub(crate) fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz?x=1", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 512];
        let read = stream.read(&mut asked).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    (url, server)
}

#[test]
fn http_is_well_when_it_answers_200() {
    let fleet = Fleet::bare();
    // A server that answers too late is not well: on a busy machine there is another one.
    let asked = wait_until("an answer that is well", DEADLINE, || {
        let (url, server) = answering("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok\n");
        let output = fleet.run(&["healthy", "http", &url]);
        let well = output.status.success() && output.stdout == b"ok\n";
        if well { Ok(server.join().unwrap()) } else { Err(said(&output)) }
    });
    assert!(asked.starts_with("GET /readyz?x=1 HTTP/1.0\r\n"), "{asked}");

    let url = wait_until("an answer that is not", DEADLINE, || {
        let (url, server) = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno bus\n");
        let output = fleet.run(&["healthy", "http", &url]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        if told.contains("503") && told.contains("no bus") {
            server.join().unwrap();
            return Ok(url);
        }
        Err(told)
    });

    // Nobody listens there any more.
    let output = fleet.run(&["healthy", "http", &url]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let output = fleet.run(&["healthy", "http", "https://127.0.0.1/"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_daemon_that_has_stopped_is_not_well_while_its_lease_lasts() {
    let mut fleet = Fleet::start(2, 2);
    for (name, who) in [("w2", ["worker", "w2"]), ("s2", ["scheduler", "s2"])] {
        fleet.signal(name, Signal::SIGTERM);
        assert_eq!(fleet.wait_exit(name), Some(0));
        // A bus that is slow to answer is asked again.
        wait_until("it not to be well", DEADLINE, || {
            let output = fleet.run(&["healthy", who[0], who[1]]);
            assert!(!output.status.success(), "{}", said(&output));
            if output.status.code() == Some(1) { Ok(()) } else { Err(said(&output)) }
        });
    }
}
