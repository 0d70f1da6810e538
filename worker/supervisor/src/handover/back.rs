//! The way back: until a version has taken what it was given, whatever goes wrong with it gives the
//! place back to the version before, a panic, too. That happens where it goes wrong, before anything that
//! was taken is closed.
//!
//! It stands on as little as it can: on two keys of the document, which may be of a version whose other
//! words are not understood here.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::descriptors;
use super::itself::{GIVEN_BACK, Itself, TAKE_OVER, first_line};

/// The way back of this process, if there is one: a process takes over once at most.
static WAY: Mutex<Option<Way>> = Mutex::new(None);

#[derive(Debug)]
struct Way {
    /// Descriptor of the document.
    file: RawFd,
    /// Where this version was started.
    directory: PathBuf,
}

/// What of the document is needed for it.
#[derive(Debug, Deserialize)]
struct Needed {
    executable: RawFd,
    descriptors: Vec<RawFd>,
}

/// This process begins to take over by the document `file`. `directory` is where it was started.
/// From now on a panic gives the place back, too.
pub fn keep_way_back(file: RawFd, directory: &Path) {
    set(Some(Way { file, directory: directory.to_owned() }));
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        // Returns where there is no way back.
        drop(give_back(&panicked(info)));
    }));
}

/// Everything is taken: nobody goes back now.
pub(crate) fn close_way_back() {
    set(None);
}

fn set(way: Option<Way>) {
    *WAY.lock().unwrap_or_else(PoisonError::into_inner) = way;
}

/// Gives the place back to the version before, which tells `why`. Returns only if it cannot, and says
/// why that is so, too.
pub fn give_back(why: &str) -> String {
    let way = WAY.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Way { file, directory }) = way else { return why.to_owned() };
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.iter().any(|word| word.as_bytes().starts_with(GIVEN_BACK.as_bytes())) {
        return format!("{why}; this is the version that was to take it back");
    }
    let failed = needed(file).map_or_else(
        |trouble| trouble,
        |needed| {
            let mut numbers = needed.descriptors;
            numbers.push(file);
            if let Err(e) = descriptors::keep_open(&numbers, true) {
                return format!("not all of it is there: {e}");
            }
            let more = [
                format!("{TAKE_OVER}{file}").into(),
                format!("{GIVEN_BACK}{}", first_line(why)).into(),
            ];
            let program = format!("/proc/self/fd/{}", needed.executable);
            let itself = Itself::find(&words, &directory, true);
            itself.execute_as(OsStr::new(&program), &more).to_string()
        },
    );
    format!("{why}; and the worker before it cannot be executed again: {failed}")
}

fn needed(file: RawFd) -> Result<Needed, String> {
    let bytes = std::fs::read(format!("/proc/self/fd/{file}")).map_err(|e| e.to_string())?;
    let bytes = Zeroizing::new(bytes);
    let body = bytes.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
    serde_json::from_slice(body).map_err(|e| format!("it is not said where that is: {e}"))
}

fn panicked(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("it does not say why");
    let at = info.location().map(|at| format!(" (at {at})")).unwrap_or_default();
    format!("a panic: {}{at}", first_line(what))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::process::Command;

    use super::super::{Taking, document};
    use super::*;

    /// Says that this process of the test is the one that takes over, and how that goes wrong.
    const GOES_WRONG: &str = "DSBUS_TEST_TAKE_OVER_GOES_WRONG";

    /// What the version before says, which is one that says its command line, and what is told besides;
    /// `None` in the process that takes over.
    fn given_back(test: &str, wrong: &str) -> Option<(String, String)> {
        if let Some(wrong) = std::env::var_os(GOES_WRONG) {
            take_over_and(&wrong);
            return None;
        }
        let this = std::env::current_exe().unwrap();
        let name = format!("handover::back::tests::{test}");
        let mut command = Command::new(this);
        let wrong = command.args(["--exact", &name, "--nocapture"]).env(GOES_WRONG, wrong);
        let output = wrong.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let told = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.contains(GIVEN_BACK));
        let line = line.unwrap_or_else(|| panic!("{said}{told}"));
        assert!(line.contains(TAKE_OVER), "{line}");
        Some((line.to_owned(), told.into_owned()))
    }

    #[test]
    fn a_panic_gives_the_place_back_with_what_is_needed_for_it() {
        let test = "a_panic_gives_the_place_back_with_what_is_needed_for_it";
        let Some((line, told)) = given_back(test, "panics") else { return };
        assert!(line.contains("=a panic: out of tea (at "), "{line}");
        assert!(told.contains("out of tea"), "the panic itself is told, too: {told}");
    }

    #[test]
    fn what_cannot_be_taken_gives_the_place_back_with_what_was_taken_before() {
        let test = "what_cannot_be_taken_gives_the_place_back_with_what_was_taken_before";
        for (wrong, why) in [
            ("missing", "=descriptor 999999 was not handed over"),
            ("twice", " is handed over twice"),
        ] {
            let Some((line, _)) = given_back(test, wrong) else { return };
            assert!(line.contains(why), "{line}");
        }
    }

    fn take_over_and(goes_wrong: &OsStr) {
        let before = File::open("/bin/echo").unwrap().into_raw_fd();
        // Words of another version are around what is needed.
        let body = format!(
            "{{\"tea\":[1],\"executable\":{before},\"table\":7,\"descriptors\":[{before}]}}"
        );
        let file = document(format!("{{\"format\":99}}\n{body}\n").as_bytes()).unwrap();
        assert!(super::super::Handover::read(file.as_raw_fd(), true).is_err());
        keep_way_back(file.into_raw_fd(), Path::new("/"));
        // As the rooms of a driver are taken: what was taken is closed by an error on its way out.
        let mut taking = Taking::default();
        let mut take = |number| {
            let first = taking.take(before)?;
            Ok::<_, String>((first, taking.take(number)?))
        };
        match goes_wrong.to_str() {
            Some("missing") => drop(take(999_999)),
            Some("twice") => drop(take(before)),
            _ => panic!("out of tea"),
        }
    }

    #[test]
    fn without_a_way_back_only_the_reason_is_left() {
        assert_eq!(give_back("no wish"), "no wish");
    }
}
