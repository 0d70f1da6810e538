//! The worker's own standard output and error as a place for output of children. Whatever is at
//! the other end never makes this process wait: what it does not take is lost.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use super::file::write_all;
use super::loss::Dropped;

/// A pipe that has room at all has room for so many bytes (`pipe(7)`).
const CAREFUL_BYTES: usize = libc::PIPE_BUF;
/// What the reader of our own pipe may be behind by, if the kernel lets us say so.
const PIPE_BYTES: libc::c_int = 1 << 20;

/// A descriptor of the worker.
#[derive(Debug)]
pub(super) struct Standard {
    name: &'static str,
    how: How,
}

#[derive(Debug)]
enum How {
    /// A regular file never makes anybody wait, and must be written at the place that it shares
    /// with others.
    File(File),
    /// A description of our own, since non-blocking would else be non-blocking for the shell, too.
    Own(File),
    Socket(OwnedFd),
    /// What cannot be opened again is written only when it has room.
    Careful(File),
    Closed,
}

impl Standard {
    pub(super) fn output() -> Standard {
        Standard::of("standard output", io::stdout().as_fd().try_clone_to_owned().ok())
    }

    pub(super) fn error() -> Standard {
        Standard::of("standard error", io::stderr().as_fd().try_clone_to_owned().ok())
    }

    pub(super) fn of(name: &'static str, descriptor: Option<OwnedFd>) -> Standard {
        let Some(file) = descriptor.map(File::from) else {
            return Standard { name, how: How::Closed };
        };
        let how = match file.metadata().map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_socket() => How::Socket(file.into()),
            Ok(kind) if kind.is_file() => How::File(file),
            Ok(kind) => {
                if kind.is_fifo() {
                    // Refused to those that have too many; it is a pipe as before then.
                    let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
                }
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
                match File::options().append(true).custom_flags(flags).open(path) {
                    Ok(own) => How::Own(own),
                    Err(_) => How::Careful(file),
                }
            }
            Err(_) => How::Closed,
        };
        Standard { name, how }
    }

    /// Writes what there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Dropped> {
        let mut left = bytes;
        let done = match &self.how {
            How::File(file) | How::Own(file) => write_all(file, &mut left),
            How::Socket(socket) => send_all(socket, &mut left),
            How::Careful(file) => write_carefully(file, &mut left),
            How::Closed => Err(ErrorKind::NotConnected.into()),
        };
        let name = self.name;
        done.map_err(|e| Dropped {
            bytes: left.len() as u64,
            why: if e.kind() == ErrorKind::WouldBlock {
                format!("whoever reads the worker's {name} is too slow")
            } else {
                format!("the worker's {name} cannot be written: {e}")
            },
        })
    }
}

fn send_all(socket: &OwnedFd, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        *left = &left[send(socket.as_raw_fd(), left, flags)?..];
    }
    Ok(())
}

fn write_carefully(file: &File, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        let mut ready = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO)? == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut piece = &left[..left.len().min(CAREFUL_BYTES)];
        let most = piece.len();
        let done = write_all(file, &mut piece);
        *left = &left[most - piece.len()..];
        done?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_loses_output_and_blocks_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let careful = How::Careful(File::from(OwnedFd::from(writer.try_clone().unwrap())));
        let own = Standard::of("x", Some(writer.into()));
        assert!(matches!(own.how, How::Own(_)), "{own:?}");
        own.write(b"abc").unwrap();
        let mut heard = [0; 3];
        reader.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"abc");
        let careful = Standard { name: "x", how: careful };
        careful.write(&[b'y'; 10_000]).unwrap();
        let lost = own.write(&vec![b'z'; 4 << 20]).unwrap_err();
        assert!(lost.bytes > 1 << 20 && lost.why.contains("too slow"), "{lost:?}");
        assert_eq!(careful.write(&[b'y'; 10_000]).unwrap_err().bytes, 10_000);
        drop(reader);
        let lost = own.write(b"abc").unwrap_err();
        assert!(lost.bytes == 3 && lost.why.contains("Broken pipe"), "{lost:?}");
    }

    #[test]
    fn a_file_and_a_socket_are_written_where_others_write_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let mut file = File::options().create_new(true).write(true).open(&path).unwrap();
        let standard = Standard::of("x", Some(file.try_clone().unwrap().into()));
        file.write_all(b"one ").unwrap();
        standard.write(b"two ").unwrap();
        file.write_all(b"three").unwrap();
        assert_eq!(file.stream_position().unwrap(), 13);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two three");
        let (mut here, there) = UnixStream::pair().unwrap();
        let standard = Standard::of("x", Some(there.into()));
        standard.write(b"abc").unwrap();
        let mut heard = [0; 3];
        here.read_exact(&mut heard).unwrap();
        assert!(standard.write(&vec![0; 4 << 20]).is_err());
        drop(here);
        assert!(standard.write(b"abc").is_err());
        assert!(Standard::of("x", None).write(b"abc").is_err());
    }
}
