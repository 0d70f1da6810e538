//! The file of grants, as it is now: read again when it changes, and said where it cannot be used.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dsbus_client::{Error, read_limited_text};
use dsbus_schema::command::Verb;
use dsbus_schema::ids::UserName;

use super::{Grants, Touched};
use crate::core::Core;
use crate::run::Scheduler;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
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

    /// What is likely a slip in it, once for each time that it is read.
    fn slips(&self, core: &Core) -> Option<String> {
        let path = self.path.as_ref()?;
        let mut now = self.current();
        if std::mem::replace(&mut now.looked_over, true) {
            return None;
        }
        let programs = core.view.programs().map(|program| program.name.clone()).collect();
        let workers = core.view.workers().map(|worker| worker.name.clone()).collect();
        let mut idle = now.grants.idle(&programs, &workers);
        let more = idle.len().saturating_sub(TOLD_MAX);
        idle.truncate(TOLD_MAX);
        if more > 0 {
            idle.push(format!("{more} more"));
        }
        (!idle.is_empty()).then(|| format!("{}: {}", path.display(), idle.join("; ")))
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
    /// is wrong with it, or likely so.
    pub(crate) fn look_over_grants(&self) {
        let core = self.shared.lock();
        // What is not known yet cannot be said to be missing.
        if let Some(slips) = core.ready().then(|| self.grants.slips(&core)).flatten() {
            tracing::warn!("likely slips in {slips}");
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> Result<Last, String> {
    // Before it is read: one that changes meanwhile is read again.
    let stamp = stamp(path);
    let text = read_limited_text(path, FILE_BYTES_MAX).map_err(|e| match e.kind() {
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
}
