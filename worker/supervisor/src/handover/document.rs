//! How it is written: one line that says by whom, with the declarations, and one with the rest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use dsbus_schema::program::ProgramSpec;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FORMAT, FORMAT_MIN, Handover, Left, descriptors, specs};

/// Longest document: a worker has some thousand instances, of some KB each.
const BYTES_MAX: u64 = 1 << 30;

/// This version.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// What is read before anything else.
#[derive(Debug, Deserialize)]
struct Written {
    format: u32,
    version: String,
}

/// The first line.
#[derive(Debug, Serialize)]
struct Head<'a> {
    format: u32,
    version: &'a str,
    specs: Vec<&'a ProgramSpec>,
}

#[derive(Debug, Deserialize)]
struct Specs {
    specs: Vec<ProgramSpec>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("failed to read what the running worker hands over: {0}")]
    Io(#[from] io::Error),
    #[error(
        "the running worker ({version}) hands over in format {format}, and this one reads \
         {FORMAT_MIN} to {FORMAT}: upgrade by one minor version at a time, or restart"
    )]
    Format { version: String, format: u32 },
    #[error(
        "the running worker is version {version}, and this one is {own}: upgrade by one minor \
         version at a time, or restart"
    )]
    Distance { version: String, own: &'static str },
    #[error("failed to understand what the running worker hands over: {0}")]
    Text(#[from] serde_json::Error),
    #[error("what the running worker hands over has no second line")]
    Cut,
    #[error("{0}")]
    Descriptor(String),
}

/// The document.
///
/// # Errors
/// When something has no JSON form.
pub(crate) fn write(left: &Left) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let (body, list) = specs::with_list(Vec::new(), || serde_json::to_vec(left));
    let body = Zeroizing::new(body?);
    let specs = list.iter().map(|spec| &**spec).collect();
    let head = Head { format: FORMAT, version: OWN, specs };
    let mut all = Zeroizing::new(serde_json::to_vec(&head)?);
    all.reserve_exact(body.len() + 2);
    all.push(b'\n');
    all.extend_from_slice(&body);
    all.push(b'\n');
    Ok(all)
}

/// Whether two versions understand each other: they are one minor version apart at most. After the last
/// one of a major version comes the first one of the next.
fn near(one: &str, other: &str) -> bool {
    let numbers = |version: &str| {
        let mut numbers = version.split('.').map(str::parse::<u64>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (Some(one), Some(other)) = (numbers(one), numbers(other)) else { return false };
    let (low, high) = (one.min(other), one.max(other));
    if low.0 == high.0 { high.1 - low.1 <= 1 } else { high == (low.0 + 1, 0) }
}

/// Takes a document apart; gives the version of who wrote it, too.
pub(super) fn parse(bytes: &[u8]) -> Result<(String, Left), Unreadable> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::Cut)?;
    let (head, body) = bytes.split_at(end);
    let Written { format, version } = serde_json::from_slice(head)?;
    if !(FORMAT_MIN..=FORMAT).contains(&format) {
        return Err(Unreadable::Format { version, format });
    }
    if !near(&version, OWN) {
        return Err(Unreadable::Distance { version, own: OWN });
    }
    let Specs { specs } = serde_json::from_slice(head)?;
    let list = specs.into_iter().map(Arc::new).collect();
    let (left, _) = specs::with_list(list, || serde_json::from_slice(body));
    Ok((version, left?))
}

/// Reads what was handed over as the descriptor `number`. With `open` it is checked that all that is
/// handed on is there.
///
/// # Errors
/// Why it cannot be used, for people.
pub(super) fn read(number: RawFd, open: bool) -> Result<Handover, String> {
    read_all(number, open).map_err(|e| e.to_string())
}

fn read_all(number: RawFd, open: bool) -> Result<Handover, Unreadable> {
    let file = File::from(descriptors::take(number).map_err(Unreadable::Descriptor)?);
    let read = bytes(&file);
    // It stays open, whatever is wrong with it: the version before reads it again.
    let file = file.into_raw_fd();
    let (version, left) = parse(&read?)?;
    if open {
        all_there(&left.descriptors).map_err(Unreadable::Descriptor)?;
    }
    Ok(Handover { version, left, file })
}

fn bytes(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = file.metadata()?.len().min(BYTES_MAX);
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether all are open, and each is named once: so that none is missing when they are taken, and the
/// place cannot be given back any more.
fn all_there(numbers: &[RawFd]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    numbers.iter().try_for_each(|number| {
        if !seen.insert(number) {
            return Err(format!("descriptor {number} is handed over twice"));
        }
        descriptors::is_open(*number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_understand_each_other_over_one_minor_version() {
        for (one, other, wanted) in [
            ("0.1.0", "0.1.7", true),
            ("0.1.0", "0.2.0", true),
            ("0.1.9", "0.3.0", false),
            ("0.9.0", "0.10.1", true),
            ("0.9.2", "1.0.0", true),
            ("0.9.2", "1.1.0", false),
            ("1.4.0", "3.0.0", false),
            ("1.4.0", "2.4.0", false),
            ("1.4.0-rc.1", "1.5.0", true),
            ("one", "0.1.0", false),
            ("", "", false),
        ] {
            assert_eq!(near(one, other), wanted, "{one} and {other}");
            assert_eq!(near(other, one), wanted, "{other} and {one}");
        }
    }

    #[test]
    fn what_is_missing_or_named_twice_is_seen_before_anything_is_taken() {
        let (one, other) = io::pipe().unwrap();
        let numbers = [one.into_raw_fd(), other.into_raw_fd()];
        assert!(all_there(&numbers).is_ok());
        let why = all_there(&[numbers[0], numbers[1], numbers[0]]).unwrap_err();
        assert!(why.contains("twice"), "{why}");
        drop(descriptors::take(numbers[1]).unwrap());
        assert!(all_there(&numbers[1..]).is_err());
    }
}
