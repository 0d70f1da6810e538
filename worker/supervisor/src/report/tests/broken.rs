//! Files that a crash, a full disk or a bad sector left.

use super::*;

/// A directory with reports 1 to 8, one file for each lane, and nothing done.
fn eight() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1 << 20, ..small() };
    let mut reports = Reports::open_with(directory.path(), limits);
    for n in 1..=8 {
        reports.push(worker(n));
    }
    assert_eq!(turn(&mut reports).len(), 8);
    directory
}

fn found(directory: &Path) -> (Vec<u64>, u64) {
    let mut reports = Reports::open_with(directory, small());
    let given = turn(&mut reports);
    (given, reports.dropped.told().events)
}

/// Where each record of a file begins, and where the last one ends.
fn places(file: &Path) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let starts = record::scan(&bytes).map(|(at, _, _)| at);
    starts.chain([bytes.len()]).collect()
}

#[test]
fn a_file_that_ends_anywhere_gives_all_records_that_are_whole() {
    let directory = eight();
    let file = files(directory.path(), "state.").remove(0);
    let (bytes, places) = (fs::read(&file).unwrap(), places(&file));
    for end in 0..=bytes.len() {
        fs::write(&file, &bytes[..end]).unwrap();
        let whole = places.iter().filter(|at| **at <= end).count() as u64 - 1;
        // What was cut off at the end was, for all that anybody can know, never there.
        assert_eq!(found(directory.path()), ((1..=whole).collect(), 0), "cut at {end}");
    }
}

#[test]
fn a_broken_byte_anywhere_loses_one_record_which_is_counted() {
    let directory = eight();
    let file = files(directory.path(), "state.").remove(0);
    let (mut bytes, places) = (fs::read(&file).unwrap(), places(&file));
    for at in 0..bytes.len() {
        bytes[at] ^= 0x20;
        fs::write(&file, &bytes).unwrap();
        bytes[at] ^= 0x20;
        let broken = places.iter().filter(|begin| **begin <= at).count() as u64;
        let left: Vec<u64> = (1..=8).filter(|n| *n != broken).collect();
        // Nothing follows the last one, or comes before the first one, that could tell.
        let lost = u64::from(broken != 8 && broken != 1);
        assert_eq!(found(directory.path()), (left, lost), "broken at {at}");
    }
}

#[test]
fn what_cannot_be_read_is_counted_as_unreadable_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=40 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    reports.done(2);
    turn(&mut reports);
    let all = files(directory.path(), "state.");
    fs::write(&all[2], "rubbish").unwrap();
    fs::remove_file(&all[3]).unwrap();
    let mut next = Reports::open_with(directory.path(), small());
    let lost = 38 - next.waiting() as u64;
    assert!(lost > 3, "{lost}");
    turn(&mut next);
    next.done(5);
    let dropped = next.dropped(NOW).unwrap();
    assert_eq!((dropped.events, dropped.kinds["unreadable"]), (lost, lost));
    assert_eq!((dropped.from, dropped.to), (None, None));
}

#[test]
fn zeroes_at_the_end_of_a_file_are_as_good_as_nothing() {
    let directory = eight();
    let file = files(directory.path(), "state.").remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes.resize(bytes.len() + 5_000, 0);
    fs::write(&file, &bytes).unwrap();
    assert_eq!(found(directory.path()), ((1..=8).collect(), 0));
}

#[test]
fn marks_that_are_broken_or_gone_give_everything_once_more() {
    let directory = eight();
    let mut reports = Reports::open_with(directory.path(), small());
    turn(&mut reports);
    reports.done(5);
    turn(&mut reports);
    let marks = directory.path().join("marks");
    let bytes = fs::read(&marks).unwrap();
    assert_eq!(found(directory.path()).0, [6, 7, 8]);
    for end in 0..bytes.len() {
        fs::write(&marks, &bytes[..end]).unwrap();
        assert_eq!(found(directory.path()).0, (1..=8).collect::<Vec<_>>(), "cut at {end}");
    }
    fs::remove_file(&marks).unwrap();
    assert_eq!(found(directory.path()), ((1..=8).collect(), 0));
}

