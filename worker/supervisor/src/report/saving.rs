//! Writing to the disk, which may be full, or broken, and stops nobody.

use std::time::Duration;

use dsbus_schema::moment::BootTime;

use super::lane::Lane;
use super::marks::Marks;
use super::{OUTPUT, Reports, STATE};

/// Between two attempts on a disk that takes nothing.
pub(super) const DISK_PAUSE: Duration = Duration::from_secs(1);

/// How the disk is.
#[derive(Debug)]
pub(super) enum Disk {
    /// There is none.
    None,
    /// It takes what it is given.
    Well,
    /// It does not.
    Failing {
        /// So many reports were kept in memory meanwhile.
        kept: u64,
        /// When it is tried again; `None` when it has taken some, and there are more.
        until: Option<BootTime>,
    },
    /// It could not be opened when this run began. Nothing is known of what is there, and nothing is
    /// written.
    Unopened {
        /// Why; `None` when that was said.
        why: Option<String>,
        /// When it is tried again.
        until: BootTime,
    },
}

/// A change of how the disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saving {
    /// It takes nothing; reports are kept in memory.
    Fails(String),
    /// It has taken everything; so many reports were kept in memory meanwhile.
    Works(u64),
}

impl Reports {
    /// Writes what is not written, as far as one turn allows; gives a change of how the disk is.
    pub fn save(&mut self, now: BootTime) -> Option<Saving> {
        self.unread.look(now);
        match &mut self.disk {
            Disk::None => return None,
            Disk::Unopened { why, until } => {
                if let Some(why) = why.take() {
                    *until = now + DISK_PAUSE;
                    return Some(Saving::Fails(why));
                }
                if now < *until {
                    return None;
                }
                if self.open_late().is_err() {
                    self.disk = Disk::Unopened { why: None, until: now + DISK_PAUSE };
                    return None;
                }
                self.disk = Disk::Failing { kept: self.waiting() as u64, until: None };
            }
            Disk::Failing { until: Some(until), .. } if now < *until => return None,
            Disk::Failing { .. } | Disk::Well => {}
        }
        let saved = self.save_now();
        let unwritten = self.lanes.iter().map(Lane::unwritten).sum::<usize>() as u64;
        match (&mut self.disk, saved) {
            (Disk::Failing { until, .. }, Err(_)) => *until = Some(now + DISK_PAUSE),
            (disk, Err(error)) => {
                *disk = Disk::Failing { kept: unwritten, until: Some(now + DISK_PAUSE) };
                return Some(Saving::Fails(error.to_string()));
            }
            (disk @ Disk::Failing { .. }, Ok(())) => {
                if let Disk::Failing { kept, until } = disk {
                    let kept = *kept;
                    *until = None;
                    if unwritten == 0 {
                        *disk = Disk::Well;
                        return Some(Saving::Works(kept));
                    }
                }
            }
            (_, Ok(())) => {}
        }
        if unwritten == 0 && matches!(self.disk, Disk::Well) {
            self.read_late(now);
        }
        None
    }

    /// Whether there is more to write than one turn allowed.
    pub fn has_to_save(&self) -> bool {
        let takes = matches!(self.disk, Disk::Well | Disk::Failing { until: None, .. });
        takes && self.lanes.iter().any(|lane| lane.unwritten() > 0)
    }

    fn save_now(&mut self) -> std::io::Result<()> {
        for lane in &mut self.lanes {
            lane.write()?;
        }
        if self.lanes.iter().any(Lane::has_finished) {
            // Records of events are removed when the ledger knows them. A disk that is full must not
            // keep them for that: the bus knows them, too.
            let known = !self.ledger.changed || self.files.save_ledger(&self.ledger).is_ok();
            self.ledger.changed &= !known;
            for path in self.lanes.iter_mut().flat_map(Lane::finished) {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!("cannot remove {}: {error}", path.display());
                }
            }
        }
        if self.unmarked {
            let mut dropped = self.dropped.clone();
            // Who dies now does not hear whether the agent has published them.
            self.limbo.iter().for_each(|head| dropped.add(head.kind, head.millis));
            let heads = [self.lanes[STATE].head(), self.lanes[OUTPUT].head()];
            let told = self.told.clone();
            self.files.save_marks(&Marks { heads, last: self.last, dropped, told })?;
            self.unmarked = false;
        }
        Ok(())
    }
}
