//! Small files beside the records: how far the bus is, what was dropped, and the ledger.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::tally::Tally;
use crate::files::private;

/// How far the queue is. It is written over in its place at each change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    /// Ordinal of the last record of each lane that nobody waits for any more.
    pub(super) heads: [u64; 2],
    /// Number of the last report.
    pub(super) last: u64,
    /// What was dropped, and not told yet.
    pub(super) dropped: Tally,
    /// What was told, by the report of this number, which may be dropped itself.
    pub(super) told: Option<(u64, Tally)>,
}

/// The file of marks, and that of the ledger.
#[derive(Debug)]
pub(super) struct Files {
    marks: PathBuf,
    open: Option<File>,
    ledger: PathBuf,
}

impl Files {
    pub(super) fn of(directory: &Path) -> Files {
        Files { marks: directory.join("marks"), open: None, ledger: directory.join("ledger") }
    }

    /// What an earlier run left; `None` when it left nothing that is whole.
    ///
    /// # Errors
    /// When what it left cannot be read. It must not be written over then.
    pub(super) fn marks(&self) -> io::Result<Option<Marks>> {
        read(&self.marks)
    }

    /// The same.
    pub(super) fn ledger(&self) -> io::Result<Option<Ledger>> {
        Ok(read(&self.ledger)?.map(Ledger::from_saved))
    }

    pub(super) fn save_marks(&mut self, marks: &Marks) -> io::Result<()> {
        let file = match &self.open {
            Some(file) => file,
            None => self.open.insert(private().truncate(false).open(&self.marks)?),
        };
        // What is left of a longer one before it does not count.
        file.write_all_at(&sealed(marks)?, 0)
    }

    /// Puts a new ledger in the place of the old one, whole or not at all.
    pub(super) fn save_ledger(&self, ledger: &Ledger) -> io::Result<()> {
        let new = self.ledger.with_extension("new");
        private().truncate(true).open(&new)?.write_all(&sealed(&ledger.saved())?)?;
        fs::rename(&new, &self.ledger)
    }
}

/// Checksum, length, and JSON.
fn sealed(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, what)?;
    let length = u32::try_from(bytes.len() - 8).map_err(io::Error::other)?;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(unsealed(&bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn unsealed<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (sum, sealed) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*sealed.first_chunk()?)).ok()?;
    let sealed = sealed.get(..length.checked_add(4)?)?;
    if crc32fast::hash(sealed) != u32::from_le_bytes(*sum) {
        return None;
    }
    serde_json::from_slice(&sealed[4..]).ok()
}
