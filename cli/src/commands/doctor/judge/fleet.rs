//! Schedulers and workers.

use std::time::Duration;

use dsbus_client::{Error, ServiceInfo};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::CGROUP;
use dsbus_schema::storage::Bucket;
use dsbus_schema::subject::{SERVICE, SERVICE_WORKER};
use dsbus_schema::worker::{Disk, Worker};

use super::super::facts::{Bus, Facts};
use super::super::finding::Finding;
use super::names;
use crate::describe::size::part;

/// Disks with less room than this are nearly full, in percent.
const DISK_MIN: u64 = 10;
/// Disks with less than this are full: logs and state are about to be lost.
const DISK_FULL: u64 = 2;
/// What a worker measures it tells within 10 s; by more than this its clock is behind.
const BEHIND_MAX: Duration = Duration::from_secs(60);
/// What it tells was measured before: a clock that is ahead shows sooner.
const AHEAD_MAX: Duration = Duration::from_secs(2);

pub(super) fn judge(facts: &Facts, bus: &Bus) -> Vec<Finding> {
    let mut found = Vec::new();
    // Where there is no JetStream, that was said; and of a bucket that is missing the streams tell.
    let stored = matches!(bus.account, Ok(_) | Err(Error::Denied { .. }));
    let denied = |(_, error): &&(Bucket, Error)| matches!(error, Error::Denied { .. });
    let hidden = bus.unread.iter().filter(denied).map(|(bucket, _)| bucket.name(&facts.fleet));
    let hidden: Vec<String> = hidden.collect();
    if !hidden.is_empty() {
        let text = format!("not known: {} may not read {}", facts.who(), names(hidden));
        let fix = "whoever may apply and set secrets sees the rest (users/admin of dsbus auth)";
        found.push(Finding::warning("unread", text, fix));
    }
    for (bucket, error) in bus.unread.iter().filter(|_| stored) {
        if !matches!(error, Error::NotProvisioned | Error::Denied { .. }) {
            let text = format!("{} cannot be read: {error}", bucket.name(&facts.fleet));
            let fix = "look at the server, and at what these credentials may do";
            found.push(Finding::wrong("streams", text, fix));
        }
    }
    found.push(schedulers(facts, bus));
    found.extend(workers(facts, bus));
    found.extend(versions(facts, bus));
    found
}

fn answering<'a>(bus: &'a Bus, service: &'a str) -> impl Iterator<Item = &'a ServiceInfo> {
    bus.services.iter().flatten().filter(move |info| info.service == service)
}

fn schedulers(facts: &Facts, bus: &Bus) -> Finding {
    const CHECK: &str = "schedulers";
    if let (Err(Error::Denied { .. }), Some(_)) = (&bus.services, &facts.role) {
        return Finding::good(CHECK, format!("not known: {} may not ask", facts.who()));
    }
    if let Err(e) = &bus.services {
        let text = format!("who answers is not known: {e}");
        return Finding::warning(CHECK, text, "permit these credentials to publish to $SRV.INFO");
    }
    let ids: Vec<&str> = answering(bus, SERVICE).map(|info| info.id.as_str()).collect();
    let [scheduler, _] = &facts.start;
    match ids.as_slice() {
        [] => Finding::wrong(
            CHECK,
            "none answers: what runs goes on, and nothing is moved, started or changed",
            format!("start one, on any machine that reaches the bus: {scheduler}"),
        ),
        [one] => Finding::warning(
            CHECK,
            format!("{one} is the only one"),
            format!("start another one on another machine: {scheduler}"),
        ),
        more => Finding::good(CHECK, format!("{} answer: {}", more.len(), names(more))),
    }
}

