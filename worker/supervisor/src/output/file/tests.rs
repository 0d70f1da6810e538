use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::output::rotation::{packed, plain};

const NOW: BootTime = BootTime(1_000_000_000);

fn rotation(bytes_max: u64, backups: u32) -> Rotation {
    Rotation { bytes_max, backups, ..Rotation::default() }
}

/// A log in a directory of its own.
fn log(rotation: Rotation) -> (tempfile::TempDir, PathBuf, LogFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stdout.log");
    let log = LogFile::open(path.clone(), rotation);
    (directory, path, log)
}

/// All files of a log, oldest first, as one.
fn whole(path: &Path) -> Vec<u8> {
    let rotated = (1..20).rev().map(|number| plain(path, number));
    rotated.chain([path.to_owned()]).flat_map(|path| fs::read(path).unwrap_or_default()).collect()
}

#[test]
fn rotation_loses_no_byte() {
    let (_directory, path, mut log) = log(rotation(100, 3));
    let text: Vec<u8> = (0..37u8).cycle().take(350).map(|n| b'a' + n % 26).collect();
    for piece in text.chunks(35) {
        log.write(piece);
    }
    assert_eq!(whole(&path), text);
    assert_eq!(fs::metadata(plain(&path, 1)).unwrap().len(), 105, "it is rotated after the write");
    assert!(log.take_rotated() && !log.take_rotated());
}

#[test]
fn others_do_not_read_it_unless_its_owner_lets_them() {
    let (_directory, path, mut log) = log(rotation(10, 2));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&path) & 0o137, 0, "{:o}", mode(&path));
    log.write(&[b'x'; 10]);
    assert_eq!(mode(&path) & 0o137, 0, "rotated: {:o}", mode(&path));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    log.write(&[b'x'; 10]);
    assert_eq!((mode(&path), mode(&plain(&path, 1))), (0o644, 0o644), "that is kept");
}

#[test]
fn a_link_of_a_stranger_is_not_written_through() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing is tested");
        return;
    }
    let (directory, path, first) = log(rotation(100, 3));
    drop(first);
    let secret = directory.path().join("secret");
    fs::write(&secret, "").unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&secret, &path).unwrap();
    let mut own = LogFile::open(path.clone(), rotation(100, 3));
    own.append(b"ours\n", NOW).unwrap();
    std::os::unix::fs::lchown(&path, Some(12345), Some(12345)).unwrap();
    let mut log = LogFile::open(path.clone(), rotation(100, 3));
    let why = log.append(b"theirs\n", NOW).unwrap_err().why;
    assert!(why.ends_with("it is a link of user 12345, and is not followed"), "{why}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "ours\n");
    fs::remove_file(&path).unwrap();
    log.reopen();
    log.append(b"again\n", NOW).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "again\n");
}

#[test]
fn the_limits_that_are_zero() {
    let (_directory, path, mut never) = log(rotation(0, 3));
    never.write(&[b'x'; 10_000]);
    assert_eq!((whole(&path).len(), plain(&path, 1).exists()), (10_000, false));
    let (_directory, path, mut anew) = log(rotation(10, 0));
    let inode = fs::metadata(&path).unwrap().ino();
    anew.write(b"0123456789");
    anew.write(b"abc");
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode, "who follows it must find out");
    assert!(!plain(&path, 1).exists());
    assert_eq!(anew.last_line().as_deref(), Some("0123456789abc"), "also what is gone");
    // The link stays, and so does the file it leads to.
    let (directory, target, _) = log(rotation(0, 0));
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut linked = LogFile::open(link.clone(), rotation(10, 0));
    linked.write(b"0123456789");
    linked.write(b"abc");
    assert!(link.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"abc");
}

#[test]
fn what_was_there_counts_and_only_so_many_are_kept() {
    let (_directory, path, mut log) = log(rotation(10, 2));
    for text in ["first----10", "second---10", "third----10", "end"] {
        log.write(text.as_bytes());
        log = LogFile::open(path.clone(), rotation(10, 2));
    }
    assert_eq!(whole(&path), b"second---10third----10end");
    log.write(b"1234567");
    assert_eq!(fs::read(plain(&path, 1)).unwrap(), b"end1234567");
}

