//! Watched executables at a change of the worker's version. What happens to them meanwhile is seen by
//! looking at them once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

use super::{Binaries, QUIET};
use crate::stamp::Stamp;

/// The files, as they are left.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BinariesLeft {
    /// By child.
    files: BTreeMap<i32, (PathBuf, Option<Stamp>)>,
    changed: BTreeMap<PathBuf, BootTime>,
    doubtful: BTreeMap<i32, BootTime>,
}

impl Binaries {
    pub(crate) fn hand_over(&self) -> BinariesLeft {
        let files = self.files.iter().map(|(pid, known)| (*pid, (known.file.clone(), known.was)));
        BinariesLeft {
            files: files.collect(),
            changed: self.changed.clone(),
            doubtful: self.doubtful.clone(),
        }
    }

    pub(crate) fn take_over(left: BinariesLeft, now: BootTime) -> Binaries {
        let BinariesLeft { files, changed, doubtful } = left;
        let mut binaries = Binaries { changed, doubtful, ..Binaries::default() };
        for (pid, (file, was)) in files {
            if let Err(why) = binaries.watch(pid, &file) {
                tracing::warn!("{why}");
            }
            if let Some(watched) = binaries.files.get_mut(&pid) {
                watched.was = was;
            }
            binaries.doubtful.entry(pid).or_insert(now + QUIET);
        }
        binaries
    }
}
