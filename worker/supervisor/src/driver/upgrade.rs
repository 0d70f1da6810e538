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
use crate::handover::{
    self, Left, Passing, Stamp, Trial, arm_alarm, disarm_alarm, document, keep_open,
};
use crate::process;

/// How long a successor may take until it has taken over, however great the worker is. Nobody looks
/// after the children of one that hangs: it is ended, and whoever runs the worker starts it anew.
const BEGIN_MAX: Duration = Duration::from_secs(60);

/// How far a change of the version is.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    No,
    /// The new executable is asked whether it can take over.
    Trying(Trial),
    /// It can; that is its version.
    Ready { stamp: Stamp, version: String },
}

impl Upgrade {
    /// The process that is tried.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Upgrade::Trying(trial) => Some(trial.pid),
            Upgrade::No | Upgrade::Ready { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<BootTime> {
        match self {
            Upgrade::No => None,
            Upgrade::Trying(trial) => trial.until,
            Upgrade::Ready { .. } => Some(BootTime(0)),
        }
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
            Ok(None) => return false,
            Ok(Some(stamp)) => self.try_successor(stamp),
            Err(e) => self.refuse_successor(&format!("it cannot be looked at: {e}")),
        }
        true
    }

    fn try_successor(&mut self, stamp: Stamp) {
        let now = clock::now();
        let started = self.pack(now).and_then(|packed| {
            let started = Trial::start(&self.config.itself, stamp, &packed.document, now.boot);
            started.map_err(|e| format!("it cannot be executed: {e}"))
        });
        match started {
            Ok(trial) => {
                let path = self.config.itself.path.display();
                tracing::info!("{path} is another executable now; it is tried");
                self.upgrade = Upgrade::Trying(trial);
            }
            Err(why) => self.refuse_successor(&why),
        }
    }

    /// Whether this process was being tried; then its end says what comes of it.
    pub(super) fn trial_ended(&mut self, pid: i32, exit: Exit) -> bool {
        if self.upgrade.pid() != Some(pid) {
            return false;
        }
        let Upgrade::Trying(trial) = std::mem::take(&mut self.upgrade) else { return false };
        let stamp = trial.stamp;
        match trial.ended(exit) {
            Ok(version) => self.upgrade = Upgrade::Ready { stamp, version },
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
            Upgrade::Trying(trial) => {
                if trial.until.is_some_and(|until| now.boot >= until) {
                    trial.until = None;
                    process::signal_group(trial.pid, libc::SIGKILL);
                }
            }
            Upgrade::Ready { .. } => {
                if let Upgrade::Ready { stamp, version } = std::mem::take(&mut self.upgrade) {
                    self.become_successor(stamp, &version);
                }
            }
        }
    }

    fn become_successor(&mut self, stamp: Stamp, version: &str) {
        if self.config.itself.successor().ok().flatten() != Some(stamp) {
            if !self.look_for_successor() {
                let gone = "goes on: what lies at its path is this version again".to_owned();
                self.home.note_reloaded(clock::now().boot, &Ok(gone));
            }
            return;
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
        if let Err(why) = self.exchange(version) {
            self.refuse_successor(&why);
        }
    }

    /// Executes the successor. Returns only if that fails.
    fn exchange(&mut self, version: &str) -> Result<(), String> {
        let now = clock::now();
        let packed = self.pack(now)?;
        let text = |e: std::io::Error| e.to_string();
        tracing::info!("version {version} takes over from {}", env!("CARGO_PKG_VERSION"));
        let fence = self.poller.last_resort().map_or(BEGIN_MAX, |at| at.since(clock::now().boot));
        arm_alarm(fence.min(BEGIN_MAX)).map_err(text)?;
        let mut numbers = packed.numbers.clone();
        numbers.push(packed.document.as_raw_fd());
        let failed = match keep_open(&numbers, true) {
            Ok(()) => self.config.itself.execute(packed.document.as_raw_fd()),
            Err(e) => e,
        };
        let undone = keep_open(&numbers, false).and_then(|()| disarm_alarm());
        undone.map_err(text)?;
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
