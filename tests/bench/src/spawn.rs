//! A thousand instances by one `apply`: until each is told to be RUNNING, and what of that time is
//! placing, forking and telling.
//!
//! The floor is a bare loop of `posix_spawn`; nobody places, watches or tells anything there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::births::{Births, Born};
use crate::clock::{Moment, look, millis, now, rest};
use crate::ear::{Ear, Heard};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::floor::{self, Floor};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, float};

const INSTANCES: usize = 1000;
const ROUNDS: usize = 5;
/// Of the floor's rate.
const GOAL: f64 = 0.6;
/// Between two looks at what a listener or a log has heard: cheap, and not of the daemons' time.
const LOOK: Duration = Duration::from_millis(2);
/// Between rounds: what ended a thousand children ago is swept up.
const REST: Duration = Duration::from_secs(1);

/// One round of one side, from its beginning.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Until the last child ran.
    born: Duration,
    /// Until the last was told to be RUNNING; for the floor, until the last `posix_spawn` returned.
    told: Duration,
}

/// What is known of ours besides.
#[derive(Debug, Default)]
struct Parts {
    placed: Vec<f64>,
    first_born: Vec<f64>,
    written: Vec<f64>,
    applied: Vec<f64>,
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let births = Births::listen()?;
    let room = room();
    let fleet = Fleet::start_in(&room, 1, 1)?;
    let ear = Ear::listen(fleet.nats.port())?;
    let instances = setting.rounds(INSTANCES, 50);
    let mut report = Report::default();
    let mut peer_missing = (!setting.peer).then(|| "left out".to_owned());
    let (mut floor, mut ours, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts = Parts::default();
    for round in 0..setting.rounds(ROUNDS, 1) {
        floor.push(floor_round(&births, instances)?);
        rest(REST);
        let name = format!("many{round}");
        ours.push(our_round(&births, &fleet, &ear, (&name, instances), &mut parts)?);
        rest(REST);
        if peer_missing.is_none() {
            match peer_round(&births, &room, instances) {
                Ok(round) => peer.push(round),
                Err(why) => peer_missing = Some(why.to_string()),
            }
        }
        rest(REST);
    }
    let sides = [(Who::Ours, ours), (Who::Peer, peer), (Who::Floor, floor)];
    rows(&mut report, instances, &sides, parts);
    report.missing.extend(peer_missing.map(|why| format!("Supervisor: {why}")));
    Ok(report)
}

/// Where notes and logs are. Rounds delete thousands of them, and some file systems (ext4 without
/// a journal) then search for minutes among what was deleted: that would be the noise of the bench
/// itself. In memory there is none.
fn room() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn rows(report: &mut Report, instances: usize, sides: &[(Who, Vec<Round>)], parts: Parts) {
    let measured = || sides.iter().filter(|(_, rounds)| !rounds.is_empty());
    let mut medians = [None; 3];
    for (who, rounds) in measured() {
        let rates = rounds.iter().map(|round| float(instances) / round.told.as_secs_f64());
        let samples = report.row(*who, "all RUNNING (floor: spawned)", "1/s", rates.collect());
        medians[*who as usize] = samples.as_ref().map(Samples::median);
    }
    let times = |of: fn(&Round) -> Duration, rounds: &[Round]| -> Vec<f64> {
        rounds.iter().map(|round| millis(of(round))).collect()
    };
    for (who, rounds) in measured() {
        report.row(*who, "to the last child's first line", "ms", times(|r| r.born, rounds));
    }
    for (who, rounds) in measured() {
        report.row(*who, "to the last RUNNING (floor: spawned)", "ms", times(|r| r.told, rounds));
    }
    for (what, numbers) in [
        ("to the last placement on the bus", parts.placed),
        ("to the first child's first line", parts.first_born),
        ("to the last status RUNNING on the bus", parts.written),
        ("to the end of `dsbus apply`", parts.applied),
    ] {
        report.row(Who::Ours, what, "ms", numbers);
    }
    let [ours, peer, floor] = medians;
    report.ratio("rate: dsbus / floor", (ours, floor), Some(Limit::AtLeast(GOAL)));
    if peer.is_some() {
        report.ratio("rate: Supervisor / floor", (peer, floor), None);
    }
}

fn last(born: &[Born]) -> Moment {
    born.iter().map(|born| born.at).max().unwrap_or(Moment(Duration::ZERO))
}

fn floor_round(births: &Births, instances: usize) -> Outcome<Round> {
    let floor = Floor::new(&births.command("floor", &[]))?;
    let begun = now();
    let children = (0..instances).map(|_| floor.spawn()).collect::<Outcome<Vec<_>>>()?;
    let told = now().since(begun);
    let born = last(&births.take("floor", instances)?).since(begun);
    for child in children {
        floor::end(child)?;
    }
    Ok(Round { born, told })
}

fn our_round(
    births: &Births,
    fleet: &Fleet,
    ear: &Ear,
    (name, instances): (&str, usize),
    parts: &mut Parts,
) -> Outcome<Round> {
    let tag = format!("ours-{name}");
    let copies = format!("numprocs = {instances}");
    let declared = fleet::program(name, &births.command(&tag, &[]), &copies);
    let mine = format!(".{name}.");
    let placement = |h: &Heard| h.subject.starts_with("$KV.dsbus_fleet.w1.");
    let event = |h: &Heard| h.running && h.subject.contains(".event.");
    let status = |h: &Heard| h.running && h.subject.starts_with("$KV.dsbus_status.");
    let all = |of: &dyn Fn(&Heard) -> bool| {
        look("everything to be told", DEADLINE, LOOK, || {
            let (count, last) = ear.last(|h| h.subject.contains(&mine) && of(h));
            Ok(last.filter(|_| count >= instances))
        })
    };
    ear.forget();
    let begun = now();
    fleet.apply(&declared)?;
    parts.applied.push(millis(now().since(begun)));
    let born = births.take(&tag, instances)?;
    let told = all(&event)?;
    parts.written.push(millis(all(&status)?.since(begun)));
    parts.placed.push(millis(all(&placement)?.since(begun)));
    let first = born.iter().map(|born| born.at).min().ok_or("none was born")?;
    parts.first_born.push(millis(first.since(begun)));
    fleet.remove(name)?;
    Ok(Round { born: last(&born).since(begun), told: told.since(begun) })
}

/// As a person adds a program to a supervisord that runs: `supervisorctl update`, without the start
/// of a Python for it.
fn peer_round(births: &Births, room: &Path, instances: usize) -> Outcome<Round> {
    supervisor::version()?;
    let supervisor = Supervisor::start_in(room, instances, "")?;
    let copies = format!("numprocs={instances}\nautostart=true");
    let declared = supervisor::program("many", &births.command("peer", &[]), &copies);
    std::fs::write(supervisor.path("programs.ini"), declared)?;
    let begun = now();
    supervisor.call("supervisor.reloadConfig", "")?;
    supervisor.call("supervisor.addProcessGroup", &supervisor::text("many"))?;
    let born = births.take("peer", instances)?;
    let told = look("supervisord to tell of all", DEADLINE, LOOK, || {
        Ok((supervisor.told_running()? >= instances).then(now))
    })?;
    Ok(Round { born: last(&born).since(begun), told: told.since(begun) })
}
