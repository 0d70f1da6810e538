//! What an earlier run left in files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::{fs, io};

use super::{Entry, Lane, Segment};
use crate::report::record::{self, Head};

/// What an earlier run left.
#[derive(Debug, Default)]
pub(in crate::report) struct Left {
    /// Records that should be there, and are not.
    pub(in crate::report) lost: u64,
    /// The greatest number of a report.
    pub(in crate::report) number: u64,
}

impl Lane {
    /// Takes up what an earlier run left, after the record of ordinal `head` where that is known;
    /// shows each record that is whole, also those before.
    ///
    /// # Errors
    /// When the directory cannot be read. A file that cannot be is as if it was not there.
    pub(in crate::report) fn recover(
        &mut self,
        head: Option<u64>,
        mut each: impl FnMut(&Head, &[u8]),
    ) -> io::Result<Left> {
        let mut left = Left::default();
        let mut first = None;
        for path in self.files()? {
            let read = fs::read(&path);
            let bytes =
                read.inspect_err(|e| tracing::error!("cannot read {}: {e}", path.display()));
            let bytes = bytes.unwrap_or_default();
            let mut segment = Segment { path, bytes: bytes.len() as u64, entries: VecDeque::new() };
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

    /// Its files, oldest first.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let prefix = format!("{}.", self.name);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }
}
