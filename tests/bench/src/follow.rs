//! How much output goes over the bus to `dsbus logs -f`, and whether that slows the restart of
//! another child of the same worker.
//!
//! How fast: the child is `cat` of a file in the cache of the machine, which writes as fast as it can
//! into a log that rotates; the time is from its birth until the follower has written its last byte.
//! The follower's own output goes to /dev/null, and the kernel counts it. `supervisorctl tail -f` does
//! the same for Supervisor, of a log that does not rotate, since it loses what a rotation moves.
//!
//! What it costs others: a child writes at a pace, and children beside it are killed and restarted,
//! in turn without the other child, with it, and with a follower of it.

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
/// The peer carries less in the same time.
const PEER_MIB: usize = 64;
const ROUNDS: usize = 5;
/// In MB/s, of a child that writes as fast as it can; and the pace of the other one.
const GOAL: f64 = 50.0;
const PACE: &str = "50";
/// Between two looks at what a follower has written.
const LOOK: Duration = Duration::from_millis(2);
/// How long the peer may take for a round; then what it has carried counts.
const PEER_MAX: Duration = Duration::from_secs(30);

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

const RATE: &str = "carried to a follower, of a child as fast as it can";
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
    restarts(setting, &mut report)?;
    Ok(report)
}

/// MB per second.
fn rate(bytes: u64, length: Duration) -> Outcome<f64> {
    Ok(float(usize::try_from(bytes)?) / 1e6 / length.as_secs_f64())
}

