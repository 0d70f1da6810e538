//! What tells a file from another one, and from itself when it was written to.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Which file it is, and since when it is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    /// Of the file there; of what a link leads to.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(crate) fn of(path: &Path) -> io::Result<Stamp> {
        let found = std::fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Stamp { device: found.dev(), inode: found.ino(), modified, size: found.size() })
    }
}
