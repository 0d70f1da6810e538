//! Other versions of the binary under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The version of all crates, and so of the binary under test.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Writes one file as another with one version in the place of another, both of them as long.
const REWRITE: &str = "import os, sys\n\
                       source, target, old, new = sys.argv[1:]\n\
                       text = open(source, 'rb').read()\n\
                       assert old.encode() in text, 'it does not say its version'\n\
                       open(target, 'wb').write(text.replace(old.encode(), new.encode()))\n\
                       os.chmod(target, 0o755)\n";

/// The version before: `DSBUS_PREVIOUS`, the binary of the previous release; without it a copy of
/// `binary` that says to be of the next minor version.
///
/// # Panics
/// When there is none.
pub fn previous(binary: &Path) -> PathBuf {
    match std::env::var_os("DSBUS_PREVIOUS") {
        Some(path) => fs::canonicalize(path).expect("DSBUS_PREVIOUS"),
        None => minor_away(binary, 1),
    }
}

/// A copy of `binary` that says to be so many minor versions away. It is beside it, and made anew when
/// `binary` is.
///
/// # Panics
/// When it cannot be made.
pub fn minor_away(binary: &Path, by: u64) -> PathBuf {
    static MAKES: Mutex<()> = Mutex::new(());
    let _one = MAKES.lock().expect("a copy");
    let version = away(OWN, by).expect("another version that is as long");
    let copy = binary.with_file_name(format!("other-dsbus-{version}"));
    let since = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    if since(&copy).is_some_and(|since_copy| Some(since_copy) > since(binary)) {
        return copy;
    }
    // Another suite may make the same at this moment, or run what is there.
    let new = copy.with_added_extension(std::process::id().to_string());
    let mut rewrite = Command::new("python3");
    rewrite.args(["-c", REWRITE]).args([binary, &new]).args([OWN, &version]);
    assert!(rewrite.status().expect("python3").success(), "a copy that says {version}");
    fs::rename(new, &copy).expect("the copy");
    copy
}

/// A version as long as this one, so many minor versions up or else down.
fn away(version: &str, by: u64) -> Option<String> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let minor: u64 = minor.parse().ok()?;
    let other = |minor: Option<u64>| Some(format!("{major}.{}.{rest}", minor?));
    let up = other(minor.checked_add(by)).filter(|other| other.len() == version.len());
    up.or_else(|| other(minor.checked_sub(by)).filter(|other| other.len() == version.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_as_long() {
        assert_eq!(away("0.1.0", 1).as_deref(), Some("0.2.0"));
        assert_eq!(away("0.9.3", 2).as_deref(), Some("0.7.3"));
        assert_eq!(away("1.99.0", 1).as_deref(), Some("1.98.0"));
        assert_eq!(away("1", 1), None);
    }
}
