//! Where a fleet of `dsbus dev` lives: its data directory, and `.dsbus/` in the directory it was
//! started in, by which the verbs find it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{FleetName, WorkerName};
use tempfile::TempDir;

use super::Record;
use crate::config::URL_FILE;
use crate::failure::Failure;

/// Who runs here; locked while it runs.
pub(super) const RECORD_FILE: &str = ".dsbus/dev.json";
/// Directory of both files.
const DIRECTORY: &str = ".dsbus";

/// The two directories. Dropping it takes away what is not to be left behind.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    data: PathBuf,
    /// Held for their locks: that of the record, and that of the data, since two fleets must not
    /// write into the same store.
    locks: [File; 2],
    /// Removed when dropped.
    temporary: Option<TempDir>,
}

impl Home {
    /// Takes both directories.
    ///
    /// # Errors
    /// When another `dsbus dev` runs in one of them, or they cannot be written.
    pub(super) fn open(
        directory: &Path,
        data: Option<&Path>,
        fleet: &FleetName,
    ) -> Result<Home, Failure> {
        let mut record = claim(directory)?;
        let (data, temporary) = match data {
            Some(data) => (directory.join(data), None),
            None => {
                let made = tempfile::Builder::new().prefix("dsbus-dev-").tempdir()?;
                (made.path().to_owned(), Some(made))
            }
        };
        for below in ["log", "nats", "workers", "killed"] {
            fs::create_dir_all(data.join(below)).map_err(|e| failed("create", &data, &e))?;
        }
        let lock = File::create(data.join("lock")).map_err(|e| failed("write", &data, &e))?;
        if lock.try_lock().is_err() {
            let said = format!("another dsbus dev uses {}", data.display());
            return Err(Failure::failed(said));
        }
        let words = Record {
            pid: std::process::id(),
            data: data.clone(),
            temporary: temporary.is_some(),
            fleet: fleet.clone(),
        };
        record.set_len(0)?;
        record.rewind()?;
        serde_json::to_writer_pretty(&mut record, &words).map_err(io::Error::from)?;
        record.flush()?;
        Ok(Home { directory: directory.to_owned(), data, locks: [record, lock], temporary })
    }

    /// Writes the address of the bus where the verbs find it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn tell(&self, url: &str) -> Result<(), Failure> {
        let path = self.directory.join(URL_FILE);
        fs::write(&path, format!("{url}\n")).map_err(|e| failed("write", &path, &e))
    }

    /// Where the data is.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Whether the data goes away at the end.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed is overwritten by the next start.
        let _ = fs::remove_file(self.directory.join(URL_FILE));
        let _ = fs::remove_file(self.directory.join(RECORD_FILE));
        let _ = fs::remove_dir(self.directory.join(DIRECTORY));
        for lock in &self.locks {
            let _ = lock.unlock();
        }
    }
}

/// Where `dsbus dev kill` leaves word that a worker's end was meant.
pub(super) fn killed(data: &Path, worker: &WorkerName) -> PathBuf {
    data.join("killed").join(worker.as_str())
}

/// Takes `.dsbus/` of this directory, and clears away what a killed predecessor left.
fn claim(directory: &Path) -> Result<File, Failure> {
    let path = directory.join(RECORD_FILE);
    fs::create_dir_all(directory.join(DIRECTORY)).map_err(|e| failed("create", &path, &e))?;
    let mut record = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| failed("write", &path, &e))?;
    let mut text = String::new();
    record.read_to_string(&mut text)?;
    let before = serde_json::from_str::<Record>(&text).ok();
    match record.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = before.map(|b| format!(" (pid {})", b.pid)).unwrap_or_default();
            return Err(Failure::failed(format!(
                "a dsbus dev runs in this directory already{pid}"
            ))
            .hint("stop it first, or start this one in another directory"));
        }
        Err(TryLockError::Error(e)) => return Err(failed("lock", &path, &e)),
    }
    let ours = |data: &Path| {
        let name = data.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("dsbus-dev-"))
    };
    if let Some(before) = before.filter(|b| b.temporary && ours(&b.data)) {
        let _ = fs::remove_dir_all(before.data);
    }
    Ok(record)
}

fn failed(what: &str, path: &Path, e: &io::Error) -> Failure {
    Failure::failed(format!("failed to {what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fleet_a_directory_and_nothing_left_behind() {
        let here = tempfile::tempdir().unwrap();
        let fleet = FleetName::default();
        let home = Home::open(here.path(), None, &fleet).unwrap();
        home.tell("nats://x:1").unwrap();
        assert_eq!(fs::read_to_string(here.path().join(URL_FILE)).unwrap(), "nats://x:1\n");
        let said = Home::open(here.path(), None, &fleet).unwrap_err();
        assert!(said.message.contains("already (pid"), "{said:?}");
        let data = home.data().to_owned();
        drop(home);
        assert!(!data.exists() && fs::read_dir(here.path()).unwrap().next().is_none());

        let kept = here.path().join("kept");
        let home = Home::open(here.path(), Some(Path::new("kept")), &fleet).unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(Home::open(other.path(), Some(&kept), &fleet).is_err(), "one fleet a store");
        drop(home);
        assert!(kept.join("workers").exists());
    }

    #[test]
    fn what_a_killed_fleet_left_is_cleared_away() {
        let here = tempfile::tempdir().unwrap();
        let home = Home::open(here.path(), None, &FleetName::default()).unwrap();
        let left = home.data().to_owned();
        // A kill runs no destructor; the lock goes with the process.
        home.locks[0].unlock().unwrap();
        let again = Home::open(here.path(), None, &FleetName::default()).unwrap();
        assert!(!left.exists());
        drop(again);
        drop(home);
    }
}
