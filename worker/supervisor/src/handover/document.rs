//! How it is written: one line that says by whom, with the declarations, and one with the rest.

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
    let head = Head { format: FORMAT, version: env!("CARGO_PKG_VERSION"), specs };
    let mut all = Zeroizing::new(serde_json::to_vec(&head)?);
    all.reserve_exact(body.len() + 2);
    all.push(b'\n');
    all.extend_from_slice(&body);
    all.push(b'\n');
    Ok(all)
}

/// Takes a document apart; gives the version of who wrote it, too.
pub(super) fn parse(bytes: &[u8]) -> Result<(String, Left), Unreadable> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::Cut)?;
    let (head, body) = bytes.split_at(end);
    let Written { format, version } = serde_json::from_slice(head)?;
    if !(FORMAT_MIN..=FORMAT).contains(&format) {
        return Err(Unreadable::Format { version, format });
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
    let length = file.metadata()?.len().min(BYTES_MAX);
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    file.read_exact_at(&mut bytes, 0)?;
    let (version, left) = parse(&bytes)?;
    if open {
        let all = left.descriptors.iter().try_for_each(|number| descriptors::is_open(*number));
        all.map_err(Unreadable::Descriptor)?;
    }
    Ok(Handover { version, left, file: file.into_raw_fd() })
}
