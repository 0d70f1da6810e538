//! Reports of one sort, oldest first: most in files, the youngest in memory until they are written.
//!
//! Invariants:
//! - What is not written is younger than everything that is. A disk that fails makes it more, and
//!   one that works again takes all of it, in order.
//! - The first `handed` entries are known to the present agent, the others are not.
//! - A file is only ever added to by the run that made it: what an earlier one left may end anyhow.
//! - A report is lost only when its file is gone, or holds something else in its place: an error of
//!   reading says nothing of what is there.

pub(super) mod found;
#[cfg(test)]
mod tried;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{self, Head, Kind};
use crate::files::{make_private_directory, private};

/// Most bytes that are written, or read back, at once: a thousandth of a second or less.
const CHUNK: usize = 256 * 1024;
/// Room that is kept for them; what a burst needed beyond it is given back.
const ROOM_KEPT: usize = 16 * 1024;
/// Places that an empty queue keeps.
const PLACES_KEPT: usize = 64;

/// A report that waits.
#[derive(Debug)]
struct Entry {
    head: Head,
    /// Where its record begins in its file.
    offset: u64,
    /// The line, while it is not written, or was just now.
    line: Option<Box<[u8]>>,
}

/// A file of records.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// How much of it is written.
    bytes: u64,
    entries: VecDeque<Entry>,
}

/// What was read back last.
#[derive(Debug)]
struct Reading {
    path: PathBuf,
    file: File,
    /// Where `bytes` begin in the file.
    begin: u64,
    bytes: Vec<u8>,
}

/// What came of handing one out.
#[derive(Debug)]
pub(super) enum Handed {
    Given(Head),
    /// It is not in its file any more, and was taken out.
    Lost(Head),
}

/// A queue of reports.
#[derive(Debug)]
pub(super) struct Lane {
    name: &'static str,
    directory: PathBuf,
    /// A file that is longer is followed by another one.
    segment_bytes: u64,
    /// Oldest first. The last one is written to while it is open.
    segments: VecDeque<Segment>,
    open: Option<File>,
    unwritten: VecDeque<Entry>,
    /// Ordinal of the last entry that was added, and of the last one that was taken out.
    last: u64,
    head: u64,
    count: usize,
    bytes: usize,
    handed: usize,
    /// Files of which nothing waits any more.
    finished: Vec<PathBuf>,
    buffer: Vec<u8>,
    reading: Option<Reading>,
}

impl Lane {
    /// Nothing waits. Its files will be in this directory.
    pub(super) fn new(name: &'static str, directory: &Path, segment_bytes: u64) -> Lane {
        Lane {
            name,
            directory: directory.to_owned(),
            segment_bytes,
            segments: VecDeque::new(),
            open: None,
            unwritten: VecDeque::new(),
            last: 0,
            head: 0,
            count: 0,
            bytes: 0,
            handed: 0,
            finished: Vec::new(),
            buffer: Vec::new(),
            reading: None,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ordinal of the last entry that was taken out.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// How many are not written.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Adds a report.
    pub(super) fn push(&mut self, number: u64, kind: Kind, millis: i64, line: Vec<u8>) {
        self.last += 1;
        // A line is far shorter than 4 GiB.
        let bytes = u32::try_from(line.len()).unwrap_or(u32::MAX);
        let head = Head { ordinal: self.last, number, millis, kind, bytes };
        let entry = Entry { head, offset: 0, line: Some(line.into_boxed_slice()) };
        self.count += 1;
        self.bytes += entry.head.size();
        self.unwritten.push_back(entry);
    }

    /// Number of the oldest one.
    pub(super) fn oldest(&self) -> Option<u64> {
        let written = self.segments.iter().find_map(|segment| segment.entries.front());
        written.or_else(|| self.unwritten.front()).map(|entry| entry.head.number)
    }

    /// Takes out the oldest one; the agent may know it or not.
    pub(super) fn pop(&mut self) -> Option<Head> {
        let entry = loop {
            let Some(segment) = self.segments.front_mut() else {
                break self.unwritten.pop_front()?;
            };
            let entry = segment.entries.pop_front();
            if segment.entries.is_empty() && (self.segments.len() > 1 || self.open.is_none()) {
                self.finished.extend(self.segments.pop_front().map(|segment| segment.path));
            } else if entry.is_none() {
                break self.unwritten.pop_front()?;
            }
            if let Some(entry) = entry {
                break entry;
            }
        };
        self.head = entry.head.ordinal;
        self.handed = self.handed.saturating_sub(1);
        self.forget(&entry);
        Some(entry.head)
    }

    fn forget(&mut self, entry: &Entry) {
        self.count -= 1;
        self.bytes -= entry.head.size();
        if self.count == 0 {
            // What a burst needed is given back.
            self.unwritten.shrink_to(PLACES_KEPT);
            self.segments.iter_mut().for_each(|segment| segment.entries.shrink_to(PLACES_KEPT));
            self.reading = None;
        }
    }

    /// Files of which nothing waits any more; they may be removed.
    pub(super) fn finished(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.finished)
    }

    /// Whether there are such files.
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Writes some of what is not written.
    ///
    /// # Errors
    /// When the disk takes nothing; it is tried again by calling this again.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        self.open_segment()?;
        let (Some(segment), Some(file)) = (self.segments.back_mut(), &self.open) else {
            return Ok(());
        };
        self.buffer.clear();
        let mut count = 0;
        for entry in &mut self.unwritten {
            if count > 0 && self.buffer.len() + entry.head.size() > CHUNK {
                break;
            }
            entry.offset = segment.bytes + self.buffer.len() as u64;
            record::encode(&entry.head, entry.line.as_deref().unwrap_or(&[]), &mut self.buffer);
            count += 1;
        }
        // What a failed attempt left of itself is written over.
        file.write_all_at(&self.buffer, segment.bytes)?;
        segment.bytes += self.buffer.len() as u64;
        let known = self.handed.saturating_sub(self.count - self.unwritten.len());
        for (at, mut entry) in self.unwritten.drain(..count).enumerate() {
            if at < known {
                entry.line = None;
            }
            segment.entries.push_back(entry);
        }
        if segment.bytes >= self.segment_bytes {
            self.open = None;
        }
        self.buffer.clear();
        self.buffer.shrink_to(ROOM_KEPT);
        Ok(())
    }

