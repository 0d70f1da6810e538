//! The worker's state directory: one worker at a time, and what an earlier one left behind.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Incarnation, InstanceId};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollTimeout, poll};

use crate::process::{self, leftovers};
use crate::{Fatal, fatal};

/// How long a leftover may take to die of SIGKILL before it is reported and left.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// Between two looks at it.
const SWEEP_LOOK: u16 = 5;

/// The state directory, locked.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Home {
    /// Locks the directory, and ends what an earlier worker left running in it.
    ///
    /// # Errors
    /// When it cannot be made or written, or another worker holds it.
    pub(crate) fn open(path: &Path) -> Result<Home, Fatal> {
        let made = fs::create_dir_all(path.join("instances"));
        made.map_err(|e| fatal(format!("cannot make {}: {e}", path.display())))?;
        let path = path
            .canonicalize()
            .map_err(|e| fatal(format!("cannot find {}: {e}", path.display())))?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(|e| fatal(format!("cannot open {}: {e}", path.join("lock").display())))?;
        let mut lock =
            Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(file, _)| {
                let mut holder = String::new();
                let mut file = file;
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                fatal(format!("another worker (pid {holder}) uses {}", path.display()))
            })?;
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|e| fatal(format!("cannot write in {}: {e}", path.display())))?;
        let home = Home { path, _lock: lock };
        home.sweep();
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of an instance.
    pub(crate) fn instance(&self, name: &InstanceId) -> PathBuf {
        self.path.join("instances").join(format!("{}.{}", name.program, name.index))
    }

    /// Log file of an instance.
    pub(crate) fn log(&self, name: &InstanceId, channel: Channel) -> PathBuf {
        self.instance(name).join(format!("{}.log", channel.name()))
    }

    /// Notes a child, so that it can be found if this process dies and the child does not.
    pub(crate) fn note(&self, name: &InstanceId, pid: i32, start_time: u64) {
        if let Err(e) =
            fs::write(self.instance(name).join("child"), format!("{pid} {start_time}\n"))
        {
            tracing::warn!("cannot note the child of {name}: {e}");
        }
    }

    /// Forgets a child that is gone.
    pub(crate) fn unnote(&self, name: &InstanceId) {
        // A note that stays names a process that is no more, and does no harm.
        let _ = fs::remove_file(self.instance(name).join("child"));
    }

    /// Notes this run, whose processes a later one finds by it.
    pub(crate) fn note_run(&self, incarnation: Incarnation) {
        if let Err(e) = fs::write(self.path.join("run"), format!("{incarnation}\n")) {
            tracing::warn!("cannot note this run: {e}");
        }
    }

    /// Whatever has the mark of the last run, wherever it went, and whosever it is now.
    fn sweep_run(&self) {
        let run = fs::read_to_string(self.path.join("run")).unwrap_or_default();
        match leftovers::sweep(run.trim()) {
            Ok(0) => {}
            Ok(count) => tracing::warn!("killed {count} processes, left by an earlier worker"),
            Err(left) => {
                tracing::error!("processes left by an earlier worker do not die: {left:?}");
            }
        }
    }

    fn sweep(&self) {
        self.sweep_run();
        for entry in fs::read_dir(self.path.join("instances")).into_iter().flatten().flatten() {
            let note = entry.path().join("child");
            if let Some((pid, start_time)) = read_note(&note) {
                if let Some(instance) = instance_of(&entry.file_name().to_string_lossy()) {
                    sweep_one(&instance, pid, start_time);
                }
                let _ = fs::remove_file(note);
            }
        }
    }
}

/// The instance whose directory has this name.
fn instance_of(directory: &str) -> Option<InstanceId> {
    let (program, index) = directory.rsplit_once('.')?;
    Some(InstanceId::new(program.parse().ok()?, index.parse().ok()?))
}

fn read_note(path: &Path) -> Option<(i32, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, start_time) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, start_time.parse().ok()?))
}

/// Kills what an earlier worker left of an instance.
fn sweep_one(instance: &InstanceId, pid: i32, start_time: u64) {
    if !process::kill_leftovers(instance, pid, start_time) {
        return;
    }
    tracing::warn!("killed process group {pid}, left of {instance} by an earlier worker");
    let looks = SWEEP_MAX.as_millis() / u128::from(SWEEP_LOOK);
    for _ in 0..looks {
        if process::group_is_empty(pid) {
            return;
        }
        // Nothing to wait for but time: it is not our child.
        let _ = poll(&mut [], PollTimeout::from(SWEEP_LOOK));
    }
    tracing::error!("process {pid} does not die");
}
