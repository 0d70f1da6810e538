//! Declarations in TOML files, or in configurations of Supervisor. Everything that is wrong in all
//! files is told at once; if anything is, nothing is applied.

// Alerts are a crate that takes minutes to build.
#[cfg(not(fuzzing))]
pub(crate) mod alert;
mod diagnostic;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod import;
mod include;
mod keys;
mod read;
mod render;
mod resolve;
mod section;
mod suggest;
pub(crate) mod value;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::ProgramName;
use serde_json::{Map, Value};

use crate::config::Surroundings;

pub(crate) use diagnostic::{Diagnostic, Source};
use import::Note;
pub(crate) use keys::{key_span, value_span};
use read::Reader;
pub(crate) use render::declared as as_toml;
pub(crate) use suggest::{hint as did_you_mean, nearest};
pub(crate) use worker::whole;

/// Longest file: ten thousand programs of a screenful each. One that is piped in has no size before it
/// is read.
pub(crate) const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Programs by name, each a table of keys and values as they stand in the file.
pub(crate) type Programs = BTreeMap<ProgramName, Map<String, Value>>;

/// Reads all files; notes what of a configuration of Supervisor is not as it was.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn read_all(
    paths: &[PathBuf],
    around: &Surroundings,
) -> Result<(Programs, Vec<Note>), Vec<Diagnostic>> {
    let mut reader = Reader::new(around);
    for path in paths {
        reader.open(path);
    }
    reader.finish()
}

/// The keys and values of a TOML inline table, given without its braces; `None` when it is none.
pub(crate) fn inline_table(text: &str) -> Option<Map<String, Value>> {
    let document = toml_edit::Document::parse(format!("table = {{{text}}}")).ok()?;
    match document.get("table").and_then(value::json) {
        Some(Value::Object(table)) => Some(table),
        Some(_) | None => None,
    }
}

/// The text of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read, is longer than [`TEXT_BYTES_MAX`], or is no text.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(format!("is longer than {TEXT_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n');
        format!("is not UTF-8 text (line {})", line.count() + 1)
    })
}

#[cfg(test)]
mod tests;
