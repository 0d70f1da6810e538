//! Another version of the worker takes its place, without a stop: its executable is tried first, and
//! then executed with all that this one knows.
//!
//! Only what cannot go wrong for a reason that the trial shows is done after the trial; what goes
//! wrong nevertheless is told, and this version goes on.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::moment::BootTime;
use dsbus_schema::state::Exit;
use serde::{Deserialize, Serialize};

use super::{Driver, Ending, Source};
use crate::clock::{self, Now};
use crate::handover::{self, Left, Passing, Trial, arm_alarm, document, go_on, keep_open};
use crate::process;
use crate::stamp::Stamp;

/// How long a successor may take until it has taken over, however great the worker is. Nobody looks
/// after the children of one that hangs: it is ended, and whoever runs the worker starts it anew.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// A successor is executed only when the deadline of exclusive children is so many times farther away
/// than all took that is done once more then: that everything was written down, and that the successor
/// was started and read it.
const REST_TIMES: u32 = 3;
/// And at least so far away.
const REST_MIN: Duration = Duration::from_millis(250);
/// How long such a moment is waited for. A lease is renewed every third of its time; one of which two
/// thirds are longer than this leaves enough at any moment.
const REST_WAIT_MAX: Duration = Duration::from_secs(10);

/// How far a change of the version is.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    No,
    /// The new executable is asked whether it can take over.
    Trying {
        trial: Trial,
        /// How long it took to write down all that it is told.
        packing: Duration,
    },
    /// It can, and does so as soon as there is time for it.
    Ready(Ready),
}

/// A successor that can take over.
#[derive(Debug)]
pub(super) struct Ready {
    stamp: Stamp,
    version: String,
    /// How far away the deadline of exclusive children must be.
    rest: Duration,
    /// When it is waited for no longer.
    until: BootTime,
}

/// How far away the deadline of exclusive children must be for a change that takes so long.
fn rest(takes: Duration) -> Duration {
    REST_MIN.max(takes.saturating_mul(REST_TIMES))
}

impl Upgrade {
    /// The process that is tried.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Upgrade::Trying { trial, .. } => Some(trial.pid),
            Upgrade::No | Upgrade::Ready(_) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<BootTime> {
        match self {
            Upgrade::No => None,
            Upgrade::Trying { trial, .. } => trial.until,
            // Until then it is looked at whenever something happens, such as a lease that is renewed.
            Upgrade::Ready(ready) => Some(ready.until),
        }
    }

    /// Whether none goes on.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Upgrade::No)
    }
}

/// A socket on which a child tells how it is, as it is left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotifyLeft {
    pub(super) number: u64,
    pub(super) child: u64,
    pub(super) socket: RawFd,
    pub(super) name: String,
    pub(super) uid: u32,
}

/// What is handed over, and the descriptors that must stay open for that.
struct Packed {
    document: OwnedFd,
    /// Held until then.
    _executable: File,
    numbers: Vec<RawFd>,
}

impl Driver {
    /// Looks whether there is another executable where this one was, and tries it. Says whether what
    /// becomes of that was told, or will be.
    pub(super) fn look_for_successor(&mut self) -> bool {
        let itself = &self.config.itself;
        if itself.path.as_os_str().is_empty() || self.ending != Ending::Not {
            return false;
        }
        if self.upgrade.pid().is_some() {
            tracing::info!("{} is being tried already", itself.path.display());
            return true;
        }
        match itself.successor() {
            Ok(None) => {
                let path = itself.path.display();
                tracing::info!("{path} is the executable that runs: nothing to upgrade");
                return false;
            }
            Ok(Some(stamp)) => self.try_successor(stamp),
            Err(e) => self.refuse_successor(&format!("it cannot be looked at: {e}")),
        }
        true
    }

