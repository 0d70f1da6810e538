//! How long a start takes; numbers, and no test. To be run alone, in release:
//! `cargo test --release -p dsbus-supervisor --lib spawn::tests::speed -- --ignored --nocapture`.

use super::*;
use crate::clock;

/// Starts that are measured in one go.
const STARTS: u32 = 1000;

#[test]
#[ignore = "measures, and asserts nothing"]
fn births_beside_many_descriptors() {
    let place = Place::new();
    let mut spec = ProgramSpec {
        command: Command::Words(vec!["/bin/true".to_owned()]),
        ..ProgramSpec::default()
    };
    spec.redirect_stderr = true;
    let mut held = Vec::new();
    for descriptors in [0, 1000, 4000, 16_000] {
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
                waitpid(Pid::from_raw(spawned.pid), None).unwrap();
            }
            let (all, start) = (clock::now().boot.since(begin) / STARTS, in_start / STARTS);
            println!(
                "{descriptors} descriptors: start and wait {all:?}, the start alone {start:?}"
            );
        }
    }
}
