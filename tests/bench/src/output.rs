//! How fast a child's output gets into a log that rotates.
//!
//! The child is `cat` of a file in the cache of the machine: it writes faster than anybody reads.
//! The floor is the same file copied by `cat` to a file in the same file system. A new `cat` lets
//! the kernel copy, and never reads a byte; appending, it must read and write as `cat` always did;
//! and through a pipe it does what every supervisor must do at the least. All three are told.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::births::Births;
use crate::clock::{Moment, look, now, rest};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting, float};

const MIB: usize = 256;
const ROUNDS: usize = 7;
const GOAL: f64 = 0.7;
/// Between two looks at the sizes of the logs.
const LOOK: Duration = Duration::from_millis(2);

/// The rotation of both.
const SIZE: &str = "50MB";
const BACKUPS: usize = 10;

const RATE: &str = "into a rotating log (floor: cat < FILE > file)";

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mib = setting.rounds(MIB, 16);
    let births = Births::listen()?;
    let fleet = Fleet::start(1, 1)?;
    let source = fleet.path().join("source");
    fill(&source, mib)?;
    let then = ["cat", &source.display().to_string()];
    let keys = format!(
        "autostart = false\nautorestart = false\nstdout_logfile_maxbytes = \"{SIZE}\"\n\
         stdout_logfile_backups = {BACKUPS}"
    );
    fleet.apply(&fleet::program("talker", &births.command("ours", &then), &keys))?;
    let mut peer = setting.peer.then(|| start_peer(&births, &then).map_err(|e| e.to_string()));
    let mut rates: [Vec<f64>; 5] = Default::default();
    let copied = fleet.path().join("copy");
    let warm = usize::from(!setting.short);
    for round in 0..setting.rounds(ROUNDS, 1) + warm {
        let rate = |length: Duration| float(mib) / length.as_secs_f64();
        let mut measured = [None; 5];
        measured[0] = Some(rate(copy(&source, &copied, false)?));
        settle();
        measured[4] = Some(rate(copy(&source, &copied, true)?));
        settle();
        measured[1] = Some(rate(pipe(&source, &copied)?));
        settle();
        measured[2] = Some(rate(our_round(&births, &fleet, mib)?));
        settle();
        if let Some(Ok(supervisor)) = &peer {
            match peer_round(&births, supervisor, mib) {
                Ok(length) => measured[3] = Some(rate(length)),
                Err(why) => peer = Some(Err(why.to_string())),
            }
            settle();
        }
        // The first round only takes from the machine the memory that all use from then on.
        if round >= warm {
            for (rates, rate) in rates.iter_mut().zip(measured) {
                rates.extend(rate);
            }
        }
    }
    let mut report = Report::default();
    let missing = match peer {
        None => Some("left out".to_owned()),
        Some(Err(why)) => Some(why),
        Some(Ok(_)) => None,
    };
    report.missing.extend(missing.map(|why| format!("Supervisor: {why}")));
    rows(&mut report, rates);
    Ok(report)
}

/// What one side leaves behind for the disk is not to be written during the turn of the next.
pub(crate) fn settle() {
    nix::unistd::sync();
    rest(Duration::from_millis(200));
}

fn our_round(births: &Births, fleet: &Fleet, mib: usize) -> Outcome<Duration> {
    let logs = fleet.logs("w1", "talker:0");
    fleet.run(&["start", "--no-wait", "talker"])?;
    let begun = births.next("ours")?.at;
    let length = arrived(&logs, "stdout.log", mib)?.since(begun);
    look("the talker to have ended", DEADLINE, Duration::from_millis(50), || {
        let rows = fleet.rows(&["status", "talker"])?;
        Ok(rows.iter().all(|row| row["state"] == "EXITED").then_some(()))
    })?;
    empty(&logs, "stdout.log")?;
    Ok(length)
}

fn rows(report: &mut Report, rates: [Vec<f64>; 5]) {
    let [copy, pipe, ours, peer, append] = rates;
    let measured = !peer.is_empty();
    let mut row = |who, what, numbers| {
        let samples = report.row(who, what, "MiB/s", numbers);
        samples.as_ref().map(Samples::median)
    };
    let ours = row(Who::Ours, RATE, ours);
    let peer = if measured { row(Who::Peer, RATE, peer) } else { None };
    let copy = row(Who::Floor, RATE, copy);
    let append = row(Who::Floor, "cat < FILE >> file", append);
    let pipe = row(Who::Floor, "cat FILE | cat > file", pipe);
    report.ratio("dsbus / cat >", (ours, copy), Some(Limit::AtLeast(GOAL)));
    report.ratio("dsbus / cat >>", (ours, append), Some(Limit::AtLeast(GOAL)));
    report.ratio("dsbus / cat | cat", (ours, pipe), None);
    if measured {
        report.ratio("Supervisor / cat >", (peer, copy), None);
        report.ratio("Supervisor / cat >>", (peer, append), None);
    }
}

