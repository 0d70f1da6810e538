//! Output is followed: each line once, in order, whatever happens meanwhile.
//!
//! A talker prints numbered lines, each under its epoch and process, and its log rotates many times
//! a second. What was followed is compared with the files that it left on the workers.

mod daemon;
mod manner;
mod moves;
mod quiet;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fleet::{DEADLINE, Fleet};

/// Bursts of lines, in all some hundred KB a second: `<epoch>.<pid>.<number>`.
const TALK: &str = "i=0; while :; do n=0; while [ $n -lt 300 ]; do n=$((n+1)); i=$((i+1)); \
     echo \"$DSBUS_EPOCH.$$.$i of a talker that has much to say\"; done; sleep 0.03; done";

/// A talker whose log rotates, and keeps minutes of what it says.
fn talker(keys: &str) -> String {
    format!(
        "[program.talk]\ncommand = '''{TALK}'''\nshell = true\nstartsecs = 0\n\
         touch_timeout = \"10s\"\nstdout_logfile_maxbytes = \"60KB\"\n\
         stdout_logfile_backups = 900\n{keys}\n"
    )
}

/// A `dsbus logs` that goes on; it ends with the value.
struct Follower {
    child: Child,
    shown: PathBuf,
    said: PathBuf,
}

impl Follower {
    /// Follows with these arguments.
    fn start(fleet: &Fleet, args: &[&str]) -> Follower {
        let (shown, said) = (fleet.path().join("shown"), fleet.path().join("said"));
        let child = fleet
            .command()
            .args(["logs", "-f"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(&shown).unwrap())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Follower { child, shown, said }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Stops it, and waits until all of it stands still.
    fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let threads = format!("/proc/{}/task", self.child.id());
        wait_until("it to stand still", DEADLINE, || {
            let threads = fs::read_dir(&threads).unwrap().flatten();
            // One that has ended since it was listed does nothing, either.
            let stats = threads.filter_map(|one| fs::read_to_string(one.path().join("stat")).ok());
            let runs = |stat: &String| !stat.rsplit(')').next().unwrap().starts_with(" T");
            let running: Vec<String> = stats.filter(runs).collect();
            if running.is_empty() { Ok(()) } else { Err(running) }
        });
    }

    /// What it has shown.
    fn shown(&self) -> String {
        String::from_utf8(fs::read(&self.shown).unwrap()).unwrap()
    }

    /// What it said about that.
    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Waits until it has shown this text, among others.
    fn wait_shown(&self, text: &str) {
        wait_until(text, DEADLINE, || {
            let shown = self.shown();
            if shown.contains(text) { Ok(()) } else { Err((shown, self.said())) }
        });
    }

    /// Waits until it has said this about what it shows.
    fn wait_said(&self, text: &str) {
        wait_until(text, DEADLINE, || {
            let said = self.said();
            if said.contains(text) { Ok(()) } else { Err(said) }
        });
    }

    /// Waits until it has shown so many more lines than now.
    fn wait_for_more(&self, lines: usize) {
        let count = || self.shown().lines().count();
        let before = count();
        wait_until("more lines", DEADLINE, || {
            let now = count();
            if now >= before + lines { Ok(()) } else { Err((before, now, self.said())) }
        });
    }

    /// Waits until it has shown just this.
    fn wait_for(&self, wanted: &str) {
        wait_until("all of it", DEADLINE, || {
            let shown = self.shown();
            if shown == wanted {
                return Ok(());
            }
            let same = shown.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
            let around = |text: &str| {
                let from = same.saturating_sub(100);
                let part = text.as_bytes().get(from..(same + 100).min(text.len()));
                String::from_utf8_lossy(part.unwrap_or_default()).into_owned()
            };
            Err((same, shown.len(), wanted.len(), around(&shown), around(wanted), self.said()))
        });
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already, or be stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a worker has of the talker's output, from the oldest file on.
fn written(fleet: &Fleet, worker: &str) -> String {
    let directory = fleet.worker_directory(worker).join("instances/talk.0");
    let mut files: BTreeMap<u32, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(&directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(number) = name.strip_prefix("stdout.log") else { continue };
        let number = number.trim_matches('.').trim_end_matches(".gz");
        // One that is being compressed is there as itself, too.
        if number == "compressing" || fs::metadata(&path).is_err() {
            continue;
        }
        files.insert(if number.is_empty() { 0 } else { number.parse().unwrap() }, path);
    }
    let read = |path: &PathBuf| {
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Command::new("gzip").arg("-dc").arg(path).output().unwrap().stdout;
        }
        fs::read(path).unwrap_or_default()
    };
    let all: Vec<u8> = files.values().rev().flat_map(read).collect();
    String::from_utf8(all).unwrap()
}

fn epoch(line: &str) -> u64 {
    line.split('.').next().unwrap().parse().unwrap()
}

/// Lines of several workers, by epochs.
fn by_epochs(written: &[String]) -> BTreeMap<u64, String> {
    let mut epochs = BTreeMap::new();
    for line in written.iter().flat_map(|text| text.split_inclusive('\n')) {
        epochs.entry(epoch(line)).or_insert_with(String::new).push_str(line);
    }
    epochs
}

/// Asserts that each process said its lines in their order, from the first on.
fn assert_each_once(shown: &str) {
    let mut last = ("", 0);
    for line in shown.lines() {
        let (who, number) = line.split(' ').next().unwrap().rsplit_once('.').unwrap();
        let number: u64 = number.parse().unwrap();
        let follows = if who == last.0 { last.1 + 1 } else { 1 };
        assert_eq!(number, follows, "{line} after {last:?}");
        last = (who, number);
    }
}
