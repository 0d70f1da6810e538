//! A log file that rotates by size. It is opened to append, so that others may write to it as
//! well, or truncate it, and leave no hole.
//!
//! Bytes are read and written, not moved by splice(2): the kernel copies them in both cases, and
//! on ext4 of Linux 6.18 splice was as quick at best, and mostly a third slower (measured).

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dsbus_schema::moment::BootTime;

use super::doomed::Doomed;
use super::loss::Dropped;
use super::rotation::{self, Rotation, unless_missing};
use super::tail::{TAIL_BYTES, last_line};
use crate::clock;
use crate::files::open_trusted;

/// A log that is made is nobody's business but its owner's and its group's: programs say what they
/// like in it.
const LOG_MODE: u32 = 0o640;
/// Between two tries to open a file, or to rotate it, after one failed: each tries to make
/// directories, and a child may write a thousand times a second.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    open: Option<Open>,
    /// When it may be opened or rotated again, after that failed.
    retry_at: Option<BootTime>,
    /// Why it could not be opened.
    closed_by: String,
    /// The end of what was in the file before it was rotated.
    before: Vec<u8>,
    /// It was rotated since somebody asked.
    rotated: bool,
    /// Why something else than writing fails, since somebody asked.
    trouble: Option<String>,
    /// That was told, and it did not go well since.
    troubled: bool,
    dropped: u64,
    doomed: Doomed,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Pipes and devices are neither rotated nor cleared, and have no end.
    regular: bool,
    size: u64,
}

impl LogFile {
    /// Opens a log to append to. If that fails, it is tried again with each write, though not
    /// more often than once a second.
    pub fn open(path: PathBuf, rotation: Rotation) -> LogFile {
        let mut log = LogFile {
            path,
            rotation,
            open: None,
            retry_at: None,
            closed_by: String::new(),
            before: Vec::new(),
            rotated: false,
            trouble: None,
            troubled: false,
            dropped: 0,
            doomed: Doomed::default(),
        };
        log.reopen();
        log
    }

    /// Opens the file again: somebody else may have moved it.
    pub fn reopen(&mut self) {
        self.open = None;
        let now = clock::now();
        self.retry_at = None;
        self.try_open(now.boot);
        self.remove_older();
    }

