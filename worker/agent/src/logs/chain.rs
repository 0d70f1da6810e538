//! The files of one log, opened one after the other from the newest to the oldest, as far as they
//! are needed: a log may have a thousand.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use dsbus_schema::call::LogPlace;
use dsbus_supervisor::{marks, open_trusted};

use super::packed::Unpacker;

/// Most rotated files that are looked at; the supervisor keeps no more.
const FILES_MAX: u32 = 1000;

/// A file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) inode: u64,
    /// See [`LogPlace::born`].
    pub(super) born: u64,
}

/// One file of a log, open, so that a rotation does not change what is read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) identity: Identity,
    /// When it was written to last, in nanoseconds since 1970.
    pub(super) written: i128,
    pub(super) content: Content,
    /// It was removed, and so may have been others after it.
    pub(super) removed: Option<Removed>,
}

/// What is known of a file that was removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Removed {
    /// The one after it, if that was seen.
    pub(super) next: Option<Identity>,
}

#[derive(Debug)]
pub(super) enum Content {
    Plain(Arc<File>),
    Packed(Box<Unpacker>),
}

/// The files, newest first.
#[derive(Debug)]
pub(super) struct Chain {
    log: PathBuf,
    parts: Vec<Part>,
    /// The number that is opened next; 0 is the log itself.
    number: u32,
    /// All that are there are open.
    whole: bool,
    /// There is an older one that cannot be read.
    cut: bool,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Identity {
        Identity { inode: metadata.ino(), born: marks::born(metadata) }
    }

    /// Whether the place is in this file, as far as that is known.
    pub(super) fn is_of(self, place: &LogPlace) -> bool {
        let same_birth = self.born == 0 || place.born == 0 || self.born == place.born;
        self.inode == place.file && same_birth
    }
}

impl Part {
    pub(super) fn plain(file: Arc<File>) -> io::Result<Part> {
        let metadata = file.metadata()?;
        Ok(Part::new(&metadata, Content::Plain(file)))
    }

    fn packed(file: File) -> io::Result<Part> {
        let metadata = file.metadata()?;
        Ok(Part::new(&metadata, Content::Packed(Box::new(Unpacker::new(file)))))
    }

    fn new(metadata: &Metadata, content: Content) -> Part {
        let written = i128::from(metadata.mtime()) * 1_000_000_000;
        let written = written + i128::from(metadata.mtime_nsec());
        Part { identity: Identity::of(metadata), written, content, removed: None }
    }

    /// Reads from this offset on, until `room` is full or nothing more is there; how much.
    pub(super) fn read(&mut self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < room.len() {
            let at = offset + read as u64;
            let more = match &mut self.content {
                Content::Plain(file) => file.read_at(&mut room[read..], at),
                Content::Packed(unpacker) => unpacker.read_at(&mut room[read..], at),
            };
            match more {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    /// Where this offset is. The bytes before it were just read.
    pub(super) fn place(&mut self, offset: u64) -> io::Result<LogPlace> {
        let Identity { inode: file, born } = self.identity;
        Ok(LogPlace { file, offset, born, check: self.check(offset)?.unwrap_or(0) })
    }

    /// The checksum of what is before an offset; `None` when it is not as long as that.
    pub(super) fn check(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let len = usize::try_from(offset).unwrap_or(usize::MAX).min(marks::CHECKED_BYTES);
        let mut bytes = [0; marks::CHECKED_BYTES];
        let read = match &mut self.content {
            Content::Plain(_) => self.read(offset - len as u64, &mut bytes[..len])?,
            Content::Packed(unpacker) => unpacker.before(offset, &mut bytes[..len])?,
        };
        Ok((read == len).then(|| u64::from(marks::checksum(&bytes[..len]))))
    }

    /// Whether what is before the place is what was before it when it was taken.
    pub(super) fn holds(&mut self, place: &LogPlace) -> io::Result<bool> {
        let check = self.check(place.offset)?;
        Ok(check.is_some_and(|check| place.check == 0 || place.check == check))
    }
}

impl Chain {
    pub(super) fn of(log: PathBuf) -> Chain {
        Chain { log, parts: Vec::new(), number: 0, whole: false, cut: false }
    }

    /// The part of this index, from the newest, which is 0.
    pub(super) fn part(&mut self, index: usize) -> io::Result<Option<&mut Part>> {
        while self.parts.len() <= index && !self.whole {
            self.open_next()?;
        }
        Ok(self.parts.get_mut(index))
    }

    /// How many there are.
    pub(super) fn len(&mut self) -> io::Result<usize> {
        while !self.whole {
            self.open_next()?;
        }
        Ok(self.parts.len())
    }

    /// Whether there is an older one that cannot be read. Known once all are open.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Adds one that is not there any more; its index.
    pub(super) fn add_removed(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    pub(super) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// Opens the next older one, if there is one. Numbers only grow while this goes on, and so do
    /// those that are looked for: none is passed over, and one that is met twice is left out.
    fn open_next(&mut self) -> io::Result<()> {
        // While a rotation runs, one number is free for a moment.
        for number in [self.number, self.number + 1] {
            self.number = number + 1;
            if number > FILES_MAX {
                break;
            }
            if let Some(part) = self.open(number)? {
                if !self.is_met(&part) {
                    self.parts.push(part);
                }
                return Ok(());
            }
        }
        self.whole = true;
        Ok(())
    }

    fn open(&mut self, number: u32) -> io::Result<Option<Part>> {
        let name = |suffix: &str| match number {
            0 => self.log.clone(),
            _ => PathBuf::from(format!("{}.{number}{suffix}", self.log.display())),
        };
        let open = |suffix: &str| match open_trusted(&name(suffix), File::options().read(true)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        if let Some(file) = open("")? {
            if !file.metadata()?.is_file() {
                return Ok(None);
            }
            return Part::plain(Arc::new(file)).map(Some);
        }
        if number == 0 {
            return Ok(None);
        }
        let Some(file) = open(".gz")? else { return Ok(None) };
        let mut part = Part::packed(file)?;
        // What another compressor wrote may be something else.
        let readable = part.read(0, &mut [0]).is_ok();
        self.cut |= !readable;
        Ok(readable.then_some(part))
    }

    /// Whether a file was met already: under another number, or before it was compressed, which
    /// takes over when it was written.
    fn is_met(&mut self, part: &Part) -> bool {
        if self.parts.iter().any(|known| known.identity == part.identity) {
            return true;
        }
        let Content::Packed(unpacker) = &part.content else { return false };
        let Some(newer) = self.parts.last() else { return false };
        let Content::Plain(file) = &newer.content else { return false };
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        newer.written == part.written && unpacker.says_len(len)
    }
}
