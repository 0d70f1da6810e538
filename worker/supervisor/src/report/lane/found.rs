//! What an earlier run left in files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{fs, io};

use uuid::Uuid;

use super::{Entry, Lane, Segment};
use crate::report::late::{LATE, LateFile};
use crate::report::record::{self, Head};

/// What an earlier run left.
#[derive(Debug, Default)]
pub(in crate::report) struct Left {
    /// Records that should be there, and are not.
    pub(in crate::report) lost: u64,
    /// The greatest number of a report.
    pub(in crate::report) number: u64,
    /// Files that were set aside.
    pub(in crate::report) late: Vec<LateFile>,
}

impl Lane {
    /// Takes up what an earlier run left, after the record of ordinal `head` where that is known;
    /// shows each record that is whole, also those before. A file that cannot be read is set aside,
    /// with all that follow it: so none is missing between two others.
    ///
    /// # Errors
    /// When the directory cannot be read, and when a file can be neither read nor set aside.
    pub(in crate::report) fn recover(
        &mut self,
        head: Option<u64>,
        mut each: impl FnMut(&Head, &[u8]),
    ) -> io::Result<Left> {
        let mut left = Left::default();
        let mut first = None;
        let files = self.files()?;
        for (at, path) in files.iter().enumerate() {
            let bytes = match fs::read(path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    tracing::error!("cannot read {}: {e}; it is tried again", path.display());
                    left.late = set_aside(&files[at..], head.unwrap_or(0).max(self.last))?;
                    break;
                }
            };
            let (path, length) = (path.clone(), bytes.len() as u64);
            let mut segment = Segment { path, bytes: length, entries: VecDeque::new() };
            for (at, head_of, line) in record::scan(&bytes) {
                // One that was written over another one, and not in order, is none of ours.
                if head_of.ordinal <= self.last {
                    continue;
                }
                self.last = head_of.ordinal;
                left.number = left.number.max(head_of.number);
                each(&head_of, line);
                let before = *first.get_or_insert(head_of.ordinal - 1);
                if head_of.ordinal > head.unwrap_or(before) {
                    self.count += 1;
                    let entry = Entry { head: head_of, offset: at as u64, line: None };
                    self.bytes += entry.head.size();
                    segment.entries.push_back(entry);
                }
            }
            if segment.entries.is_empty() {
                self.finished.push(segment.path);
            } else {
                self.segments.push_back(segment);
            }
        }
        self.head = head.or(first).unwrap_or(0);
        self.last = self.last.max(self.head);
        left.lost = (self.last - self.head).saturating_sub(self.count as u64);
        Ok(left)
    }

    /// Sets all of its files aside, of which the bus has what is up to this ordinal.
    ///
    /// # Errors
    /// When one cannot be; those before are.
    pub(in crate::report) fn set_aside(&self, head: u64) -> io::Result<Vec<LateFile>> {
        set_aside(&self.files()?, head)
    }

    /// Its files, oldest first.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        beginning_with(&self.directory, &format!("{}.", self.name))
    }
}

/// Files whose names begin like this, in the order of their names.
pub(in crate::report) fn beginning_with(
    directory: &Path,
    prefix: &str,
) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Gives these files names that no lane knows, none twice, and whose order is theirs.
fn set_aside(files: &[PathBuf], head: u64) -> io::Result<Vec<LateFile>> {
    let first = |path: &PathBuf| path.extension()?.to_str()?.parse::<u64>().ok();
    let mut late = Vec::new();
    for (at, path) in files.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(format!("{LATE}{}.{head}.{name}", Uuid::now_v7()));
        fs::rename(path, &aside)?;
        let from = first(path).unwrap_or(0).max(head + 1);
        let next = files.get(at + 1).and_then(first);
        // How many the last one holds, nobody knows.
        let holds = next.map_or(1, |next| next.saturating_sub(from));
        late.push(LateFile::new(aside, head, holds));
    }
    Ok(late)
}
