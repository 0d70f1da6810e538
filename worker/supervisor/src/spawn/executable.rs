//! Which file is executed, and why it cannot be, as far as that can be seen before the fork.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::files::open_regular;

/// Where programs are looked for when no environment says it; as execvp(3).
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// The first line of a script, as far as the kernel reads it (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES: u64 = 256;
/// Set-user-ID and set-group-ID bits.
const SETID: u32 = 0o6000;

/// An executable file.
#[derive(Debug)]
pub(super) struct Executable {
    pub(super) path: PathBuf,
    /// The file itself, where its content was looked at: it is what is to be executed.
    pub(super) held: Option<File>,
    /// It runs as somebody else by itself, and so loses the parent-death signal.
    pub(super) setid: bool,
}

/// Finds the file of a command word: a path, seen from the child's directory, or a name that is
/// looked for in `path`.
///
/// # Errors
/// A sentence: it does not exist, or cannot be executed by anybody.
pub(super) fn find(
    word: &str,
    path: Option<&OsStr>,
    directory: &Path,
) -> Result<Executable, String> {
    let path_list = path.unwrap_or(OsStr::new(PATH_DEFAULT));
    if word.contains('/') {
        let path = directory.join(word);
        return match fs::metadata(&path) {
            Ok(found) => check(path, &found),
            // The directory is wrong, which is told by whoever changes to it.
            Err(e) if e.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
                Err(format!("{} does not exist", path.display()))
            }
            // What the worker cannot see, the child's user may.
            Err(_) => Ok(Executable { path, held: None, setid: false }),
        };
    }
    let mut unfit = None;
    for entry in std::env::split_paths(path_list) {
        let path = directory.join(entry).join(word);
        let Ok(found) = fs::metadata(&path) else { continue };
        match check(path, &found) {
            Ok(executable) => return Ok(executable),
            Err(why) => unfit = unfit.or(Some(why)),
        }
    }
    Err(unfit.unwrap_or_else(|| {
        format!("no file {word} is in any directory of PATH ({})", path_list.display())
    }))
}

fn check(path: PathBuf, found: &Metadata) -> Result<Executable, String> {
    if found.is_dir() {
        return Err(format!("{} is a directory, and cannot be executed", path.display()));
    }
    if !found.is_file() {
        return Err(format!("{} is no regular file, and cannot be executed", path.display()));
    }
    let mode = found.permissions().mode();
    if mode & 0o111 == 0 {
        return Err(format!(
            "{} is not executable: it has mode {:03o}",
            path.display(),
            mode & 0o777
        ));
    }
    Ok(Executable { path, held: None, setid: mode & SETID != 0 })
}

/// Why exec failed for a file that exists.
pub(super) fn explain(path: &Path, error: i32, user: &str) -> String {
    let shown = path.display();
    match error {
        libc::ENOENT => match interpreter(path) {
            Some(interpreter) => {
                format!("{shown} needs the interpreter {interpreter}, which does not exist")
            }
            None => format!("{shown} needs a loader (ELF interpreter) which does not exist"),
        },
        libc::ENOEXEC => format!(
            "{shown} is no program: it has no #! line and no format that the kernel knows (ENOEXEC)"
        ),
        libc::EACCES => match interpreter(path).filter(|i| fs::metadata(i).is_ok()) {
            Some(interpreter) => format!(
                "{shown} or its interpreter {interpreter} may not be executed by {user}, or a directory on \
                 the way to it may not be entered"
            ),
            None => format!(
                "{shown} may not be executed by {user}, or a directory on the way to it may not be entered"
            ),
        },
        libc::E2BIG => format!(
            "{shown}: the command line and environment are longer than the kernel or rlimits.stack allows (E2BIG)"
        ),
        libc::EAGAIN => {
            format!("{shown}: {user} may have no more processes (rlimits.nproc; exec: EAGAIN)")
        }
        libc::ETXTBSY => format!("{shown} is open for writing, and cannot be executed (ETXTBSY)"),
        libc::ELOOP => format!("{shown}: too many symbolic links or interpreters on the way to it"),
        other => format!("{shown}: {}", io::Error::from_raw_os_error(other)),
    }
}

/// What the `#!` line of a script names.
fn interpreter(path: &Path) -> Option<String> {
    let mut first = Vec::new();
    open_regular(path).ok()?.take(FIRST_LINE_BYTES).read_to_end(&mut first).ok()?;
    let line = first.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    line.split_whitespace().next().map(str::to_owned)
}
