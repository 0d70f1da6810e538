//! Executable files that are watched for changes (`restart_when_binary_changed`): by inotify on
//! their directories, since a new version mostly replaces the file and does not write into it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// A file counts as changed when nothing has happened to it for this long: whoever copies it writes
/// for a while, and half an executable cannot be started.
const QUIET: Duration = Duration::from_millis(500);
/// Longest path through which symbolic links are followed.
const LINKS_MAX: usize = 16;

/// The files, and who runs them.
#[derive(Debug, Default)]
pub(crate) struct Binaries {
    /// Made when the first file is watched: most workers watch none.
    inotify: Option<Inotify>,
    directories: BTreeMap<PathBuf, WatchDescriptor>,
    /// Files by child.
    files: BTreeMap<i32, BTreeSet<PathBuf>>,
    /// When they will have been left alone for long enough.
    changed: BTreeMap<PathBuf, BootTime>,
}

impl Binaries {
    /// Watches the file of a child, and each symbolic link on the way to it.
    ///
    /// # Errors
    /// When the kernel gives no more watches.
    pub(crate) fn watch(&mut self, pid: i32, file: &Path) -> Result<(), String> {
        for file in links(file) {
            let Some(directory) = file.parent().map(Path::to_owned) else { continue };
            if !self.directories.contains_key(&directory) {
                let descriptor = self.add(&directory).map_err(|e| {
                    format!("{} cannot be watched for changes: {e}", directory.display())
                })?;
                self.directories.insert(directory, descriptor);
            }
            self.files.entry(pid).or_default().insert(file);
        }
        Ok(())
    }

    fn add(&mut self, directory: &Path) -> nix::Result<WatchDescriptor> {
        let inotify = match &self.inotify {
            Some(inotify) => inotify,
            None => {
                let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
                self.inotify.insert(Inotify::init(flags)?)
            }
        };
        let what = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, what)
    }

    /// The child is gone, or no longer restarted for this.
    pub(crate) fn forget(&mut self, pid: i32) {
        if self.files.remove(&pid).is_none() {
            return;
        }
        let files = &self.files;
        let wanted = |path: &Path| files.values().flatten().any(|file| file.starts_with(path));
        self.changed.retain(|file, _| wanted(file));
        let inotify = &self.inotify;
        self.directories.retain(|directory, descriptor| {
            let used = files.values().flatten().any(|f| f.parent() == Some(directory.as_path()));
            if let (false, Some(inotify)) = (used, inotify) {
                // The directory itself may be gone, and its watch with it.
                let _ = inotify.rm_watch(*descriptor);
            }
            used
        });
    }

    /// What is to be read when something happened; `None` until a file is watched.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Something happened.
    pub(crate) fn read(&mut self, now: BootTime) {
        let Some(inotify) = &self.inotify else { return };
        // Without a name in it, an event is about the directory itself.
        let mut names: Vec<(WatchDescriptor, OsString)> = Vec::new();
        while let Ok(events) = inotify.read_events() {
            names.extend(events.into_iter().filter_map(|event| Some((event.wd, event.name?))));
        }
        for (descriptor, name) in names {
            let found = self.directories.iter().find(|(_, known)| **known == descriptor);
            let Some(file) = found.map(|(directory, _)| directory.join(&name)) else { continue };
            if self.files.values().flatten().any(|watched| *watched == file) {
                self.changed.insert(file, now + QUIET);
            }
        }
    }

    /// When the next file has been left alone for long enough.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.changed.values().min().copied()
    }

    /// The children whose file changed, and has been left alone since; each is told once.
    pub(crate) fn due(&mut self, now: BootTime) -> Vec<i32> {
        let due: BTreeSet<PathBuf> = self
            .changed
            .extract_if(.., |_, at| *at <= now)
            .map(|(file, _)| file)
            .filter(|file| file.exists())
            .collect();
        let runs = |files: &BTreeSet<PathBuf>| !files.is_disjoint(&due);
        self.files.iter().filter(|(_, files)| runs(files)).map(|(pid, _)| *pid).collect()
    }
}

/// The file itself, and what it links to, one link after the other.
fn links(file: &Path) -> Vec<PathBuf> {
    let mut found = vec![file.to_owned()];
    let mut at = file.to_owned();
    while let Ok(target) = std::fs::read_link(&at) {
        at = at.parent().unwrap_or(Path::new("/")).join(target);
        found.push(at.clone());
        if found.len() > LINKS_MAX {
            break;
        }
    }
    // A directory on the way may be a link, too: `/opt/current/app`.
    found.extend(file.canonicalize());
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const AT: BootTime = BootTime(1_000_000_000);

    /// Whether this makes child 7, which runs `file`, due after the time of quiet.
    fn changes(file: &Path, change: impl FnOnce()) -> bool {
        let mut binaries = Binaries::default();
        binaries.watch(7, file).unwrap();
        change();
        binaries.read(AT);
        assert_eq!(binaries.due(AT), [0; 0], "not before it is quiet");
        let due = binaries.due(AT + QUIET);
        assert_eq!(binaries.due(AT + QUIET), [0; 0], "told once");
        assert_eq!(binaries.deadline(), None);
        due == [7]
    }

    #[test]
    fn what_counts_as_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app");
        let other = directory.path().join("other");
        fs::write(&file, "1").unwrap();
        assert!(changes(&file, || fs::write(&file, "2").unwrap()), "written");
        assert!(changes(&file, || {
            fs::write(&other, "3").unwrap();
            fs::rename(&other, &file).unwrap();
        }));
        assert!(changes(&file, || {
            let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
        }));
        assert!(!changes(&file, || fs::write(&other, "4").unwrap()), "another file");
        assert!(!changes(&file, || fs::remove_file(&file).unwrap()), "gone, and not replaced");
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("app-1"), directory.path().join("app-2"));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        let link = directory.path().join("app");
        symlink(&one, &link).unwrap();
        assert!(changes(&link, || {
            let next = directory.path().join("next");
            symlink(&two, &next).unwrap();
            fs::rename(next, &link).unwrap();
        }));
        assert!(changes(&link, || fs::write(&two, "3").unwrap()));
    }

    #[test]
    fn what_nobody_runs_is_not_watched() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app");
        fs::write(&file, "1").unwrap();
        let mut binaries = Binaries::default();
        assert!(binaries.fd().is_none());
        binaries.watch(1, &file).unwrap();
        binaries.watch(2, &file).unwrap();
        binaries.forget(1);
        assert_eq!(binaries.directories.len(), 1);
        binaries.forget(2);
        assert!(binaries.directories.is_empty() && binaries.fd().is_some());
    }
}
