//! The server, `JetStream`, the streams, and the clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use dsbus_client::{Account, Error, Stream};
use dsbus_schema::moment::Timestamp;

use super::super::facts::{Bus, Facts};
use super::super::finding::Finding;
use super::names;
use crate::describe::size::whole;

/// A server that takes longer to answer is far away, or overloaded.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(100);
/// Of what is allowed, in percent; with more the next one may be refused soon.
const USED_MAX: i64 = 90;
/// So many servers keep what must outlive one of them.
const REPLICAS: u64 = 3;
/// Clocks that differ by more make times in what is shown wrong, and schedules fire early or late.
const CLOCK_MAX: Duration = Duration::from_secs(2);

/// The server.
pub(super) fn server(bus: &Bus) -> Vec<Finding> {
    let server = match &bus.server {
        Ok(server) => server,
        Err(e) => {
            let text = format!("the server at {} does not answer: {e}", bus.url);
            return vec![Finding::wrong("bus", text, "look at its log")];
        }
    };
    let millis = server.round_trip.as_secs_f64() * 1e3;
    let text = format!("nats-server {} at {} answers in {millis:.1} ms", server.version, bus.url);
    let mut found = vec![if server.round_trip > ROUND_TRIP_MAX {
        let fix = "connect to a server nearby: leases are renewed over this line every second";
        Finding::warning("bus", text, fix)
    } else {
        Finding::good("bus", text)
    }];
    if let Some(narrow) = &server.too_narrow {
        let fix = "set max_payload: 1MB in its configuration, and reload it";
        found.push(Finding::warning("bus", narrow.clone(), fix));
    }
    found
}

/// What is stored there.
pub(super) fn storage(facts: &Facts, bus: &Bus) -> Vec<Finding> {
    let mut found = vec![jetstream(facts, bus)];
    if bus.account.is_ok() || bus.streams.iter().any(|(_, stream)| stream.is_ok()) {
        found.extend(streams(facts, bus));
        found.extend(clock(bus));
    }
    found
}

fn jetstream(facts: &Facts, bus: &Bus) -> Finding {
    const CHECK: &str = "jetstream";
    match &bus.account {
        Ok(account) => limits(account),
        Err(Error::NoResponders) => Finding::wrong(
            CHECK,
            "JetStream is off: nothing can be stored there",
            "add jetstream { store_dir: \"/var/lib/nats\" } to the server's configuration",
        ),
        Err(e @ Error::Api { .. }) => Finding::wrong(
            CHECK,
            format!("JetStream cannot be used: {e}"),
            "enable it for this account: jetstream: enabled in its block of the server's \
             configuration, or nsc edit account --js-disk-storage -1",
        ),
        Err(Error::Denied { .. }) if facts.role.is_some() => {
            let text = format!("its limits are not known: {} may not ask", facts.who());
            Finding::good(CHECK, text)
        }
        Err(e @ Error::Denied { .. }) => Finding::warning(
            CHECK,
            format!("its limits are not known: {e}"),
            "permit these credentials to publish to $JS.API.INFO",
        ),
        Err(e) => Finding::wrong(
            CHECK,
            format!("JetStream does not answer: {e}"),
            "look at the server's log; a cluster may have no leader",
        ),
    }
}

fn limits(account: &Account) -> Finding {
    let parts = [
        ("storage", account.storage),
        ("streams", account.streams),
        ("consumers", account.consumers),
    ];
    let told = |what: &str, n: i64| match what {
        "storage" => whole(u64::try_from(n).unwrap_or(0)),
        _ => n.to_string(),
    };
    // Some servers say 0 of no limit.
    let texts = parts.iter().map(|(what, (used, limit))| match limit {
        ..=0 => format!("{what} {}", told(what, *used)),
        1.. => format!("{what} {} of {}", told(what, *used), told(what, *limit)),
    });
    let text = texts.collect::<Vec<_>>().join(", ");
    let full = |(_, (used, limit)): &&(&str, (i64, i64))| {
        *limit > 0 && used.saturating_mul(100) >= limit.saturating_mul(USED_MAX)
    };
    match parts.iter().find(full) {
        None => Finding::good("jetstream", text),
        Some((what, _)) => {
            let fix = format!("let this account have more {what}, or remove what nobody needs");
            Finding::warning("jetstream", text, fix)
        }
    }
}

