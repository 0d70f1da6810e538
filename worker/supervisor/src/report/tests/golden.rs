//! What a past version left on disk is read still. The files are those of a worker that was killed;
//! they are never edited.

use super::*;

const LEFT: [&str; 3] = ["state.00000000000000000001", "output.00000000000000000001", "marks"];
/// So many records are in them.
const RECORDS: usize = 16;

fn left(names: &[&str]) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/state-1");
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(golden.join(name), directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn reports_of_a_past_version_are_handed_on() {
    // The bus has them all, and the next number follows.
    let directory = left(&LEFT);
    let mut reports = Reports::open(directory.path());
    let next = reports.push(worker(1));
    assert!(next > RECORDS as u64, "{next}");
    // Without the marks it is not known what the bus has: all wait.
    let directory = left(&LEFT[..2]);
    let mut reports = Reports::open(directory.path());
    assert_eq!(reports.waiting(), RECORDS);
    let given = turn(&mut reports);
    assert_eq!(given.len(), RECORDS);
    assert!(given.is_sorted());
    assert!(!reports.ledger().of_next_run().eq(&Ledger::default()), "it knows the last events");
    let marks = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/state-1");
    assert_eq!(crate::marks::read(&marks).len(), 1);
}
