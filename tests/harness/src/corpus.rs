//! The inputs that fuzzing has found, for tests.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Most bytes of a kept input: a longer one shows nothing that a shorter one does not.
const FILE_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of a target's inputs together: everybody who has the repository has them.
const BYTES_MAX: usize = 256 * 1024;

/// Runs a function on all of `fuzz/corpus/<target>/`.
///
/// # Panics
/// When the function does, after naming the input; and when there is no input, or one that is too long.
pub fn corpus(target: &str, run: impl Fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a root");
    let folder = root.join("fuzz/corpus").join(target);
    let (mut count, mut bytes) = (0, 0);
    for file in fs::read_dir(&folder).expect("the corpus") {
        let path = file.expect("an input").path();
        let data = fs::read(&path).expect("an input");
        let (length, name) = (data.len(), path.display());
        assert!(length <= FILE_BYTES_MAX, "{name}: {length} bytes, more than {FILE_BYTES_MAX}");
        // The panic's own message stands above.
        assert!(
            catch_unwind(AssertUnwindSafe(|| run(&data))).is_ok(),
            "{name} is not as it should be"
        );
        count += 1;
        bytes += length;
    }
    assert!(count > 0, "{}: no input", folder.display());
    assert!(bytes <= BYTES_MAX, "{}: {bytes} bytes, more than {BYTES_MAX}", folder.display());
}
