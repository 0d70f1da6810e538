//! How long a start takes. A machine that is busy may be slow, so nothing is asserted but the ends;
//! run it by hand, with greater numbers, `--release` and `--nocapture`, to see how long.

use super::*;
use crate::clock;

/// Starts in one go; 1000 to measure.
const STARTS: u32 = 5;
/// What else is open; 0, 1000, 4000 and 16,000 to measure, where the limit of open files is greater.
const DESCRIPTORS: [usize; 2] = [0, 100];

#[test]
fn births_beside_many_descriptors() {
    let place = Place::new();
    let mut spec = ProgramSpec {
        command: Command::Words(vec!["/bin/true".to_owned()]),
        ..ProgramSpec::default()
    };
    spec.redirect_stderr = true;
    let mut held = Vec::new();
    for descriptors in DESCRIPTORS {
        while held.len() < descriptors {
            held.push(File::open("/dev/null").unwrap());
        }
        for _ in 0..2 {
            let begin = clock::now().boot;
            let mut in_start = std::time::Duration::ZERO;
            for _ in 0..STARTS {
                let called = clock::now().boot;
                let spawned = place.start(&spec).unwrap();
                in_start += clock::now().boot.since(called);
                assert_eq!(end_of(spawned.pid), Exit::code(0));
            }
            let (all, start) = (clock::now().boot.since(begin) / STARTS, in_start / STARTS);
            println!(
                "{descriptors} descriptors: start and wait {all:?}, the start alone {start:?}"
            );
        }
    }
}
