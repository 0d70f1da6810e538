//! The worker's state directory: one worker at a time, and what an earlier one left behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{FleetName, Incarnation, InstanceId, WorkerName};
use dsbus_schema::moment::BootTime;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::files::make_state_directory;
use crate::lock::lock_alone;
use crate::process::leftovers;
use crate::{Fatal, fatal};

/// Most files of an instance that are removed at once: its logs, with all that were rotated.
const FILES_MAX: usize = 1000;

/// Longer is none of the names that a worker wrote down.
const NAME_BYTES_MAX: u64 = 1024;

/// The file in its directory that a worker holds locked.
pub const LOCK: &str = "lock";

/// The worker's own log in its directory, or a link to it.
pub const WORKER_LOG: &str = "worker.log";

/// The file that names the run of the worker: its children have that in their environment.
const RUN: &str = "run";

/// The file that names the fleet and the worker of the last run.
const NAME: &str = "name";

/// The file that says what became of the last SIGHUP, for whoever sent it: a line that begins with a
/// number which is another one each time, then `ok` or `failed`, then what happened.
pub const RELOADED: &str = "reloaded";

/// Whose this directory is: the fleet and the name of the worker that ran there last, where one did
/// that wrote it down.
pub fn known_as(directory: &Path) -> Option<(FleetName, WorkerName)> {
    let mut text = String::new();
    File::open(directory.join(NAME)).ok()?.take(NAME_BYTES_MAX).read_to_string(&mut text).ok()?;
    let (fleet, worker) = text.trim_end().split_once(' ')?;
    Some((fleet.parse().ok()?, worker.parse().ok()?))
}

/// Why the lock of a directory, which names this holder, is not had.
fn not_locked(directory: &Path, holder: &str, e: Errno) -> String {
    if e == Errno::EWOULDBLOCK {
        return format!("another worker (pid {holder}) uses {}", directory.display());
    }
    format!("{} cannot be locked: {e}", directory.join(LOCK).display())
}

/// The state directory, locked.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    lock: Flock<File>,
}

