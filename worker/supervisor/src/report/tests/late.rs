//! What cannot be read for a while: nothing of it is lost.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use super::*;

/// Makes a file fail to be read, though it is there.
fn spoil(file: &Path) {
    fs::rename(file, hidden(file)).unwrap();
    // ELOOP, whoever asks, and whatever it is called.
    let round = file.with_file_name("round");
    if !round.is_symlink() {
        symlink(&round, &round).unwrap();
    }
    symlink(&round, file).unwrap();
}

fn hidden(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap().to_str().unwrap();
    file.with_file_name(format!("hidden.{}", name.rsplit('.').next().unwrap()))
}

/// Undoes it, whatever the file is called now.
fn mend(directory: &Path) {
    for path in
        all(directory).into_iter().filter(|path| path.is_symlink() && !path.ends_with("round"))
    {
        fs::remove_file(&path).unwrap();
        fs::rename(hidden(&path), &path).unwrap();
    }
}

fn all(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Reports 1 to `count` of a run that has ended, of which the bus has those up to `done`.
fn left(directory: &Path, count: u64, done: u64) {
    let mut reports = Reports::open_with(directory, small());
    for n in 1..=count {
        reports.push(worker(n));
        turn(&mut reports);
    }
    reports.done(done);
    turn(&mut reports);
}

/// Ids of all that is told until nothing waits, with what had to be dropped. Numbers only grow.
fn told(reports: &mut Reports, mut now: BootTime) -> (Vec<u128>, u64) {
    let (mut ids, mut last) = (Vec::new(), 0);
    reports.take_back();
    for _ in 0..200 {
        now = now + DISK_PAUSE;
        reports.save(now);
        while reports.has_to_save() {
            reports.save(now);
        }
        while reports.may_hand() {
            reports.hand(now, |line| {
                let ToAgent::Report(report) = serde_json::from_slice(line).unwrap() else {
                    panic!("{line:?}")
                };
                assert!(report.number > last, "{} after {last}", report.number);
                last = report.number;
                if let Reported::Worker { id, .. } = report.what {
                    ids.push(id.as_u128());
                }
            });
        }
        reports.release();
        reports.done(last);
    }
    assert!(reports.is_empty());
    (ids, reports.dropped.told().events)
}

#[test]
fn what_cannot_be_read_back_now_is_read_later_and_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=60 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    reports.done(10);
    let third = files(directory.path(), "state.").remove(2);
    spoil(&third);
    let mut now = NOW;
    let mut given = 10;
    for _ in 0..30 {
        now = now + DISK_PAUSE;
        reports.save(now);
        while reports.may_hand() {
            reports.hand(now, |line| given = number(line));
        }
        reports.done(given);
        assert!(!reports.may_hand(), "nothing is tried without a pause");
    }
    assert!((10..60).contains(&given), "{given}");
    assert_eq!(reports.waiting() as u64, 60 - given, "all of them still wait");
    mend(directory.path());
    assert_eq!(told(&mut reports, now), ((u128::from(given) + 1..=60).collect(), 0));
}

#[test]
fn what_can_never_be_read_back_costs_no_more_than_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=60 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    reports.done(10);
    let spoilt = files(directory.path(), "state.").remove(2);
    let count = record::scan(&fs::read(&spoilt).unwrap()).count() as u64;
    spoil(&spoilt);
    let (ids, dropped) = told(&mut reports, NOW);
    assert_eq!((ids.len() as u64, dropped), (50 - count, count));
    assert_eq!(ids.last(), Some(&60));
}