#[test]
fn what_was_written_badly_is_found_when_it_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1 << 20, ..small() };
    let mut reports = Reports::open_with(directory.path(), limits);
    for n in 1..=20 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    let file = files(directory.path(), "state.").remove(0);
    let (mut bytes, places) = (fs::read(&file).unwrap(), places(&file));
    bytes[places[14] + 60] ^= 1;
    fs::write(&file, &bytes).unwrap();
    reports.done(10);
    let left: Vec<u64> = (11..=20).filter(|n| *n != 15).collect();
    assert_eq!(turn(&mut reports), left);
    reports.done(20);
    let dropped = reports.dropped(NOW).unwrap();
    assert_eq!((dropped.events, dropped.kinds["worker"]), (1, 1));
    assert!(reports.is_empty());
}

#[test]
fn a_full_disk_is_told_once_and_its_reports_are_written_when_it_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    reports.push(worker(1));
    assert_eq!(turn(&mut reports), [1]);
    reports.lanes[STATE].fill();
    reports.push(worker(2));
    let Some(Saving::Fails(why)) = reports.save(NOW) else { panic!("it is full") };
    assert!(why.contains("No space left"), "{why}");
    for n in 3..=30 {
        reports.push(worker(n));
        assert_eq!(reports.save(NOW + Duration::from_secs(n)), None);
    }
    // Its agent goes on, and so does the next one.
    assert_eq!(turn(&mut reports), (2..=10).collect::<Vec<_>>());
    reports.take_back();
    assert_eq!(turn(&mut reports), (1..=10).collect::<Vec<_>>());
    assert_eq!(Reports::open_with(directory.path(), small()).waiting(), 1);
    reports.lanes[STATE].mend();
    let later = NOW + Duration::from_secs(40);
    assert_eq!(reports.save(later), Some(Saving::Works(29)));
    reports.release();
    assert_eq!(reports.lanes[STATE].in_memory(), 0);
    let mut next = Reports::open_with(directory.path(), small());
    assert_eq!((next.waiting(), next.dropped.told().events), (30, 0));
    assert_eq!(turn(&mut next), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_has_the_same_limits() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    reports.push(worker(0));
    turn(&mut reports);
    reports.lanes[STATE].fill();
    for n in 1..=150 {
        reports.push(worker(n));
        reports.push(output(n, 10));
        reports.save(NOW);
    }
    assert_eq!(reports.waiting(), 100);
    assert!(reports.lanes.iter().map(Lane::in_memory).sum::<usize>() <= 100);
}

#[test]
fn a_directory_that_is_gone_is_made_again_and_one_that_cannot_be_is_told_once() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("reports");
    fs::write(&directory, "a file").unwrap();
    let mut reports = Reports::open_with(&directory, small());
    reports.push(worker(1));
    let Some(Saving::Fails(why)) = reports.save(NOW) else { panic!("it is a file") };
    assert!(why.contains("reports"), "{why}");
    assert_eq!((reports.save(NOW), turn(&mut reports)), (None, vec![1]));
    fs::remove_file(&directory).unwrap();
    assert_eq!(reports.save(NOW + DISK_PAUSE), Some(Saving::Works(1)), "it is tried again");
    assert_eq!(Reports::open_with(&directory, small()).waiting(), 1);

    let mut reports = Reports::open_with(&directory, small());
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file").unwrap();
    reports.push(worker(1));
    assert!(matches!(reports.save(NOW), Some(Saving::Fails(_))));
    fs::remove_file(&directory).unwrap();
    let later = NOW + DISK_PAUSE;
    assert_eq!(reports.save(later), Some(Saving::Works(1)));
    assert_eq!(Reports::open_with(&directory, small()).waiting(), 1);
}
