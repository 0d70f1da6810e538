//! Where AUTO logs are, and how an agent finds a log that is elsewhere.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use uuid::Uuid;

use super::doomed::Doomed;
use super::rotation;

/// What stands for a log that has no file; an agent that finds it says so.
const NOWHERE: &str = "/dev/null";
/// Digits of what tells instances apart.
const DIGITS: usize = 8;

/// The AUTO log of an instance in a directory for all of them, named as Supervisor's are, though
/// an instance keeps its name over restarts. (Without such a directory AUTO logs are in the
/// directories of their instances, and nobody removes them.)
pub(crate) fn auto(
    childlogdir: &Path,
    identifier: &str,
    process_name: &str,
    channel: Channel,
    instance: &InstanceId,
) -> PathBuf {
    let process_name = process_name.replace('/', "_");
    let unique = Uuid::new_v5(&Uuid::NAMESPACE_OID, instance.to_string().as_bytes()).simple();
    let unique = &unique.to_string()[..DIGITS];
    childlogdir.join(format!("{process_name}-{}---{identifier}-{unique}.log", channel.name()))
}

/// Removes the AUTO logs of a worker, which earlier runs left. Returns how many.
///
/// # Errors
/// When the directory cannot be read; a file that cannot be removed is told, and stays.
pub(crate) fn clean_up(childlogdir: &Path, identifier: &str) -> io::Result<u32> {
    let mut removed = 0;
    for entry in fs::read_dir(childlogdir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| is_auto(name, identifier)) {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(e) => tracing::warn!("{} stays: {e}", entry.path().display()),
            }
        }
    }
    Ok(removed)
}

/// Whether a file is such a log, or was rotated from one.
fn is_auto(name: &str, identifier: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".compressing")).unwrap_or(name);
    let name = match name.rsplit_once('.') {
        Some((rest, suffix)) if number(suffix) => rest,
        _ => name,
    };
    let Some((rest, unique)) = name.strip_suffix(".log").and_then(|name| name.rsplit_once('-'))
    else {
        return false;
    };
    let ours = |channel: Channel| {
        let before = rest.strip_suffix(&format!("-{}---{identifier}", channel.name()));
        before.is_some_and(|process_name| !process_name.is_empty())
    };
    unique.len() == DIGITS
        && unique.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (ours(Channel::Stdout) || ours(Channel::Stderr))
}

/// Makes the log that agents look for lead to the actual one, or nowhere. A log that was there
/// itself becomes a rotated one, so that nothing is lost.
///
/// # Errors
/// When the directory of the instance cannot be written.
pub(crate) fn link(log: &Path, actual: Option<&Path>) -> io::Result<()> {
    let wanted = actual.unwrap_or(Path::new(NOWHERE));
    let found = match fs::symlink_metadata(log) {
        Ok(metadata) => Some(metadata),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let is_link = found.as_ref().is_some_and(fs::Metadata::is_symlink);
    if wanted == log {
        return if is_link { fs::remove_file(log) } else { Ok(()) };
    }
    if is_link && fs::read_link(log)? == wanted {
        return Ok(());
    }
    if found.is_some() && !is_link {
        rotation::shift(log, u32::MAX, &mut Doomed::default())?;
    }
    // Renamed into its place, so that it is never missing.
    let new = rotation::with_suffix(log, ".new");
    let _ = fs::remove_file(&new);
    symlink(wanted, &new)?;
    fs::rename(&new, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_logs_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |identifier: &str, channel, name: &str| {
            auto(directory.path(), identifier, "web/0", channel, &name.parse().unwrap())
        };
        let out = path("w1", Channel::Stdout, "web:0");
        let name = out.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("web_0-stdout---w1-") && name.len() == 30, "{name}");
        assert_ne!(out, path("w1", Channel::Stdout, "web:1"));
        let err = path("w1", Channel::Stderr, "web:0");
        let ours = [
            out.clone(),
            rotation::plain(&out, 1),
            rotation::packed(&err, 12),
            rotation::with_suffix(&err, ".compressing"),
            err,
        ];
        let theirs = [
            path("w1-b", Channel::Stdout, "web:0"),
            path("w", Channel::Stdout, "web:0"),
            directory.path().join("web-stdout---w1-mine.log"),
            directory.path().join("web---w1-00000000.log"),
            directory.path().join("web.log"),
        ];
        for path in ours.iter().chain(&theirs) {
            fs::write(path, "x").unwrap();
        }
        assert_eq!(clean_up(directory.path(), "w1").unwrap(), 5);
        assert!(theirs.iter().all(|path| path.exists()));
        assert!(clean_up(Path::new("/no/such/directory"), "w1").is_err());
    }

    #[test]
    fn a_link_follows_the_declaration_and_loses_no_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("stdout.log");
        let other = directory.path().join("other");
        fs::write(&log, "first").unwrap();
        link(&log, Some(&log)).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "first");
        for _ in 0..2 {
            link(&log, Some(&other)).unwrap();
            assert_eq!(fs::read_link(&log).unwrap(), other);
        }
        assert_eq!(fs::read_to_string(rotation::plain(&log, 1)).unwrap(), "first");
        link(&log, None).unwrap();
        assert_eq!(fs::read_link(&log).unwrap(), Path::new(NOWHERE));
        link(&log, Some(&log)).unwrap();
        assert!(!log.exists());
        link(&log, None).unwrap();
        assert_eq!(fs::read_link(&log).unwrap(), Path::new(NOWHERE));
    }
}
