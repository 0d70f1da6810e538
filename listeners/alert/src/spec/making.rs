//! What the keys of several types of targets have in common.

use std::path::PathBuf;
use std::time::Duration;

use dsbus_schema::lenient::Span;
use dsbus_schema::program::Problem;

use super::read::Around;
use super::secret::{Hidden, Secret};

/// Longest that a letter may be tried.
const RETRY_FOR_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Longest that one try may take: the letters behind it wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// What is wrong, collected while a target is made.
pub(crate) struct Making<'a> {
    pub(super) around: &'a Around<'a>,
    pub(super) found: Vec<Problem>,
}

impl Making<'_> {
    pub(super) fn wrong(&mut self, key: &str, why: impl Into<String>, hint: &str) {
        let problem = Problem::new(key, why);
        self.found.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    pub(super) fn path(&mut self, key: &str, text: &str) -> Option<PathBuf> {
        let path = (self.around.path)(text);
        path.map_err(|why| self.found.push(Problem::new(key, why))).ok()
    }

    pub(super) fn ca(&mut self, text: Option<&str>) -> Option<PathBuf> {
        let path = self.path("ca_file", text?)?;
        if let Err(why) = crate::send::tls::authorities(&path) {
            self.wrong("ca_file", why, "it holds certificates in PEM form");
        }
        Some(path)
    }

    pub(super) fn secret_file(&mut self, key: &str, text: &str) -> Option<Secret> {
        let secret = Secret::File(self.path(key, text)?);
        secret.read().map_err(|e| self.found.push(Problem::new(key, e.to_string()))).ok()?;
        Some(secret)
    }

    /// A secret that is in a file or in a variable; not in both.
    pub(super) fn secret(
        &mut self,
        name: &str,
        file: Option<&str>,
        variable: Option<&str>,
    ) -> Option<Secret> {
        let (file_key, variable_key) = (format!("{name}_file"), format!("{name}_env"));
        match (file, variable) {
            (Some(_), Some(_)) => {
                self.wrong(
                    &variable_key,
                    format!("stands beside {file_key}"),
                    "keep one of the two",
                );
                None
            }
            (Some(text), None) => self.secret_file(&file_key, text),
            (None, Some(variable)) => match (self.around.variable)(variable) {
                Some(text) if !text.is_empty() => Some(Secret::Known(Hidden::new(text))),
                Some(_) | None => {
                    let why = format!("there is no variable {variable} in the environment");
                    self.wrong(&variable_key, why, "");
                    None
                }
            },
            (None, None) => None,
        }
    }

    pub(super) fn login(
        &mut self,
        username: Option<String>,
        file: Option<&str>,
        variable: Option<&str>,
    ) -> Option<(String, Secret)> {
        let given = file.is_some() || variable.is_some();
        match username {
            Some(username) if given => Some((username, self.secret("password", file, variable)?)),
            Some(_) => {
                let hint = "name a file with password_file, or a variable with password_env";
                self.wrong("username", "has no password beside it", hint);
                None
            }
            None if given => {
                let key = if file.is_some() { "password_file" } else { "password_env" };
                self.wrong(key, "has no username beside it", "");
                None
            }
            None => None,
        }
    }

    pub(super) fn times(&mut self, timeout: Span, retry_for: Span) {
        if timeout.0.is_zero() || timeout.0 > TIMEOUT_MAX {
            self.wrong("timeout", "is from a moment to 10 minutes", "the letters behind it wait");
        }
        if retry_for.0 > RETRY_FOR_MAX {
            self.wrong("retry_for", "is longer than a week", "");
        }
    }
}