fn rates(setting: Setting, report: &mut Report) -> Outcome<()> {
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let source = |name: &str, mib: usize| -> Outcome<(String, u64)> {
        let path = fleet.path().join(name);
        output::fill(&path, mib)?;
        Ok((path.display().to_string(), u64::try_from(mib)? * 1024 * 1024))
    };
    let (path, bytes) = source("source", setting.rounds(MIB, 16))?;
    let (peer_path, peer_bytes) = source("peer", setting.rounds(PEER_MIB, 4))?;
    let keys = "autostart = false\nautorestart = false\nstdout_logfile_maxbytes = \"50MB\"\n\
                stdout_logfile_backups = 20";
    let command = births.command("ours", &["cat", &path]);
    fleet.apply(&fleet::program("talker", &command, keys))?;
    let mut peer =
        setting.peer.then(|| start_peer(&births, &["cat", &peer_path]).map_err(|e| e.to_string()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..setting.rounds(ROUNDS, 1) {
        ours.push(our_round(&births, &fleet, bytes)?);
        output::settle();
        if let Some(Ok(supervisor)) = &peer {
            match peer_round(&births, supervisor, peer_bytes) {
                Ok(rate) => theirs.push(rate),
                Err(why) => peer = Some(Err(why.to_string())),
            }
            output::settle();
        }
    }
    let missing = match peer {
        None => Some("left out".to_owned()),
        Some(Err(why)) => Some(why),
        Some(Ok(_)) => None,
    };
    report.missing.extend(missing.map(|why| format!("Supervisor: {why}")));
    let median = |samples: Option<Samples>| samples.as_ref().map(Samples::median);
    let ours = median(report.row(Who::Ours, RATE, "MB/s", ours));
    if !theirs.is_empty() {
        let theirs = median(report.row(Who::Peer, RATE, "MB/s", theirs));
        report.ratio("dsbus / Supervisor, carried", (ours, theirs), None);
    }
    if let Some(ours) = ours {
        report.goal("MB/s carried, p50", ours, Some(Limit::AtLeast(GOAL)));
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

fn start_peer(births: &Births, then: &[&str]) -> Outcome<Supervisor> {
    supervisor::version()?;
    let keys = "autostart=false\nautorestart=false\nstdout_logfile=%(here)s/talker.log\n\
                stdout_logfile_maxbytes=0";
    let command = births.command("peer", then);
    let supervisor = Supervisor::start(&supervisor::program("talker", &command, keys))?;
    // It follows no log that is not there yet.
    File::create(supervisor.path("talker.log"))?;
    Ok(supervisor)
}

fn peer_round(births: &Births, supervisor: &Supervisor, bytes: u64) -> Outcome<f64> {
    let name = "talker:talker_0000";
    let text = supervisor::text(name);
    let follower = Follower::start(supervisor.control(&["tail", "-f", name])?)?;
    rest(Duration::from_secs(2));
    let before = follower.carried()?;
    let wait = "<param><value><boolean>0</boolean></value></param>";
    supervisor.call("supervisor.startProcess", &format!("{text}{wait}"))?;
    let begun = births.next("peer")?.at;
    let (ended, carried) = look("the peer to carry it", 2 * PEER_MAX, LOOK, || {
        let (at, carried) = (now(), follower.carried()? - before);
        Ok((carried >= bytes || at.since(begun) > PEER_MAX).then_some((at, carried)))
    })?;
    drop(follower);
    look("the talker to have ended", DEADLINE, Duration::from_millis(50), || {
        let told = supervisor.call("supervisor.getProcessInfo", &text)?;
        Ok(told.contains("<string>EXITED</string>").then_some(()))
    })?;
    // It holds the file open, and goes on at the end of it.
    supervisor.call("supervisor.clearProcessLogs", &text)?;
    rate(carried, ended.since(begun))
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

fn restarts(setting: Setting, report: &mut Report) -> Outcome<()> {
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let victims = format!("numprocs = {CHILDREN}");
    let pacer = beside("bench-pacer")?.display().to_string();
    let command = births.command("paced", &[&pacer, PACE]);
    fleet.apply(
        &(fleet::program("victim", &births.command("victim", &[]), &victims)
            + &fleet::program("paced", &command, "autostart = false")),
    )?;
    let victims = births.take("victim", CHILDREN)?;
    let mut stage = Stage { births, fleet, victims, turn: 0 };
    rest(Duration::from_secs(1));
    let (mut calm, mut alone, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut shares, mut rates) = (Vec::new(), Vec::new());
    let block = setting.rounds(BLOCK, 5);
    for _ in 0..setting.rounds(BLOCKS, 1) {
        calm.extend(stage.block(block)?);
        stage.fleet.run(&["start", "--no-wait", "paced"])?;
        let child = stage.births.next("paced")?.pid;
        rest(Duration::from_secs(1));
        alone.extend(stage.block(block)?);
        let reader = follow(&stage.fleet, "paced:0")?;
        let written = proc::written(child)?;
        let (before, begun) = (reader.carried()?, now());
        followed.extend(stage.block(block)?);
        let (carried, length) = (reader.carried()? - before, now().since(begun));
        let written = proc::written(child)? - written;
        drop(reader);
        stage.fleet.run(&["stop", "paced"])?;
        rates.push(rate(carried, length)?);
        shares.push(rate(carried, length)? / rate(written, length)?);
    }
    let calm = report.row(Who::Ours, &format!("{RESTART}, calm"), "ms", calm);
    let alone = report.row(Who::Ours, &format!("{RESTART}, {PACE} MB/s written"), "ms", alone);
    let followed = report.row(Who::Ours, &format!("{RESTART}, and followed"), "ms", followed);
    let rates = report.row(Who::Ours, "carried meanwhile", "MB/s", rates);
    let shares = report.row(Who::Ours, "of what was written meanwhile", "share", shares);
    let of = |samples: &Option<Samples>, percent| {
        samples.as_ref().map(|samples| samples.percentile(percent))
    };
    let limit = Some(Limit::AtMost(RATIO_GOAL));
    report.ratio(
        "restart, followed / not followed, p50",
        (of(&followed, 50), of(&alone, 50)),
        limit,
    );
    report.ratio(
        "restart, followed / not followed, p90",
        (of(&followed, 90), of(&alone, 90)),
        None,
    );
    report.ratio("restart, not followed / calm, p50", (of(&alone, 50), of(&calm, 50)), None);
    if let (Some(with), Some(without)) = (of(&followed, 99), of(&alone, 99)) {
        let limit = Some(Limit::AtMost(GOAL_MS));
        report.goal("ms more with a follower, p99", with - without, limit);
    }
    if let (Some(rate), Some(share)) = (of(&rates, 50), of(&shares, 50)) {
        report.goal("MB/s carried beside restarts, p50", rate, None);
        report.goal("share of what was written, p50", share, Some(Limit::AtLeast(0.97)));
    }
    Ok(())
}
