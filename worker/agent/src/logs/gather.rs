//! Finding a place in the files of a log, and reading on from it over as many of them as it takes.

use std::io;

use dsbus_schema::call::LogPlace;

use super::chain::{Chain, Content, Part};
use super::held::Held;

/// Compressed files that a place is looked for in: each is unpacked up to it.
const UNPACKED_MAX: usize = 4;
/// When a file is full its successor is made at once. If the oldest that is left is younger than that
/// by more than this, which is the longest tick of the clock that stamps files, it is not that one.
const SUCCESSION_MAX_NANOS: i128 = 12_000_000;

/// A place in the open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Which file, counted from the newest.
    pub(super) index: usize,
    pub(super) offset: u64,
}

/// Where a place was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    At(Position),
    /// Its file was emptied, and goes on from this one.
    Truncated(Position),
    /// Its file is not there any more.
    Gone,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) output: Vec<u8>,
    pub(super) next: LogPlace,
    /// More is there already.
    pub(super) more: bool,
    /// Something before it was removed before it was read.
    pub(super) skipped: bool,
}

impl Chain {
    /// The begin of the oldest file.
    pub(super) fn oldest(&mut self) -> io::Result<Position> {
        Ok(Position { index: self.len()?.saturating_sub(1), offset: 0 })
    }
}

/// Looks for a place.
pub(super) fn locate(chain: &mut Chain, place: LogPlace, held: &Held) -> io::Result<Seen> {
    if place == LogPlace::default() {
        return Ok(Seen::Gone);
    }
    let mut index = 0;
    while let Some(part) = chain.part(index)? {
        if part.identity.is_of(&place) {
            held.resume(part);
            let holds = part.holds(&place)?;
            let truncated = Seen::Truncated(Position { index, offset: 0 });
            let found = Seen::At(Position { index, offset: place.offset });
            return Ok(if holds { found } else { truncated });
        }
        index += 1;
    }
    if let Some(index) = packed(chain, &place)? {
        return Ok(Seen::At(Position { index, offset: place.offset }));
    }
    if let Some(mut part) = held.removed(&place)
        && part.holds(&place)?
    {
        let index = chain.add_removed(part);
        return Ok(Seen::At(Position { index, offset: place.offset }));
    }
    Ok(Seen::Gone)
}

/// The file that the place was in, if it was compressed since. What is in a compressed file was
/// written after the file was made that the place is in, and before the next one was; which one it
/// is, among those of one moment, what is before the place decides.
fn packed(chain: &mut Chain, place: &LogPlace) -> io::Result<Option<usize>> {
    let born = i128::from(place.born) * 1000;
    let (mut after, mut at_once) = (Vec::new(), Vec::new());
    for index in (0..chain.len()?).rev() {
        let Some(part) = chain.part(index)? else { break };
        let whole_micros = part.written / 1000 * 1000;
        match (&part.content, whole_micros.cmp(&born)) {
            (Content::Plain(_), _) | (_, std::cmp::Ordering::Less) => {}
            (Content::Packed(_), std::cmp::Ordering::Greater) => after.push(index),
            (Content::Packed(_), std::cmp::Ordering::Equal) => at_once.push(index),
        }
    }
    if place.check == 0 {
        return Ok(None);
    }
    for index in after.into_iter().chain(at_once).take(UNPACKED_MAX) {
        if let Some(part) = chain.part(index)?
            && part.holds(place).unwrap_or(false)
        {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Reads from `start` up to `bound`, at most `most` bytes. The next place is in the last file of
/// which something was read: the begin of the next one is less easily found again.
pub(super) fn gather(
    chain: &mut Chain,
    start: Position,
    bound: Option<Position>,
    most: usize,
) -> io::Result<Gathered> {
    let mut output = vec![0; most];
    let (mut read, mut at, mut skipped) = (0, start, false);
    // Where the last byte is, and how many of the last bytes are in that file.
    let (mut last, mut of_last) = (start, 0);
    loop {
        let passed = bound.is_some_and(|bound| at.index < bound.index);
        let Some(part) = chain.part(at.index)?.filter(|_| !passed) else { break };
        let here = bound.filter(|bound| bound.index == at.index);
        let left = here.map_or(usize::MAX, |bound| {
            usize::try_from(bound.offset.saturating_sub(at.offset)).unwrap_or(usize::MAX)
        });
        let room = (most - read).min(left);
        let done = part.read(at.offset, &mut output[read..read + room])?;
        if done > 0 {
            (read, of_last) = (read + done, done);
            at.offset += done as u64;
            last = at;
        }
        if read == most || at.index == 0 || here.is_some() {
            break;
        }
        if is_gap(chain, at.index)? {
            if read > 0 {
                // It is told with what follows it.
                break;
            }
            skipped = true;
        }
        at = Position { index: at.index - 1, offset: 0 };
    }
    output.truncate(read);
    let mut next = last;
    if read == most {
        // A character that is cut off is left for the next part, unless nothing else is here.
        let cut = incomplete(&output);
        let cut = if cut < of_last { cut } else { 0 };
        output.truncate(read - cut);
        next.offset -= cut as u64;
    }
    let more = goes_on(chain, next, bound)?;
    let next = match chain.part(next.index)? {
        Some(part) => part.place(next.offset)?,
        None => LogPlace::default(),
    };
    Ok(Gathered { output, next, more, skipped })
}

/// Whether what follows this file was removed, or may have been.
fn is_gap(chain: &mut Chain, index: usize) -> io::Result<bool> {
    let Some(part) = chain.part(index)? else { return Ok(false) };
    let (Some(removed), written) = (part.removed, part.written) else { return Ok(false) };
    let Some(next) = index.checked_sub(1) else { return Ok(false) };
    let Some(Part { identity, .. }) = chain.part(next)? else { return Ok(false) };
    if let Some(known) = removed.next {
        return Ok(known != *identity);
    }
    let born = i128::from(identity.born) * 1000;
    // Where the file system does not know, it may be any.
    Ok(born == 0 || born - written > SUCCESSION_MAX_NANOS)
}

/// Whether there is something after this position.
fn goes_on(chain: &mut Chain, from: Position, bound: Option<Position>) -> io::Result<bool> {
    let mut at = from;
    loop {
        if bound
            .is_some_and(|b| at.index < b.index || (at.index == b.index && at.offset >= b.offset))
        {
            return Ok(false);
        }
        let Some(part) = chain.part(at.index)? else { return Ok(false) };
        if part.read(at.offset, &mut [0])? > 0 {
            return Ok(true);
        }
        let Some(index) = at.index.checked_sub(1) else { return Ok(false) };
        at = Position { index, offset: 0 };
    }
}

/// How many bytes at the end begin a character that is not complete: at most 3.
fn incomplete(bytes: &[u8]) -> usize {
    let begins = |back: &usize| bytes[bytes.len() - back] >= 0xC0;
    let unfinished = |back: &usize| {
        let tail = &bytes[bytes.len() - back..];
        std::str::from_utf8(tail).is_err_and(|e| e.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(begins).filter(unfinished).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_character_that_goes_on_is_incomplete() {
        for (bytes, wanted) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("a\u{e4}".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xe2\x82", 2),
            (b"a\xf0\x9f\x98", 3),
            (b"a\xff", 0),
            (b"\x80\x80\x80", 0),
        ] {
            assert_eq!(incomplete(bytes), wanted, "{bytes:?}");
        }
    }
}
