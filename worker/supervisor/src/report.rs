//! What is to be published: numbered, kept on disk until the agent says that the bus has it, and
//! handed out to the agent as far as it keeps up.
//!
//! A report is on disk before any agent hears of it, so it outlives both processes of the worker:
//! the next run publishes it under its old id, before all that it tells itself. There is no fsync,
//! which could take longer than the repair of a crash: a machine that loses power loses what its
//! kernel had not written back, half a minute at most where nobody changed that; it counts on from
//! what it then finds here and on the bus.
//!
//! What is there and cannot be read is not lost: `unread` waits for it, and what could not be read
//! at the start comes late (`late`), behind the others and under a new number.
//!
//! Nothing here ever stops the worker: what the disk does not take stays in memory, and is written
//! when it takes some again. What is too much is dropped, and counted until that is told.

mod dropping;
mod lane;
mod late;
mod ledger;
mod marks;
mod record;
mod saving;
mod tally;
#[cfg(test)]
mod tests;
mod unread;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;

use crate::files::make_private_directory;
use crate::protocol::{REPORTS_WINDOW, REPORTS_WINDOW_BYTES, Report, Reported, ToAgent};
use lane::{Handed, Lane};
use late::Late;
use marks::Files;
use record::{Head, Kind};
use saving::Disk;
use tally::Tally;
use unread::Unread;

pub use ledger::Ledger;
pub use saving::Saving;

/// Most reports that wait. With [`REPORTS_BYTES_MAX`]: what a worker remembers of a bus that is
/// away, at some 650 bytes each. A program that crashes each second fills it in nine hours.
pub const REPORTS_MAX: usize = 100_000;
/// Most bytes of reports that wait: on disk, or in memory where the disk takes nothing.
pub const REPORTS_BYTES_MAX: usize = 64 << 20;
/// Most bytes among them of what children said: a child that floods its log pushes out no change of
/// state, and what is told of others waits for so much of it at most.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// A file that is longer is followed by another one. It is removed when the bus has all of it, so
/// that the disk holds little more than what waits, and a file is made for a thousand reports.
const SEGMENT_BYTES: u64 = 1 << 20;

/// What a queue may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    count: usize,
    bytes: usize,
    output_bytes: usize,
    segment_bytes: u64,
    window: usize,
    window_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            count: REPORTS_MAX,
            bytes: REPORTS_BYTES_MAX,
            output_bytes: OUTPUT_BYTES_MAX,
            segment_bytes: SEGMENT_BYTES,
            window: REPORTS_WINDOW,
            window_bytes: REPORTS_WINDOW_BYTES,
        }
    }
}

/// The lane of what children said. Whatever is too much is dropped from here first.
const OUTPUT: usize = 1;
/// The lane of everything else.
const STATE: usize = 0;

/// The queue.
#[derive(Debug)]
pub struct Reports {
    limits: Limits,
    directory: PathBuf,
    lanes: [Lane; 2],
    /// Number of the last report.
    last: u64,
    /// The greatest number that the present agent was given.
    given: u64,
    /// How many it was given that the bus does not have, and their bytes.
    window: (usize, usize),
    /// Reports that were dropped after the agent was given them: it may publish them all the same.
    limbo: VecDeque<Head>,
    dropped: Tally,
    told: Option<(u64, Tally)>,
    /// When something dropped was told last.
    told_at: BootTime,
    /// The bus took something since something was dropped.
    progress: bool,
    /// Changes of state were dropped: what stands on the bus may be older than it seems.
    stale: bool,
    ledger: Ledger,
    files: Files,
    /// Marks that are not written.
    unmarked: bool,
    disk: Disk,
    late: Late,
    unread: Unread,
}

impl Reports {
    /// A queue that keeps everything in memory.
    pub fn in_memory() -> Reports {
        Reports::new(Path::new(""), Limits::default(), Disk::None)
    }

    fn new(directory: &Path, limits: Limits, disk: Disk) -> Reports {
        let lane = |name| Lane::new(name, directory, limits.segment_bytes);
        Reports {
            limits,
            directory: directory.to_owned(),
            lanes: [lane("state"), lane("output")],
            last: 0,
            given: 0,
            window: (0, 0),
            limbo: VecDeque::new(),
            dropped: Tally::default(),
            told: None,
            told_at: BootTime(0),
            progress: false,
            stale: false,
            ledger: Ledger::default(),
            files: Files::of(directory),
            unmarked: false,
            disk,
            late: Late::default(),
            unread: Unread::default(),
        }
    }

    /// Takes up what an earlier run left in a directory, which nobody else uses. What cannot be read
    /// of it is tried again later.
    pub fn open(directory: &Path) -> Reports {
        Reports::open_with(directory, Limits::default())
    }

    fn open_with(directory: &Path, limits: Limits) -> Reports {
        let mut reports = Reports::new(directory, limits, Disk::Well);
        let found = make_private_directory(directory).and_then(|()| reports.recover());
        if let Err(error) = found {
            let why = Some(format!("{}: {error}", directory.display()));
            reports = Reports::new(directory, limits, Disk::Unopened { why, until: BootTime(0) });
        }
        reports
    }

