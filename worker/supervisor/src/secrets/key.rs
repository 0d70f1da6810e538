//! The key that secrets for this worker are sealed to: made once, and kept in the state directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use dsbus_schema::secret::SealKeys;
use zeroize::Zeroizing;

use crate::files::regular;
use crate::{Fatal, fatal};

/// Its file in the state directory.
const FILE: &str = "seal.key";
/// What is written before it has that name: a worker that dies meanwhile leaves no half of a key.
const DRAFT: &str = "seal.key.new";
/// Longest file; a seed has 58 characters.
const BYTES_MAX: u64 = 1024;
/// Permission bits of others than its owner.
const OTHERS: u32 = 0o077;

/// Reads the key of a state directory that is locked; makes one where there is none.
///
/// # Errors
/// When it cannot be read or made, or others can read it.
pub(crate) fn keys(directory: &Path) -> Result<SealKeys, Fatal> {
    let path = directory.join(FILE);
    let failed = |why: String| fatal(format!("the key for secrets {}: {why}", path.display()));
    match read(&path) {
        Ok(found) => found.map_err(failed),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            make(directory).map_err(|e| failed(format!("cannot be made: {e}")))
        }
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            Err(failed("is a link, which is not followed; put the file itself there".to_owned()))
        }
        Err(e) => Err(failed(e.to_string())),
    }
}

fn read(path: &Path) -> io::Result<Result<SealKeys, String>> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = regular(options.open(path)?)?;
    let mode = file.metadata()?.mode();
    if mode & OTHERS != 0 {
        return Ok(Err(format!(
            "others can read it (mode {:o}); if nobody did, chmod 600 it, else remove it, and give \
             this worker its secrets again",
            mode & 0o777
        )));
    }
    let mut seed = Zeroizing::new(String::new());
    file.take(BYTES_MAX).read_to_string(&mut seed)?;
    Ok(SealKeys::from_seed(seed.trim())
        .map_err(|why| format!("{why}; remove it, and give this worker its secrets again")))
}

fn make(directory: &Path) -> io::Result<SealKeys> {
    let (draft, path) = (directory.join(DRAFT), directory.join(FILE));
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let keys = SealKeys::random();
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&draft)?;
    file.write_all(keys.seed().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(DRAFT), "half").unwrap();
        let first = keys(home.path()).unwrap();
        assert_eq!(keys(home.path()).unwrap().public(), first.public());
        let path = home.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!home.path().join(DRAFT).exists());
    }

    #[test]
    fn a_key_that_is_not_safe_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        let why = || keys(home.path()).unwrap_err().to_string();
        keys(home.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(why().contains("others can read it (mode 640)"), "{}", why());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&path, home.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(why().contains("is a link"), "{}", why());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "SU").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(why().contains("no seed"), "{}", why());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why().contains("no regular file"), "{}", why());
    }
}
