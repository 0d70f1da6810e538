//! What is counted is what the events say.

use std::collections::BTreeMap;

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::scrape::{Form, Scrape};
use crate::fleet::{DEADLINE, Fleet, number};
use crate::served::Gateway;

const PROGRAMS: &str = r#"
    [program.web]
    command = "sleep 1000"
    numprocs = 4
    startsecs = 0
    touch_timeout = "3s"
    [program.bad]
    command = "exit 3"
    shell = true
    startretries = 1
    max_fail_count = 2
"#;

type Counts = BTreeMap<Vec<String>, f64>;

/// Kinds of which nothing was told before the gateway heard anything.
const KINDS: [&str; 4] = ["process", "placement", "program", "command"];

/// What events say, by the same labels.
#[derive(Debug, Default, PartialEq)]
struct Told {
    restarts: Counts,
    failovers: Counts,
    events: Counts,
}

impl Told {
    fn by_events(events: &[Value]) -> Told {
        let mut told = Told::default();
        for event in events {
            let data = &event["data"];
            let word = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
            let kind = word("kind");
            if !KINDS.contains(&kind.as_str()) {
                continue;
            }
            let name = match kind.as_str() {
                "process" => word("state"),
                "command" => word("verdict").to_uppercase(),
                _ => word("change").to_uppercase(),
            };
            let program = word("name").split(':').next().unwrap_or_default().to_owned();
            if kind == "process" && name == "STARTING" && data["seq"].as_u64() > Some(1) {
                *told.restarts.entry(vec![program.clone()]).or_default() += 1.0;
            }
            if kind == "placement" && name == "MOVED" {
                let lost = word("reason").contains(" is lost");
                let cause = if lost { "worker_lost" } else { "instance_fatal" };
                *told.failovers.entry(vec![program, cause.to_owned()]).or_default() += 1.0;
            }
            *told.events.entry(vec![kind, name]).or_default() += 1.0;
        }
        told
    }

    /// How often a program was moved for this cause.
    fn failed(&self, program: &str, cause: &str) -> f64 {
        let key = vec![program.to_owned(), cause.to_owned()];
        self.failovers.get(&key).copied().unwrap_or(0.0)
    }

    fn by(scrape: &Scrape) -> Told {
        let counts = |name: &str, keys: &[&str]| {
            let all = scrape.all(name).into_iter();
            all.map(|(labels, value)| {
                (keys.iter().map(|key| labels[*key].clone()).collect(), value)
            })
            .collect()
        };
        let mut events: Counts = counts("dsbus_events_total", &["kind", "type"]);
        events.retain(|labels, _| KINDS.contains(&labels[0].as_str()));
        Told {
            restarts: counts("dsbus_restarts_total", &["program"]),
            failovers: counts("dsbus_failovers_total", &["program", "cause"]),
            events,
        }
    }
}

/// What is measured of failovers from a worker that was lost.
fn took(scrape: &Scrape, end: &str) -> f64 {
    let name = format!("dsbus_failover_duration_seconds{end}");
    scrape.one(&name, &[("cause", "worker_lost")]).unwrap()
}