    fn recover(&mut self) -> std::io::Result<()> {
        let marks = self.files.marks()?;
        self.ledger = self.files.ledger()?.unwrap_or_default();
        self.late = Late::of(&self.directory)?;
        let ledger = &mut self.ledger;
        let told = marks.as_ref().and_then(|marks| marks.told.as_ref()).map(|(number, _)| *number);
        let mut told_waits = false;
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let head = marks.as_ref().map(|marks| marks.heads[at]);
            let left = lane.recover(head, |head_of, line| {
                if at == STATE {
                    ledger.learn(line);
                }
                told_waits |= Some(head_of.number) == told && Some(head_of.ordinal) > head;
            })?;
            if left.lost > 0 {
                tracing::error!("{} reports of an earlier run cannot be read", left.lost);
            }
            self.dropped.unreadable(left.lost);
            self.stale |= left.lost > 0;
            self.last = self.last.max(left.number);
            self.late.add(left.late);
        }
        if let Some(marks) = marks {
            self.last = self.last.max(marks.last);
            self.dropped.merge(&marks.dropped);
            // One that does not wait was published.
            self.told = marks.told.filter(|_| told_waits);
        }
        self.limit();
        Ok(())
    }

    /// The last events of instances.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Adds a report, and gives its number; others are dropped when there are too many.
    pub fn push(&mut self, what: Reported) -> u64 {
        self.ledger.note(&what);
        self.add(what);
        self.limit();
        self.last
    }

    fn add(&mut self, what: Reported) {
        self.last += 1;
        let (kind, millis) = Kind::of(&what);
        let line = ToAgent::Report(Report { number: self.last, what }).line();
        let of = if kind == Kind::Output { OUTPUT } else { STATE };
        self.lanes[of].push(self.last, kind, millis, line);
        if let Disk::Failing { kept, .. } = &mut self.disk {
            *kept += 1;
        }
    }

    /// Writes everything that waits; says whether all is on disk now.
    pub fn save_all(&mut self, now: BootTime) -> bool {
        loop {
            self.save(now);
            if !self.has_to_save() {
                break;
            }
        }
        let unwritten = self.lanes.iter().any(|lane| lane.unwritten() > 0) || self.unmarked;
        matches!(self.disk, Disk::None | Disk::Well) && !unwritten
    }

    /// Instances of which only an earlier run has told.
    pub(crate) fn earlier(&self) -> Vec<InstanceId> {
        self.ledger.earlier()
    }

    /// This process goes on with a run: of the events that are there, only those of these instances
    /// are of an earlier one.
    pub(crate) fn resume(&mut self, earlier: &[InstanceId]) {
        self.ledger.resume(earlier);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(Lane::count).sum()
    }

    /// Whether the bus has everything.
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// The bus has all reports up to this number; says whether that is news.
    pub fn done(&mut self, through: u64) -> bool {
        // What it was not given, an agent cannot have published.
        let through = through.min(self.given);
        let mut done = 0;
        for lane in &mut self.lanes {
            while lane.oldest().is_some_and(|number| number <= through)
                && let Some(head) = lane.pop()
            {
                done += 1;
                self.window.0 -= 1;
                self.window.1 -= head.size();
            }
        }
        self.limbo.retain(|head| {
            let published = head.number <= through;
            if published {
                done += 1;
                self.window.0 -= 1;
                self.window.1 -= head.size();
            }
            !published
        });
        if self.told.as_ref().is_some_and(|(number, _)| *number <= through) {
            self.told = None;
        }
        self.progress |= done > 0;
        self.unmarked |= done > 0;
        done > 0
    }

    /// The agent is gone: the next one is given everything that the bus does not have.
    pub fn take_back(&mut self) {
        self.given = 0;
        self.window = (0, 0);
        self.lanes.iter_mut().for_each(Lane::take_back);
        for head in std::mem::take(&mut self.limbo) {
            self.lose(head);
        }
    }

    /// Whether every report was handed out.
    pub fn all_handed(&self) -> bool {
        self.lanes.iter().all(|lane| lane.next().is_none())
    }

    /// Whether the agent may be given another one now.
    pub fn may_hand(&self) -> bool {
        let (count, bytes) = self.window;
        let room = count < self.limits.window && (bytes < self.limits.window_bytes || count == 0);
        let next = self.lanes.iter().filter_map(Lane::next).min();
        // What can be written is not told before it is.
        room && !self.unread.waits()
            && next.is_some_and(|(_, written)| written || !self.has_to_save())
    }

    /// Gives the agent the next one, as the line that tells it. When it cannot be read back, none is
    /// given for a while.
    pub fn hand(&mut self, now: BootTime, mut give: impl FnMut(&[u8])) {
        let next = |lane: usize| self.lanes[lane].next().map_or(u64::MAX, |(number, _)| number);
        let lane = if next(OUTPUT) < next(STATE) { OUTPUT } else { STATE };
        let lost = match self.lanes[lane].hand(&mut give) {
            Ok(Some(Handed::Given(head))) => {
                self.given = head.number;
                self.window.0 += 1;
                self.window.1 += head.size();
                self.unread.read();
                None
            }
            Ok(Some(Handed::Lost(head))) => Some(head),
            Ok(None) => None,
            Err(error) if self.unread.failed(&error, now) => self.lanes[lane].lose_next(),
            Err(_) => None,
        };
        if let Some(head) = lost {
            self.lose(head);
            self.unmarked = true;
        }
    }

    /// Ends a turn: what is written need not be in memory as well.
    pub fn release(&mut self) {
        self.lanes.iter_mut().for_each(Lane::release);
    }
}
