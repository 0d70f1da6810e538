//! What tests look at, and do to the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Lane;

impl Lane {
    /// How many lines are in memory.
    pub(in crate::report) fn in_memory(&self) -> usize {
        let written = self.segments.iter().flat_map(|segment| &segment.entries);
        written.chain(&self.unwritten).filter(|entry| entry.line.is_some()).count()
    }

    /// Numbers of all that wait.
    pub(in crate::report) fn numbers(&self) -> Vec<u64> {
        let unwritten = self.unwritten.iter().map(|entry| entry.head.number);
        self.saved().into_iter().chain(unwritten).collect()
    }

    /// Numbers of those that are written.
    pub(in crate::report) fn saved(&self) -> Vec<u64> {
        let written = self.segments.iter().flat_map(|segment| &segment.entries);
        written.map(|entry| entry.head.number).collect()
    }

    /// The disk is full from now on, in the middle of a record, if a file is open.
    pub(in crate::report) fn fill(&mut self) {
        self.mend();
        if let (Some(file), Some(segment)) = (&mut self.open, self.segments.back()) {
            file.write_all_at(&[0xF5, b'd', b'R', 1, 9, 9, 9], segment.bytes).unwrap();
            *file = File::options().write(true).open("/dev/full").unwrap();
        }
    }

    /// The disk has room again.
    pub(in crate::report) fn mend(&mut self) {
        if let (Some(file), Some(segment)) = (&mut self.open, self.segments.back()) {
            *file = File::options().write(true).open(&segment.path).unwrap();
        }
    }
}
