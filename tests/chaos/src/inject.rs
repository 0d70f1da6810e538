//! Doing a fault, and taking it back.
//!
//! Two faults are never done to the same processes or to the same network at once, so that one does
//! not take the other back; and never more than one NATS server is ill, so that two of three are
//! well. Everything else overlaps.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::Bucket;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::clock::{look, millis, nanos, now, rest};
use crate::daemon::Daemon;
use crate::fleet::{DEADLINE, Fleet, LOOK};
use crate::kind::{Act, Kind, Part, Role};
use crate::plan::Planned;
use crate::{Outcome, process, programs};

/// Packets of a hundred that a lossy link loses.
const LOST_PERCENT: u8 = 20;
/// What a slow link carries.
const SLOW_KILOBITS: u32 = 64;
/// How long a fault waits until somebody is free for it.
const FREE_MAX: Duration = Duration::from_secs(60);
/// How often somebody is looked for.
const TRIES: usize = 5;
/// Between two such looks.
const AGAIN: Duration = Duration::from_secs(1);
/// What a frozen worker's kernel timer did to it is no surprise until so long after the thaw.
const AFTER: Duration = Duration::from_secs(2);

/// A fault that was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Name of its kind.
    pub(crate) kind: String,
    /// On which host.
    pub(crate) host: String,
    /// To what.
    pub(crate) to: String,
    /// When, in nanoseconds on CLOCK_BOOTTIME.
    pub(crate) from: u64,
    /// When it was taken back, or what it ended was started again.
    pub(crate) until: u64,
    /// How long it was to last, in milliseconds.
    pub(crate) hold_ms: u64,
    /// No other fault was near.
    pub(crate) alone: bool,
}

/// Who is ill: `net:w1`, `daemon:w1`, `nats`.
#[derive(Debug, Default)]
pub(crate) struct Ill(Mutex<BTreeSet<String>>);

impl Ill {
    fn take(&self, what: &[String]) -> bool {
        let mut ill = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = what.iter().all(|one| !ill.contains(one));
        if free {
            ill.extend(what.iter().cloned());
        }
        free
    }

    fn release(&self, what: &[String]) {
        let mut ill = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in what {
            ill.remove(one);
        }
    }
}

/// Does a fault and takes it back. `None` when for a long time there was nobody to do it to.
pub(crate) async fn inject(
    fleet: &Arc<Fleet>,
    ill: &Ill,
    planned: &Planned,
    alone: bool,
) -> Outcome<Option<Done>> {
    for _ in 0..TRIES {
        if let Some(done) = once(fleet, ill, planned, alone).await? {
            return Ok(Some(done));
        }
        // The worker had no child, or no agent, for a moment.
        rest(AGAIN).await;
    }
    Ok(None)
}

async fn once(
    fleet: &Arc<Fleet>,
    ill: &Ill,
    planned: &Planned,
    alone: bool,
) -> Outcome<Option<Done>> {
    let found = look("somebody to be free", FREE_MAX, LOOK, async || {
        choose(fleet, ill, planned, alone).await.ok_or_else(String::new)
    });
    let Ok((daemon, taken)) = found.await else { return Ok(None) };
    let done = act(fleet, planned, &daemon).await;
    if planned.kind.role == Role::Nats {
        // A server that was cut off or frozen says for a moment that it is well.
        rest(AGAIN).await;
        look("NATS to be well again", DEADLINE, LOOK, async || fleet.healthy().await).await?;
    }
    ill.release(&taken);
    let Some((to, from, until)) = done? else { return Ok(None) };
    let hold_ms = millis(0, nanos(planned.hold));
    let host = daemon.host.clone();
    Ok(Some(Done { kind: planned.kind.name.to_owned(), host, to, from, until, hold_ms, alone }))
}

async fn choose(
    fleet: &Fleet,
    ill: &Ill,
    planned: &Planned,
    alone: bool,
) -> Option<(Arc<Daemon>, Vec<String>)> {
    let all = match planned.kind.role {
        Role::Nats => &fleet.nats,
        Role::Scheduler => &fleet.schedulers,
        Role::Worker => &fleet.workers,
    };
    let leads = matches!(planned.kind.act, Act::Kill(Part::Leader) | Act::Freeze(Part::Leader));
    let candidates: Vec<Arc<Daemon>> = if leads {
        let stream = Bucket::Fleet.stream(&FleetName::default());
        fleet.leader(&stream).await.into_iter().collect()
    } else {
        let first = planned.which % all.len();
        all[first..].iter().chain(&all[..first]).cloned().collect()
    };
    let mut candidates = candidates;
    if matches!(planned.kind.act, Act::Kill(Part::Child) | Act::Freeze(Part::Child)) {
        candidates.retain(|daemon| !children(fleet, daemon).is_empty());
    }
    if alone && planned.kind.role == Role::Worker {
        // Where nothing runs, there is nothing to measure.
        candidates.sort_by_key(|daemon| std::cmp::Reverse(children(fleet, daemon).len()));
    }
    let running = candidates.into_iter().filter(|daemon| daemon.pid().is_some());
    running
        .map(|daemon| (parts(planned.kind, &daemon.host), daemon))
        .find_map(|(parts, daemon)| ill.take(&parts).then_some((daemon, parts)))
}

