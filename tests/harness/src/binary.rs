//! Finding nats-server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The oldest version that dsbus works with.
const OLDEST: (u32, u32) = (2, 12);

/// The nats-server to test with: `DSBUS_NATS_SERVER`, else one on the PATH that is new enough,
/// else the one that `./run setup` puts into `.tools`.
///
/// # Panics
/// When there is none.
pub fn nats_server() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(given) = std::env::var_os("DSBUS_NATS_SERVER") {
            let given = PathBuf::from(given);
            assert!(
                new_enough(&given),
                "DSBUS_NATS_SERVER={} is no 2.12 or newer",
                given.display()
            );
            return given;
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let candidates = [PathBuf::from("nats-server"), workspace.join(".tools/nats-server")];
        match candidates.into_iter().find(|candidate| new_enough(candidate)) {
            Some(found) => found,
            None => panic!("no nats-server 2.12 or newer on the PATH or in .tools: ./run setup"),
        }
    })
}

fn new_enough(binary: &Path) -> bool {
    let Ok(output) = Command::new(binary).arg("--version").output() else { return false };
    version(&String::from_utf8_lossy(&output.stdout)).is_some_and(|found| found >= OLDEST)
}

/// Reads "nats-server: v2.15.1".
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().rsplit_once('v')?.1.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(version("something else"), None);
    }
}
