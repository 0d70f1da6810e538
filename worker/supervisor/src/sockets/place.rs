//! The file of a unix socket, in a directory that somebody else may write. The directory is held by a
//! descriptor while the file is looked at and changed, so that nobody can put another directory in
//! its place in between; what its owner does within it is his own.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

/// A path in the file system, and which file was there when it was bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Bound {
    pub(super) fn is(&self, found: &FileStat) -> bool {
        (found.st_dev, found.st_ino) == (self.device, self.inode)
    }
}

/// Where a socket file is, or will be.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    directory: OwnedFd,
    name: OsString,
}

impl Place {
    pub(super) fn of(path: &Path) -> Result<Place, String> {
        let name = path.file_name().ok_or("the path names no file")?.to_owned();
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(parent.unwrap_or(Path::new(".")), flags, Mode::empty());
        let directory = directory.map_err(|e| format!("its directory: {}", e.desc()))?;
        Ok(Place { path: path.to_owned(), directory, name })
    }

    pub(super) fn address(&self) -> Result<UnixAddr, String> {
        UnixAddr::new(&self.path).map_err(|_| {
            "the path is too long: a unix socket's path has at most 107 bytes".to_owned()
        })
    }

    pub(super) fn look(&self) -> nix::Result<FileStat> {
        fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    pub(super) fn remove(&self) -> nix::Result<()> {
        unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
    }

    /// Removes a socket file that nobody listens on.
    pub(super) fn make_way(&self) -> Result<(), String> {
        // What else is wrong with the path, binding says better.
        let Ok(found) = self.look() else { return Ok(()) };
        if !is_socket(&found) {
            return Err("the file exists and is no socket".to_owned());
        }
        let address = self.address()?;
        // It does not block: somebody may listen there whose queue is full.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None);
        let caller = caller.map_err(|e| e.desc().to_owned())?;
        let stale = match connect(caller.as_raw_fd(), &address) {
            Ok(()) => false,
            Err(Errno::EAGAIN) => false,
            Err(Errno::ECONNREFUSED) => true,
            Err(e) => {
                return Err(format!("whether somebody listens there is not known: {}", e.desc()));
            }
        };
        let same = |now: FileStat| (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino);
        if !stale || !self.look().is_ok_and(same) {
            return Err("somebody else listens there".to_owned());
        }
        let removed = self.remove();
        removed.map_err(|e| format!("the old socket file cannot be removed: {}", e.desc()))
    }

    /// Sets the rights of the socket file, which is held by a descriptor meanwhile.
    pub(super) fn give_away(
        &self,
        mode: u32,
        owner: Option<(u32, u32)>,
        is: impl Fn(&FileStat) -> bool,
    ) -> io::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, OsStr::new(&self.name), flags, Mode::empty())?;
        let found = fstat(&file)?;
        if !is_socket(&found) || !is(&found) {
            return Err(io::Error::other("somebody replaced the file"));
        }
        let held = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        fs::set_permissions(&held, Permissions::from_mode(mode))?;
        if let Some((uid, gid)) = owner.filter(|owner| *owner != (found.st_uid, found.st_gid)) {
            chown(&held, Some(uid), Some(gid))?;
        }
        Ok(())
    }
}

fn is_socket(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
}
