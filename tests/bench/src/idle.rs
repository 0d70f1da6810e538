//! What a worker costs when nothing happens: memory, and how often it wakes up.

use std::time::Duration;

use crate::clock::rest;
use crate::fleet::{self, Fleet};
use crate::report::{Limit, Report, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, float, proc};

/// Instances at which it is looked at. The last is for memory only.
const SIZES: [usize; 3] = [0, 100, 1000];
/// What was started is told, and what was freed is free.
const SETTLE: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(30);
const BASE_MIB_MAX: f64 = 15.0;
const INSTANCE_KIB_MAX: f64 = 16.0;

/// A worker's two processes, at rest.
struct Seen {
    supervisor_kib: u32,
    agent_kib: u32,
    /// Wake-ups per second, of the supervisor and of the agent.
    wakes: Option<(f64, f64)>,
}

impl Seen {
    fn kib(&self) -> f64 {
        f64::from(self.supervisor_kib + self.agent_kib)
    }
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let fleet = Fleet::start(1, 1)?;
    let watched = if setting.short { Duration::from_secs(2) } else { WATCHED };
    let mut report = Report::default();
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for size in SIZES {
        if size > 0 {
            let sleep = ["sleep", "1000000"].map(str::to_owned);
            fleet.apply(&fleet::program("rest", &sleep, &format!("numprocs = {size}")))?;
        }
        let seen = ours_at(&fleet, (size < 1000).then_some(watched))?;
        let at = format!("at {size} instances");
        let mut row = |what: &str, unit, number| {
            report.row(Who::Ours, &format!("{what}, {at}"), unit, vec![number]);
        };
        row("memory of both processes", "MiB", seen.kib() / 1024.0);
        row("memory of the supervisor", "MiB", f64::from(seen.supervisor_kib) / 1024.0);
        row("memory of the agent", "MiB", f64::from(seen.agent_kib) / 1024.0);
        if let Some((supervisor, agent)) = seen.wakes {
            row("wake-ups of the supervisor", "1/s", supervisor);
            row("wake-ups of the agent", "1/s", agent);
        }
        ours.push(seen.kib());
        if setting.peer {
            match peer_at(size) {
                Ok(kib) => {
                    let what = format!("memory of supervisord, {at}");
                    report.row(Who::Peer, &what, "MiB", vec![kib / 1024.0]);
                    peer.push(kib);
                }
                Err(why) => report.missing.push(format!("Supervisor: {why}")),
            }
        } else {
            report.missing.push("Supervisor: left out".to_owned());
        }
    }
    let per_instance = |kib: &[f64]| (kib[2] - kib[1]) / float(SIZES[2] - SIZES[1]);
    report.goal("MiB, no instance", ours[0] / 1024.0, Some(Limit::AtMost(BASE_MIB_MAX)));
    let limit = Some(Limit::AtMost(INSTANCE_KIB_MAX));
    report.goal("KiB per further instance", per_instance(&ours), limit);
    if peer.len() == SIZES.len() {
        report.goal("KiB per further instance, Supervisor", per_instance(&peer), None);
    }
    Ok(report)
}

fn ours_at(fleet: &Fleet, watched: Option<Duration>) -> Outcome<Seen> {
    let (supervisor, agent) = fleet.pids("w1")?;
    rest(SETTLE);
    let wakes = watched.map(|watched| -> Outcome<_> {
        let before = (proc::wakes(supervisor)?, proc::wakes(agent)?);
        rest(watched);
        let per_second = |n: u32| f64::from(n) / watched.as_secs_f64();
        let supervisor = per_second(proc::wakes(supervisor)?.saturating_sub(before.0));
        Ok((supervisor, per_second(proc::wakes(agent)?.saturating_sub(before.1))))
    });
    let wakes = wakes.transpose()?;
    Ok(Seen { supervisor_kib: proc::pss(supervisor)?, agent_kib: proc::pss(agent)?, wakes })
}

fn peer_at(size: usize) -> Outcome<f64> {
    supervisor::version()?;
    let sleep = ["sleep", "1000000"].map(str::to_owned);
    let copies = format!("numprocs={size}");
    let programs =
        if size == 0 { String::new() } else { supervisor::program("rest", &sleep, &copies) };
    let supervisor = Supervisor::start_in(&std::env::temp_dir(), size, &programs)?;
    crate::clock::look("supervisord to start all", fleet::DEADLINE, SETTLE / 10, || {
        Ok((supervisor.told_running()? >= size).then_some(()))
    })?;
    rest(SETTLE);
    Ok(f64::from(proc::pss(supervisor.pid()?)?))
}
