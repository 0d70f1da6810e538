//! Secrets: in a file of their own or in the environment, never in the alert file, never printed.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use dsbus_client::read_limited_text;

/// Longest secret that is read from a file.
const SECRET_MAX: u64 = 64 * 1024;

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides text.
    pub fn new(text: String) -> Hidden {
        Hidden(text)
    }

    /// The text, for whoever it is meant for.
    pub fn shown(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a file, which is read at each use: it may be replaced at any time.
    File(PathBuf),
    /// It was in the environment.
    Known(Hidden),
}

/// A secret cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret in {} {why}", path.display())]
pub struct SecretError {
    path: PathBuf,
    why: String,
}

impl Secret {
    /// The secret, without the line ends behind it.
    ///
    /// # Errors
    /// When its file cannot be read, is empty, or is no text.
    pub fn read(&self) -> Result<Hidden, SecretError> {
        match self {
            Secret::Known(hidden) => Ok(hidden.clone()),
            Secret::File(path) => {
                let wrong = |why: String| SecretError { path: path.clone(), why };
                let text = read_limited_text(path, SECRET_MAX).map_err(|e| match e.kind() {
                    ErrorKind::FileTooLarge => wrong(e.to_string()),
                    _ => wrong(format!("cannot be read: {e}")),
                })?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    return Err(wrong("is empty".to_owned()));
                }
                Ok(Hidden(text.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::Known(Hidden::new("hunter2".to_owned()));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.read().unwrap().shown(), "hunter2");
    }

    #[test]
    fn a_file_is_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let secret = Secret::File(path.clone());
        assert!(secret.read().unwrap_err().to_string().contains("cannot be read"));
        for (text, read) in [("one\n", "one"), (" two \r\n", " two ")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(secret.read().unwrap().shown(), read);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret.read().unwrap_err().to_string().ends_with("is empty"));
    }
}
