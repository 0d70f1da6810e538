//! The name of a listener that was given none.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dsbus_schema::ids::{NAME_LEN_MAX, ProgramName};
use dsbus_schema::program::EventName;
use uuid::Uuid;

/// What runs a script, and is not what a person would call the listener.
const INTERPRETERS: &[&str] =
    &["bash", "bun", "dash", "deno", "env", "node", "perl", "php", "python", "ruby", "sh"];
/// Digits of what tells two listeners apart that are called alike.
const DIGITS: usize = 6;

/// Names it after the script or program that it is, and a hash of its words and events: the same
/// command finds its place in the events again, and another one has its own.
///
/// # Errors
/// None that is known: it holds only what a name may, and is short enough.
pub(super) fn made_of(command: &[OsString], events: &[EventName]) -> Result<ProgramName, String> {
    let mut bytes = Vec::new();
    for word in command {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    let mut events = events.to_vec();
    events.sort_unstable();
    for event in events {
        bytes.extend_from_slice(event.as_str().as_bytes());
        bytes.push(0);
    }
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes).simple().to_string();
    let stem = command.iter().find_map(stem).unwrap_or_default();
    let stem = stem.trim_start_matches('_');
    let room = NAME_LEN_MAX - DIGITS - 1;
    let stem: String = stem.chars().take(room).collect();
    let stem = if stem.is_empty() { "listener" } else { &stem };
    ProgramName::parse(&format!("{stem}-{}", &hash[..DIGITS])).map_err(|e| e.to_string())
}

/// What a word would be called, unless it is an option, an interpreter or a setting.
fn stem(word: &OsString) -> Option<String> {
    let text = word.to_str()?;
    if text.starts_with('-') || text.contains(['=', '\n', ' ']) {
        return None;
    }
    let stem = Path::new(text).file_stem()?.to_str()?;
    let bare = stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if INTERPRETERS.contains(&bare) {
        return None;
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    Some(stem.chars().filter(|c| fits(*c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(command: &[&str], events: &[EventName]) -> String {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        made_of(&command, events).unwrap().to_string()
    }

    #[test]
    fn it_is_called_what_a_person_would_call_it() {
        let long = "x".repeat(100);
        for (command, stem) in [
            (&["python3", "-u", "/opt/alert.py", "--mail"][..], "alert-"),
            (&["/usr/bin/env", "A=1", "python3.11", "alert.py"], "alert-"),
            (&["./crashmail", "-a"], "crashmail-"),
            (&["sh", "-c", "exec alert --now"], "listener-"),
            (&["/x/_my listener!.py"], "listener-"),
            (&["/x/grüße.py"], "gre-"),
            (&[&long], "xxxx"),
        ] {
            let name = name(command, &[EventName::Event]);
            assert!(name.starts_with(stem) && name.len() <= NAME_LEN_MAX, "{name}");
        }
    }

    #[test]
    fn the_same_command_has_the_same_name_and_another_one_its_own() {
        let (state, tick) = (EventName::ProcessState, EventName::Tick5);
        let one = name(&["alert.py"], &[state, tick]);
        assert_eq!(one, name(&["alert.py"], &[tick, state]));
        let others = [name(&["alert.py"], &[tick]), name(&["/a/alert.py"], &[state, tick])];
        assert!(!others.contains(&one) && others[0] != others[1]);
    }
}
