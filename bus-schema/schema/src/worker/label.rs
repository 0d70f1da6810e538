//! Labels: words that people give to workers, by which programs choose where they run.

use std::collections::BTreeMap;

/// Names and values. Whoever makes one has checked them with [`check`].
pub type Labels = BTreeMap<String, String>;

/// Longest name and longest value, in bytes: as much as other systems' labels hold.
pub const LABEL_BYTES_MAX: usize = 63;

/// Most labels of one worker. They are in its record, which is written often.
pub const LABELS_MAX: usize = 64;

/// Why a label was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {text:?}: {why}")]
pub struct LabelError {
    text: String,
    why: &'static str,
}

/// Checks a label's name: 1 to 63 of `[A-Za-z0-9_.-/]`.
///
/// # Errors
/// When it is something else.
pub fn check_name(name: &str) -> Result<(), LabelError> {
    let refuse = |why| Err(LabelError { text: name.to_owned(), why });
    if name.is_empty() {
        return refuse("the name is empty");
    }
    if name.len() > LABEL_BYTES_MAX {
        return refuse("the name is longer than 63 characters");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
    if !name.bytes().all(allowed) {
        return refuse("the name may hold only letters, digits, _ . - and /");
    }
    Ok(())
}

/// Checks a label: [`check_name`], and that its value has at most 63 bytes, none of them a control
/// character. An empty value is one.
///
/// # Errors
/// When something about it is wrong.
pub fn check(name: &str, value: &str) -> Result<(), LabelError> {
    check_name(name)?;
    let refuse = |why| Err(LabelError { text: format!("{name}={value}"), why });
    if value.len() > LABEL_BYTES_MAX {
        return refuse("the value is longer than 63 bytes");
    }
    if value.chars().any(char::is_control) {
        return refuse("the value holds a control character");
    }
    Ok(())
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// When it has no `=`, or [`check`] refuses it.
pub fn parse(text: &str) -> Result<(String, String), LabelError> {
    let why = "expected NAME=VALUE, such as zone=eu";
    let (name, value) =
        text.split_once('=').ok_or_else(|| LabelError { text: text.to_owned(), why })?;
    check(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read() {
        for (text, name, value) in [
            ("zone=eu", "zone", "eu"),
            ("example.com/disk_type-2=ssd nvme", "example.com/disk_type-2", "ssd nvme"),
            ("gpu=", "gpu", ""),
            ("rule=a=b", "rule", "a=b"),
        ] {
            assert_eq!(parse(text), Ok((name.to_owned(), value.to_owned())));
        }
        let longest = "x".repeat(LABEL_BYTES_MAX);
        assert!(parse(&format!("{longest}={longest}")).is_ok());
    }

    #[test]
    fn what_is_no_label_is_refused_with_the_reason() {
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        for (text, why) in [
            ("zone".to_owned(), "expected NAME=VALUE"),
            ("=eu".to_owned(), "the name is empty"),
            ("zo ne=eu".to_owned(), "may hold only"),
            ("zoné=eu".to_owned(), "may hold only"),
            (format!("{long}=eu"), "the name is longer"),
            (format!("zone={long}"), "the value is longer"),
            ("zone=e\tu".to_owned(), "control character"),
        ] {
            let said = parse(&text).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
