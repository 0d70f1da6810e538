//! The file of grants, as it is now: read again when it changes, and said where it cannot be used.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dsbus_client::{Error, read_limited_text};
use dsbus_schema::command::Verb;
use dsbus_schema::ids::{ProgramName, UserName, WorkerName};

use super::{Grants, Touched};
use crate::run::Scheduler;

/// Longest file of grants that is read, in bytes: room for some ten thousand users.
pub const GRANTS_BYTES_MAX: u64 = 1 << 20;
/// Most slips that are told of one file.
const TOLD_MAX: usize = 16;

/// The file, if there is one, and what it said last.
#[derive(Debug, Default)]
pub(crate) struct GrantsFile {
    path: Option<PathBuf>,
    now: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    grants: Grants,
    /// What it was like when it was read.
    stamp: Option<(SystemTime, u64)>,
    /// What is likely a slip in it was told.
    looked_over: bool,
}

impl GrantsFile {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Malformed`], when it cannot be used.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<GrantsFile, Error> {
        let Some(path) = path else { return Ok(GrantsFile::default()) };
        let last = read(&path)
            .map_err(|why| Error::Malformed { what: path.display().to_string(), why })?;
        Ok(GrantsFile { path: Some(path), now: Mutex::new(last) })
    }

    /// Whether a user may do this, as the file says now. While it cannot be used, what it said last
    /// holds.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge(
        &self,
        user: &UserName,
        verb: Verb,
        touched: Touched<'_>,
    ) -> Result<(), String> {
        self.current().grants.judge(user, verb, touched)
    }

    /// What it grants, where that is to be looked over: once for each time that it is read. It is read
    /// again in any case.
    fn to_look_over(&self, ready: bool) -> Option<(&Path, Grants)> {
        let path = self.path.as_ref()?;
        let mut now = self.current();
        let due = ready && !std::mem::replace(&mut now.looked_over, true);
        due.then(|| (path.as_path(), now.grants.clone()))
    }

    /// What it said last that could be used.
    fn current(&self) -> MutexGuard<'_, Last> {
        let mut now = self.lock();
        if let Some(path) = &self.path
            && now.stamp != stamp(path)
        {
            match read(path) {
                Ok(last) => {
                    tracing::info!("{} has changed", path.display());
                    *now = last;
                }
                Err(why) => {
                    tracing::error!(
                        "{} cannot be used, and holds as it was: {why}",
                        path.display()
                    );
                    now.stamp = stamp(path);
                }
            }
        }
        now
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        // What is in it is replaced whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheduler {
    /// Reads the file again if it has changed, whether or not anybody commands something, and says what
    /// is wrong with it, or likely so. All else waits for the lock on what is known: nothing is read
    /// under it, and no names are compared.
    pub(crate) fn look_over_grants(&self) {
        let ready = self.shared.lock().ready();
        // What is not known yet cannot be said to be missing.
        let Some((path, grants)) = self.grants.to_look_over(ready) else { return };
        let (programs, workers) = {
            let core = self.shared.lock();
            let programs = core.view.programs().map(|program| program.name.clone()).collect();
            (programs, core.view.workers().map(|worker| worker.name.clone()).collect())
        };
        if let Some(slips) = slips(&grants, &programs, &workers) {
            tracing::warn!("likely slips in {}: {slips}", path.display());
        }
    }
}

/// What is likely a slip, as much of it as is told.
fn slips(
    grants: &Grants,
    programs: &BTreeSet<ProgramName>,
    workers: &BTreeSet<WorkerName>,
) -> Option<String> {
    let mut idle = grants.idle(programs, workers);
    let more = idle.len().saturating_sub(TOLD_MAX);
    idle.truncate(TOLD_MAX);
    if more > 0 {
        idle.push(format!("{more} more"));
    }
    (!idle.is_empty()).then(|| idle.join("; "))
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> Result<Last, String> {
    // Before it is read: one that changes meanwhile is read again.
    let stamp = stamp(path);
    let text = read_limited_text(path, GRANTS_BYTES_MAX).map_err(|e| match e.kind() {
        ErrorKind::FileTooLarge => format!("it {e}"),
        _ => format!("it cannot be read: {e}"),
    })?;
    Ok(Last { grants: Grants::parse(&text)?, stamp, looked_over: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grants.toml");
        let (ann, web) = (UserName::parse("ann").unwrap(), "web".parse().unwrap());
        assert!(GrantsFile::open(Some(path.clone())).is_err());
        std::fs::write(&path, "[user.ann]\nverbs = []\n").unwrap();
        let file = GrantsFile::open(Some(path.clone())).unwrap();
        let judge = || file.judge(&ann, Verb::Start, Touched::Programs(&[&web]));
        assert!(judge().is_err());
        std::fs::write(&path, "[user.ann]\nverbs = [\"start\"]\nprograms = [\"*\"]\n").unwrap();
        assert_eq!(judge(), Ok(()));
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(judge(), Ok(()), "as it was");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(judge(), Ok(()), "as it was");
    }

    #[test]
    fn a_file_is_looked_over_once_for_each_time_that_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grants.toml");
        std::fs::write(&path, "[user.ann]\nverbs = []\n").unwrap();
        let file = GrantsFile::open(Some(path.clone())).unwrap();
        let looks = |ready| file.to_look_over(ready).is_some();
        assert_eq!(
            [looks(false), looks(true), looks(true), looks(false)],
            [false, true, false, false]
        );
        let text = "[user.ann]\nverbs = [\"stop\"]\nprograms = [\"wbe\"]\n";
        std::fs::write(&path, text).unwrap();
        let (_, grants) = file.to_look_over(true).unwrap();
        let said = slips(&grants, &["web".parse().unwrap()].into(), &BTreeSet::new()).unwrap();
        assert!(said.contains("did you mean web"), "{said}");
        assert!(!looks(true));
    }
}