    /// Appends, and rotates. What cannot be written is dropped, and counted.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Err(Dropped { bytes, .. }) = self.append(bytes, clock::now().boot) {
            self.dropped += bytes;
        }
    }

    /// How many bytes [`LogFile::write`] could not write.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The last line that is not empty.
    pub fn last_line(&self) -> Option<String> {
        last_line(&self.end(TAIL_BYTES))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rotation(&self) -> Rotation {
        self.rotation
    }

    pub(super) fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    /// Whether it was rotated since this was asked last.
    pub(super) fn take_rotated(&mut self) -> bool {
        std::mem::take(&mut self.rotated)
    }

    /// What failed beside writing, since this was asked last.
    pub(super) fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Appends, and rotates.
    pub(super) fn append(&mut self, bytes: &[u8], now: BootTime) -> Result<(), Dropped> {
        self.doomed.free_some();
        let mut left = bytes;
        let written = self
            .opened(now)
            .map_err(str::to_owned)
            .and_then(|open| write_all(&open.file, &mut left).map_err(|e| e.to_string()));
        let done = (bytes.len() - left.len()) as u64;
        if let Some(open) = &mut self.open {
            open.size += done;
        }
        self.rotate_if_full(now);
        written.map_err(|why| Dropped {
            bytes: left.len() as u64,
            why: format!("{} cannot be written: {why}", self.path.display()),
        })
    }

    /// The last bytes that were written, also before a rotation.
    fn end(&self, most: usize) -> Vec<u8> {
        let Some(open) = self.open.as_ref().filter(|open| open.regular) else { return Vec::new() };
        let length = open.file.metadata().map_or(0, |metadata| metadata.len());
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(most);
        let mut end = vec![0; here];
        if open.file.read_exact_at(&mut end, length - here as u64).is_err() {
            return Vec::new();
        }
        let earlier = self.before.len().min(most - here);
        [&self.before[self.before.len() - earlier..], &end].concat()
    }

    /// Truncates it, and removes the rotated files; whoever writes goes on.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.before.clear();
        match &mut self.open {
            Some(open) if !open.regular => return Ok(()),
            Some(open) => {
                open.file.set_len(0)?;
                open.size = 0;
            }
            None => {}
        }
        rotation::clear(&self.path, &mut self.doomed)
    }

    fn opened(&mut self, now: BootTime) -> Result<&mut Open, &str> {
        if self.open.is_none() && self.retry_at.is_none_or(|at| now >= at) {
            self.try_open(now);
        }
        self.open.as_mut().ok_or(&self.closed_by)
    }

    /// Keeps what is open already if that fails.
    fn try_open(&mut self, now: BootTime) -> bool {
        match Open::new(&self.path) {
            Ok(open) => {
                self.open = Some(open);
                self.retry_at = None;
                true
            }
            Err(e) => {
                self.closed_by = e.to_string();
                self.retry_at = Some(now + RETRY_PAUSE);
                false
            }
        }
    }

    /// Supervisor's rule: after a write that reached the limit.
    fn rotate_if_full(&mut self, now: BootTime) {
        let limit = self.rotation.bytes_max;
        let Some(open) = self.open.as_mut().filter(|open| open.regular && limit > 0) else {
            return;
        };
        if open.size < limit {
            return;
        }
        // Somebody else may have truncated it meanwhile.
        open.size = open.file.metadata().map_or(open.size, |metadata| metadata.len());
        if open.size >= limit && self.retry_at.is_none_or(|at| now >= at) {
            self.rotate(now);
        }
    }

    fn rotate(&mut self, now: BootTime) {
        let before = self.end(TAIL_BYTES);
        let rights = self.open.as_ref().and_then(Open::rights);
        let done = if self.rotation.backups == 0 {
            self.begin_anew(now)
        } else {
            // If the new file cannot be opened, the old one is written on, under its new name.
            rotation::shift(&self.path, self.rotation.backups, &mut self.doomed)
                .map(|()| self.try_open(now))
        };
        match done {
            Ok(true) => {
                // Who may read the log may read the next one, too.
                if let (Some(open), Some(rights)) = (&self.open, rights)
                    && open.rights() != Some(rights)
                {
                    let _ = open.file.set_permissions(Permissions::from_mode(rights));
                }
                self.before = before;
                self.rotated = true;
                self.troubled = false;
                self.remove_older();
            }
            Ok(false) => self.tell(&format!("opened again: {}", self.closed_by)),
            Err(e) => {
                self.retry_at = Some(now + RETRY_PAUSE);
                self.tell(&format!("rotated: {e}"));
            }
        }
    }

    /// The file begins anew, as another one, so that nobody who follows it reads on in the middle
    /// of it. One that cannot be removed, and one that a link leads to, is truncated.
    fn begin_anew(&mut self, now: BootTime) -> io::Result<bool> {
        let link = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        if link || unless_missing(fs::remove_file(&self.path)).is_err() {
            if let Some(open) = &mut self.open {
                open.file.set_len(0)?;
                open.size = 0;
            }
            return Ok(true);
        }
        // Kept until the new one is there, which could else get the same inode.
        let old = self.open.take();
        let opened = self.try_open(now);
        if let Some(old) = old {
            self.doomed.adopt(old.file);
        }
        Ok(opened)
    }

    fn remove_older(&mut self) {
        let Some(max_age) = self.rotation.max_age else { return };
        let nanos = u64::try_from(clock::now().wall.unix_nanos()).unwrap_or(0);
        let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        if let Err(e) = rotation::remove_older(&self.path, max_age, now, &mut self.doomed) {
            self.tell(&format!("freed of old rotated files: {e}"));
        }
    }

    /// Not logged here: this may be the very file that is logged to.
    fn tell(&mut self, what: &str) {
        if !self.troubled {
            self.trouble = Some(format!("{} cannot be {what}", self.path.display()));
            self.troubled = true;
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Open> {
        let file = match append_to(path, true) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                append_to(path, true)
            }
            // One that may only be written is a log without a last line.
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => append_to(path, false),
            other => other,
        }?;
        let metadata = file.metadata()?;
        let (regular, size) = (metadata.is_file(), metadata.len());
        Ok(Open { file, regular, size })
    }

    /// Who may read and write it; nothing of what is no plain file.
    fn rights(&self) -> Option<u32> {
        let mode = self.file.metadata().ok()?.mode();
        self.regular.then_some(mode & 0o777)
    }
}

/// Without waiting, and by no link of a stranger's.
fn append_to(path: &Path, read: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open_trusted(path, options.create(true).append(true).read(read).mode(LOG_MODE))
}

/// Writes from the beginning of `left` on; what stays in it was not written.
pub(super) fn write_all(mut file: impl Write, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => *left = &left[written..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
