//! The web page: what 200 browsers cost the bus beside one, how soon each of them hears of a change,
//! and how soon 1,000 instances are seen, beside a static page of the same size.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Moment, look, millis, now};
use crate::crew::Crew;
use crate::fleet::{self, DEADLINE, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::varz::{monitored, traffic};
use crate::{Outcome, Setting};

/// Browsers at once.
const BROWSERS: usize = 200;
/// Instances on the page, on so many simulated workers.
const INSTANCES: usize = 1_000;
const WORKERS: usize = 20;
/// More than placing them takes.
const START_MAX: Duration = Duration::from_secs(180);
/// Changes that all browsers hear of.
const CHANGES: usize = 30;
/// How often each page is opened.
const ROUNDS: usize = 15;
/// First paint: times as long as the static page's.
const TIMES_MAX: f64 = 2.0;
/// Between two looks at what has been counted.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let mut fleet = Fleet::start(1, 0)?;
    let mut crew = Crew::new(&fleet.nats.url())?;
    crew.grow_to(WORKERS)?;
    let size = setting.rounds(INSTANCES, 100);
    let mut told = crew.watch()?;
    let sleeper = ["sleep", "100000"].map(str::to_owned);
    let numprocs = format!("numprocs = {}", size / 10);
    let programs = (0..10).map(|n| fleet::program(&format!("web{n}"), &sleeper, &numprocs));
    fleet.ask_for(&programs.collect::<String>())?;
    crew.all_running(&mut told, (size, START_MAX), |_| true)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("127.0.0.1:{port}");
    fleet.gateway(&address)?;
    look("the gateway to know the fleet", DEADLINE, LOOK, || {
        let ready = ask(&address, "/readyz").is_ok_and(|answer| answer.contains(" 200 "));
        Ok(ready.then_some(()))
    })?;
    browsers(setting, &fleet, &address, &mut report)?;
    paint(setting, &address, size, &mut report)?;
    Ok(report)
}

/// A whole answer by GET.
fn ask(address: &str, path: &str) -> Outcome<String> {
    let mut socket = TcpStream::connect(address)?;
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Follows the live page, as an `EventSource` does: says when it hears of an event of a person.
fn browser(address: &str, heard: &Sender<Moment>) -> Outcome<()> {
    let mut socket = TcpStream::connect(address)?;
    write!(socket, "GET /api/v1/stream HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut lines = BufReader::new(socket);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    if !first.contains(" 200 ") {
        return Err(format!("the stream answers {first}").into());
    }
    let heard = heard.clone();
    std::thread::spawn(move || {
        for line in lines.lines() {
            let Ok(line) = line else { return };
            if line.contains("io.dsbus.user.bench.v1") && heard.send(now()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// How many subscriptions the gateway has, and how many consumers there are.
fn subscriptions(fleet: &Fleet) -> Outcome<(f64, f64)> {
    let all = monitored(fleet.monitor, "/connz?limit=100000")?;
    let connections = all["connections"].as_array().ok_or("/connz says no connections")?;
    let ours = connections.iter().filter(|one| one["name"] == "dsbus gateway");
    let count = ours.map(|one| one["subscriptions"].as_f64().unwrap_or(0.0)).sum();
    let consumers = monitored(fleet.monitor, "/jsz")?["consumers"].as_f64();
    Ok((count, consumers.ok_or("/jsz says no consumers")?))
}

fn browsers(setting: Setting, fleet: &Fleet, address: &str, report: &mut Report) -> Outcome<()> {
    let (sender, heard) = channel();
    let rounds = setting.rounds(CHANGES, 3);
    browser(address, &sender)?;
    let (before, consumers) = subscriptions(fleet)?;
    let (one, messages) = changes(fleet, &heard, (1, rounds))?;
    let all = setting.rounds(BROWSERS, 20);
    for _ in 1..all {
        browser(address, &sender)?;
    }
    let (many, messages_many) = changes(fleet, &heard, (all, rounds))?;
    let (after, consumers_after) = subscriptions(fleet)?;
    report.row(Who::Ours, "an event, to the only browser", "ms", one);
    report.row(Who::Ours, &format!("an event, to the last of {all} browsers"), "ms", many);
    report.goal("subscriptions of the gateway with one browser", before, None);
    let more = format!("subscriptions more with {all} browsers");
    report.goal(&more, after - before, Some(Limit::AtMost(0.0)));
    let more = format!("consumers more with {all} browsers");
    report.goal(&more, consumers_after - consumers, Some(Limit::AtMost(0.0)));
    let more = format!("messages from the server per event, {all} browsers / one");
    report.ratio(&more, (Some(messages_many), Some(messages)), None);
    Ok(())
}

/// Lets things happen, and waits until every browser has heard of each: how long the last one took,
/// and how many messages the server sent for each.
fn changes(
    fleet: &Fleet,
    heard: &Receiver<Moment>,
    (browsers, rounds): (usize, usize),
) -> Outcome<(Vec<f64>, f64)> {
    let before = traffic(fleet.monitor)?.to_clients;
    let mut took = Vec::new();
    for _ in 0..rounds {
        let begun = now();
        fleet.run(&["emit", "BENCH", "x"])?;
        let mut last = begun;
        for _ in 0..browsers {
            last = heard.recv_timeout(DEADLINE)?;
        }
        took.push(millis(last.since(begun)));
    }
    let sent = traffic(fleet.monitor)?.to_clients - before;
    Ok((took, to_float(sent) / to_float(u64::try_from(rounds)?)))
}

fn to_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Opens both pages in turns, in a browser that has seen neither.
fn paint(setting: Setting, address: &str, size: usize, report: &mut Report) -> Outcome<()> {
    if std::env::var_os("DSBUS_CHROMIUM").is_none() {
        report.missing.push("first paint: DSBUS_CHROMIUM is not set; ./run bench sets it".into());
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page.mjs");
    let rounds = setting.rounds(ROUNDS, 2);
    let output = Command::new("node")
        .arg(script)
        .args([&format!("http://{address}"), &size.to_string(), &rounds.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("page.mjs: {}", output.status).into());
    }
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let numbers = |key: &str| -> Vec<f64> {
        let all = told[key].as_array().into_iter().flatten();
        all.filter_map(Value::as_f64).collect()
    };
    let what = format!("{size} instances");
    let ours = report.row(Who::Ours, &format!("{what}: they are seen"), "ms", numbers("rows"));
    report.row(Who::Ours, &format!("{what}: first paint"), "ms", numbers("first"));
    let floor =
        report.row(Who::Floor, "a static page of them: first paint", "ms", numbers("floor"));
    for key in ["page_bytes", "floor_bytes"] {
        report.goal(key, told[key].as_f64().ok_or("page.mjs says no sizes")?, None);
    }
    let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
    report.ratio(
        &format!("{what} are seen / static page of the same size, p50"),
        (median(&ours), median(&floor)),
        Some(Limit::AtMost(TIMES_MAX)),
    );
    Ok(())
}
