//! Asking a person who he is, where the bus wants to know and nothing says it: as supervisorctl does.

use std::io::{self, IsTerminal};

use dsbus_client::{Credentials, Secret};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure::Failure;
use crate::output;

/// A name and a password; `None` where nobody is there to be asked, or he does not say it.
///
/// # Errors
/// When the terminal cannot be read.
pub(crate) fn ask(bus: &str) -> Result<Option<Credentials>, Failure> {
    if !io::stdin().is_terminal() || !output::is_watched() {
        return Ok(None);
    }
    output::note(format_args!("the bus at {bus} wants to know who you are"));
    let user = match DefaultEditor::new().and_then(|mut lines| lines.readline("user: ")) {
        Ok(user) => user.trim().to_owned(),
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
        Err(e) => return Err(Failure::failed(format!("the terminal cannot be read: {e}"))),
    };
    if user.is_empty() {
        return Ok(None);
    }
    let password = Secret::new(rpassword::prompt_password("password: ")?);
    Ok(Some(Credentials::Password { user, password }))
}
