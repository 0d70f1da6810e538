//! Files that are rotated, compressed, removed and emptied while they are read.

use super::*;

#[test]
fn the_last_lines_reach_over_rotations_and_into_compressed_files() {
    for compressed in [0, 1, 2, 3] {
        let log = Log::new();
        for text in ["1\n2\n", "3\n", "4\n5\n"] {
            log.write(text);
            log.rotate();
        }
        for number in (1..=3).rev().take(compressed) {
            log.compress(number);
        }
        assert_eq!(log.last(0).0, "");
        assert_eq!(log.last(2).0, "4\n5\n", "{compressed}: the newest file is empty");
        log.write("6\n");
        for (lines, text) in
            [(1, "6\n"), (3, "4\n5\n6\n"), (4, "3\n4\n5\n6\n"), (5, "2\n3\n4\n5\n6\n")]
        {
            assert_eq!(log.last(lines), (text.to_owned(), false), "{compressed}, {lines} lines");
        }
        assert_eq!(log.last(99), ("1\n2\n3\n4\n5\n6\n".to_owned(), false), "{compressed}");
    }
}

#[test]
fn what_is_compressed_otherwise_ends_the_log_and_that_is_told() {
    let log = Log::new();
    log.write("b\nc\n");
    fs::write(log.path(".1.gz"), "no gzip").unwrap();
    assert_eq!(log.last(2), ("b\nc\n".to_owned(), false));
    assert_eq!(log.last(3), ("b\nc\n".to_owned(), true));
    assert_eq!(log.follow(&mut LogPlace::default()), ("b\nc\n".to_owned(), 1));
}

/// The last lines, when no more than `budget` bytes are looked through.
fn last_within(log: &Log, lines: u32, budget: u64) -> (String, bool) {
    let mut chain = Chain::of(log.path(""));
    let (start, skipped) = last::last_within(&mut chain, lines, budget).unwrap();
    let gathered = gather(&mut chain, start.unwrap(), None, 1 << 20).unwrap();
    (String::from_utf8(gathered.output).unwrap(), skipped || gathered.skipped)
}

#[test]
fn a_compressed_file_that_is_too_long_is_left_out_unread_and_that_is_told() {
    let log = Log::new();
    let old: Vec<String> = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let old = old.concat();
    log.write(&old);
    log.rotate();
    log.compress(1);
    log.write("b\nc\n");
    let all = old.len() as u64 + 4;
    assert_eq!(last_within(&log, 3, all), ("line 99999\nb\nc\n".to_owned(), false));
    let left_out = ("b\nc\n".to_owned(), true);
    assert_eq!(last_within(&log, 3, all - 5), left_out);
    assert_eq!(last_within(&log, 2, 4), ("b\nc\n".to_owned(), false), "it is not needed");

    // Its last bytes say how long it is. Of one that does not, only so much is unpacked: whoever
    // reads on meets what cannot be.
    let whole = fs::read(log.path(".1.gz")).unwrap();
    let mut packed = whole.clone();
    let end = packed.len() - 50;
    packed.truncate(end);
    packed.extend([0; 4]);
    fs::write(log.path(".1.gz"), &packed).unwrap();
    assert_eq!(last_within(&log, 3, 200_000), left_out);

    // Nothing is newer.
    fs::write(log.path(".1.gz"), whole).unwrap();
    fs::remove_file(log.path("")).unwrap();
    let (shown, skipped) = last_within(&log, 1, 200_000);
    assert!(shown.starts_with("line 0\n") && skipped);
}

#[test]
fn a_reader_follows_over_rotations() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    assert_eq!(log.follow(&mut place), nothing(""));
    log.write("b\n");
    assert_eq!(log.follow(&mut place), nothing("b\n"));
    log.write("c\n");
    log.rotate();
    assert_eq!(log.follow(&mut place), nothing("c\n"), "the new file is empty");
    log.rotate();
    log.write("d\n");
    log.rotate();
    assert_eq!(log.follow(&mut place), nothing("d\n"));
    log.write("e\n");
    assert_eq!(log.follow(&mut place), nothing("e\n"));
}

/// Every way to cut a log into files, compress them, and read it: each byte once.
#[test]
fn a_reader_that_is_behind_follows_over_compressed_files() {
    let line = |n: u32| format!("line {n} of the log\n");
    for seed in 0..200_u32 {
        let mut dice = seed.wrapping_mul(2_654_435_761);
        let mut roll = |sides: u32| {
            dice = dice.wrapping_mul(1_103_515_245).wrapping_add(12345);
            (dice >> 16) % sides
        };
        let log = Log::new();
        let (mut place, mut seen, mut written) =
            (LogPlace::default(), String::new(), String::new());
        let mut rotations = 0;
        for n in 0..40 {
            match roll(6) {
                0 if rotations < 8 && fs::metadata(log.path("")).is_ok_and(|m| m.len() > 0) => {
                    log.rotate();
                    rotations += 1;
                }
                1 => {
                    let number = 1 + roll(8);
                    if log.path(&format!(".{number}")).exists() {
                        log.compress(number);
                    }
                }
                2 => {
                    // These files are all of one moment: only what is before a place tells it.
                    let most = 25 + roll(60) as usize;
                    let part = log.part(&ask(LogFrom::Place(place)), most);
                    assert!(!part.skipped, "seed {seed}, step {n}");
                    place = part.next;
                    seen += std::str::from_utf8(&part.into_output()).unwrap();
                    if roll(2) == 0 {
                        log.forget();
                    }
                }
                _ => {
                    log.write(line(n));
                    written += &line(n);
                }
            }
        }
        let (rest, skips) = log.follow(&mut place);
        assert_eq!((seen + &rest, skips), (written, 0), "seed {seed}");
    }
}

