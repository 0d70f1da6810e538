//! What happens, as a browser hears of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};

use dsbus_harness::wait_until;
use serde_json::Value;

use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;

/// Server-sent events, as they come.
pub(crate) struct Heard(Receiver<(String, Value)>);

impl Heard {
    /// Listens at a path.
    pub(crate) fn at(gateway: &Gateway, path: &str) -> Heard {
        let url = format!("{}{path}", gateway.url);
        let answer = ureq::get(url).call().unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut name = String::new();
            for line in BufReader::new(answer.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                match line.split_once(": ") {
                    Some(("event", said)) => said.clone_into(&mut name),
                    Some(("data", said)) => {
                        let data = serde_json::from_str(said).unwrap();
                        if sender.send((std::mem::take(&mut name), data)).is_err() {
                            return;
                        }
                    }
                    Some(_) | None => {}
                }
            }
        });
        Heard(receiver)
    }

    /// The next one of this name of which `is` holds.
    pub(crate) fn wait(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("a {name} that is meant"), |event, data| event == name && is(data))
    }

    /// Listens until `is` holds, and returns what it holds of.
    fn until(&self, what: &str, mut is: impl FnMut(&str, &Value) -> bool) -> Value {
        let mut before = Vec::new();
        wait_until(what, DEADLINE, || {
            while let Ok((event, data)) = self.0.try_recv() {
                if is(&event, &data) {
                    return Ok(data);
                }
                before.push((event, data));
            }
            Err(format!("{before:#?}"))
        })
    }
}

#[test]
fn whoever_watches_hears_of_every_change() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let heard = Heard::at(&gateway, "/api/v1/stream");
    heard.wait("silent", |data| data["silent"].is_null());
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"");
    let runs = |data: &Value| {
        let rows = data["changed"].as_array().unwrap();
        rows.iter().any(|row| row["name"] == "web:0" && row["state"] == "RUNNING")
    };
    // Programs and rows are heard of each for itself: which comes first is chance.
    let (mut declared, mut running) = (false, false);
    heard.until("the program, and that it runs", |event, data| {
        declared |= event == "programs";
        running |= event == "rows" && runs(data);
        declared && running
    });
    fleet.ok(&["emit", "hello", "there"]);
    heard.wait("event", |data| data["type"].as_str().unwrap().contains("hello"));
    heard.wait("workers", |data| data[0]["name"] == "w1");
    fleet.ok(&["remove", "web"]);
    heard.wait("rows", |data| data["gone"][0] == "web:0");
    fleet.kill("s1");
    fleet.ok(&["emit", "hello", "again"]);
    heard.wait("silent", |data| data["silent"].is_string());
    // Whoever comes then is told at once.
    let late = Heard::at(&gateway, "/api/v1/stream");
    late.wait("silent", |data| data["silent"].is_string());
}

#[test]
fn a_log_is_followed_and_is_text_whatever_was_printed() {
    let mut fleet = Fleet::start(1, 1);
    // Half of a character, the other half later, and what is no character at all.
    fleet.apply(
        "[program.odd]\ncommand = 'printf \"first\\n\\342\\202\"; sleep 1; printf \"\\254 \\377 end\\n\"; exec sleep 1000'\nshell = true",
    );
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let heard = Heard::at(&gateway, "/api/v1/instances/odd:0/log?follow=true&lines=5");
    let said = std::cell::RefCell::new(String::new());
    heard.wait("output", |data| {
        let mut said = said.borrow_mut();
        said.push_str(data.as_str().unwrap());
        said.contains("end\n")
    });
    assert!(said.borrow().contains("first\n€ \u{fffd} end\n"), "{said:?}");
    let log = gateway.get_answered("/api/v1/instances/odd:0/log", &[]);
    assert_eq!((log.code, log.body.as_str()), (200, "first\n€ \u{fffd} end\n"));
    let log = gateway.get_answered("/api/v1/instances/odd:0/log?lines=1", &[]);
    assert_eq!(log.body, "€ \u{fffd} end\n");
    let none = gateway.get_answered("/api/v1/instances/odd:0/log?channel=stderr", &[]);
    assert_eq!((none.code, none.body.as_str()), (200, ""));
}

/// Follows the log of `quiet:0` until `says` is among what came; then it hangs up.
fn follow_until(gateway: &Gateway, says: &[&str]) -> String {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let request =
        "GET /api/v1/instances/quiet:0/log?follow=true&lines=5 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let (mut heard, mut piece) = (String::new(), [0; 4096]);
    while !says.iter().any(|said| heard.contains(said)) {
        let n = socket.read(&mut piece).unwrap();
        assert_ne!(n, 0, "it ended after {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    heard
}

#[test]
fn whoever_hangs_up_leaves_nothing_behind_though_nothing_is_printed() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.quiet]\ncommand = 'echo ready; exec sleep 1000'\nshell = true\n");
    fleet.wait_state("quiet:0", "RUNNING");
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    // More than may follow logs of one worker at once.
    for _ in 0..700 {
        follow_until(&gateway, &[": here"]);
    }
    wait_until("a log to be followed again", DEADLINE, || {
        let heard = follow_until(&gateway, &["ready", "followed already"]);
        if heard.contains("ready") { Ok(()) } else { Err(heard) }
    });
}
