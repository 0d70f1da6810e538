//! Descriptors with low numbers, held in reserve, so that the birth of a process costs the same
//! however many are open.
//!
//! A new process gets a copy of this process's table of descriptors, and exec closes all that is in
//! it: with four for each child, every start would pay for all the children that are there already.
//! So a new process begins with the table itself (`CLONE_FILES`), in which what it is to have was
//! put to low numbers, and its first step makes a copy of those only
//! (`close_range(2)` with `CLOSE_RANGE_UNSHARE`).
//!
//! That is sound because nothing is done with the shared table but this one call, which either gives
//! the new process a table of its own or changes nothing; and whether it did is looked at
//! afterwards, too: [`Reserve::null`] has a number behind the reserved ones, so in a table of its
//! own it is closed. Only then does the new process move anything. Its places are all below
//! [`SLOTS`], and the reserved numbers are not, so that none is overwritten before it is moved. This
//! process stands still meanwhile, has one thread, and takes the descriptors back out of the
//! reserved numbers afterwards, or a pipe's end would stay open in it.

use std::cell::{Cell, RefCell, RefMut};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::dup3;

/// How many are reserved: the three that every process has, some sockets and files, and a cgroup.
/// A child that wants more is born with a whole table. With as many places below them, all are
/// below 64, to which the kernel needs no memory for a table.
pub(super) const SLOTS: i32 = 16;
/// The least limit of open files that leaves something to reserve.
const NOFILE_MIN: u64 = 256;

/// The reserved descriptors, and /dev/null.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    null: Option<OwnedFd>,
    slots: RefCell<Vec<OwnedFd>>,
    refused: Cell<bool>,
}

/// Reserved numbers that hold what a new process is to have; restored when this is dropped.
#[derive(Debug)]
pub(super) struct Filled<'a> {
    null: BorrowedFd<'a>,
    slots: RefMut<'a, Vec<OwnedFd>>,
    sources: usize,
    used: usize,
}

impl Reserve {
    /// To be made early, while low numbers are free. Where nothing can be reserved, starts take
    /// longer, and that is all.
    pub(crate) fn new() -> Reserve {
        let Ok(null) = File::open("/dev/null") else { return Reserve::default() };
        let room = getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| soft >= NOFILE_MIN);
        let count = if room { SLOTS } else { 0 };
        let slots: Vec<_> = (0..count).map_while(|_| duplicate(&null, SLOTS)).collect();
        let behind = slots.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(SLOTS) + 1;
        let (null, slots) = match duplicate(&null, behind) {
            Some(behind) => (behind, slots),
            None => (null.into(), Vec::new()),
        };
        Reserve { null: Some(null), slots: RefCell::new(slots), refused: Cell::new(false) }
    }

    /// /dev/null, open to be read.
    pub(super) fn null(&self) -> Result<BorrowedFd<'_>, String> {
        let null = self.null.as_ref().map(AsFd::as_fd);
        null.ok_or_else(|| "/dev/null could not be opened".to_owned())
    }

    /// Puts what a new process is to have to reserved numbers, its cgroup last; `None` when these
    /// are too few, or such births do not work here.
    pub(super) fn fill(
        &self,
        sources: &[BorrowedFd<'_>],
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Option<Filled<'_>> {
        let null = self.null.as_ref()?.as_fd();
        let slots = self.slots.try_borrow_mut().ok()?;
        if self.refused.get() || sources.len() + usize::from(cgroup.is_some()) > slots.len() {
            return None;
        }
        let mut filled = Filled { null, slots, sources: sources.len(), used: 0 };
        for source in sources.iter().copied().chain(cgroup) {
            dup3(source, &mut filled.slots[filled.used], OFlag::O_CLOEXEC).ok()?;
            filled.used += 1;
        }
        Some(filled)
    }

    /// The kernel, or a filter of system calls, refuses such births.
    pub(super) fn refuse(&self) {
        self.refused.set(true);
    }
}

impl Filled<'_> {
    /// Each reserved number, and the one that it becomes.
    pub(super) fn places(&self) -> Vec<(RawFd, RawFd)> {
        self.slots.iter().take(self.sources).map(AsRawFd::as_raw_fd).zip(0..).collect()
    }

    /// The reserved number of the cgroup.
    pub(super) fn cgroup(&self) -> Option<RawFd> {
        (self.used > self.sources).then(|| self.slots[self.sources].as_raw_fd())
    }

    /// The first number of what a new process is not to have.
    pub(super) fn behind(&self) -> RawFd {
        self.slots.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(SLOTS) + 1
    }

    /// One that is open in this process, and in no table of a new process's own.
    pub(super) fn witness(&self) -> RawFd {
        self.null.as_raw_fd()
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        let Filled { null, slots, used, .. } = self;
        let restored =
            slots.iter_mut().take(*used).all(|slot| dup3(*null, slot, OFlag::O_CLOEXEC).is_ok());
        if !restored {
            // Not known to happen. An end of a pipe that stays open is worse than slower starts.
            slots.clear();
        }
    }
}

/// With the lowest number that is free from `least` on.
fn duplicate(file: &File, least: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    let number = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(least)).ok()?;
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_there_is_taken_back() {
        let reserve = Reserve::new();
        let (reader, writer) = std::io::pipe().unwrap();
        let filled = reserve.fill(&[writer.as_fd(), writer.as_fd()], Some(reader.as_fd())).unwrap();
        let places = filled.places();
        assert!(
            places.iter().all(|(from, to)| *from >= SLOTS && *to < 2 && *from < filled.behind())
        );
        assert!(filled.cgroup().is_some() && filled.witness() >= filled.behind());
        assert!(reserve.fill(&[], None).is_none(), "it is in use");
        drop(filled);
        drop(writer);
        assert_eq!(std::io::read_to_string(reader).unwrap(), "", "no writer is left");
    }

    #[test]
    fn more_than_there_are_and_none_at_all_are_not_put_there() {
        let reserve = Reserve::new();
        let null = reserve.null().unwrap();
        let all = [null; SLOTS as usize];
        assert!(reserve.fill(&all, None).is_some());
        assert!(reserve.fill(&all, Some(null)).is_none());
        assert!(Reserve::default().fill(&[], None).is_none());
        assert!(Reserve::default().null().is_err());
        reserve.refuse();
        assert!(reserve.fill(&[null], None).is_none());
    }
}
