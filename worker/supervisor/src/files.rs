//! Files that somebody else may have put where they are: opening one waits for nobody, and follows
//! no link that a stranger made.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

/// Neither the other end of a named pipe nor a terminal is waited for.
const UNHURRIED: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;
/// Most links that are followed on the way to one file; as many as the kernel follows.
const LINKS_MAX: u32 = 40;

/// What others may do in the state directory of a worker: children of other users enter their own
/// directories below it, and find no other one.
const STATE_MODE: u32 = 0o711;
/// What is only the worker's own.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// The same of a file.
const PRIVATE_FILE: u32 = 0o600;

/// Makes the state directory of a worker, and what is missing above it. One that is there keeps the
/// rights that its owner gave it.
///
/// # Errors
/// When it cannot be made.
pub fn make_state_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(STATE_MODE).create(path)
}

/// Makes a directory that nobody else enters.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path)
}

/// How a file is opened for writing, and made, that nobody else reads.
pub(crate) fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).mode(PRIVATE_FILE);
    options
}

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
/// root's or of the worker's own user, such as those that lead agents to logs. Among the directories
/// on the way a link of somebody else is followed to what is his, as those of deployments are: there
/// he may do what he likes anyway.
///
/// # Errors
/// When it cannot be opened, or a link of somebody else is in its place or on the way.
pub fn open_trusted(path: &Path, options: &OpenOptions) -> io::Result<File> {
    open_within(path, options, Last::Followed)
}

/// The same, and no link at all is followed in the place of the file.
///
/// # Errors
/// The same; ELOOP where there is a link.
pub(crate) fn open_no_link(path: &Path, options: &OpenOptions) -> io::Result<File> {
    open_within(path, options, Last::NoLink)
}

/// What is done with a link in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Followed,
    NoLink,
}

/// Walks from directory to directory, each of which is held, so that none can be exchanged after it
/// was looked at.
fn open_within(path: &Path, options: &OpenOptions, rule: Last) -> io::Result<File> {
    let mut options = options.clone();
    options.custom_flags(UNHURRIED | libc::O_NOFOLLOW);
    let path = std::path::absolute(path)?;
    let mut at = root()?;
    let mut left = names(&path);
    let mut looks = 0;
    while let Some(name) = left.pop() {
        let last = left.is_empty();
        // By way of /proc, because options open paths only.
        let here = Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(&name);
        if last {
            match options.open(&here) {
                Err(e) if e.raw_os_error() == Some(libc::ELOOP) && rule == Last::Followed => {}
                done => return done,
            }
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = File::from(openat(&at, name.as_os_str(), flags, Mode::empty())?);
        let metadata = found.metadata()?;
        if !metadata.is_symlink() {
            if last {
                // Something else is there by now.
                left.push(name);
                looks = another(looks)?;
            } else {
                at = found;
            }
            continue;
        }
        looks = another(looks)?;
        let owner = metadata.uid();
        let ours = [0, nix::unistd::geteuid().as_raw()].contains(&owner);
        if last && !ours {
            return Err(refused(format!("it is a link of user {owner}, and is not followed")));
        }
        let of_the_kernel = fstatfs(&found)?.filesystem_type() == PROC_SUPER_MAGIC;
        if last && of_the_kernel {
            // In /proc links lead to what is open, and their text does not.
            return options.custom_flags(UNHURRIED).open(&here);
        }
        if ours && !of_the_kernel {
            let text = PathBuf::from(readlinkat(&found, "")?);
            if text.is_absolute() {
                at = root()?;
            }
            left.extend(names(&text));
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let target = File::from(openat(&at, name.as_os_str(), flags, Mode::empty())?);
        if !ours && target.metadata()?.uid() != owner {
            let name = name.display();
            return Err(refused(format!(
                "{name} on the way to it is a link of user {owner} to what is not his, and is not \
                 followed"
            )));
        }
        at = target;
    }
    // It names a directory, which a link may have led to.
    Err(strange())
}

fn root() -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(File::from(open("/", flags, Mode::empty())?))
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| !matches!(part, Component::RootDir));
    names.map(|part| part.as_os_str().to_owned()).rev().collect()
}

/// Counts looks at links.
fn another(looks: u32) -> io::Result<u32> {
    if looks < LINKS_MAX { Ok(looks + 1) } else { Err(io::Error::from_raw_os_error(libc::ELOOP)) }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
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
    fn a_directory_that_was_exchanged_for_a_link_leads_nowhere_new() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: links of others are not tested");
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for name in ["hers/deep", "theirs", "alias"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("hers/deep/file"), "hidden").unwrap();
        std::fs::write(path("theirs/file"), "fine").unwrap();
        std::os::unix::fs::chown(path("theirs"), Some(12345), None).unwrap();
        for (link, target) in
            [("to-root", "hers"), ("up", "alias/../hers"), ("to-theirs", "theirs")]
        {
            symlink(target, path(link)).unwrap();
        }
        symlink(path("to-theirs"), path("ours")).unwrap();
        let said = |name: &str| {
            let mut text = String::new();
            open_trusted(&path(name), File::options().read(true))?.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        for name in ["to-root/deep/file", "up/deep/file", "to-root/../hers/deep/file"] {
            assert_eq!(said(name).unwrap(), "hidden", "{name}: links of ours are followed");
        }
        for link in ["to-root", "up", "to-theirs"] {
            lchown(path(link), Some(12345), None).unwrap();
        }
        for name in ["to-root/deep/file", "up/deep/file", "to-root/../hers/deep/file"] {
            let why = said(name).unwrap_err().to_string();
            assert!(why.contains("is a link of user 12345 to what is not his"), "{name}: {why}");
        }
        for name in ["to-theirs/file", "ours/file"] {
            assert_eq!(said(name).unwrap(), "fine", "{name}: what is his he may lead to");
        }
        let mut options = File::options();
        options.read(true);
        symlink("file", path("theirs/link")).unwrap();
        let why = open_no_link(&path("to-theirs/link"), &options).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(libc::ELOOP));
        assert!(open_no_link(&path("to-theirs/file"), &options).is_ok());
        assert!(open_trusted(Path::new("/"), &options).is_err());
    }

    #[test]
    fn what_is_open_already_is_reached_through_proc() {
        let (mut reader, writer) = io::pipe().unwrap();
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        let number = writer.as_raw_fd();
        symlink(format!("/proc/{}/fd/{number}", std::process::id()), &link).unwrap();
        let mut options = File::options();
        options.write(true);
        open_trusted(&link, &options).unwrap().write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        reader.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }
}