    fn open_segment(&mut self) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        make_private_directory(&self.directory)?;
        let first = self.unwritten.front().map_or(self.last, |entry| entry.head.ordinal);
        let path = self.directory.join(format!("{}.{first:020}", self.name));
        self.open = Some(private().truncate(true).open(&path)?);
        // One that holds nothing that is whole may have the same name.
        self.finished.retain(|finished| *finished != path);
        self.segments.push_back(Segment { path, bytes: 0, entries: VecDeque::new() });
        Ok(())
    }

    /// Number of the first one that the agent does not know, and whether it is written.
    pub(super) fn next(&self) -> Option<(u64, bool)> {
        let (place, at) = self.place(self.handed)?;
        let entries = place.map_or(&self.unwritten, |segment| &self.segments[segment].entries);
        entries.get(at).map(|entry| (entry.head.number, place.is_some()))
    }

    /// Which segment an entry is in, if it is in one, and its place there.
    fn place(&self, mut index: usize) -> Option<(Option<usize>, usize)> {
        if index >= self.count {
            return None;
        }
        for (number, segment) in self.segments.iter().enumerate() {
            if index < segment.entries.len() {
                return Some((Some(number), index));
            }
            index -= segment.entries.len();
        }
        Some((None, index))
    }

    /// Hands the first one out that the agent does not know. One that is not in its file is taken out.
    ///
    /// # Errors
    /// When the file cannot be read: it is tried again by calling this again.
    pub(super) fn hand(&mut self, give: &mut impl FnMut(&[u8])) -> io::Result<Option<Handed>> {
        let Some((place, at)) = self.place(self.handed) else { return Ok(None) };
        let Some(number) = place else {
            let entry = &self.unwritten[at];
            give(entry.line.as_deref().unwrap_or(&[]));
            self.handed += 1;
            return Ok(Some(Handed::Given(entry.head)));
        };
        let segment = &mut self.segments[number];
        let entry = &mut segment.entries[at];
        let head = entry.head;
        if let Some(line) = entry.line.take() {
            give(&line);
            self.handed += 1;
            return Ok(Some(Handed::Given(head)));
        }
        let read = read_back(&mut self.reading, segment, at)?;
        if let Some((_, line)) = record::decode(read).filter(|(found, _)| *found == head) {
            give(line);
            self.handed += 1;
            return Ok(Some(Handed::Given(head)));
        }
        Ok(self.lose_next().map(Handed::Lost))
    }

    /// Takes the first one out that the agent does not know, if it is written.
    pub(super) fn lose_next(&mut self) -> Option<Head> {
        let (place, at) = self.place(self.handed)?;
        let entry = self.segments[place?].entries.remove(at)?;
        self.forget(&entry);
        Some(entry.head)
    }

    /// Nobody knows any of them: the agent is gone.
    pub(super) fn take_back(&mut self) {
        self.handed = 0;
    }

    /// What is written need not be kept in memory.
    pub(super) fn release(&mut self) {
        let written = self.segments.iter_mut().rev().flat_map(|s| s.entries.iter_mut().rev());
        for entry in written {
            if entry.line.take().is_none() {
                break;
            }
        }
    }
}

/// The bytes that begin with an entry, from its file, as far as it goes; many are read at once. None
/// when the file is gone.
fn read_back<'a>(
    reading: &'a mut Option<Reading>,
    segment: &Segment,
    at: usize,
) -> io::Result<&'a [u8]> {
    let entry = &segment.entries[at];
    let end = entry.offset + entry.head.size() as u64;
    let has = |r: &Reading| r.begin <= entry.offset && end <= r.begin + r.bytes.len() as u64;
    if reading.as_ref().is_none_or(|reading| reading.path != segment.path) {
        let file = match File::open(&segment.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(&[]),
            opened => opened?,
        };
        *reading = Some(Reading { path: segment.path.clone(), file, begin: 0, bytes: Vec::new() });
    }
    let Some(reading) = reading else { return Ok(&[]) };
    if !has(reading) {
        let rest = usize::try_from(segment.bytes - entry.offset).unwrap_or(usize::MAX);
        let most = rest.min(CHUNK.max(entry.head.size()));
        let read = reading.fill(entry.offset, most);
        // What is behind it may be what cannot be read.
        read.or_else(|_| reading.fill(entry.offset, entry.head.size()))?;
    }
    let from = usize::try_from(entry.offset - reading.begin).unwrap_or(usize::MAX);
    Ok(reading.bytes.get(from..).unwrap_or(&[]))
}

impl Reading {
    /// Reads so much from there on, or less, if the file ends before.
    fn fill(&mut self, begin: u64, most: usize) -> io::Result<()> {
        let mut read = 0;
        self.begin = begin;
        self.bytes.resize(most, 0);
        while read < most {
            match self.file.read_at(&mut self.bytes[read..], begin + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.bytes.clear();
                    return Err(e);
                }
            }
        }
        self.bytes.truncate(read);
        Ok(())
    }
}