#[test]
fn a_reader_that_was_left_behind_is_told() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    log.rotate();
    log.write("b\n");
    log.rotate();
    log.write("c\n");
    fs::remove_file(log.path(".2")).unwrap();
    log.forget();
    assert_eq!(log.follow(&mut place), ("b\nc\n".to_owned(), 1));
    assert_eq!(log.follow(&mut place), nothing(""));
}

#[test]
fn a_removed_file_is_read_to_its_end_by_whoever_reads_it() {
    let log = Log::new();
    log.write("a\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    log.write("b\n");
    // As where no rotated files are kept.
    fs::remove_file(log.path("")).unwrap();
    log.write("c\n");
    assert_eq!(log.follow(&mut place), nothing("b\nc\n"));
    // And one between the two is missed: its successor is younger than that.
    let mut place = log.ask(LogFrom::Last(0)).next;
    log.write("d\n");
    fs::remove_file(log.path("")).unwrap();
    dsbus_harness::wait_until("a later moment", dsbus_harness::DEADLINE, || {
        let _ = fs::remove_file(log.path(""));
        log.write("f\n");
        let age = marks::born(&fs::metadata(log.path("")).unwrap()) - place.born;
        if age > 1_000_000 { Ok(()) } else { Err(age) }
    });
    let part = log.ask(LogFrom::Place(place));
    assert_eq!((part.text.as_str(), part.skipped, part.more), ("d\n", false, true));
    place = part.next;
    assert_eq!(log.follow(&mut place), ("f\n".to_owned(), 1));
}

#[test]
fn a_file_that_is_missing_between_two_is_noticed_also_when_all_is_of_one_moment() {
    let log = Log::new();
    log.write("a\nb\n");
    log.rotate();
    log.write("c\n");
    log.rotate();
    log.write("d\n");
    // Two rotations behind, in the oldest file, which is removed now.
    let part = log.part(&ask(LogFrom::Place(LogPlace::default())), 2);
    let mut place = part.next;
    fs::remove_file(log.path(".2")).unwrap();
    let mut other = place;
    assert_eq!(log.follow(&mut other), nothing("b\nc\nd\n"));
    // And here so is the one after it.
    fs::remove_file(log.path(".1")).unwrap();
    let part = log.part(&ask(LogFrom::Place(place)), 100);
    assert_eq!((part.text.as_str(), part.skipped, part.more), ("b\n", false, true));
    place = part.next;
    assert_eq!(log.follow(&mut place), ("d\n".to_owned(), 1));
}

#[test]
fn another_file_under_the_same_inode_is_not_taken_for_the_old_one() {
    let log = Log::new();
    log.write("a\n");
    let place = log.ask(LogFrom::Last(0)).next;
    log.write("and more\n");
    let mut other = LogPlace { born: place.born - 1, ..place };
    assert_eq!(log.follow(&mut other), ("a\nand more\n".to_owned(), 1));
    // Emptied in place, and grown beyond where it was read.
    File::create(log.path("")).unwrap().write_all(b"x\ny\nz\n").unwrap();
    let mut same = place;
    assert_eq!(log.follow(&mut same), ("x\ny\nz\n".to_owned(), 1));
    assert_eq!(log.follow(&mut same), nothing(""));
    // Emptied, and nothing since: what comes is not missed, and nothing is repeated.
    log.write("w\n");
    log.rotate();
    log.write("v\n");
    let mut place = log.ask(LogFrom::Last(0)).next;
    File::create(log.path("")).unwrap();
    assert_eq!(log.follow(&mut place), (String::new(), 1));
    log.write("u\n");
    assert_eq!(log.follow(&mut place), nothing("u\n"));
}

#[test]
fn a_log_that_is_elsewhere_is_followed_with_its_rotated_files() {
    let log = Log::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("web.out");
    // What was logged here before belongs to an older declaration.
    fs::write(log.path(".1"), "old\n").unwrap();
    std::os::unix::fs::symlink(&target, log.path("")).unwrap();
    assert_eq!(log.last(9).0, "", "nothing was written yet");
    fs::write(&target, "b\n").unwrap();
    fs::write(elsewhere.path().join("web.out.1"), "a\n").unwrap();
    let mut place = log.ask(LogFrom::Last(0)).next;
    assert_eq!(log.last(9).0, "a\nb\n");
    fs::rename(&target, elsewhere.path().join("web.out.1")).unwrap();
    fs::write(&target, "c\n").unwrap();
    assert_eq!(log.follow(&mut place), nothing("c\n"));
}

#[test]
fn while_a_rotation_runs_no_file_is_overlooked() {
    let log = Log::new();
    for text in ["1\n", "2\n", "3\n"] {
        log.write(text);
        log.rotate();
    }
    log.write("4\n");
    let mut place = LogPlace::default();
    // The oldest was moved on already, and the next one was not.
    fs::rename(log.path(".3"), log.path(".4")).unwrap();
    assert_eq!(log.follow(&mut place), nothing("1\n2\n3\n4\n"));
    fs::rename(log.path(".2"), log.path(".3")).unwrap();
    fs::rename(log.path(".1"), log.path(".2")).unwrap();
    fs::rename(log.path(""), log.path(".1")).unwrap();
    assert_eq!(log.last(9).0, "1\n2\n3\n4\n");
    assert_eq!(log.follow(&mut place), nothing(""));
}
