//! Where the last lines of a log begin, over as many of its files as it takes.
//!
//! Invariant: no more is looked through, and no more is unpacked, than the budget allows. Whoever asks
//! waits for two seconds, and then asks again.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::chain::{Chain, Content, Part};
use super::gather::Position;

/// Read at once.
const CHUNK: usize = 64 * 1024;
/// Most bytes that are looked through: lines may be of any length, and what is compressed is unpacked
/// at some hundred MB a second.
const BYTES_MAX: u64 = 64 << 20;

/// What is looked for, going back from the end of a log.
#[derive(Debug)]
struct Search {
    /// So many ends of lines back, the last lines begin.
    wanted: usize,
    /// Nothing was seen yet: the end of the last line is not counted.
    at_the_end: bool,
    /// Bytes that may still be looked through.
    budget: u64,
}

/// What came of looking through a file.
enum Looked {
    /// The last lines begin here.
    Found(u64),
    /// They begin in an older file, or before this offset, which is as far as was looked.
    NotYet,
    /// This is as far as was looked.
    GivenUp(u64),
    /// It is longer than what may still be looked through, and where its last lines begin, only its
    /// end tells.
    LeftOut,
}

/// Where the last `lines` lines begin, and whether there are older ones that were not looked
/// through, or cannot be read, although more lines were asked for.
pub(super) fn last(chain: &mut Chain, lines: u32) -> io::Result<(Option<Position>, bool)> {
    last_within(chain, lines, BYTES_MAX)
}

/// The same, looking through so many bytes at most.
pub(super) fn last_within(
    chain: &mut Chain,
    lines: u32,
    budget: u64,
) -> io::Result<(Option<Position>, bool)> {
    let mut search = Search { wanted: lines as usize, at_the_end: true, budget };
    let (mut index, mut begin) = (0, Position { index: 0, offset: 0 });
    while let Some(part) = chain.part(index)? {
        let looked = match &part.content {
            Content::Plain(file) => search.backwards(&Arc::clone(file))?,
            Content::Packed(_) => search.forwards(part)?,
        };
        let newer = begin;
        begin = Position { index, offset: 0 };
        match looked {
            Looked::NotYet => index += 1,
            Looked::Found(offset) => return Ok((Some(Position { index, offset }), false)),
            Looked::GivenUp(offset) => return Ok((Some(Position { index, offset }), true)),
            // If nothing is newer, its begin is better than nothing. As below: the last line that is
            // missing may begin right here.
            Looked::LeftOut => return Ok((Some(newer), search.at_the_end || search.wanted > 1)),
        }
    }
    // The last one that is missing may begin right here.
    Ok((Some(begin), search.wanted > 1 && chain.is_cut()))
}

impl Search {
    fn backwards(&mut self, file: &File) -> io::Result<Looked> {
        let mut end = file.metadata()?.len();
        if self.wanted == 0 {
            return Ok(Looked::Found(end));
        }
        let mut chunk = vec![0; CHUNK];
        let mut line = end;
        while end > 0 {
            let read = usize::try_from(end).unwrap_or(usize::MAX).min(CHUNK);
            let begin = end - read as u64;
            file.read_exact_at(&mut chunk[..read], begin)?;
            self.wanted += usize::from(self.ends_a_line(&chunk[..read]));
            for at in (0..read).rev().filter(|at| chunk[*at] == b'\n') {
                let after = begin + at as u64 + 1;
                self.wanted -= 1;
                if self.wanted == 0 {
                    return Ok(Looked::Found(after));
                }
                line = after;
            }
            end = begin;
            self.budget = self.budget.saturating_sub(read as u64);
            if self.budget == 0 && end > 0 {
                return Ok(Looked::GivenUp(line));
            }
        }
        Ok(Looked::NotYet)
    }

    /// The same of a file that can only be read from its begin on.
    fn forwards(&mut self, part: &mut Part) -> io::Result<Looked> {
        let (mut chunk, mut offset) = (vec![0; CHUNK], 0);
        // One more than is wanted, since the last one may be the end of the last line.
        let mut ends: VecDeque<u64> = VecDeque::new();
        let mut ended = false;
        if let Content::Packed(unpacker) = &part.content
            && unpacker.says_more_than(self.budget)
        {
            return Ok(Looked::LeftOut);
        }
        loop {
            let read = part.read(offset, &mut chunk)?;
            if read == 0 {
                break;
            }
            for at in (0..read).filter(|at| chunk[*at] == b'\n') {
                if ends.len() > self.wanted {
                    ends.pop_front();
                }
                ends.push_back(offset + at as u64 + 1);
            }
            ended = chunk[read - 1] == b'\n';
            offset += read as u64;
            let Some(left) = self.budget.checked_sub(read as u64) else {
                return Ok(Looked::LeftOut);
            };
            self.budget = left;
        }
        if offset > 0 && std::mem::take(&mut self.at_the_end) && ended {
            self.wanted += 1;
        }
        if let Some(at) = ends.len().checked_sub(self.wanted) {
            return Ok(Looked::Found(ends.get(at).copied().unwrap_or(offset)));
        }
        self.wanted -= ends.len();
        let first = ends.front().copied().unwrap_or(offset);
        Ok(if self.budget == 0 { Looked::GivenUp(first) } else { Looked::NotYet })
    }

    /// Whether this is the end of the log, and that of a line.
    fn ends_a_line(&mut self, bytes: &[u8]) -> bool {
        std::mem::take(&mut self.at_the_end) && bytes.ends_with(b"\n")
    }
}