fn streams(facts: &Facts, bus: &Bus) -> Vec<Finding> {
    const CHECK: &str = "streams";
    let missing = bus.streams.iter().filter(|(_, s)| *s == Err(Error::NotProvisioned));
    let missing: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
    if missing.len() == bus.streams.len() {
        let [scheduler, worker] = &facts.start;
        let start = format!("start one: {scheduler}, and {worker}");
        return vec![Finding::wrong(CHECK, "there is no such fleet on this bus", start)];
    }
    let mut found = Vec::new();
    if !missing.is_empty() {
        let fix = "schedulers make anew what is missing; what was in it is lost: dsbus recover \
                   rebuilds it from what workers run, and dsbus apply from files";
        found.push(Finding::wrong(CHECK, format!("missing: {}", names(missing)), fix));
    }
    let servers = bus.server.as_ref().map_or(1, |server| server.servers) as u64;
    let mut small = Vec::new();
    for (name, stream) in &bus.streams {
        match stream {
            Ok(stream) => {
                found.extend(of_stream(name, stream));
                if servers >= REPLICAS && stream.replicas < REPLICAS {
                    small.push(name.as_str());
                }
            }
            Err(Error::NotProvisioned) => {}
            Err(e) => {
                let fix = "look at the server's log, and at what these credentials may do";
                found.push(Finding::wrong(CHECK, format!("{name}: {e}"), fix));
            }
        }
    }
    found.extend(behind(bus));
    if !small.is_empty() {
        let text = format!(
            "of {servers} servers fewer than {REPLICAS} keep {}: the loss of one may be its end",
            names(small)
        );
        found.push(Finding::warning(CHECK, text, "start a scheduler once with --replicas 3"));
    }
    if found.is_empty() {
        let there = bus.streams.iter().filter_map(|(_, stream)| stream.as_ref().ok());
        let bytes = whole(there.map(|stream| stream.bytes).sum());
        let text = format!("all {} are as expected, {bytes}", bus.streams.len());
        found.push(Finding::good(CHECK, text));
    }
    found
}

/// What is to be told of one stream.
fn of_stream(name: &str, stream: &Stream) -> Vec<Finding> {
    let mut found = Vec::new();
    if !stream.differences.is_empty() {
        let text = format!("{name}: {}", stream.differences.join("; "));
        let fix =
            format!("set it back: nats stream edit {name}; daemons that start refuse it as it is");
        found.push(Finding::wrong("streams", text, fix));
    }
    if !stream.changes.is_empty() {
        let text = format!("{name}: {}", stream.changes.join("; "));
        let fix = format!("if nobody means that: nats stream edit {name}");
        found.push(Finding::warning("streams", text, fix));
    }
    found
}

/// What is to be told of servers that do not have all that they are to keep.
fn behind(bus: &Bus) -> Option<Finding> {
    let there = || bus.streams.iter().filter_map(|(_, stream)| stream.as_ref().ok());
    let servers: BTreeSet<&str> =
        there().flat_map(|stream| &stream.behind).map(String::as_str).collect();
    if servers.is_empty() {
        return None;
    }
    let of = there().filter(|stream| !stream.behind.is_empty()).count();
    let servers = names(servers);
    let text = format!("replicas of {of} of {} are behind or away: {servers}", bus.streams.len());
    let fix = format!(
        "look at the log and the disk of {servers}; a server whose disk was full is started anew \
         once there is room"
    );
    Some(Finding::warning("streams", text, fix))
}

/// How much two clocks differ.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

fn clock(bus: &Bus) -> Option<Finding> {
    let last = bus.streams.iter().rev().find_map(|(_, stream)| stream.as_ref().ok()?.at)?;
    let apart = apart(last, bus.now);
    let seconds = apart.as_secs_f64();
    let text = format!("this machine's and the server's differ by {seconds:.1} s");
    Some(if apart > CLOCK_MAX {
        Finding::warning("clocks", text, "let a time service set both: chrony, systemd-timesyncd")
    } else {
        Finding::good("clocks", text)
    })
}
