//! Reading the files that the supervisor writes children's output to:
//! `<directory>/instances/<program>.<index>/<channel>.log`, rotated to `.1`, `.2` and so on. Where a
//! program wants its log elsewhere, that is a link to it, and one to `/dev/null` when there is none.
//!
//! Compressed files (`.1.gz`) are not read: whoever asks is told that something was skipped.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use dsbus_schema::call::{LOG_BYTES_MAX, LOG_LINES_MAX, LogAsk, LogFrom, LogPart, LogPlace};

/// Longest answer as JSON: a NATS message holds 1 MiB, and output that is not text grows by its
/// escapes.
const JSON_BYTES_MAX: usize = 900 * 1024;
/// Most rotated files that are looked at.
const FILES_MAX: u32 = 1000;

/// One file of a log, open, so that a rotation does not change what is read.
struct Part {
    file: File,
    inode: u64,
    len: u64,
}

/// The files of a log that can be read, oldest first.
#[derive(Default)]
struct Parts {
    files: Vec<Part>,
    /// Older ones are compressed.
    more_before: bool,
}

/// Reads what was asked for; `None` when there is no such instance here, or it has no log.
pub(crate) fn read(directory: &Path, ask: &LogAsk) -> io::Result<Option<LogPart>> {
    let name = format!("{}.{}", ask.name.program, ask.name.index);
    let directory = directory.join("instances").join(name);
    if !directory.is_dir() {
        return Ok(None);
    }
    let log = followed(directory.join(format!("{}.log", ask.channel.name())));
    // One that is not there yet has nothing in it yet.
    if fs::metadata(&log).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(None);
    }
    let parts = open(&log)?;
    // Output that is all escapes may need several tries.
    let mut most = LOG_BYTES_MAX;
    loop {
        let part = match ask.from {
            LogFrom::Last(lines) => last(&parts, lines.min(LOG_LINES_MAX), most)?,
            LogFrom::Place(place) => from(&parts, place, most)?,
        };
        if most <= 4 || serde_json::to_string(&part.text)?.len() <= JSON_BYTES_MAX {
            return Ok(Some(part));
        }
        most /= 2;
    }
}

/// Where the files are: rotated ones are beside the log itself, not beside the link to it.
fn followed(log: PathBuf) -> PathBuf {
    match fs::read_link(&log) {
        Ok(target) => log.parent().map_or(target.clone(), |directory| directory.join(target)),
        Err(_) => log,
    }
}

/// The files, oldest first. One that a rotation moves meanwhile may be met twice.
fn open(current: &Path) -> io::Result<Parts> {
    let mut parts: Vec<Part> = Vec::new();
    let mut more_before = false;
    for number in 0..=FILES_MAX {
        let path = match number {
            0 => current.to_owned(),
            _ => PathBuf::from(format!("{}.{number}", current.display())),
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            // While a rotation runs, the current one is not there for a moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                more_before = PathBuf::from(format!("{}.gz", path.display())).exists();
                break;
            }
            Err(e) => return Err(e),
        };
        let metadata = file.metadata()?;
        let (inode, len) = (metadata.ino(), metadata.len());
        if !parts.iter().any(|part| part.inode == inode) {
            parts.push(Part { file, inode, len });
        }
    }
    parts.reverse();
    Ok(Parts { files: parts, more_before })
}

fn end(parts: &[Part]) -> LogPlace {
    parts.last().map_or(LogPlace { file: 0, offset: 0 }, |part| LogPlace {
        file: part.inode,
        offset: part.len,
    })
}

/// The last `lines` lines, of at most `most` bytes, over as many files as it takes; `skipped` when
/// that was not room enough.
fn last(parts: &Parts, lines: u32, most: usize) -> io::Result<LogPart> {
    let Parts { files: parts, more_before } = parts;
    let mut found: Vec<u8> = Vec::new();
    for part in parts.iter().rev() {
        let want = (most - found.len()).min(usize::try_from(part.len).unwrap_or(usize::MAX));
        let mut bytes = vec![0; want];
        part.file.read_exact_at(&mut bytes, part.len - want as u64)?;
        bytes.append(&mut found);
        found = bytes;
        if found.len() >= most || begin_of_last(&found, lines) > 0 {
            break;
        }
    }
    let mut begin = begin_of_last(&found, lines);
    let all: u64 = parts.iter().map(|part| part.len).sum();
    let cut = lines > 0 && begin == 0 && (found.len() as u64) < all;
    let missing = *more_before && count_lines(&found) < lines as usize;
    if cut {
        // Cut in the middle of a line: what is left of it goes. A line longer than the answer is
        // shown from the begin of a character.
        let line = found.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        begin = line.filter(|begin| *begin < found.len()).unwrap_or_else(|| {
            found.iter().take(3).take_while(|byte| (**byte & 0xC0) == 0x80).count()
        });
    }
    let mut next = end(parts);
    let held = incomplete(&found[begin..]).min(usize::try_from(next.offset).unwrap_or(0));
    next.offset -= held as u64;
    let text = String::from_utf8_lossy(&found[begin..found.len() - held]).into_owned();
    Ok(LogPart { text, next, more: false, skipped: cut || missing })
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.split_inclusive(|byte| *byte == b'\n').count()
}

/// Where the last `lines` lines begin; 0 when there are no more than that.
fn begin_of_last(bytes: &[u8], lines: u32) -> usize {
    if lines == 0 {
        return bytes.len();
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.nth(lines as usize - 1).map_or(0, |(at, _)| at + 1)
}

/// What follows a place.
fn from(parts: &Parts, place: LogPlace, most: usize) -> io::Result<LogPart> {
    let Parts { files: parts, more_before } = parts;
    let found = parts.iter().position(|part| part.inode == place.file);
    // A file that is shorter than it was is another one that got the same inode.
    let known = found.filter(|&at| place.offset <= parts[at].len);
    let nothing_yet = place.file == 0 && place.offset == 0;
    let skipped = known.is_none() && (!nothing_yet || *more_before);
    let (mut at, mut offset) = match (known, found) {
        (Some(at), _) => (at, place.offset),
        (None, at) => (at.unwrap_or(0), 0),
    };
    while at + 1 < parts.len() && offset >= parts[at].len {
        (at, offset) = (at + 1, 0);
    }
    let Some(part) = parts.get(at) else {
        return Ok(LogPart { text: String::new(), next: end(parts), more: false, skipped });
    };
    let left = usize::try_from(part.len - offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(most)];
    part.file.read_exact_at(&mut bytes, offset)?;
    let grows = at + 1 == parts.len();
    // A character whose end is not here yet waits for the next answer.
    if grows || bytes.len() < left {
        bytes.truncate(bytes.len() - incomplete(&bytes));
    }
    let next = LogPlace { file: part.inode, offset: offset + bytes.len() as u64 };
    let more = bytes.len() < left && !bytes.is_empty() || !grows;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(LogPart { text, next, more, skipped })
}

/// How many bytes at the end begin a character that is not complete.
fn incomplete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..]) {
        Ok(_) => 0,
        Err(_) => (1..=bytes.len().min(3))
            .find(|back| bytes[bytes.len() - back] >= 0xC0)
            .filter(|back| {
                let tail = &bytes[bytes.len() - back..];
                std::str::from_utf8(tail).is_err_and(|e| e.error_len().is_none())
            })
            .unwrap_or(0),
    }
}
