//! Giving up root for the user that the worker's file names.

use std::ffi::CString;
use std::os::unix::fs::chown;
use std::path::Path;

use dsbus_supervisor::make_state_directory;
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

use crate::failure::Failure;
use crate::file::worker::check;

/// Becomes a user, with all groups of that user; a state directory that is not there yet is made
/// for that user before. `None` when it is that user already.
///
/// # Errors
/// When there is no such user, or this process may not become it.
pub(super) fn become_user(name: &str, directory: &Path) -> Result<Option<User>, Failure> {
    let user = check::user(name).map_err(Failure::usage)?;
    if user.uid == geteuid() {
        return Ok(None);
    }
    let wrong = |what: &str, e: &dyn std::fmt::Display| {
        Failure::failed(format!("failed to become the user {}: {what}: {e}", user.name))
    };
    if !directory.exists() {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        make_state_directory(directory)
            .and_then(|()| chown(directory, Some(uid), Some(gid)))
            .map_err(|e| wrong(&format!("{} cannot be made", directory.display()), &e))?;
    }
    let login = CString::new(user.name.as_bytes()).map_err(|e| wrong("its name", &e))?;
    // Groups first: afterwards it may not set them any more.
    initgroups(&login, user.gid).map_err(|e| wrong("initgroups", &e))?;
    setgid(user.gid).map_err(|e| wrong("setgid", &e))?;
    setuid(user.uid).map_err(|e| wrong("setuid", &e))?;
    Ok(Some(user))
}
