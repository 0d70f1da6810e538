//! Files that a person names. A size that the file system tells says nothing: `/dev/zero` and pipes
//! have none, and no end.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Reads a file of text of at most so many bytes.
///
/// # Errors
/// When it cannot be read, goes on, or is no UTF-8.
pub fn read_limited_text(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("is longer than {most} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    let no_text = |_| io::Error::new(ErrorKind::InvalidData, "is no UTF-8 text");
    String::from_utf8(bytes).map_err(no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        let why = read_limited_text(Path::new("/dev/zero"), 100).unwrap_err();
        assert_eq!(why.to_string(), "is longer than 100 bytes");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(read_limited_text(file.path(), 3).unwrap(), "abc");
        assert!(read_limited_text(file.path(), 2).is_err());
        std::fs::write(file.path(), b"\xff").unwrap();
        assert_eq!(read_limited_text(file.path(), 9).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