impl Home {
    /// Locks the directory, and ends what an earlier worker left running in it.
    ///
    /// # Errors
    /// When it cannot be made or written, or another worker holds it.
    pub(crate) fn open(path: &Path, run: Incarnation) -> Result<Home, Fatal> {
        let made = make_state_directory(&path.join("instances"));
        made.map_err(|e| fatal(format!("cannot make {}: {e}", path.display())))?;
        let path = path
            .canonicalize()
            .map_err(|e| fatal(format!("cannot find {}: {e}", path.display())))?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(|e| fatal(format!("cannot open {}: {e}", path.join(LOCK).display())))?;
        let mut lock = lock_alone(lock).map_err(|(mut file, e)| {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            fatal(not_locked(&path, holder.trim(), e))
        })?;
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|e| fatal(format!("cannot write in {}: {e}", path.display())))?;
        let home = Home { path, lock };
        home.sweep();
        let noted = fs::write(home.path.join(RUN), format!("{run}\n"));
        noted.map_err(|e| fatal(format!("cannot write in {}: {e}", home.path.display())))?;
        Ok(home)
    }

    /// The directory that another version of this worker has locked, and lives in.
    ///
    /// # Errors
    /// When the lock is not had. It stays open: the version before takes it back.
    pub(crate) fn taken_over(path: &Path, lock: OwnedFd) -> Result<Home, String> {
        // The lock belongs to what is handed over, and is had already.
        let lock = Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(file, e)| {
            let _ = file.into_raw_fd();
            format!("the lock of {}: {e}", path.display())
        })?;
        Ok(Home { path: path.to_owned(), lock })
    }

    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down whose it is, for whoever names the directory only. Best effort: the worker runs.
    pub(crate) fn note_name(&self, fleet: &FleetName, worker: &WorkerName) {
        self.note(NAME, &format!("{fleet} {worker}\n"));
    }

    /// Says what became of a SIGHUP; `at` tells it from the one before.
    pub(crate) fn note_reloaded(&self, at: BootTime, outcome: &Result<String, String>) {
        let (how, what) = match outcome {
            Ok(what) => ("ok", what),
            Err(why) => ("failed", why),
        };
        self.note(RELOADED, &format!("{} {how} {}\n", at.0, what.replace('\n', " ")));
    }

    /// Writes a file whole, or not at all.
    fn note(&self, name: &str, text: &str) {
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        if let Err(e) = fs::write(&new, text).and_then(|()| fs::rename(&new, &path)) {
            tracing::warn!("{} cannot be written: {e}", path.display());
        }
    }

    /// Directory of the reports that wait for the bus. A worker of another name, or of another
    /// fleet, may not publish them, and begins with a directory of its own.
    pub(crate) fn reports(&self, fleet: &FleetName, worker: &WorkerName) -> PathBuf {
        self.path.join("reports").join(format!("{fleet}.{worker}"))
    }

    /// Directory of an instance.
    pub(crate) fn instance(&self, name: &InstanceId) -> PathBuf {
        self.path.join("instances").join(format!("{}.{}", name.program, name.index))
    }

    /// Log file of an instance.
    pub(crate) fn log(&self, name: &InstanceId, channel: Channel) -> PathBuf {
        self.instance(name).join(format!("{}.log", channel.name()))
    }

    /// Removes the directory of an instance with the files in it. What else is there was not made by a
    /// worker, and stays.
    ///
    /// # Errors
    /// When something stays.
    pub(crate) fn forget(&self, name: &InstanceId) -> io::Result<()> {
        let directory = self.instance(name);
        let entries = match fs::read_dir(&directory) {
            // It was never started.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        for entry in entries.take(FILES_MAX) {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(directory)
    }

    /// Ends what the run before this one left. Its children die with their worker, but those that
    /// changed their rights, or were started by another child, may have outlived it.
    fn sweep(&self) {
        let noted = fs::read_to_string(self.path.join(RUN)).unwrap_or_default();
        match leftovers::sweep(noted.trim()) {
            Ok(0) => {}
            Ok(count) => tracing::warn!("killed {count} processes, left by an earlier worker"),
            Err(left) => tracing::error!("left by an earlier worker, and do not die: {left:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;
    use crate::report::Reports;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_knows_whose_it_was_last() {
        let above = tempfile::tempdir().unwrap();
        assert_eq!(known_as(above.path()), None);
        let home = Home::open(above.path(), Incarnation(Uuid::now_v7())).unwrap();
        let (fleet, worker) = ("eu".parse().unwrap(), "w1".parse().unwrap());
        home.note_name(&fleet, &worker);
        assert_eq!(known_as(above.path()), Some((fleet, worker)));
        fs::write(above.path().join(NAME), "no name\nat all").unwrap();
        assert_eq!(known_as(above.path()), None);
    }

    #[test]
    fn only_a_lock_that_somebody_has_means_another_worker() {
        let directory = tempfile::tempdir().unwrap();
        let _home = Home::open(directory.path(), Incarnation(Uuid::now_v7())).unwrap();
        let again = Home::open(directory.path(), Incarnation(Uuid::now_v7())).unwrap_err();
        let pid = format!("another worker (pid {}) uses ", std::process::id());
        assert!(again.to_string().starts_with(&pid), "{again}");
        let no_locks = not_locked(Path::new("/srv/w1"), "", Errno::ENOLCK);
        assert!(no_locks.starts_with("/srv/w1/lock cannot be locked: ENOLCK"), "{no_locks}");
    }

    #[test]
    fn a_lock_that_is_not_had_stays_open_for_the_version_before() {
        let above = tempfile::tempdir().unwrap();
        let home = Home::open(above.path(), Incarnation(Uuid::now_v7())).unwrap();
        let other = File::open(above.path().join(LOCK)).unwrap();
        let number = other.as_raw_fd();
        assert!(Home::taken_over(home.path(), other.into()).unwrap_err().contains("the lock of"));
        assert!(Path::new(&format!("/proc/self/fd/{number}")).exists());
    }

    #[test]
    fn others_find_nothing_in_it_and_read_no_report_unless_its_owner_says_so() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("dsbus/w1");
        let home = Home::open(&path, Incarnation(Uuid::now_v7())).unwrap();
        for made in [above.path().join("dsbus"), path.clone(), path.join("instances")] {
            assert_eq!(mode(&made) & 0o066, 0, "{}", made.display());
            assert_eq!(mode(&made) & 0o700, 0o700, "{}", made.display());
        }
        let reports = home.reports(&"f1".parse().unwrap(), &"w1".parse().unwrap());
        drop(Reports::open(&reports));
        for made in [reports.clone(), reports.parent().unwrap().to_owned()] {
            assert_eq!(mode(&made) & 0o077, 0, "{}", made.display());
        }
        drop(home);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        drop(Home::open(&path, Incarnation(Uuid::now_v7())).unwrap());
        assert_eq!(mode(&path), 0o755, "its owner chose that");
    }
}
