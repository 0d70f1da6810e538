//! How long after a kill -9 of a child its successor runs.
//!
//! All three start the same child, which itself says since when it runs: the time includes fork,
//! exec and the loading of the child, which nobody can save. The floor is told of the death by
//! `waitpid` and starts the next one at once.

use std::time::Duration;

use crate::births::Births;
use crate::clock::{millis, now, rest};
use crate::fleet::{self, Fleet};
use crate::floor::{self, Floor};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting};

/// Children that take turns: each rests for longer than a second, below which a supervisor may
/// rightly take a child for one that cannot run.
const CHILDREN: usize = 20;
/// Between two rounds.
const REST: Duration = Duration::from_millis(60);
/// Ours and the floor may take so many times as long.
const GOAL: f64 = 2.0;
/// The peer takes a second for each; it is measured in every tenth round.
const PEER_EVERY: usize = 10;

const WHAT: &str = "kill -9 to the new child";

/// Whose child is killed, and what kills and waits.
struct Sides {
    births: Births,
    floor: Floor,
    floor_child: nix::unistd::Pid,
    _fleet: Fleet,
    ours: Vec<i32>,
    peer: Result<(Supervisor, i32), String>,
}

impl Sides {
    fn start(setting: Setting) -> Outcome<Sides> {
        let births = Births::listen()?;
        let floor = Floor::new(&births.command("floor", &[]))?;
        let floor_child = floor.spawn()?;
        births.next("floor")?;
        let fleet = Fleet::start(1, 1)?;
        let copies = format!("numprocs = {CHILDREN}");
        fleet.apply(&fleet::program("victim", &births.command("ours", &[]), &copies))?;
        let ours = births.take("ours", CHILDREN)?.iter().map(|born| born.pid).collect();
        let peer = if setting.peer {
            start_peer(&births).map_err(|e| e.to_string())
        } else {
            Err("left out".to_owned())
        };
        Ok(Sides { births, floor, floor_child, _fleet: fleet, ours, peer })
    }

    fn floor(&mut self) -> Outcome<f64> {
        let begun = now();
        floor::end(self.floor_child)?;
        self.floor_child = self.floor.spawn()?;
        Ok(millis(self.births.next("floor")?.at.since(begun)))
    }

    fn ours(&mut self, round: usize) -> Outcome<f64> {
        let victim = &mut self.ours[round % CHILDREN];
        let begun = now();
        floor::shoot(*victim)?;
        let born = self.births.next("ours")?;
        *victim = born.pid;
        Ok(millis(born.at.since(begun)))
    }

    fn peer(&mut self) -> Option<Outcome<f64>> {
        let (_, victim) = self.peer.as_mut().ok()?;
        let begun = now();
        let born = floor::shoot(*victim).and_then(|()| self.births.next("peer"));
        Some(born.map(|born| {
            *victim = born.pid;
            millis(born.at.since(begun))
        }))
    }
}

fn start_peer(births: &Births) -> Outcome<(Supervisor, i32)> {
    supervisor::version()?;
    let command = births.command("peer", &[]);
    let supervisor =
        Supervisor::start(&supervisor::program("victim", &command, "autorestart=true"))?;
    let pid = births.next("peer")?.pid;
    Ok((supervisor, pid))
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut sides = Sides::start(setting)?;
    let mut report = Report::default();
    if let Err(why) = &sides.peer {
        report.missing.push(format!("Supervisor: {why}"));
    }
    // After the warmth of the start, as in a fleet that has been running.
    rest(Duration::from_secs(1));
    let rounds = setting.rounds(200, 10);
    let (mut floor, mut ours, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        floor.push(sides.floor()?);
        rest(REST);
        ours.push(sides.ours(round)?);
        rest(REST);
        if round % PEER_EVERY == 0 {
            peer.extend(sides.peer().transpose()?);
        }
    }
    floor::end(sides.floor_child)?;
    let ours = report.row(Who::Ours, WHAT, "ms", ours);
    let peer = if peer.is_empty() { None } else { report.row(Who::Peer, WHAT, "ms", peer) };
    let floor = report.row(Who::Floor, WHAT, "ms", floor);
    let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
    let both = (median(&ours), median(&floor));
    report.ratio("dsbus / floor, p50", both, Some(Limit::AtMost(GOAL)));
    if peer.is_some() {
        report.ratio("Supervisor / floor, p50", (median(&peer), both.1), None);
    }
    Ok(report)
}
