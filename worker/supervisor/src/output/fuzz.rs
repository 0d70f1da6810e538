//! What children write: marks of capture mode, terminal escapes, and lines for syslog, cut anywhere.

use super::ansi::Strip;
use super::capture::{Capture, Piece};
use super::syslog::Lines;
use crate::fuzz::INPUT_BYTES_MAX;

const BEGIN: &[u8] = b"<!--XSUPERVISOR:BEGIN-->";
const END: &[u8] = b"<!--XSUPERVISOR:END-->";
/// Longest line for syslog that is certainly not cut.
const WHOLE_LINE_BYTES: usize = 4096;

/// The first byte says how much is captured at most, the second into pieces of which size the rest is
/// cut.
///
/// # Panics
/// When it is taken apart otherwise than by looking at all of it at once.
pub fn output(data: &[u8]) {
    let [most, size, said @ ..] = data else { return };
    if said.len() > INPUT_BYTES_MAX {
        return;
    }
    let (most, size) = (usize::from(*most), usize::from(*size).max(1));
    capture(said, size, most);
    strip(said, size);
    lines(said, size);
}

fn capture(said: &[u8], size: usize, most: usize) {
    let (mut capture, mut log, mut events) = (Capture::new(most), Vec::new(), Vec::new());
    for piece in said.chunks(size).flat_map(|chunk| capture.hear(chunk)) {
        match piece {
            Piece::Log(bytes) => log.extend(bytes),
            Piece::Between(bytes) => events.push(bytes),
        }
    }
    log.extend(capture.end());
    assert_eq!((log, events), captured(said, most));
}

/// What is logged, and what is captured, when all of it is there.
fn captured(mut said: &[u8], most: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut log, mut events) = (Vec::new(), Vec::new());
    let last = |bytes: &[u8]| bytes[bytes.len().saturating_sub(most)..].to_vec();
    while let Some(at) = find(said, BEGIN) {
        log.extend_from_slice(&said[..at]);
        said = &said[at + BEGIN.len()..];
        let Some(end) = find(said, END) else {
            // What may be a beginning of the mark is held apart from what is captured.
            let held = (0..END.len()).rev().find(|n| said.ends_with(&END[..*n])).unwrap_or(0);
            let (between, held) = said.split_at(said.len() - held);
            log.extend(last(between));
            log.extend_from_slice(held);
            return (log, events);
        };
        events.push(last(&said[..end]));
        said = &said[end + END.len()..];
    }
    log.extend_from_slice(said);
    (log, events)
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

fn strip(said: &[u8], size: usize) {
    let whole = Strip::default().strip(said);
    let mut strip = Strip::default();
    let pieces: Vec<u8> = said.chunks(size).flat_map(|chunk| strip.strip(chunk)).collect();
    assert_eq!(pieces, whole, "it matters where it is cut");
    // Nothing is made up, and nothing changes its place.
    let mut rest = said.iter();
    assert!(whole.iter().all(|byte| rest.any(|said| said == byte)), "{whole:?} was not said");
    if !said.contains(&0x1b) {
        assert_eq!(whole, said);
    }
    let ends = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
    assert_eq!(ends(&whole), ends(said), "an end of a line is lost");
}

fn lines(said: &[u8], size: usize) {
    let mut lines = Lines::new("tag");
    let mut messages: Vec<Vec<u8>> =
        said.chunks(size).flat_map(|chunk| lines.hear(chunk)).collect();
    messages.extend(lines.end());
    let all = || said.split(|byte| *byte == b'\n');
    if all().any(|line| line.len() > WHOLE_LINE_BYTES) {
        return;
    }
    let bare = all().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let bare: Vec<&[u8]> = bare.filter(|line| !line.is_empty()).collect();
    let told: Vec<&[u8]> = messages.iter().map(|m| &m[m.len().min(head(m))..]).collect();
    assert_eq!(told, bare);
}

/// Length of `<priority>tag: `.
fn head(message: &[u8]) -> usize {
    find(message, b": ").map_or(message.len(), |at| at + 2)
}
