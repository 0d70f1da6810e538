//! What daemons say as they begin and end, and when they cannot.

use super::transcript::Transcript;
use crate::fleet::{Fleet, SHOP};
use crate::healthy::answering;

const RULES: &str = r#"
[[rule]]
name = "fatal"
events = "FATAL"
send = ["ops"]

[target.ops]
type = "command"
command = "cat"
"#;

#[test]
fn daemons_of_a_fleet() {
    let fleet = Fleet::start(1, 1);
    let there = |worker: &'static str| {
        move |fleet: &Fleet, _: &str| fleet.run(&["workers", worker]).status.success()
    };
    Transcript::of(&fleet)
        .run("dev kill w9")
        .daemon("dsbus_scheduler::run=info", "scheduler --id s2", |_, said| said.contains("ready"))
        .run("scheduler --id a.b")
        .run("scheduler --replicas 9")
        .daemon("dsbus_supervisor::driver=info", "worker --name w2 --dir w2", there("w2"))
        .run("drain w1")
        .run("worker --name w1 --dir w2 --check-config")
        .run("worker --name w.1")
        .run("worker --config missing.toml")
        .run("worker --name w3 --dir w1")
        .daemon("dsbus_supervisor::driver=info", "worker --name w1 --dir other", |_, _| false)
        .begins("logs --daemon w1", 1)
        .run("logs --daemon w9")
        .run("logs --daemon w1 web")
        .run("logs --daemon")
        .run("dev kill w1")
        .wait("w1 to be lost", |fleet| fleet.worker_row("w1")["state"] == "lost")
        .run("forget w1")
        .is("daemons");
}

#[test]
fn how_daemons_are() {
    let mut fleet = Fleet::start(1, 1);
    let (url, rules) = (fleet.nats.url(), fleet.file("alert.toml", crate::healthy::RULES));
    fleet.spawn("night", &["--nats", &url, "alert", &rules, "--name", "night"]);
    dsbus_harness::wait_until("alerts", crate::fleet::DEADLINE, || {
        let output = fleet.run(&["healthy", "alert", "night"]);
        if output.status.success() { Ok(()) } else { Err(crate::fleet::said(&output)) }
    });
    let (well, served) = answering("HTTP/1.0 200 OK\r\n\r\nready\n");
    let (ill, refused) = answering("HTTP/1.0 503 Service Unavailable\r\n\r\nno bus\n");
    Transcript::of(&fleet)
        .run("healthy worker w1")
        .run("healthy worker w9")
        .run("healthy scheduler s1")
        .run("healthy scheduler s9")
        .run("healthy alert")
        .run("healthy alert night")
        .run(&format!("healthy http {well}"))
        .run(&format!("healthy http {ill}"))
        .run("healthy http nowhere")
        .is("healthy");
    served.join().unwrap();
    refused.join().unwrap();
}

#[test]
fn a_gateway() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file(
        "gateway.toml",
        "listen = [\"127.0.0.1:0\"]\n[user.ann]\npassword = \"secret\"\nrole = \"viewer\"\n",
    );
    let wrong = fleet.file("wrong.toml", "[user.ann]\npassword = \"{SHA}1\"\nrole = \"viewer\"\n");
    let unknown = fleet.file("unknown.toml", "[user.ann]\npasword = \"secret\"\n");
    let listens = |_: &Fleet, said: &str| said.contains("listens on");
    Transcript::of(&fleet)
        .daemon("dsbus_gateway::run=info", &format!("gateway {file}"), listens)
        .run(&format!("gateway {wrong}"))
        .run(&format!("gateway {unknown}"))
        .run("gateway missing.toml")
        .run("gateway --listen 0.0.0.0:9001")
        .run("gateway --listen nowhere")
        .is("gateway");
}

