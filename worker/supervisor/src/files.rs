//! Files that somebody else may have put where they are: opening one waits for nobody, and follows
//! no link that a stranger made.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

/// Neither the other end of a named pipe nor a terminal is waited for.
const UNHURRIED: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;
/// Most links that are followed one after the other; the kernel's own limit is 40.
const LINKS_MAX: u32 = 8;

/// Opens a regular file to be read; what is no file may have no end, or hold this process up for
/// ever.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let opened = File::options().read(true).custom_flags(UNHURRIED).open(path);
    regular(opened.map_err(|e| if e.raw_os_error() == Some(libc::ENXIO) { strange() } else { e })?)
}

/// The file, if it is a regular one.
///
/// # Errors
/// When it is something else.
pub(crate) fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(strange()) }
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "is no regular file")
}

/// Opens what may lie in a directory that somebody else may write. The worker may be root, and a
/// child's user could put a link to any file of the machine where the worker writes a log, or read
/// through one what it may not. So the last part of a path is followed only where it is a link of
/// root's or of the worker's own user, such as those that lead agents to logs. (Links among the
/// directories on the way are followed: a declaration names them, and who may change them may
/// change the log as well.)
///
/// # Errors
/// When it cannot be opened, or a link of somebody else is in its place.
pub fn open_trusted(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut options = options.clone();
    options.custom_flags(UNHURRIED | libc::O_NOFOLLOW);
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match options.open(&path) {
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {}
            done => return done,
        }
        match look_at(&path)? {
            Link::To(next) => path = next,
            Link::OfTheKernel => return options.custom_flags(UNHURRIED).open(&path),
            Link::OfSomebody(uid) => {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("it is a link of user {uid}, and is not followed"),
                ));
            }
            Link::Gone => {}
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// A link in the place of a file.
enum Link {
    To(PathBuf),
    /// In /proc, where links lead to what is open, and their text does not.
    OfTheKernel,
    OfSomebody(u32),
    /// Something else is there by now.
    Gone,
}

/// The link is held while it is looked at, so that its owner is the owner of its text.
fn look_at(path: &Path) -> io::Result<Link> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let link = File::from(open(path, flags, Mode::empty())?);
    let found = link.metadata()?;
    if !found.is_symlink() {
        return Ok(Link::Gone);
    }
    if ![0, nix::unistd::geteuid().as_raw()].contains(&found.uid()) {
        return Ok(Link::OfSomebody(found.uid()));
    }
    if fstatfs(&link)?.filesystem_type() == PROC_SUPER_MAGIC {
        return Ok(Link::OfTheKernel);
    }
    let text = readlinkat(&link, "")?;
    Ok(Link::To(path.parent().unwrap_or(path).join(text)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::fs::write(path("file"), "x").unwrap();
        for name in ["fifo", "socket", ""] {
            let why = open_regular(&path(name)).unwrap_err();
            assert_eq!(why.to_string(), "is no regular file", "{name}");
        }
        assert!(open_regular(&path("file")).is_ok() && open_regular(&path("none")).is_err());
    }

    #[test]
    fn links_are_followed_only_where_they_are_ours() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        symlink("file", path("near")).unwrap();
        symlink(path("near"), path("far")).unwrap();
        symlink("round", path("round")).unwrap();
        symlink("made", path("dangling")).unwrap();
        let mut options = File::options();
        options.append(true).create(true);
        for name in ["file", "near", "far", "dangling"] {
            open_trusted(&path(name), &options).unwrap().write_all(b"y").unwrap();
        }
        assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "xyyy");
        assert_eq!(std::fs::read_to_string(path("made")).unwrap(), "y");
        let why = open_trusted(&path("round"), &options).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(libc::ELOOP));
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: links of others are not tested");
            return;
        }
        lchown(path("near"), Some(12345), None).unwrap();
        for name in ["near", "far"] {
            let why = open_trusted(&path(name), &options).unwrap_err().to_string();
            assert_eq!(why, "it is a link of user 12345, and is not followed");
        }
    }

    #[test]
    fn what_is_open_already_is_reached_through_proc() {
        let (mut reader, writer) = io::pipe().unwrap();
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
        symlink(format!("/proc/{}/fd/{number}", std::process::id()), &link).unwrap();
        let mut options = File::options();
        options.write(true);
        open_trusted(&link, &options).unwrap().write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        reader.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }
}
