//! Files that hold the value of one variable, as container engines and systemd give secrets.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use dsbus_schema::secret::{SECRET_BYTES_MAX, SecretValue};

use crate::files::{open_no_link, regular};

/// Reads a file. It is opened by the worker, with its rights: a link in its place, which the user
/// of a child may have made, would give that child any file of the machine.
///
/// # Errors
/// A sentence that names the file, and nothing of what is in it.
pub(super) fn read(path: &Path) -> Result<SecretValue, String> {
    let failed = |why: &str| format!("{}: {why}", path.display());
    let opened = open_no_link(path, File::options().read(true)).and_then(regular);
    let file = opened.map_err(|e| match (e.raw_os_error(), e.kind()) {
        (Some(libc::ELOOP), _) => failed("is a link, which is not followed"),
        (Some(libc::ENXIO), _) => failed("is no regular file"),
        (_, ErrorKind::NotFound) => failed("does not exist"),
        _ => failed(&e.to_string()),
    })?;
    // Never grown: a buffer that moves leaves what was in it behind.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 2);
    file.take(SECRET_BYTES_MAX as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(&e.to_string()))?;
    SecretValue::new(bytes).map_err(|why| failed(&why))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_new_line_is_dropped_and_what_is_no_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for (text, value) in [("a\n", "a"), ("a\n\n", "a\n"), ("", ""), (" a ", " a ")] {
            fs::write(path("file"), text).unwrap();
            assert_eq!(read(&path("file")).unwrap().expose(), value.as_bytes());
        }
        fs::write(path("full"), vec![b'x'; SECRET_BYTES_MAX]).unwrap();
        fs::write(path("ends"), [vec![b'x'; SECRET_BYTES_MAX], b"\n".to_vec()].concat()).unwrap();
        for name in ["full", "ends"] {
            assert_eq!(read(&path(name)).unwrap().expose().len(), SECRET_BYTES_MAX, "{name}");
        }
        fs::write(path("long"), vec![b'x'; SECRET_BYTES_MAX + 1]).unwrap();
        fs::write(path("nul"), "hunter\0two").unwrap();
        symlink("file", path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, told) in [
            ("long", "is longer than 65536 bytes"),
            ("nul", "holds a NUL byte, which no environment can"),
            ("link", "is a link, which is not followed"),
            ("fifo", "is no regular file"),
            ("none", "does not exist"),
            (".", "is no regular file"),
        ] {
            let why = read(&path(name)).unwrap_err();
            assert!(why.ends_with(told) && !why.contains("hunter"), "{name}: {why}");
        }
    }
}
