//! The worker's own executable: what it is now, whether there is another one in its place, and how
//! that one is tried and executed.

#![expect(unsafe_code, reason = "pre_exec; its use says why it is sound")]

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_schema::state::Exit;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{execve, fchdir, write};

use super::descriptors;
use crate::spawn;
use crate::stamp::Stamp;

/// Hidden options of `dsbus worker`: by which descriptor it takes over, or is to say whether it
/// could; and why the worker that took over has given the place back.
pub(super) const TAKE_OVER: &str = "--take-over=";
const TRY: &str = "--try-take-over=";
pub(super) const GIVEN_BACK: &str = "--given-back=";
/// How long a new executable may take to say that it can take over: it reads some MB.
const TRIAL_MAX: Duration = Duration::from_secs(30);
/// Most bytes of what it says that are read.
const SAID_BYTES_MAX: u64 = 4096;
/// Most of it that is told: in an event, and in the log.
const TOLD_BYTES_MAX: usize = 500;
/// What runs now, whatever is at its path.
const RUNNING: &str = "/proc/self/exe";

/// How this program was started.
#[derive(Debug, Clone, Default)]
pub struct Itself {
    /// Where its executable is, or the next version of it. A link is not followed: whoever turns it
    /// to another version means that.
    pub path: PathBuf,
    /// Its command line, without what this module adds.
    pub arguments: Vec<OsString>,
    /// The directory that it was started in, for what is relative in its command line.
    pub directory: PathBuf,
}

impl Itself {
    /// What was started by these words in this directory, and took over or not.
    pub fn find(words: &[OsString], directory: &Path, took_over: bool) -> Itself {
        let own = |word: &&OsString| {
            let word = word.as_bytes();
            ![TAKE_OVER, TRY, GIVEN_BACK].iter().any(|own| word.starts_with(own.as_bytes()))
        };
        let arguments: Vec<OsString> = words.iter().filter(own).cloned().collect();
        let called = arguments.first().map(|word| called(word, directory));
        // One that gave the place back is at its path, and this one is not.
        let is_this = |path: &PathBuf| {
            took_over || Stamp::of(path).ok() == Stamp::of(Path::new(RUNNING)).ok()
        };
        let path = called.flatten().filter(is_this).or_else(|| std::env::current_exe().ok());
        Itself { path: path.unwrap_or_default(), arguments, directory: directory.to_owned() }
    }

    /// The executable at its path, if that is another one than what runs.
    pub(crate) fn successor(&self) -> io::Result<Option<Stamp>> {
        let there = Stamp::of(&self.path)?;
        Ok((there != Stamp::of(Path::new(RUNNING))?).then_some(there))
    }

    /// What to execute to run this very version once more.
    pub(crate) fn running(program: &OsStr) -> &OsStr {
        let is = Stamp::of(Path::new(program)).ok() == Stamp::of(Path::new(RUNNING)).ok();
        if is { program } else { RUNNING.as_ref() }
    }

    /// Becomes what is at the path. Returns only if that fails.
    pub(crate) fn execute(&self, document: RawFd) -> io::Error {
        self.execute_as(self.path.as_os_str(), &[format!("{TAKE_OVER}{document}").into()])
    }

    pub(super) fn execute_as(&self, program: &OsStr, more: &[OsString]) -> io::Error {
        let execute = || -> io::Result<()> {
            let before = File::open(".")?;
            std::env::set_current_dir(&self.directory)?;
            let text = |word: &OsStr| CString::new(word.as_bytes()).map_err(io::Error::other);
            let name = [self.path.as_os_str()];
            let words = self.arguments.iter().skip(1).chain(more).map(OsString::as_os_str);
            let words = name.into_iter().chain(words).map(text).collect::<io::Result<Vec<_>>>()?;
            let variables = std::env::vars_os().map(|(name, value)| {
                let pair = [name.into_vec(), value.into_vec()].join(&b'=');
                CString::new(pair).map_err(io::Error::other)
            });
            let variables = variables.collect::<io::Result<Vec<_>>>()?;
            // Signals stay blocked: what arrives meanwhile is heard by whoever takes over.
            let Err(failed) = execve(&text(program)?, &words, &variables);
            fchdir(&before)?;
            Err(failed.into())
        };
        execute().err().unwrap_or_else(|| io::Error::other("it returned"))
    }
}