    fn try_successor(&mut self, stamp: Stamp) {
        let begin = clock::now();
        let started = self.pack(begin).and_then(|packed| {
            let now = clock::now().boot;
            let started = Trial::start(&self.config.itself, stamp, &packed.document, now);
            let trial = started.map_err(|e| format!("it cannot be executed: {e}"))?;
            Ok(Upgrade::Trying { trial, packing: now.since(begin.boot) })
        });
        match started {
            Ok(trying) => {
                let path = self.config.itself.path.display();
                tracing::info!("{path} is another executable now; it is tried");
                self.upgrade = trying;
            }
            Err(why) => self.refuse_successor(&why),
        }
    }

    /// Whether this process was being tried; then its end says what comes of it.
    pub(super) fn trial_ended(&mut self, pid: i32, exit: Exit) -> bool {
        if self.upgrade.pid() != Some(pid) {
            return false;
        }
        let Upgrade::Trying { trial, packing } = std::mem::take(&mut self.upgrade) else {
            return false;
        };
        let (stamp, now) = (trial.stamp, clock::now().boot);
        let rest = rest(packing + now.since(trial.started));
        match trial.ended(exit) {
            Ok(version) => {
                let until = now + REST_WAIT_MAX;
                self.upgrade = Upgrade::Ready(Ready { stamp, version, rest, until });
            }
            Err(why) => self.refuse_successor(&why),
        }
        true
    }

    fn refuse_successor(&mut self, why: &str) {
        let (path, own) = (self.config.itself.path.display(), env!("CARGO_PKG_VERSION"));
        let reason = format!("{path} does not take over, version {own} goes on: {why}");
        tracing::error!("{reason}");
        self.home.note_reloaded(clock::now().boot, &Err(reason.clone()));
        self.worker_event(WorkerChange::UpgradeFailed, Some(reason));
    }

    pub(super) fn tend_upgrade(&mut self, now: Now) {
        match &mut self.upgrade {
            Upgrade::No => {}
            Upgrade::Trying { trial, .. } => {
                if trial.until.is_some_and(|until| now.boot >= until) {
                    trial.until = None;
                    process::signal_group(trial.pid, libc::SIGKILL);
                }
            }
            Upgrade::Ready(_) => {
                if let Upgrade::Ready(ready) = std::mem::take(&mut self.upgrade) {
                    self.become_successor(ready, now.boot);
                }
            }
        }
    }

    fn become_successor(&mut self, ready: Ready, now: BootTime) {
        if self.config.itself.successor().ok().flatten() != Some(ready.stamp) {
            if !self.look_for_successor() {
                let gone = "goes on: what lies at its path is this version again".to_owned();
                self.home.note_reloaded(now, &Ok(gone));
            }
            return;
        }
        if self.lacks_time(ready.rest) {
            return self.wait_for_time(ready, now);
        }
        // What the agent said by now, and who has ended: the less is left for the next one.
        self.hear_agent();
        self.reap();
        self.tell_agent();
        if self.ending != Ending::Not || self.end_asked.is_some() {
            let stops = "the worker stops, and no other version takes over".to_owned();
            return self.home.note_reloaded(clock::now().boot, &Err(stops));
        }
        if !self.reports.save_all(clock::now().boot) {
            let why = "its events cannot be written to disk now, and would be lost";
            return self.refuse_successor(why);
        }
        match self.exchange(&ready) {
            Ok(()) => self.wait_for_time(ready, now),
            Err(why) => self.refuse_successor(&why),
        }
    }

    /// How far away the deadline of exclusive children is, if there are any.
    fn fence(&self) -> Option<Duration> {
        Some(self.last_resort()?.since(clock::now().boot))
    }

    fn lacks_time(&self, rest: Duration) -> bool {
        self.fence().is_some_and(|fence| fence < rest)
    }

    /// Nobody renews a lease while the worker changes: so it does that right after one was.
    fn wait_for_time(&mut self, ready: Ready, now: BootTime) {
        if now < ready.until {
            self.upgrade = Upgrade::Ready(ready);
            return;
        }
        let why = format!(
            "the change may take {:?}, and an exclusive program's deadline was nearer than that for \
             {REST_WAIT_MAX:?}: send HUP again, or give that program a greater touch_timeout",
            ready.rest
        );
        self.refuse_successor(&why);
    }