#[test]
fn daemons_in_the_background() {
    let fleet = Fleet::bare();
    let mut transcript = Transcript::of(&fleet);
    for (what, options, wrong) in [
        ("scheduler", "--id s1 --pidfile s.pid --logfile s.log", "--pidfile s.pid --id a.b"),
        ("gateway", "--listen unix:g.sock --pidfile g.pid --logfile g.log", "missing.toml"),
        ("worker", "--name w1 --dir w1", "--config missing.toml"),
    ] {
        transcript
            .run(&format!("{what} status {options}"))
            .run(&format!("{what} start {options}"))
            .run(&format!("{what} start {options}"))
            .run(&format!("{what} status {options}"))
            .run(&format!("{what} restart {options}"))
            .run(&format!("{what} stop {options}"))
            .run(&format!("{what} stop {options}"))
            .run(&format!("{what} start {wrong}"))
            .run(&format!("{what} restart {wrong}"))
            .run(&format!("{what} stop --timeout soon"));
    }
    let (runs, gone) = ("worker start --name w1 --dir w1", "worker stop --dir w1");
    transcript
        .run(runs)
        .run("worker reload --dir w1")
        .run("worker start --name w2 --dir w1")
        .run("worker start --dir w1 --label zone=eu")
        .run("worker stop --dir w1 --check-config")
        .run("--fleet eu worker status --dir w1")
        .run(gone)
        .run("worker reload --dir w1")
        .run("scheduler reload")
        .run("gateway reload")
        .run("worker --dir w1 start")
        .run("gateway gw.toml start")
        .run("alert start")
        .run("healthy gateway");
    transcript.is("background");
}

#[test]
fn daemons_without_a_bus() {
    let fleet = Fleet::bare();
    Transcript::of(&fleet)
        .without_bus()
        .run("--nats nats://127.0.0.1:1 status")
        .run("--nats nats://127.0.0.1:1 version")
        .run("--nats nats://127.0.0.1:1 doctor")
        .run("--nats http://127.0.0.1:1 scheduler")
        .run("--nats nats://127.0.0.1:1 dev --port 4000")
        .run("dev kill w1")
        .is("no-bus");
}

#[test]
fn a_fleet_in_a_terminal() {
    let fleet = Fleet::bare();
    let file = fleet.file("shop.toml", SHOP);
    let wrong = fleet.file("wrong.toml", "[program.web]\ncommnad = \"sleep\"\n");
    Transcript::of(&fleet)
        .run("dev kill w1")
        .without_bus()
        .daemon("", &format!("dev --workers 1 --schedulers 1 {file}"), |_, said| {
            said.contains("Ctrl-C")
        })
        .run(&format!("dev {wrong}"))
        .run("dev missing.toml")
        .run("dev --workers 0")
        .run("dev kill")
        .is("dev");
}

#[test]
fn those_that_listen() {
    let fleet = Fleet::start(1, 1);
    let rules = fleet.file("alert.toml", RULES);
    let wrong = fleet.file("wrong.toml", "[[rule]]\nname = \"x\"\nsend = [\"nobody\"]\n");
    Transcript::of(&fleet)
        .daemon("dsbus::commands::listen=info", "listen --name ear -- cat", |_, said| {
            said.contains("listens to")
        })
        .run("listen")
        .run("listen -e NOTHING -- cat")
        .daemon("dsbus_bridge=info", "listen --name mute -- /no/such/command", |_, _| false)
        .daemon("dsbus_alert::run=info", &format!("alert {rules}"), |_, said| {
            said.contains("works")
        })
        .run(&format!("alert check {rules}"))
        .run(&format!("alert check {wrong}"))
        .run(&format!("alert {wrong}"))
        .run("alert missing.toml")
        .run("alert")
        .run(&format!("alert test {rules} fatal --print"))
        .run(&format!("alert test {rules} fatal"))
        .run(&format!("alert test {rules} nothing"))
        .run("alert letters")
        .run("alert letters --retry")
        .run("alert letters abc")
        .is("listen");
}
