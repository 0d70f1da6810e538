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
    let watches = binaries.directories.len();
    binaries.watch(2, &file).unwrap();
    binaries.forget(1);
    assert_eq!(binaries.directories.len(), watches);
    binaries.forget(2);
    assert!(binaries.directories.is_empty() && binaries.fd().is_some());
}

/// Puts a link that points to `target` in the place of `link`.
fn point(link: &Path, target: &Path) {
    let next = link.with_extension("next");
    symlink(target, &next).unwrap();
    fs::rename(next, link).unwrap();
}

#[test]
fn a_directory_that_is_a_link_is_a_change_when_it_points_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        fs::create_dir(directory.path().join(version)).unwrap();
        fs::write(directory.path().join(version).join("app"), version).unwrap();
    }
    let current = directory.path().join("current");
    symlink("v1", &current).unwrap();
    let file = current.join("app");
    assert!(changes(&file, || point(&current, Path::new("v2"))));
    assert!(changes(&file, || fs::write(directory.path().join("v2/app"), "3").unwrap()));
    assert!(!changes(&file, || fs::write(directory.path().join("v1/app"), "3").unwrap()));
}

#[test]
fn a_directory_that_is_replaced_is_watched_again() {
    let directory = tempfile::tempdir().unwrap();
    let (app, old) = (directory.path().join("app"), directory.path().join("old"));
    let file = app.join("bin/app");
    fs::create_dir_all(app.join("bin")).unwrap();
    fs::write(&file, "1").unwrap();
    let mut binaries = Binaries::default();
    binaries.watch(7, &file).unwrap();
    let watches = binaries.directories.len();
    fs::rename(&app, &old).unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [0; 0], "it is gone, and nothing is in its place");
    fs::rename(&old, &app).unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [0; 0], "it is the same as before");
    assert_eq!(binaries.directories.len(), watches);
    fs::rename(&app, &old).unwrap();
    fs::create_dir_all(app.join("bin")).unwrap();
    fs::write(&file, "other").unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [7]);
    fs::write(&file, "another").unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [7], "the new directory is watched");
    fs::remove_dir_all(&app).unwrap();
    binaries.read(AT);
    fs::create_dir_all(app.join("bin")).unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [0; 0]);
    fs::write(&file, "the last").unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [7]);
}

#[test]
fn two_paths_of_one_directory_share_a_watch_until_both_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let file = real.join("app");
    fs::write(&file, "1").unwrap();
    let mut binaries = Binaries::default();
    binaries.watch(7, &file).unwrap();
    // Nobody may mount anything here: it stands for a bind mount.
    let descriptor = binaries.directories[&real];
    let (second, entry) = (PathBuf::from("/elsewhere"), PathBuf::from("/elsewhere/app"));
    binaries.directories.insert(second, descriptor);
    let way = BTreeMap::from([(entry, Kind::File)]);
    binaries.files.insert(8, Watched { file: file.clone(), way, was: Stamp::of(&file).ok() });
    binaries.forget(8);
    fs::write(&file, "2").unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [7]);
    binaries.forget(7);
    assert!(binaries.directories.is_empty());
}

#[test]
fn after_an_overflow_only_what_really_changed_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    let mut binaries = Binaries::default();
    binaries.watch(1, &one).unwrap();
    binaries.watch(2, &two).unwrap();
    fs::write(&two, "longer").unwrap();
    // Events of the change itself are lost.
    while binaries.inotify.as_ref().unwrap().read_events().is_ok() {}
    let wd = binaries.directories[&directory.path().canonicalize().unwrap()];
    let overflow = InotifyEvent { wd, mask: AddWatchFlags::IN_Q_OVERFLOW, cookie: 0, name: None };
    let mut doubtful = BTreeSet::new();
    binaries.heed(&overflow, AT, &mut doubtful);
    assert_eq!(doubtful, BTreeSet::from([1, 2]));
    for pid in doubtful {
        binaries.walk(pid).unwrap();
        binaries.doubtful.insert(pid, AT + QUIET);
    }
    assert_eq!(binaries.deadline(), Some(AT + QUIET));
    assert_eq!(binaries.due(AT + QUIET), [2]);
    fs::write(&one, "3").unwrap();
    binaries.read(AT);
    assert_eq!(binaries.due(AT + QUIET), [1], "it is watched as before");
}
