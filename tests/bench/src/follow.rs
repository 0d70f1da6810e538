//! How much output goes over the bus to `dsbus logs -f`, and whether that slows the restart of
//! another child of the same worker.
//!
//! How fast: the child is `cat` of a file in the cache of the machine, which writes as fast as it can
//! into a log that rotates; the time is from its birth until the follower has written its last byte.
//! The follower's own output goes to /dev/null, and the kernel counts it.
//!
//! What it costs others: a child writes at a pace, and children beside it are killed and restarted,
//! in turn without the other child, with it, and with a follower of it.
//!
//! The peer is `supervisorctl tail -f` of a child at the same pace, into a log that does not rotate,
//! since it loses what a rotation moves. It is not given a child as fast as it can: the more it has
//! to send, the slower it gets.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::births::{Births, Born};
use crate::clock::{look, millis, now, rest};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, beside, float, floor, output, proc};

const MIB: usize = 512;
const ROUNDS: usize = 5;
/// In MB/s, of a child that writes as fast as it can; and the pace of the other one.
const GOAL: f64 = 50.0;
const PACE: &str = "50";
/// Between two looks at what a follower has written.
const LOOK: Duration = Duration::from_millis(2);
/// Rounds of the peer, and for how long each is looked at.
const PEER_ROUNDS: usize = 3;
const PEER_TIME: Duration = Duration::from_secs(10);

/// Children that take turns; see `restart`.
const CHILDREN: usize = 12;
const REST: Duration = Duration::from_millis(110);
/// Restarts in a row.
const BLOCK: usize = 25;
const BLOCKS: usize = 6;
/// What a follower may make of the median time of a restart.
const RATIO_GOAL: f64 = 1.25;
/// And by how much it may delay the slowest of a hundred, as a flood may (see `flood`).
const GOAL_MS: f64 = 10.0;
/// Less than this of what was written is no following.
const SHARE_GOAL: f64 = 0.97;

const CARRIED: &str = "carried, of a child at 50 MB/s";
const RESTART: &str = "kill -9 to the new child";

/// Something that follows a log.
struct Follower(Child);

impl Follower {
    fn start(mut command: Command) -> Outcome<Follower> {
        let command = command.stdin(Stdio::null()).stderr(Stdio::null());
        Ok(Follower(command.stdout(File::options().write(true).open("/dev/null")?).spawn()?))
    }