fn workers(facts: &Facts, bus: &Bus) -> Vec<Finding> {
    const CHECK: &str = "workers";
    // Without their touches nothing is known of who lives.
    if bus.unread.iter().any(|(bucket, _)| *bucket == Bucket::Fleet) && !bus.workers.is_empty() {
        let all = names(bus.workers.iter().map(|(worker, _)| &worker.name));
        let text = format!("{all}; which of them live is known to the schedulers: dsbus workers");
        return vec![Finding::good(CHECK, text)];
    }
    if bus.workers.is_empty() {
        // Where nothing could be read, that was said.
        let none = bus.unread.is_empty();
        let fix = format!("start one on each machine: {}", facts.start[1]);
        return none.then(|| Finding::warning(CHECK, "there is none", fix)).into_iter().collect();
    }
    let touched = |(worker, _): &&(Worker, Timestamp)| bus.touched.contains(&worker.name);
    let (there, away): (Vec<_>, Vec<_>) = bus.workers.iter().partition(touched);
    let lost = away.iter().map(|(worker, _)| worker).filter(|worker| !worker.stopping);
    let lost: Vec<&Worker> = lost.collect();
    let mut found = Vec::new();
    if !there.is_empty() {
        let all = names(there.iter().map(|(worker, _)| &worker.name));
        found.push(Finding::good(CHECK, format!("{} touch: {all}", there.len())));
    } else if lost.is_empty() {
        let fix = format!("start one: {}", facts.start[1]);
        found.push(Finding::warning(CHECK, "all are stopped", fix));
    }
    for worker in lost {
        let (name, host) = (&worker.name, &worker.host);
        let text = format!("{name} on {host} is lost: it no longer touches");
        let fix =
            format!("start it there: dsbus worker; if it is gone for good: dsbus forget {name}");
        found.push(Finding::wrong(CHECK, text, fix));
    }
    for (worker, written) in there {
        found.extend(worker.refuses.as_deref().map(|what| refuses(worker, what)));
        found.extend(clock(worker, *written));
        found.extend(worker.facts.disks.iter().filter_map(|disk| full(worker, disk)));
    }
    let bare = bus
        .workers
        .iter()
        .filter(touched)
        .filter(|(worker, _)| !worker.facilities.iter().any(|facility| facility == CGROUP));
    let bare: Vec<_> = bare.map(|(worker, _)| &worker.name).collect();
    if !bare.is_empty() {
        found.push(Finding::warning(
            "cgroups",
            format!("not on {}: limits of memory and processors cannot be kept there", names(bare)),
            "run the worker as root, or with Delegate=yes in its unit, on cgroup v2",
        ));
    }
    found
}

/// What it does not run, although a scheduler may have written it.
fn refuses(worker: &Worker, what: &str) -> Finding {
    let name = &worker.name;
    let fix = format!(
        "put the public keys of all schedulers into its signers_file (dsbus auth: users/{name}/signers); \
         it is read again within ten seconds. If no scheduler of yours wrote that, somebody forges: \
         dsbus events --type worker.REFUSED"
    );
    Finding::wrong("signers", format!("{name} refuses {what}"), fix)
}

/// Its own clock beside that of the server.
fn clock(worker: &Worker, written: Timestamp) -> Option<Finding> {
    let measured = worker.facts.at?;
    let (ahead, behind) = (measured.since(written), written.since(measured));
    let said = if ahead > AHEAD_MAX {
        format!("{:.0} s ahead of", ahead.as_secs_f64())
    } else if behind > BEHIND_MAX {
        format!("about {:.0} s behind", behind.as_secs_f64())
    } else {
        return None;
    };
    let text = format!("that of {} is {said} the server's", worker.name);
    Some(Finding::warning("clocks", text, "let a time service set it: chrony, systemd-timesyncd"))
}

fn full(worker: &Worker, disk: &Disk) -> Option<Finding> {
    let free = disk.available.saturating_mul(100).checked_div(disk.total)?;
    let used = disk.total.saturating_sub(disk.available);
    let text = format!("{} on {}: {}", disk.path, worker.name, part(used, disk.total));
    let fix = "make room there; dsbus clear empties logs of instances";
    match free {
        DISK_MIN.. => None,
        DISK_FULL.. => Some(Finding::warning("disks", text, fix)),
        _ => Some(Finding::wrong("disks", text, fix)),
    }
}

fn versions(facts: &Facts, bus: &Bus) -> Option<Finding> {
    let all = answering(bus, SERVICE).chain(answering(bus, SERVICE_WORKER));
    let other = all.filter(|info| info.version != facts.version);
    let other: Vec<String> = other.map(|info| format!("{} ({})", info.id, info.version)).collect();
    (!other.is_empty()).then(|| {
        let text = format!("this dsbus is {}; others are {}", facts.version, names(other));
        let fix = "upgrade schedulers first, then workers, then what people use";
        Finding::warning("versions", text, fix)
    })
}
