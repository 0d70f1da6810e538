//! Executable files that are watched for changes (`restart_when_binary_changed`): by inotify on
//! their directories, since a new version mostly replaces the file and does not write into it.
//!
//! Invariants:
//! - Everything on the way to a file is watched in the directory that holds it: the file, each
//!   symbolic link, and each directory, which may be replaced as a whole.
//! - What happens to the file or to a link is a change. What happens to a directory, or is not known
//!   because the kernel had too much to tell, is one only if another file is found at the end.
//! - Directories are known by paths without links. Two of them may be one to the kernel (a bind
//!   mount), and then share a descriptor, which goes with the last of them.

mod handover;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stamp::Stamp;
use dsbus_schema::moment::BootTime;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use way::{Kind, way};

pub(crate) use handover::BinariesLeft;

/// A file counts as changed when nothing has happened to it for this long: whoever copies it writes
/// for a while, and half an executable cannot be started.
const QUIET: Duration = Duration::from_millis(500);

/// A directory itself went, or what was mounted there.
const WENT: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_IGNORED);

/// The files, and who runs them.
#[derive(Debug, Default)]
pub(crate) struct Binaries {
    /// Made when the first file is watched: most workers watch none.
    inotify: Option<Inotify>,
    directories: BTreeMap<PathBuf, WatchDescriptor>,
    /// By child.
    files: BTreeMap<i32, Watched>,
    /// When they will have been left alone for long enough.
    changed: BTreeMap<PathBuf, BootTime>,
    /// When it is to be seen whether the file of a child is still the same.
    doubtful: BTreeMap<i32, BootTime>,
}

/// The file of a child.
#[derive(Debug)]
struct Watched {
    file: PathBuf,
    way: BTreeMap<PathBuf, Kind>,
    was: Option<Stamp>,
}

impl Binaries {
    /// Watches the file of a child, and everything on the way to it.
    ///
    /// # Errors
    /// When the kernel gives no more watches.
    pub(crate) fn watch(&mut self, pid: i32, file: &Path) -> Result<(), String> {
        let was = Stamp::of(file).ok();
        let watched = Watched { file: file.to_owned(), way: BTreeMap::new(), was };
        self.files.insert(pid, watched);
        self.walk(pid)
    }

    /// Watches what is on the way now.
    fn walk(&mut self, pid: i32) -> Result<(), String> {
        let Some(Watched { file, .. }) = self.files.get(&pid) else { return Ok(()) };
        let mut outcome = Ok(());
        let steps = way(&file.clone(), |directory, kind| {
            if let Err(e) = self.add(directory, kind)
                && kind != Kind::Directory
            {
                let directory = directory.display();
                outcome = Err(format!("{directory} cannot be watched for changes: {e}"));
            }
        });
        if let Some(watched) = self.files.get_mut(&pid) {
            watched.way = steps;
        }
        outcome
    }

    /// Watches a directory for what happens to an entry of this kind.
    fn add(&mut self, directory: &Path, kind: Kind) -> nix::Result<()> {
        let inotify = match &self.inotify {
            Some(inotify) => inotify,
            None => {
                let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
                self.inotify.insert(Inotify::init(flags)?)
            }
        };
        let mut what = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR
            // Others may watch the same directory for more.
            | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        if kind == Kind::File {
            what |= AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        }
        let descriptor = inotify.add_watch(directory, what)?;
        if let Some(old) = self.directories.insert(directory.to_owned(), descriptor) {
            self.drop_descriptor(old);
        }
        Ok(())
    }

    /// Ends a watch that no directory has any longer.
    fn drop_descriptor(&self, descriptor: WatchDescriptor) {
        let used = self.directories.values().any(|other| *other == descriptor);
        if let (false, Some(inotify)) = (used, &self.inotify) {
            // The directory itself may be gone, and its watch with it.
            let _ = inotify.rm_watch(descriptor);
        }
    }

    fn drop_directories(&mut self, which: impl Fn(&Path) -> bool) {
        let dropped: Vec<_> = self.directories.extract_if(.., |path, _| which(path)).collect();
        for (_, descriptor) in dropped {
            self.drop_descriptor(descriptor);
        }
    }

    /// The child is gone, or no longer restarted for this.
    pub(crate) fn forget(&mut self, pid: i32) {
        if self.files.remove(&pid).is_none() {
            return;
        }
        self.doubtful.remove(&pid);
        let entries: BTreeSet<_> =
            self.files.values().flat_map(|watched| watched.way.keys().cloned()).collect();
        self.changed.retain(|entry, _| entries.contains(entry));
        let used: BTreeSet<_> = entries.iter().filter_map(|entry| entry.parent()).collect();
        self.drop_directories(|directory| !used.contains(directory));
    }

    /// What is to be read when something happened; `None` until a file is watched.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Something happened.
    pub(crate) fn read(&mut self, now: BootTime) {
        let mut doubtful = BTreeSet::new();
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            for event in events {
                self.heed(&event, now, &mut doubtful);
            }
        }
        for pid in doubtful {
            // What cannot be watched now may be there again soon, which is seen further up.
            let _ = self.walk(pid);
            self.doubtful.insert(pid, now + QUIET);
        }
    }

    fn heed(&mut self, event: &InotifyEvent, now: BootTime, doubtful: &mut BTreeSet<i32>) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            tracing::warn!("the kernel had too much to tell of files; looking at all of them");
            self.drop_directories(|_| true);
            doubtful.extend(self.files.keys());
            return;
        }
        let known = self.directories.iter().filter(|(_, known)| **known == event.wd);
        let known: Vec<PathBuf> = known.map(|(directory, _)| directory.clone()).collect();
        for directory in known {
            // Without a name in it, an event is about the directory itself.
            let entry = event.name.as_ref().map(|name| directory.join(name));
            if entry.is_none() && event.mask.intersects(WENT) {
                self.drop_directories(|path| path.starts_with(&directory));
                let below = |way: &BTreeMap<PathBuf, Kind>| {
                    way.keys().any(|path| path.starts_with(&directory))
                };
                let files = self.files.iter().filter(|(_, watched)| below(&watched.way));
                doubtful.extend(files.map(|(pid, _)| *pid));
            }
            let Some(entry) = entry else { continue };
            for (pid, watched) in &self.files {
                match watched.way.get(&entry) {
                    Some(Kind::File | Kind::Link) => {
                        self.changed.insert(entry.clone(), now + QUIET);
                    }
                    Some(Kind::Directory) => {
                        doubtful.insert(*pid);
                    }
                    None => {}
                }
            }
        }
    }

    /// When the next file has been left alone for long enough.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.changed.values().chain(self.doubtful.values()).min().copied()
    }

    /// The children whose file changed, and has been left alone since; each is told once.
    pub(crate) fn due(&mut self, now: BootTime) -> Vec<i32> {
        let changed: BTreeSet<PathBuf> = self
            .changed
            .extract_if(.., |_, at| *at <= now)
            .map(|(entry, _)| entry)
            .filter(|entry| entry.exists())
            .collect();
        let doubtful: BTreeSet<i32> =
            self.doubtful.extract_if(.., |_, at| *at <= now).map(|(pid, _)| pid).collect();
        let mut due = Vec::new();
        for (pid, watched) in &mut self.files {
            let sure = watched.way.keys().any(|entry| changed.contains(entry));
            if !sure && !doubtful.contains(pid) {
                continue;
            }
            let is = Stamp::of(&watched.file).ok();
            if sure || (is.is_some() && is != watched.was) {
                due.push(*pid);
            }
            watched.was = is.or(watched.was);
        }
        due
    }
}

#[cfg(test)]
mod tests;
