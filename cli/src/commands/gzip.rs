//! `dsbus gzip`: compresses standard input to standard output. Workers run it for logs that were
//! rotated, as a child, so that compressing never delays the supervisor, and no machine needs a
//! `gzip` of its own.

use std::io::{self, BufRead, Read, Write};

use flate2::Compression;
use flate2::bufread::GzEncoder;

use crate::exit_code::Code;
use crate::failure::Failure;

/// Compresses until the input ends.
///
/// # Errors
/// When it cannot be read or written. A reader that went away has what it wanted.
pub(crate) fn run() -> Result<Code, Failure> {
    compress(io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(Code::Done)
}

fn compress(from: impl BufRead, to: &mut impl Write) -> io::Result<()> {
    // Standard output is line buffered, which compressed bytes have no use for: large writes pass.
    let mut encoder = GzEncoder::new(from, Compression::default());
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match encoder.read(&mut chunk)? {
            0 => return to.flush(),
            n => to.write_all(&chunk[..n])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_read_back() {
        for text in [vec![], b"one line\n".repeat(50_000)] {
            let mut compressed = Vec::new();
            compress(&text[..], &mut compressed).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
            assert_eq!(back, text);
            assert!(compressed.len() < 1000);
        }
    }
}
