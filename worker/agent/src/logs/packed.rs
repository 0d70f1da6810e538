//! A compressed file, read as if it were not. It is unpacked from its begin on; to go on where the
//! last reading stopped costs nothing.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use dsbus_supervisor::marks::CHECKED_BYTES;
use flate2::bufread::MultiGzDecoder;

/// Read from the file, and unpacked, at once.
const CHUNK: usize = 64 * 1024;

/// A file that is being unpacked.
pub(super) struct Unpacker {
    file: Arc<File>,
    decoder: MultiGzDecoder<BufReader<At>>,
    /// How much came out of it.
    position: u64,
    /// The last bytes of that.
    tail: Vec<u8>,
}

/// A place in a file that nobody else moves.
struct At {
    file: Arc<File>,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(room, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Unpacker {
    pub(super) fn new(file: File) -> Unpacker {
        let file = Arc::new(file);
        Unpacker { decoder: decoder(&file), file, position: 0, tail: Vec::new() }
    }

    /// Reads from an offset of what is packed; 0 bytes at its end.
    pub(super) fn read_at(&mut self, room: &mut [u8], offset: u64) -> io::Result<usize> {
        if !self.go_to(offset)? {
            return Ok(0);
        }
        let read = self.decoder.read(room)?;
        self.passed(&room[..read]);
        Ok(read)
    }

    /// Reads what is right before an offset, less if what is packed is not as long as that.
    pub(super) fn before(&mut self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        if !self.go_to(offset)? || self.tail.len() < room.len() {
            return Ok(0);
        }
        room.copy_from_slice(&self.tail[self.tail.len() - room.len()..]);
        Ok(room.len())
    }

    /// Whether the file says of itself that so much is packed in it.
    pub(super) fn says_len(&self, len: u64) -> bool {
        self.said_len().is_some_and(|said| said == len & u64::from(u32::MAX))
    }

    /// Whether the file says of itself that more than this is packed in it. It may be so although it
    /// does not say it.
    pub(super) fn says_more_than(&self, len: u64) -> bool {
        self.said_len().is_some_and(|said| said > len)
    }

    /// The last 32 bits of how much the file says is packed in it, or in the last of several parts.
    fn said_len(&self) -> Option<u64> {
        let end = self.file.metadata().ok()?.len();
        let mut said = [0; 4];
        self.file.read_exact_at(&mut said, end.checked_sub(4)?).ok()?;
        Some(u64::from(u32::from_le_bytes(said)))
    }

    /// Unpacks up to an offset; false when there is not so much.
    fn go_to(&mut self, offset: u64) -> io::Result<bool> {
        if self.position > offset {
            (self.decoder, self.position) = (decoder(&self.file), 0);
            self.tail.clear();
        }
        let mut chunk = vec![0; if self.position < offset { CHUNK } else { 0 }];
        while self.position < offset {
            let left = usize::try_from(offset - self.position).unwrap_or(usize::MAX);
            let most = left.min(CHUNK);
            let read = self.decoder.read(&mut chunk[..most])?;
            if read == 0 {
                return Ok(false);
            }
            self.passed(&chunk[..read]);
        }
        Ok(true)
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(CHECKED_BYTES)..]);
        let surplus = self.tail.len().saturating_sub(CHECKED_BYTES);
        self.tail.drain(..surplus);
    }
}

fn decoder(file: &Arc<File>) -> MultiGzDecoder<BufReader<At>> {
    let at = At { file: Arc::clone(file), offset: 0 };
    MultiGzDecoder::new(BufReader::with_capacity(CHUNK, at))
}