#[test]
fn whoever_moves_or_truncates_it_is_followed() {
    let (directory, path, mut log) = log(rotation(10, 2));
    log.write(b"one");
    fs::rename(&path, directory.path().join("moved")).unwrap();
    log.write(b"two");
    log.reopen();
    log.write(b"three");
    assert_eq!(fs::read(directory.path().join("moved")).unwrap(), b"onetwo");
    assert_eq!(fs::read(&path).unwrap(), b"three");
    // Truncated in place: neither a hole, nor a rotation that is too early.
    File::create(&path).unwrap();
    log.write(b"123456");
    assert_eq!(fs::read(&path).unwrap(), b"123456");
    // Appended to by somebody else.
    File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    log.write(b"789");
    assert_eq!(whole(&path), b"123456x789");
    // Moved away, and never told: the next rotation finds out, and moves nothing else.
    fs::remove_file(&path).unwrap();
    log.write(b"0123456789");
    log.write(b"new");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    log.set_rotation(rotation(10, 0));
    fs::rename(&path, directory.path().join("moved")).unwrap();
    log.write(b"0123456789");
    assert_eq!(fs::read(directory.path().join("moved")).unwrap(), b"new0123456789");
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_full_disk_and_a_missing_directory_cost_only_what_cannot_be_written() {
    let mut full = LogFile::open("/dev/full".into(), rotation(1, 1));
    let dropped = full.append(b"four", NOW).unwrap_err();
    assert!(dropped.bytes == 4 && dropped.why.contains("No space left"), "{dropped:?}");
    full.write(b"12345");
    assert_eq!((full.dropped(), full.last_line()), (5, None));
    assert!(full.clear().is_ok() && !full.take_rotated());
    let mut never = LogFile::open("/proc/no/such/directory/x".into(), Rotation::default());
    assert_eq!(never.append(b"lost", NOW).unwrap_err().bytes, 4);
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b/c.log");
    let mut made = LogFile::open(deep.clone(), Rotation::default());
    assert_eq!(made.append(b"here", NOW), Ok(()));
    assert_eq!(fs::read(deep).unwrap(), b"here");
}

#[test]
fn it_is_opened_again_after_a_pause() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::create_dir(&path).unwrap();
    let mut log = LogFile::open(path.clone(), Rotation::default());
    let tried = clock::now().boot + RETRY_PAUSE;
    assert!(log.append(b"a", tried).unwrap_err().why.contains("Is a directory"));
    fs::remove_dir(&path).unwrap();
    assert!(log.append(b"b", tried).is_err(), "not at once");
    assert_eq!(log.append(b"c", tried + RETRY_PAUSE), Ok(()));
    assert_eq!(fs::read(path).unwrap(), b"c");
}

#[test]
fn a_rotation_that_fails_is_told_and_costs_nothing() {
    let (directory, path, mut log) = log(rotation(4, 2));
    // A directory in the place of the oldest cannot be removed as a file.
    fs::create_dir(plain(&path, 1)).unwrap();
    fs::create_dir(plain(&path, 2)).unwrap();
    assert_eq!(log.append(b"12345", NOW), Ok(()));
    assert!(log.take_trouble().unwrap().contains("cannot be rotated"));
    assert_eq!((log.append(b"678", NOW), log.take_trouble()), (Ok(()), None));
    fs::remove_dir(plain(&path, 1)).unwrap();
    fs::remove_dir(plain(&path, 2)).unwrap();
    assert_eq!(log.append(b"9", NOW + RETRY_PAUSE), Ok(()));
    assert_eq!(fs::read(plain(&path, 1)).unwrap(), b"123456789");
    assert_eq!(fs::read(&path).unwrap(), b"");
    drop(directory);
}

#[test]
fn clearing_leaves_an_empty_file_and_the_writer_in_it() {
    let (_directory, path, mut log) = log(rotation(10, 5));
    log.write(b"0123456789");
    log.write(b"abc");
    fs::write(packed(&path, 2), "x").unwrap();
    log.clear().unwrap();
    assert!(!plain(&path, 1).exists() && !packed(&path, 2).exists());
    assert_eq!((fs::read(&path).unwrap(), log.last_line()), (vec![], None));
    log.write(b"1");
    assert_eq!(fs::read(&path).unwrap(), b"1");
}

#[test]
fn one_that_may_only_be_written_is_written() {
    let (_directory, path, log) = log(rotation(0, 0));
    drop(log);
    fs::set_permissions(&path, Permissions::from_mode(0o200)).unwrap();
    let mut log = LogFile::open(path.clone(), Rotation::default());
    assert_eq!(log.append(b"x", NOW), Ok(()));
    assert_eq!(fs::metadata(&path).unwrap().len(), 1);
}

#[test]
fn old_rotated_files_go_when_it_is_opened_and_when_it_is_rotated() {
    let hour = Duration::from_secs(3600);
    let aged = Rotation { max_age: Some(hour), ..rotation(4, 9) };
    let (_directory, path, _log) = log(rotation(0, 0));
    let make_old = || {
        for number in 1..=2 {
            let old = File::create(plain(&path, number)).unwrap();
            old.set_modified(old.metadata().unwrap().modified().unwrap() - 2 * hour).unwrap();
        }
    };
    make_old();
    let mut log = LogFile::open(path.clone(), aged);
    assert!(!plain(&path, 1).exists() && !plain(&path, 2).exists());
    make_old();
    log.write(b"1234");
    assert!(plain(&path, 1).exists() && !plain(&path, 2).exists() && !plain(&path, 3).exists());
}