#[test]
fn counters_match_the_events() {
    let mut fleet = Fleet::start(2, 3);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    wait_until("the gateway to hear events", DEADLINE, || {
        fleet.ok(&["emit", "hello"]);
        let scrape = Scrape::get(&gateway, Form::Text);
        scrape.one("dsbus_events_total", &[("kind", "user")]).ok_or(scrape.text)
    });
    let file = fleet.file("programs.toml", PROGRAMS);
    // One of them fails, for which this ends with 1.
    fleet.run(&["apply", &file]);
    fleet.wait_state("bad:0", "FATAL");
    fleet.ok(&["restart", "web:1"]);
    // One scheduler may be behind the other: which child is the last is known by those before it.
    let mut row = fleet.wait_state("web:0", "RUNNING");
    let mut killed = Vec::new();
    for _ in 0..2 {
        let pid = number(&row["pid"]);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        killed.push(pid);
        row = fleet.wait_row("web:0", "another child", |row| {
            row["state"] == "RUNNING" && killed.iter().all(|pid| row["pid"] != *pid)
        });
    }
    let lost = row["worker"].as_str().unwrap().to_owned();
    fleet.kill_worker(&lost);
    for index in 0..4 {
        fleet.wait_row(&format!("web:{index}"), "elsewhere", |row| {
            row["state"] == "RUNNING" && row["worker"] != lost.as_str()
        });
    }
    // Where something runs is known before events tell that, and all that led there.
    let scrape = wait_until("the counters to be those of the events", DEADLINE, || {
        let wanted = Told::by_events(&fleet.events());
        let scrape = Scrape::get(&gateway, Form::Text);
        let found = Told::by(&scrape);
        let is_all = found.failed("web", "worker_lost") >= 1.0
            && found.failed("bad", "instance_fatal") >= 1.0
            && took(&scrape, "_count") >= 1.0
            // Two crashes, and one restart that was asked for.
            && found.restarts.get(&vec!["web".to_owned()]) >= Some(&3.0);
        if is_all && found == wanted { Ok(scrape) } else { Err(format!("{found:#?}\n{wanted:#?}")) }
    });
    let told = Told::by(&scrape);
    wait_until("the worker to be down", DEADLINE, || {
        let scrape = Scrape::get(&gateway, Form::Text);
        let up = scrape.one("dsbus_worker_up", &[("worker", &lost)]);
        let lost = scrape.one("dsbus_workers", &[("state", "lost")]);
        if (up, lost) == (Some(0.0), Some(1.0)) { Ok(()) } else { Err(scrape.text) }
    });
    assert_eq!(scrape.whole("dsbus_gateway_events_missed_total"), 0);
    // Each that was moved is measured once it runs, and no failover is shorter than a lease.
    let moved: f64 = told.failed("web", "worker_lost") + told.failed("bad", "worker_lost");
    let (count, sum) = (took(&scrape, "_count"), took(&scrape, "_sum"));
    assert!(count <= moved, "{count} of {moved}");
    assert!(sum > count, "a lease of 3 s, in {sum} s");
    // What NATS, and what those that live, say of the events; each answers in time, or is left out.
    wait_until("NATS and a scheduler to answer", DEADLINE, || {
        let scrape = Scrape::get(&gateway, Form::Text);
        let all: i64 = fleet.events().len().to_string().parse().unwrap();
        let stored = scrape.whole("dsbus_events_stored_total");
        assert!(stored <= all, "{stored} of {all}");
        let told = scrape.whole("dsbus_scheduler_events_published_total");
        if stored >= 1 && told >= 1 { Ok(()) } else { Err(scrape.text) }
    });
}

#[test]
fn daemons_count_on_while_a_gateway_is_away() {
    let mut fleet = Fleet::start(2, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let touches = |scrape: &Scrape| {
        let all = scrape.all("dsbus_worker_touch_duration_seconds_count");
        all.first().map(|(_, count)| *count)
    };
    let before = wait_until("touches", DEADLINE, || {
        let scrape = Scrape::get(&gateway, Form::Text);
        let both = scrape.whole("dsbus_scheduler_up") == 2;
        touches(&scrape).filter(|_| both).ok_or(scrape.text)
    });
    fleet.kill("g1");
    let again = Gateway::start(&mut fleet, "g2", &[]);
    let after = wait_until("touches", DEADLINE, || {
        let scrape = Scrape::get(&again, Form::Text);
        touches(&scrape).filter(|count| *count > before).ok_or(scrape.text)
    });
    assert!(after > before);
    // One that dies is known, and down; one that leaves is known no more.
    fleet.kill("s1");
    wait_until("s1 to be down", DEADLINE, || {
        let scrape = Scrape::get(&again, Form::Text);
        let is = |id| scrape.one("dsbus_scheduler_up", &[("scheduler", id)]);
        if (is("s1"), is("s2")) == (Some(0.0), Some(1.0)) { Ok(()) } else { Err(scrape.text) }
    });
    fleet.scheduler("s3");
    wait_until("s3 to be up", DEADLINE, || {
        let scrape = Scrape::get(&again, Form::Text);
        let is = scrape.one("dsbus_scheduler_up", &[("scheduler", "s3")]);
        if is == Some(1.0) { Ok(()) } else { Err(scrape.text) }
    });
    fleet.signal("s2", Signal::SIGTERM);
    wait_until("s2 to be gone", DEADLINE, || {
        let scrape = Scrape::get(&again, Form::Text);
        let is = scrape.one("dsbus_scheduler_up", &[("scheduler", "s2")]);
        if is.is_none() { Ok(()) } else { Err(scrape.text) }
    });
}
