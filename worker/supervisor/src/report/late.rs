//! Files that could not be read when this run began: out of descriptors or memory, or a disk that
//! failed for a moment.
//!
//! Invariants:
//! - What was not read is not removed. It is set aside, under a name that no lane knows, and a later
//!   run looks for it, too.
//! - When it can be read, its reports are queued anew, behind all others: under new numbers and
//!   ordinals, so that they collide with nothing, and with their own ids and times. Only when these
//!   are on disk is their file removed: who dies between the two tells some twice, and loses none.
//! - They never push out others: they wait until half of the queue is free.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{fs, io};

use dsbus_schema::moment::BootTime;

use super::lane::Lane;
use super::lane::found::beginning_with;
use super::marks::Marks;
use super::saving::DISK_PAUSE;
use super::{Reports, record};
use crate::files::make_private_directory;
use crate::protocol::{Report, Reported, ToAgent};

/// Begins the names of such files.
pub(super) const LATE: &str = "late.";
/// So often a run tries to read one: a second after it failed, and each time after twice as long,
/// half an hour in all. Reading a disk that is broken can take long, and all else waits for it.
const READS_MAX: u32 = 12;

/// One of them.
#[derive(Debug)]
pub(super) struct LateFile {
    path: PathBuf,
    /// The bus has those up to this ordinal.
    head: u64,
    /// So many others it holds, as far as that is known; 0 when an earlier run knew.
    holds: u64,
    /// How often it could not be read.
    failed: u32,
    until: BootTime,
}

impl LateFile {
    pub(super) fn new(path: PathBuf, head: u64, holds: u64) -> LateFile {
        LateFile { path, head, holds, failed: 0, until: BootTime(0) }
    }

    /// After another failure: whether it is tried once more in this run.
    fn again(&mut self, now: BootTime) -> bool {
        self.until = now + DISK_PAUSE * 2_u32.saturating_pow(self.failed);
        self.failed += 1;
        self.failed < READS_MAX
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Late {
    files: VecDeque<LateFile>,
    /// One whose reports are queued, and not yet written.
    queued: Option<PathBuf>,
}

impl Late {
    /// Those that earlier runs set aside.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(super) fn of(directory: &Path) -> io::Result<Late> {
        let files = beginning_with(directory, LATE)?.into_iter();
        let files = files.map(|path| {
            // What follows is the id, and then the head.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let head = name.split('.').nth(2).and_then(|head| head.parse().ok()).unwrap_or(0);
            LateFile::new(path, head, 0)
        });
        Ok(Late { files: files.collect(), queued: None })
    }

    pub(super) fn add(&mut self, files: Vec<LateFile>) {
        self.files.extend(files);
    }
}

impl Reports {
    /// Opens a directory that could not be opened when this run began. Its agents were given reports
    /// since, so all that is found is late.
    pub(super) fn open_late(&mut self) -> io::Result<()> {
        make_private_directory(&self.directory)?;
        let marks = self.files.marks()?;
        let ledger = self.files.ledger()?;
        let mut late = Late::of(&self.directory)?;
        let Marks { heads, dropped, .. } = marks.unwrap_or_default();
        for (lane, head) in self.lanes.iter().zip(heads) {
            late.add(lane.set_aside(head)?);
        }
        self.late = late;
        self.ledger.learn_late(ledger.unwrap_or_default());
        self.dropped.merge(&dropped);
        self.unmarked = true;
        Ok(())
    }

    /// Reads one of the late files, if it is time for that. All that was queued before is written.
    pub(super) fn read_late(&mut self, now: BootTime) {
        if let Some(path) = self.late.queued.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        let bytes = self.lanes.iter().map(Lane::bytes).sum::<usize>();
        if self.waiting() > self.limits.count / 2 || bytes > self.limits.bytes / 2 {
            return;
        }
        let next = self.late.files.iter().position(|file| file.until <= now);
        let Some(mut file) = next.and_then(|at| self.late.files.remove(at)) else { return };
        match fs::read(&file.path) {
            Ok(bytes) => {
                let count = self.queue_late(&bytes, file.head);
                tracing::info!("{} could be read: {count} reports", file.path.display());
                self.late.queued = Some(file.path);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) if file.again(now) => self.late.files.push_back(file),
            Err(e) => {
                let path = file.path.display();
                tracing::error!("{path} is left to the next run: it still cannot be read: {e}");
                self.dropped.unreadable(file.holds);
            }
        }
    }

    fn queue_late(&mut self, bytes: &[u8], head: u64) -> u64 {
        let mut count = 0;
        for (_, head_of, line) in record::scan(bytes) {
            if head_of.ordinal <= head {
                continue;
            }
            let Ok(ToAgent::Report(Report { what, .. })) = serde_json::from_slice(line) else {
                // Of a later version.
                self.dropped.unreadable(1);
                continue;
            };
            let void = match &what {
                // How an instance stood is for this run to tell.
                Reported::Instance { event: None, .. } => true,
                Reported::Gone { name, .. } => self.ledger.is_told(name),
                Reported::Instance { event: Some(_), .. }
                | Reported::Event { .. }
                | Reported::Worker { .. } => false,
            };
            if !void {
                self.ledger.note_late(&what);
                self.add(what);
                count += 1;
            }
        }
        self.limit();
        count
    }
}
