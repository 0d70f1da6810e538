#![expect(clippy::float_cmp, reason = "tenths of small numbers come out as they are written")]

use super::*;

const GIB: u64 = 1 << 30;

fn at(seconds: u64) -> BootTime {
    BootTime(seconds * 1_000_000_000)
}

fn wall() -> Timestamp {
    Timestamp::from_unix_nanos(0)
}

/// A machine of four processors that were busy for so many of so many ticks.
fn busy(worked: u64, all: u64) -> Busy {
    Busy {
        ticks: Ticks { idle: all - worked, all },
        cores: 4,
        load: [0.5, 0.4, 0.3],
        memory_total: 16 * GIB,
        memory_available: 8 * GIB,
        swap_total: 4 * GIB,
        swap_free: 4 * GIB,
    }
}

/// One whose facts were told at second 100.
fn told() -> (Watched, Facts) {
    let mut watched = Watched::new(Fixed::default());
    watched.seen(busy(0, 0), at(100));
    let disk = Disk { path: "/".to_owned(), total: 1000, available: 500 };
    watched.seen_slowly(Slow { disks: vec![disk], addresses: Vec::new() }, at(100));
    let facts = watched.facts(at(100), wall());
    watched.told(facts.clone(), at(100));
    (watched, facts)
}

#[test]
fn how_busy_it_is_counts_over_the_last_ten_seconds() {
    let mut watched = Watched::new(Fixed::default());
    let percent = |watched: &Watched| watched.facts(at(1), wall()).cpu_percent;
    assert_eq!(percent(&watched), 0.0);
    watched.seen(busy(0, 0), at(0));
    assert_eq!(percent(&watched), 0.0, "nothing to compare with");
    watched.seen(busy(100, 800), at(2));
    assert_eq!(percent(&watched), 12.5);
    for n in 2..=5 {
        watched.seen(busy(100, 800 * n), at(2 * n));
    }
    assert_eq!(percent(&watched), 2.5);
    watched.seen(busy(100, 800 * 6), at(12));
    assert_eq!(percent(&watched), 0.0, "what is older does not count any more");
    watched.seen(busy(900, 800 * 7), at(14));
    assert_eq!(percent(&watched), 20.0);
}

#[test]
fn one_looks_again_after_two_seconds() {
    let mut watched = Watched::new(Fixed::default());
    assert!(watched.due(at(0)));
    watched.seen(busy(0, 0), at(100));
    assert!(!watched.due(at(101)) && watched.due(at(102)));
}

#[test]
fn one_does_not_ask_again_before_a_slow_answer() {
    let mut watched = Watched::new(Fixed::default());
    assert!(watched.due_slowly(at(100)));
    assert!(!watched.due_slowly(at(100)) && !watched.due_slowly(at(200)));
    watched.seen_slowly(Slow::default(), at(300));
    assert!(!watched.due_slowly(at(309)) && watched.due_slowly(at(310)));
}

#[test]
fn a_change_is_told_by_how_great_it_is() {
    let (watched, old) = told();
    let change = |change: fn(&mut Facts)| {
        let mut new = old.clone();
        change(&mut new);
        let worth = |second| watched.worth_telling(&new, at(second));
        [101, 102, 109, 110, 159, 160].map(worth)
    };
    let (much, noticed, little) = (
        [false, true, true, true, true, true],
        [false, false, false, true, true, true],
        [false, false, false, false, false, true],
    );
    let rows: [(fn(&mut Facts), _); 14] = [
        (|_| {}, little),
        (|new| new.cpu_percent += 4.9, little),
        (|new| new.cpu_percent += 5.0, noticed),
        (|new| new.cpu_percent += 25.0, much),
        (|new| new.load[0] += 0.9, little),
        (|new| new.load[0] += 1.0, noticed),
        (|new| new.load[0] += 4.0, much),
        (|new| new.load[1] += 4.0, little),
        (|new| new.memory_available -= GIB / 4, little),
        (|new| new.memory_available -= GIB / 2, noticed),
        (|new| new.memory_available -= 2 * GIB, much),
        (|new| new.swap_free -= GIB, much),
        (|new| new.disks[0].available -= 10, noticed),
        (|new| new.addresses.push(std::net::Ipv4Addr::new(192, 0, 2, 1).into()), much),
    ];
    for (number, (row, expected)) in rows.into_iter().enumerate() {
        assert_eq!(change(row), expected, "row {number}");
    }
}

#[test]
fn nothing_is_told_before_the_record_was_written() {
    let mut watched = Watched::new(Fixed::default());
    watched.seen(busy(0, 0), at(100));
    let facts = watched.facts(at(200), wall());
    assert!(!watched.worth_telling(&facts, at(200)));
}

#[test]
fn uptime_and_the_time_of_day_alone_are_no_news() {
    let (watched, old) = told();
    let new = watched.facts(at(150), Timestamp::from_unix_nanos(1 << 60));
    assert_ne!(old.uptime_seconds, new.uptime_seconds);
    assert!(!watched.worth_telling(&new, at(150)));
}
