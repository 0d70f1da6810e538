//! Names with wildcards.

use wildmatch::WildMatch;

use super::FilterError;
use crate::ids::NAME_LEN_MAX;

/// A name, or one with `*` (anything) and `?` (one character) in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Glob {
    Name(String),
    Wild(String),
}

impl Glob {
    /// Reads one. `what` is what it names.
    pub(super) fn parse(text: &str, what: &str) -> Result<Glob, FilterError> {
        let refuse =
            |why: &str| Err(FilterError { message: format!("{what} {text:?} {why}"), hint: None });
        let wild = |b: u8| b == b'*' || b == b'?';
        if text.is_empty() {
            return refuse("is empty");
        }
        if text.len() > NAME_LEN_MAX {
            return refuse("is longer than 64 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || wild(b)) {
            return refuse("may hold only letters, digits, _ and -, and the wildcards * and ?");
        }
        if text.starts_with('_') {
            return refuse("begins with _, which is reserved");
        }
        let text = text.to_owned();
        Ok(if text.bytes().any(wild) { Glob::Wild(text) } else { Glob::Name(text) })
    }

    /// The name, where it has no wildcards.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Glob::Name(name) => Some(name),
            Glob::Wild(_) => None,
        }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        match self {
            Glob::Name(text) | Glob::Wild(text) => text,
        }
    }

    /// Whether a name fits it.
    pub(super) fn fits(&self, name: &str) -> bool {
        match self {
            Glob::Name(text) => text == name,
            Glob::Wild(text) => WildMatch::new(text).matches(name),
        }
    }
}