    /// Executes the successor. Returns only if that fails, or if there is too little time for it after
    /// all.
    fn exchange(&mut self, ready: &Ready) -> Result<(), String> {
        let now = clock::now();
        let packed = self.pack(now)?;
        if self.lacks_time(ready.rest) {
            return Ok(());
        }
        let text = |e: std::io::Error| e.to_string();
        let (version, own) = (&ready.version, env!("CARGO_PKG_VERSION"));
        tracing::info!("version {version} takes over from {own}");
        arm_alarm(self.fence().unwrap_or(BEGIN_MAX).min(BEGIN_MAX)).map_err(text)?;
        let mut numbers = packed.numbers.clone();
        numbers.push(packed.document.as_raw_fd());
        let failed = match keep_open(&numbers, true) {
            Ok(()) => self.config.itself.execute(packed.document.as_raw_fd()),
            Err(e) => e,
        };
        go_on(&numbers).map_err(text)?;
        Err(format!("it cannot be executed: {failed}"))
    }

    /// All that is handed over, written down.
    fn pack(&self, now: Now) -> Result<Packed, String> {
        // Not to be read, only to be executed.
        let executable =
            File::options().read(true).custom_flags(libc::O_PATH).open("/proc/self/exe");
        let executable = executable.map_err(|e| format!("this executable cannot be kept: {e}"))?;
        let left = self.left(&executable, now);
        let bytes = handover::write(&left).map_err(|e| format!("it cannot be told all: {e}"))?;
        let document =
            document(&bytes).map_err(|e| format!("no memory for what it is told: {e}"))?;
        Ok(Packed { document, _executable: executable, numbers: left.descriptors })
    }

    fn left(&self, executable: &File, now: Now) -> Left {
        let mut passing = Passing::default();
        let (owner, numbers) = self.config.owner.hand_over();
        passing.pass_numbers(&numbers);
        let notify = self.sources.iter().filter_map(|(number, source)| match source {
            Source::Notify(child, socket) => Some(NotifyLeft {
                number: *number,
                child: *child,
                socket: passing.pass(socket),
                name: socket.name().to_owned(),
                uid: socket.uid(),
            }),
            Source::Output | Source::Binaries | Source::Words => None,
        });
        let notify = notify.collect();
        Left {
            fleet: self.config.fleet.clone(),
            worker: self.config.worker.clone(),
            directory: self.home.path().to_owned(),
            incarnation: self.incarnation,
            started: (self.started.boot, self.started.wall),
            at: now.boot,
            lock: passing.pass(self.home.lock()),
            executable: passing.pass(executable),
            owner,
            agent: self.agent.hand_over(&mut passing),
            cgroups: self.machine.cgroups.clone(),
            table: self.table.clone(),
            children: self.children.hand_over(&mut passing),
            errands: self.errands.hand_over(),
            questions: self.questions.clone(),
            streams: self.streams.hand_over(&mut passing),
            notify,
            compressors: self.streams.outputs.hand_over(),
            sockets: self.sockets.hand_over(&mut passing),
            secrets: self.secrets.hand_over(),
            binaries: self.binaries.hand_over(),
            orders: self.orders.clone(),
            wanted: self.wanted.clone(),
            held: self.held.iter().cloned().collect(),
            forgotten: self.forgotten.clone().into_iter().collect(),
            starts: self.starts,
            last_source: self.last_source,
            earlier: self.reports.earlier(),
            descriptors: passing.all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_given_several_times_as_long_as_its_trial_took() {
        let millis = Duration::from_millis;
        for (takes, wanted) in [(0, 250), (60, 250), (100, 300), (700, 2100)] {
            assert_eq!(rest(millis(takes)), millis(wanted), "{takes} ms");
        }
        assert_eq!(rest(Duration::MAX), Duration::MAX);
    }
}