    /// How much it has written, in bytes; nearly all of it is what it shows.
    fn carried(&self) -> Outcome<u64> {
        proc::written(i32::try_from(self.0.id())?)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn follow(fleet: &Fleet, name: &str) -> Outcome<Follower> {
    let follower = Follower::start(fleet.command(&["logs", "-f", "-n", "1", name]))?;
    // A line that was there, or the first that comes.
    look("the follower to follow", DEADLINE, Duration::from_millis(20), || {
        Ok((follower.carried()? > 0).then_some(()))
    })?;
    rest(Duration::from_millis(500));
    Ok(follower)
}

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    rates(setting, &mut report)?;
    let measured = restarts(setting)?;
    tell(setting, &mut report, measured);
    Ok(report)
}

/// MB per second.
fn rate(bytes: u64, length: Duration) -> Outcome<f64> {
    Ok(float(usize::try_from(bytes)?) / 1e6 / length.as_secs_f64())
}

fn rates(setting: Setting, report: &mut Report) -> Outcome<()> {
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let (source, mib) = (fleet.path().join("source"), setting.rounds(MIB, 16));
    output::fill(&source, mib)?;
    let bytes = u64::try_from(mib)? * 1024 * 1024;
    let command = births.command("ours", &["cat", &source.display().to_string()]);
    let keys = "autostart = false\nautorestart = false\nstdout_logfile_maxbytes = \"50MB\"\n\
                stdout_logfile_backups = 20";
    fleet.apply(&fleet::program("talker", &command, keys))?;
    let mut ours = Vec::new();
    for _ in 0..setting.rounds(ROUNDS, 1) {
        ours.push(our_round(&births, &fleet, bytes)?);
        output::settle();
    }
    let ours = report.row(Who::Ours, "carried, of a child as fast as it can", "MB/s", ours);
    if let Some(ours) = ours {
        report.goal("MB/s carried, p50", ours.median(), Some(Limit::AtLeast(GOAL)));
    }
    Ok(())
}

fn our_round(births: &Births, fleet: &Fleet, bytes: u64) -> Outcome<f64> {
    let logs = fleet.logs("w1", "talker:0");
    let follower = Follower::start(fleet.command(&["logs", "-f", "-n", "0", "talker:0"]))?;
    // Nothing is there to be seen; it needs no second to come that far.
    rest(Duration::from_secs(2));
    let before = follower.carried()?;
    fleet.run(&["start", "--no-wait", "talker"])?;
    let begun = births.next("ours")?.at;
    let ended = look("all output to be carried", DEADLINE, LOOK, || {
        let at = now();
        Ok((follower.carried()? - before >= bytes).then_some(at))
    })?;
    drop(follower);
    look("the talker to have ended", DEADLINE, Duration::from_millis(50), || {
        let rows = fleet.rows(&["status", "talker"])?;
        Ok(rows.iter().all(|row| row["state"] == "EXITED").then_some(()))
    })?;
    output::empty(&logs, "stdout.log")?;
    rate(bytes, ended.since(begun))
}

/// What the peer carries of a child at the pace, in MB/s.
fn peers(setting: Setting) -> Outcome<Vec<f64>> {
    supervisor::version()?;
    let births = Births::listen()?;
    (0..setting.rounds(PEER_ROUNDS, 1)).map(|_| peer_round(setting, &births)).collect()
}

fn peer_round(setting: Setting, births: &Births) -> Outcome<f64> {
    let name = "paced:paced_0000";
    let keys = "autostart=false\nautorestart=false\nstdout_logfile=%(here)s/paced.log\n\
                stdout_logfile_maxbytes=0";
    let command = births.command("peer", &[&pacer()?, PACE]);
    let supervisor = Supervisor::start(&supervisor::program("paced", &command, keys))?;
    // It follows no log that is not there yet.
    File::create(supervisor.path("paced.log"))?;
    let follower = Follower::start(supervisor.control(&["tail", "-f", name])?)?;
    rest(Duration::from_secs(2));
    let wait = "<param><value><boolean>0</boolean></value></param>";
    let text = supervisor::text(name);
    supervisor.call("supervisor.startProcess", &format!("{text}{wait}"))?;
    births.next("peer")?;
    rest(Duration::from_secs(1));
    let (before, begun) = (follower.carried()?, now());
    rest(if setting.short { Duration::from_secs(1) } else { PEER_TIME });
    rate(follower.carried()? - before, now().since(begun))
}

fn pacer() -> Outcome<String> {
    Ok(beside("bench-pacer")?.display().to_string())
}

struct Stage {
    births: Births,
    fleet: Fleet,
    victims: Vec<Born>,
    turn: usize,
}

impl Stage {
    fn block(&mut self, count: usize) -> Outcome<Vec<f64>> {
        (0..count).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> Outcome<f64> {
        rest(REST);
        self.turn = (self.turn + 1) % CHILDREN;
        let begun = now();
        floor::shoot(self.victims[self.turn].pid)?;
        let born = self.births.next("victim")?;
        self.victims[self.turn] = born;
        Ok(millis(born.at.since(begun)))
    }
}

/// What came of restarts, and of following meanwhile.
#[derive(Default)]
struct Measured {
    calm: Vec<f64>,
    alone: Vec<f64>,
    followed: Vec<f64>,
    rates: Vec<f64>,
    shares: Vec<f64>,
}

fn restarts(setting: Setting) -> Outcome<Measured> {
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let victims = format!("numprocs = {CHILDREN}");
    let command = births.command("paced", &[&pacer()?, PACE]);
    fleet.apply(
        &(fleet::program("victim", &births.command("victim", &[]), &victims)
            + &fleet::program("paced", &command, "autostart = false")),
    )?;
    let victims = births.take("victim", CHILDREN)?;
    let mut stage = Stage { births, fleet, victims, turn: 0 };
    rest(Duration::from_secs(1));
    let mut measured = Measured::default();
    let block = setting.rounds(BLOCK, 5);
    for _ in 0..setting.rounds(BLOCKS, 1) {
        measured.calm.extend(stage.block(block)?);
        stage.fleet.run(&["start", "--no-wait", "paced"])?;
        let child = stage.births.next("paced")?.pid;
        rest(Duration::from_secs(1));
        measured.alone.extend(stage.block(block)?);
        let reader = follow(&stage.fleet, "paced:0")?;
        let (before, carried, begun) = (proc::written(child)?, reader.carried()?, now());
        measured.followed.extend(stage.block(block)?);
        let (carried, length) = (reader.carried()? - carried, now().since(begun));
        let written = proc::written(child)? - before;
        drop(reader);
        stage.fleet.run(&["stop", "paced"])?;
        measured.rates.push(rate(carried, length)?);
        measured.shares.push(rate(carried, length)? / rate(written, length)?);
    }
    Ok(measured)
}

fn tell(setting: Setting, report: &mut Report, measured: Measured) {
    let of = |samples: &Option<Samples>, percent| {
        samples.as_ref().map(|samples| samples.percentile(percent))
    };
    let mut restart =
        |when: &str, times| report.row(Who::Ours, &format!("{RESTART}, {when}"), "ms", times);
    let calm = restart("calm", measured.calm);
    let alone = restart(&format!("{PACE} MB/s written"), measured.alone);
    let followed = restart("and followed", measured.followed);
    let rates = report.row(Who::Ours, CARRIED, "MB/s", measured.rates);
    if setting.peer {
        match peers(setting) {
            Ok(peers) => {
                let peers = report.row(Who::Peer, CARRIED, "MB/s", peers);
                report.ratio("Supervisor / dsbus, carried", (of(&peers, 50), of(&rates, 50)), None);
            }
            Err(why) => report.missing.push(format!("Supervisor: {why}")),
        }
    } else {
        report.missing.push("Supervisor: left out".to_owned());
    }
    if let Some(share) = Samples::new(measured.shares) {
        let limit = Some(Limit::AtLeast(SHARE_GOAL));
        report.goal("share of what was written meanwhile, p50", share.median(), limit);
    }
    let limit = Some(Limit::AtMost(RATIO_GOAL));
    let both = |percent| (of(&followed, percent), of(&alone, percent));
    report.ratio("restart, followed / not followed, p50", both(50), limit);
    report.ratio("restart, followed / not followed, p90", both(90), None);
    report.ratio("restart, not followed / calm, p50", (of(&alone, 50), of(&calm, 50)), None);
    if let (Some(with), Some(without)) = both(99) {
        let limit = Some(Limit::AtMost(GOAL_MS));
        report.goal("ms more with a follower, p99", with - without, limit);
    }
}
