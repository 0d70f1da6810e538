//! Files that a file includes.

use std::path::{Path, PathBuf};

/// Most files of one pattern: more are a pattern that was not meant.
const INCLUDED_MAX: usize = 10_000;

/// The files that a pattern names, in the order of their names; relative to `here`. Names that begin
/// with a point must be written so.
///
/// # Errors
/// A sentence that says what is wrong with the pattern.
pub(super) fn matching(pattern: &str, here: &Path) -> Result<Vec<PathBuf>, String> {
    let whole = here.join(pattern).display().to_string();
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let found = glob::glob_with(&whole, options).map_err(|e| format!("{pattern:?}: {e}"))?;
    let found: Vec<PathBuf> = found.filter_map(Result::ok).take(INCLUDED_MAX + 1).collect();
    if found.len() > INCLUDED_MAX {
        return Err(format!("{pattern:?} is more than {INCLUDED_MAX} files"));
    }
    Ok(found)
}
