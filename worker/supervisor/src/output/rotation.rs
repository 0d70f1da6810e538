//! Rotated files: `.1` is the newest, and each may be compressed (`.1.gz`). The numbers have no
//! gap, since readers stop at the first one: files are only ever removed at the old end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::doomed::Doomed;

/// Most rotated files of one log: all are renamed at each rotation, and as many are read by an
/// agent.
const CHAIN_MAX: u32 = 1000;
/// Most files removed at once, since each takes time in which no child is restarted; and more than
/// one, so that a surplus shrinks while one is added.
const REMOVALS_MAX: u32 = 2;

/// When a file is rotated, and what becomes of the rotated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rotation {
    /// Size at which it is rotated; 0 is never.
    pub bytes_max: u64,
    /// How many rotated files are kept; with 0 the file begins anew.
    pub backups: u32,
    /// Whether rotated files are compressed; a worker's own log is not.
    pub compress: bool,
    /// Rotated files that are older are removed.
    pub max_age: Option<Duration>,
}

/// The name of a rotated file.
pub(super) fn plain(log: &Path, number: u32) -> PathBuf {
    with_suffix(log, &format!(".{number}"))
}

/// The name of a rotated file that is compressed.
pub(super) fn packed(log: &Path, number: u32) -> PathBuf {
    with_suffix(log, &format!(".{number}.gz"))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How many rotated files there are.
fn chain(log: &Path) -> u32 {
    let there = |path: PathBuf| fs::symlink_metadata(path).is_ok();
    (1..=CHAIN_MAX)
        .take_while(|number| there(plain(log, *number)) || there(packed(log, *number)))
        .last()
        .unwrap_or(0)
}

/// What is not there any more needs no removal.
pub(super) fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove(log: &Path, number: u32, doomed: &mut Doomed) -> io::Result<()> {
    unless_missing(doomed.remove(&plain(log, number)))?;
    unless_missing(doomed.remove(&packed(log, number)))
}

/// The log becomes `.1`, `.1` becomes `.2`, and so on, so that `backups` (at least 1) are left.
/// Nothing is lost when it stops half-way: whatever is moved goes to a free number.
pub(super) fn shift(log: &Path, backups: u32, doomed: &mut Doomed) -> io::Result<()> {
    if fs::symlink_metadata(log).is_err() {
        // Somebody else has moved it already.
        return Ok(());
    }
    let backups = backups.clamp(1, CHAIN_MAX);
    let mut kept = chain(log);
    let mut removed = 0;
    while kept >= backups && removed < REMOVALS_MAX {
        remove(log, kept, doomed)?;
        kept -= 1;
        removed += 1;
    }
    for number in (1..=kept).rev() {
        for name in [plain, packed] {
            unless_missing(fs::rename(name(log, number), name(log, number + 1)))?;
        }
    }
    fs::rename(log, plain(log, 1))
}

/// Removes the oldest while they are older than `max_age`.
pub(super) fn remove_older(
    log: &Path,
    max_age: Duration,
    now: SystemTime,
    doomed: &mut Doomed,
) -> io::Result<()> {
    let last = chain(log);
    for number in (1..=last).rev().take(REMOVALS_MAX as usize) {
        let metadata = fs::symlink_metadata(plain(log, number));
        let metadata = metadata.or_else(|_| fs::symlink_metadata(packed(log, number)))?;
        let written = metadata.modified()?;
        if now.duration_since(written).is_ok_and(|age| age > max_age) {
            remove(log, number, doomed)?;
        } else {
            break;
        }
    }
    Ok(())
}

/// Removes all rotated files.
pub(super) fn clear(log: &Path, doomed: &mut Doomed) -> io::Result<()> {
    (1..=chain(log)).rev().try_for_each(|number| remove(log, number, doomed))
}

/// The newest rotated file that is not compressed. A link stays as it is: what it leads to is no
/// rotated file.
pub(super) fn next_to_compress(log: &Path) -> Option<PathBuf> {
    (1..=chain(log)).map(|number| plain(log, number)).find(|path| is_file(path))
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The number that a rotated file has by now.
pub(super) fn number_of(log: &Path, inode: u64) -> Option<u32> {
    let is_it =
        |number: &u32| fs::symlink_metadata(plain(log, *number)).is_ok_and(|m| m.ino() == inode);
    (1..=chain(log)).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log directory with files of these names, each holding its name.
    fn with(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let log = directory.path().join("a.log");
        (directory, log)
    }

    /// What is there: names with what they hold.
    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let held = fs::read_to_string(entry.path()).unwrap();
            format!("{}={held}", entry.file_name().to_string_lossy())
        });
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn files_move_one_on_and_the_oldest_go() {
        for (there, backups, left) in [
            (vec!["a.log"], 1, vec!["a.log.1=a.log"]),
            (vec!["a.log", "a.log.1"], 1, vec!["a.log.1=a.log"]),
            (vec!["a.log", "a.log.1"], 2, vec!["a.log.1=a.log", "a.log.2=a.log.1"]),
            (vec!["a.log", "a.log.1.gz"], 9, vec!["a.log.1=a.log", "a.log.2.gz=a.log.1.gz"]),
            (vec!["a.log", "a.log.1.gz", "a.log.2.gz"], 1, vec!["a.log.1=a.log"]),
            // A gap ends the files of the log, and nothing is moved over one.
            (vec!["a.log", "a.log.2"], 9, vec!["a.log.1=a.log", "a.log.2=a.log.2"]),
            // Fewer are kept than before: two go each time.
            (
                vec!["a.log", "a.log.1", "a.log.2", "a.log.3", "a.log.4"],
                2,
                vec!["a.log.1=a.log", "a.log.2=a.log.1", "a.log.3=a.log.2"],
            ),
            (vec!["a.log.1"], 2, vec!["a.log.1=a.log.1"]),
            (vec!["a.log", "a.log.1"], u32::MAX, vec!["a.log.1=a.log", "a.log.2=a.log.1"]),
        ] {
            let (directory, log) = with(&there);
            shift(&log, backups, &mut Doomed::default()).unwrap();
            assert_eq!(names(&directory), left, "{there:?}");
        }
    }

    #[test]
    fn only_what_is_old_goes_and_only_from_the_old_end() {
        let (directory, log) = with(&["a.log", "a.log.1", "a.log.2.gz", "a.log.3"]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hour = Duration::from_secs(3600);
        for (name, hours) in [("a.log.1", 1), ("a.log.2.gz", 3), ("a.log.3", 5)] {
            let file = fs::File::options().write(true).open(directory.path().join(name)).unwrap();
            file.set_modified(now - hours * hour).unwrap();
        }
        remove_older(&log, 6 * hour, now, &mut Doomed::default()).unwrap();
        assert_eq!(names(&directory).len(), 4);
        remove_older(&log, 4 * hour, now, &mut Doomed::default()).unwrap();
        assert_eq!(names(&directory).len(), 3);
        remove_older(&log, 2 * hour, now, &mut Doomed::default()).unwrap();
        assert_eq!(names(&directory), ["a.log.1=a.log.1", "a.log=a.log"]);
        clear(&log, &mut Doomed::default()).unwrap();
        assert_eq!(names(&directory), ["a.log=a.log"]);
    }

    #[test]
    fn a_rotated_file_is_found_again_after_it_was_moved() {
        let (_directory, log) = with(&["a.log", "a.log.1.gz", "a.log.2"]);
        assert_eq!(next_to_compress(&log), Some(plain(&log, 2)));
        let inode = fs::metadata(plain(&log, 2)).unwrap().ino();
        shift(&log, 9, &mut Doomed::default()).unwrap();
        assert_eq!(number_of(&log, inode), Some(3));
        assert_eq!(next_to_compress(&log), Some(plain(&log, 1)));
        clear(&log, &mut Doomed::default()).unwrap();
        assert_eq!((number_of(&log, inode), next_to_compress(&log)), (None, None));
    }
}
