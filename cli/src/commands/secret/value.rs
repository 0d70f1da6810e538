//! Where the value of a secret comes from. Never from the command line: all users of a machine see
//! those of all others.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use dsbus_schema::ids::SecretName;
use dsbus_schema::secret::{SECRET_BYTES_MAX, SecretValue};

use crate::failure::Failure;
use crate::output;

/// Reads the value.
///
/// # Errors
/// When there is none, or no environment could hold it.
pub(super) fn read(name: &SecretName, file: Option<&Path>) -> Result<SecretValue, Failure> {
    let (what, bytes) = match file {
        Some(path) if path != Path::new("-") => {
            let shown = path.display().to_string();
            let opened = File::open(path);
            let file = opened.map_err(|e| Failure::failed(format!("{shown}: {e}")))?;
            (shown.clone(), all(file).map_err(|e| Failure::failed(format!("{shown}: {e}")))?)
        }
        None if io::stdin().is_terminal() => return typed(name),
        Some(_) | None => {
            let bytes = all(io::stdin().lock())
                .map_err(|e| Failure::failed(format!("standard input: {e}")))?;
            ("standard input".to_owned(), bytes)
        }
    };
    let value = SecretValue::new(bytes).map_err(|why| Failure::failed(format!("{what} {why}")))?;
    given(&what, value)
}

fn given(what: &str, value: SecretValue) -> Result<SecretValue, Failure> {
    if value.expose().is_empty() {
        let failure = Failure::failed(format!("{what} is empty, and a secret is not"));
        return Err(failure.hint("dsbus secret remove NAME takes one away"));
    }
    Ok(value)
}

fn all(from: impl Read) -> io::Result<Vec<u8>> {
    // Never grown: a buffer that moves leaves what was in it behind.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 2);
    from.take(SECRET_BYTES_MAX as u64 + 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn typed(name: &SecretName) -> Result<SecretValue, Failure> {
    let ask = |prompt: String| -> Result<SecretValue, Failure> {
        let line = rpassword::prompt_password(prompt)?;
        let value = SecretValue::new(line.into_bytes());
        value.map_err(|why| Failure::failed(format!("what was typed {why}")))
    };
    output::note("what is typed is not shown");
    let first = given("what was typed", ask(format!("{name}: "))?)?;
    if ask("again: ".to_owned())? != first {
        return Err(Failure::failed("the two differ; nothing was set"));
    }
    Ok(first)
}