/// Where a command that is called so is found.
fn called(word: &OsStr, directory: &Path) -> Option<PathBuf> {
    if word.as_bytes().contains(&b'/') {
        return Some(directory.join(word));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|entry| directory.join(entry).join(word)).find(|p| p.is_file())
}

/// What is neither a binary nor a script would be tried as a script of the shell, line by line.
fn is_program(path: &Path) -> io::Result<()> {
    let mut begin = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut begin)?;
    if begin == *b"\x7fELF" || begin.starts_with(b"#!") {
        return Ok(());
    }
    Err(io::Error::other("it is neither a binary nor a script"))
}

/// Takes over a descriptor that the owner of a worker handed to itself.
///
/// # Errors
/// When it is not there.
pub fn owned(number: RawFd) -> Result<OwnedFd, String> {
    descriptors::take(number)
}

/// Puts a document where only this process and those that it is handed to find it.
pub(crate) fn document(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create("dsbus-handover", MFdFlags::MFD_CLOEXEC)?;
    let mut left = bytes;
    while !left.is_empty() {
        left = &left[write(&file, left)?..];
    }
    Ok(file)
}

/// A new executable that is asked whether it can take over.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) pid: i32,
    pub(crate) stamp: Stamp,
    pub(crate) started: BootTime,
    /// When it is killed; `None` once it was.
    pub(crate) until: Option<BootTime>,
    said: PipeReader,
    complained: PipeReader,
}

impl Trial {
    /// Starts it, on a document that is as good as the one that it would take over.
    pub(crate) fn start(
        itself: &Itself,
        stamp: Stamp,
        document: &OwnedFd,
        now: BootTime,
    ) -> io::Result<Trial> {
        is_program(&itself.path)?;
        let ((said, stdout), (complained, stderr)) = (io::pipe()?, io::pipe()?);
        for pipe in [&said, &complained] {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let number = document.as_raw_fd();
        let mut command = Command::new(&itself.path);
        command.args(itself.arguments.iter().skip(1)).arg(format!("{TRY}{number}"));
        command.current_dir(&itself.directory).process_group(0);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // SAFETY: both are async-signal-safe, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                if !spawn::reset_signals() || libc::fcntl(number, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        Ok(Trial { pid, stamp, started: now, until: Some(now + TRIAL_MAX), said, complained })
    }

    /// What came of it: its version, or why it cannot take over.
    pub(crate) fn ended(self, exit: Exit) -> Result<String, String> {
        let read = |pipe: PipeReader| {
            let mut bytes = Vec::new();
            // What cannot be read was not said.
            let _ = pipe.take(SAID_BYTES_MAX).read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (said, complained) = (read(self.said), read(self.complained));
        if self.until.is_none() {
            return Err(format!("it did not say within {TRIAL_MAX:?} that it can take over"));
        }
        let version =
            said.trim().strip_prefix("dsbus ").and_then(|t| t.strip_suffix(" takes over"));
        match version {
            Some(version) if exit.code == Some(0) => Ok(version.to_owned()),
            _ => {
                let why =
                    first_line(if complained.trim().is_empty() { &said } else { &complained });
                Err(if why.is_empty() {
                    format!("it is no version of dsbus that can take over ({exit})")
                } else {
                    format!("it says: {why} ({exit})")
                })
            }
        }
    }
}

/// What it says when it can take over.
#[must_use]
pub fn takes_over() -> String {
    format!("dsbus {} takes over", env!("CARGO_PKG_VERSION"))
}

pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let end = line.floor_char_boundary(TOLD_BYTES_MAX);
    line[..end].to_owned()
}