/// Lines, as programs write them.
pub(crate) fn fill(path: &Path, mib: usize) -> Outcome<()> {
    let line = b"2026-01-01 00:00:00 INFO a line of a log, of the length that lines have\n";
    let block: Vec<u8> = line.iter().copied().cycle().take(1024 * 1024).collect();
    let mut file = File::create(path)?;
    for _ in 0..mib {
        file.write_all(&block)?;
    }
    // What is still on its way to the disk would be written during the first round.
    Ok(file.sync_all()?)
}

fn copy(source: &Path, target: &Path, append: bool) -> Outcome<Duration> {
    remove(target)?;
    let begun = now();
    let out = File::options().create(true).write(true).append(append).open(target)?;
    let ended = Command::new("cat").stdin(File::open(source)?).stdout(out).status()?;
    let length = now().since(begun);
    remove(target)?;
    if ended.success() { Ok(length) } else { Err(format!("cat: {ended}").into()) }
}

fn pipe(source: &Path, target: &Path) -> Outcome<Duration> {
    remove(target)?;
    let begun = now();
    let mut first = Command::new("cat").arg(source).stdout(Stdio::piped()).spawn()?;
    let out = first.stdout.take().ok_or("no pipe")?;
    let ended = Command::new("cat").stdin(out).stdout(File::create(target)?).status()?;
    let length = now().since(begun);
    first.wait()?;
    remove(target)?;
    if ended.success() { Ok(length) } else { Err(format!("cat | cat: {ended}").into()) }
}

fn remove(path: &Path) -> Outcome<()> {
    if path.exists() { Ok(std::fs::remove_file(path)?) } else { Ok(()) }
}

/// The log and its rotated ones.
fn logs(directory: &Path, name: &str) -> Outcome<Vec<std::fs::DirEntry>> {
    let all = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mine = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(name);
    Ok(all.into_iter().filter(mine).collect())
}

pub(crate) fn empty(directory: &Path, name: &str) -> Outcome<()> {
    for entry in logs(directory, name)? {
        std::fs::remove_file(entry.path())?;
    }
    Ok(())
}

/// Waits until all of it is in the logs; a byte more or less is a failure.
fn arrived(directory: &Path, name: &str, mib: usize) -> Outcome<Moment> {
    let all = u64::try_from(mib)? * 1024 * 1024;
    let sum = || -> Outcome<u64> {
        // One that was renamed since it was listed is seen under its other name at the next look.
        Ok(logs(directory, name)?.iter().filter_map(|e| Some(e.metadata().ok()?.len())).sum())
    };
    look("all output to be in the logs", DEADLINE, LOOK, || {
        let at = now();
        let seen = sum()?;
        // While it rotates, a file may be counted twice: what stays so is so.
        Ok((seen >= all && sum()? == all).then_some(at))
    })
}

fn start_peer(births: &Births, then: &[&str]) -> Outcome<Supervisor> {
    supervisor::version()?;
    // Its log is in its own directory, which begins empty; `programs.ini` is beside it.
    let keys = format!(
        "autostart=false\nautorestart=false\nstdout_logfile=%(here)s/talker.log\n\
         stdout_logfile_maxbytes={SIZE}\nstdout_logfile_backups={BACKUPS}"
    );
    Supervisor::start(&supervisor::program("talker", &births.command("peer", then), &keys))
}

fn peer_round(births: &Births, supervisor: &Supervisor, mib: usize) -> Outcome<Duration> {
    let name = supervisor::text("talker:talker_0000");
    let wait = "<param><value><boolean>0</boolean></value></param>";
    supervisor.call("supervisor.startProcess", &format!("{name}{wait}"))?;
    let begun = births.next("peer")?.at;
    let length = arrived(supervisor.directory(), "talker.log", mib)?.since(begun);
    look("the talker to have ended", DEADLINE, Duration::from_millis(50), || {
        let told = supervisor.call("supervisor.getProcessInfo", &name)?;
        Ok(told.contains("<string>EXITED</string>").then_some(()))
    })?;
    empty(supervisor.directory(), "talker.log")?;
    Ok(length)
}