/// What a fault of this kind needs for itself.
fn parts(kind: &Kind, host: &str) -> Vec<String> {
    let (net, daemon, child) =
        (format!("net:{host}"), format!("daemon:{host}"), format!("child:{host}"));
    let mut parts = match kind.act {
        Act::Cut(_) | Act::Lose | Act::Slow => vec![net],
        Act::Kill(Part::Child) | Act::Freeze(Part::Child) => vec![child],
        Act::Kill(_) | Act::Freeze(_) | Act::Term => vec![daemon, child],
    };
    if kind.role == Role::Nats {
        parts.push("nats".to_owned());
    }
    parts
}

/// To what it was done, from when, until when.
type Moments = (String, u64, u64);

async fn act(fleet: &Fleet, planned: &Planned, daemon: &Daemon) -> Outcome<Option<Moments>> {
    let hosts = &fleet.hosts;
    let from = now();
    let to = match planned.kind.act {
        Act::Cut(way) => {
            hosts.cut(&daemon.host, way)?;
            "network"
        }
        Act::Lose => {
            hosts.lose(&daemon.host, LOST_PERCENT)?;
            "network"
        }
        Act::Slow => {
            hosts.slow(&daemon.host, SLOW_KILOBITS)?;
            "network"
        }
        Act::Kill(Part::Child) | Act::Freeze(Part::Child) => {
            return child(fleet, planned, daemon).await;
        }
        Act::Kill(Part::Agent) | Act::Freeze(Part::Agent) => return agent(planned, daemon).await,
        Act::Kill(part) => return end(planned, daemon, Signal::SIGKILL, part).await.map(Some),
        Act::Term => {
            return end(planned, daemon, Signal::SIGTERM, Part::Supervisor).await.map(Some);
        }
        Act::Freeze(part) => return freeze(fleet, planned, daemon, part).await.map(Some),
    };
    rest(planned.hold).await;
    hosts.heal(&daemon.host)?;
    Ok(Some((to.to_owned(), from, now())))
}

/// Children on a worker that nobody commands.
fn children(fleet: &Fleet, daemon: &Daemon) -> Vec<i32> {
    let here = daemon.pid().map(|pid| Fleet::below(pid).1).unwrap_or_default();
    let all = process::witnesses(&fleet.directory).into_iter();
    let ours = all.filter(|(pid, instance)| here.contains(pid) && programs::always_runs(instance));
    ours.map(|(pid, _)| pid).collect()
}

async fn child(fleet: &Fleet, planned: &Planned, daemon: &Daemon) -> Outcome<Option<Moments>> {
    let children = children(fleet, daemon);
    let Some(pid) = children.get(planned.which % children.len().max(1)).copied() else {
        return Ok(None);
    };
    Ok(Some(strike(planned, pid, "child").await))
}

async fn agent(planned: &Planned, daemon: &Daemon) -> Outcome<Option<Moments>> {
    let Some(pid) = daemon.pid().and_then(|pid| Fleet::below(pid).0) else { return Ok(None) };
    Ok(Some(strike(planned, pid, "agent").await))
}

async fn strike(planned: &Planned, pid: i32, what: &str) -> Moments {
    let from = now();
    if matches!(planned.kind.act, Act::Kill(_)) {
        process::signal(pid, Signal::SIGKILL);
    } else {
        process::signal(pid, Signal::SIGSTOP);
        rest(planned.hold).await;
        process::signal(pid, Signal::SIGCONT);
    }
    (format!("{what} {pid}"), from, now())
}

async fn end(planned: &Planned, daemon: &Daemon, signal: Signal, part: Part) -> Outcome<Moments> {
    let agent = daemon.pid().and_then(|pid| Fleet::below(pid).0);
    daemon.fault_begins();
    daemon.again(Some(planned.hold));
    let before = daemon.pid();
    let from = now();
    daemon.signal(signal);
    if part == Part::Daemon
        && let Some(agent) = agent
    {
        process::signal(agent, Signal::SIGKILL);
    }
    let what = format!("{} to run again", daemon.name);
    let back = look(&what, DEADLINE + planned.hold, LOOK, async || {
        if daemon.pid().is_some() && daemon.pid() != before { Ok(()) } else { Err(String::new()) }
    });
    let back = back.await;
    daemon.as_usual();
    daemon.fault_ends();
    back?;
    Ok((daemon.name.clone(), from, now()))
}

async fn freeze(fleet: &Fleet, planned: &Planned, daemon: &Daemon, part: Part) -> Outcome<Moments> {
    daemon.fault_begins();
    let pid = daemon.pid();
    let agent = pid.and_then(|pid| Fleet::below(pid).0);
    let from = now();
    let whole = part == Part::Machine;
    let stopped: Vec<i32> = match (pid, part) {
        (Some(pid), Part::Machine) if fleet.hosts.freezes() => {
            fleet.hosts.freeze(&daemon.host)?;
            vec![pid]
        }
        // The parent first: it would notice.
        (Some(pid), Part::Machine) => process::tree(pid),
        (Some(pid), Part::Daemon) => [Some(pid), agent].into_iter().flatten().collect(),
        (Some(pid), _) => vec![pid],
        (None, _) => Vec::new(),
    };
    let by_freezer = whole && fleet.hosts.freezes();
    if !by_freezer {
        for pid in &stopped {
            process::signal(*pid, Signal::SIGSTOP);
        }
    }
    rest(planned.hold).await;
    let until = now();
    if by_freezer {
        fleet.hosts.thaw(&daemon.host)?;
    } else {
        for pid in stopped.iter().rev() {
            process::signal(*pid, Signal::SIGCONT);
        }
    }
    rest(AFTER).await;
    daemon.fault_ends();
    Ok((daemon.name.clone(), from, until))
}