#[test]
fn a_file_that_cannot_be_read_at_the_start_is_kept_and_told_later() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path(), 60, 10);
    let names = files(directory.path(), "state.");
    // The last one, one in the middle, the first one, all of them.
    for spoilt in [&names[names.len() - 1..], &names[2..3], &names[..1], &names[..]] {
        let copy = tempfile::tempdir().unwrap();
        for file in all(directory.path()).iter().filter(|path| path.is_file()) {
            fs::copy(file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        for file in spoilt {
            spoil(&copy.path().join(file.file_name().unwrap()));
        }
        let mut reports = Reports::open_with(copy.path(), small());
        let numbers: BTreeSet<u64> = (0..5).map(|n| reports.push(worker(1_000 + n))).collect();
        assert_eq!(numbers.len(), 5);
        let (mut ids, dropped) = told(&mut reports, NOW);
        assert_eq!((ids.contains(&1_000), dropped), (true, 0), "{spoilt:?}");
        // The next run finds it, too, and may read it; or this one, when it tries again.
        mend(copy.path());
        let mut next = Reports::open_with(copy.path(), small());
        let (more, dropped) = told(&mut next, NOW);
        assert_eq!(dropped, 0);
        ids.extend(more);
        let once: BTreeSet<u128> = ids.iter().copied().collect();
        assert_eq!(once, (11..=60).chain(1_000..=1_004).collect(), "{spoilt:?}");
        assert!(files(copy.path(), "late.").is_empty(), "it is removed when it is told");
        drop(next);
        let mut last = Reports::open_with(copy.path(), small());
        assert_eq!(told(&mut last, NOW), (Vec::new(), 0), "{spoilt:?}");
    }
}

#[test]
fn a_file_that_can_be_read_again_is_told_by_the_same_run() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path(), 60, 10);
    let spoilt = files(directory.path(), "state.").remove(2);
    spoil(&spoilt);
    let mut reports = Reports::open_with(directory.path(), small());
    turn(&mut reports);
    mend(directory.path());
    let (ids, dropped) = told(&mut reports, NOW + DISK_PAUSE * 10);
    let late = ids.iter().position(|id| *id == 28).unwrap();
    assert_eq!(ids[..17], (11..=27).collect::<Vec<_>>(), "what could be read comes first");
    assert_eq!(ids[late..late + 9], (28..=36).collect::<Vec<_>>());
    assert_eq!((ids.len(), dropped), (50, 0));
    assert!(files(directory.path(), "late.").is_empty());
}

#[test]
fn late_reports_push_out_no_others() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path(), 60, 0);
    let first = files(directory.path(), "state.").remove(0);
    spoil(&first);
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 0..90 {
        reports.push(worker(1_000 + n));
    }
    mend(directory.path());
    turn(&mut reports);
    assert_eq!(reports.waiting(), 90);
    let (ids, dropped) = told(&mut reports, NOW + DISK_PAUSE * 10);
    assert_eq!((ids.len(), dropped), (150, 0));
}

#[test]
fn a_file_that_is_given_up_is_counted_and_left_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path(), 60, 10);
    let names = files(directory.path(), "state.");
    let spoilt = &names[names.len() - 2];
    let count = record::scan(&fs::read(spoilt).unwrap()).count() as u64;
    spoil(spoilt);
    let mut reports = Reports::open_with(directory.path(), small());
    told(&mut reports, NOW);
    for n in 1..=100 {
        reports.save(NOW + DISK_PAUSE * (100 * n));
    }
    assert_eq!(reports.dropped.told().kinds["unreadable"], count);
    assert_eq!(files(directory.path(), "late.").len(), 1);
    mend(directory.path());
    let mut next = Reports::open_with(directory.path(), small());
    assert_eq!(told(&mut next, NOW).0.len() as u64, count);
}

#[test]
fn a_directory_that_cannot_be_opened_at_the_start_is_opened_later() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("reports");
    left(&directory, 60, 10);
    // Reports of the next run have the numbers that these had.
    let aside = home.path().join("hidden.reports");
    fs::rename(&directory, &aside).unwrap();
    symlink(&directory, &directory).unwrap();
    let mut reports = Reports::open_with(&directory, small());
    for n in 0..20 {
        reports.push(worker(1_000 + n));
    }
    assert!(matches!(reports.save(NOW), Some(Saving::Fails(_))));
    assert_eq!(turn(&mut reports), (1..=10).collect::<Vec<_>>(), "nobody waits for it");
    reports.done(5);
    fs::remove_file(&directory).unwrap();
    fs::rename(&aside, &directory).unwrap();
    assert_eq!(reports.save(NOW + DISK_PAUSE), Some(Saving::Works(15)));
    // Who dies now has lost nothing of either.
    let mut next = Reports::open_with(&directory, small());
    let (ids, dropped) = told(&mut next, NOW);
    let ids: BTreeSet<u128> = ids.into_iter().collect();
    assert_eq!((ids, dropped), ((11..=60).chain(1_005..1_020).collect(), 0));
}

#[test]
fn marks_that_cannot_be_read_are_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path(), 60, 10);
    spoil(&directory.path().join("marks"));
    let mut reports = Reports::open_with(directory.path(), small());
    assert!(matches!(reports.save(NOW), Some(Saving::Fails(_))));
    reports.push(worker(1_000));
    reports.save(NOW + DISK_PAUSE);
    mend(directory.path());
    let (ids, dropped) = told(&mut reports, NOW + DISK_PAUSE * 2);
    let known: BTreeSet<u128> = ids.iter().copied().collect();
    assert_eq!((known, dropped), ((11..=60).chain([1_000]).collect(), 0));
    assert_eq!(ids[0], 1_000);
}
