//! Standard error as a worker writes to it: it never waits for a reader, and never fails. Mostly
//! the supervisor reads it, and the agent must kill children while that is frozen, or gone.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that are written at once: `PIPE_BUF` of Linux. A pipe that has room takes so many whole.
const PIECE_BYTES_MAX: usize = 4096;

/// Writes whole lines, or loses and counts them.
#[derive(Debug, Clone)]
pub(super) struct Lossy(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    out: Out,
    lost: u64,
    /// The last line was written in part.
    torn: bool,
}

#[derive(Debug)]
enum Out {
    /// A pipe or terminal, opened anew: whether it blocks is our business alone.
    Own(File),
    /// A socket, as systemd gives it.
    Socket(i32),
    /// Shared with whoever started this process, who may want it to block. A regular file is one:
    /// it always takes what it is given.
    Shared(File),
}

impl Lossy {
    /// Takes standard error over.
    pub(super) fn stderr() -> io::Result<Lossy> {
        // A terminal may be set to stop a process in the background that writes to it; one that
        // blocks the signal just writes.
        let mut stopped = SigSet::empty();
        stopped.add(Signal::SIGTTOU);
        stopped.thread_block()?;
        Lossy::open(&io::stderr())
    }

    fn open(stderr: &impl AsFd) -> io::Result<Lossy> {
        let stderr = stderr.as_fd().try_clone_to_owned()?;
        let kind = SFlag::from_bits_truncate(fstat(&stderr)?.st_mode & SFlag::S_IFMT.bits());
        let out = if kind == SFlag::S_IFSOCK {
            Out::Socket(std::os::fd::IntoRawFd::into_raw_fd(stderr))
        } else if kind == SFlag::S_IFREG {
            Out::Shared(File::from(stderr))
        } else {
            anew(&stderr).map_or_else(|_| Out::Shared(File::from(stderr)), Out::Own)
        };
        Ok(Lossy(Arc::new(Mutex::new(Lines { out, lost: 0, torn: false }))))
    }
}

fn anew(stderr: &std::os::fd::OwnedFd) -> io::Result<File> {
    let number = std::os::fd::AsRawFd::as_raw_fd(stderr);
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let path = format!("/proc/self/fd/{number}");
    File::options().write(true).custom_flags(flags.bits()).open(path)
}

impl Out {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Out::Own(file) => file.write(piece),
            Out::Socket(number) => {
                Ok(send(*number, piece, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            }
            Out::Shared(file) => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                poll(&mut fds, PollTimeout::ZERO)?;
                let ready = fds[0].revents().unwrap_or(PollFlags::empty());
                if ready.contains(PollFlags::POLLOUT) { file.write(piece) } else { Ok(0) }
            }
        }
    }
}

impl Lines {
    fn line(&mut self, line: &[u8]) {
        if self.lost > 0 {
            let begin = if self.torn { "\n" } else { "" };
            let lost = self.lost;
            let note = format!("{begin}{lost} lines of the log were lost: nobody read them\n");
            if self.whole(note.as_bytes()) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.whole(line) {
            self.lost += 1;
        }
    }

    /// Writes all of it, as far as there is room; says whether there was.
    fn whole(&mut self, bytes: &[u8]) -> bool {
        let mut written = 0;
        while written < bytes.len() {
            let end = bytes.len().min(written + PIECE_BYTES_MAX);
            match self.out.write(&bytes[written..end]) {
                Ok(count @ 1..) => written += count,
                Ok(0) | Err(_) => {
                    self.torn |= written > 0;
                    return false;
                }
            }
        }
        self.torn = false;
        true
    }
}

impl Write for Lossy {
    /// One whole line at a time, as the subscriber gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lossy {
    type Writer = Lossy;
    fn make_writer(&'a self) -> Lossy {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Writes until something is lost, reads all, and writes again; gives what was read then.
    fn full_and_read(mut lossy: Lossy, mut reader: impl Read) -> String {
        let mut told = 0;
        while lossy.0.lock().unwrap().lost < 3 {
            lossy.write_all(format!("{}\n", "x".repeat(99)).as_bytes()).unwrap();
            told += 1;
        }
        assert!(told > 3, "some were written");
        let mut chunk = vec![0; 1 << 20];
        while reader.read(&mut chunk).is_ok_and(|count| count > 0) {}
        lossy.write_all(b"again\n").unwrap();
        let count = reader.read(&mut chunk).unwrap();
        String::from_utf8(chunk[..count].to_vec()).unwrap()
    }

    const LOST: &str = "3 lines of the log were lost: nobody read them\nagain\n";

    #[test]
    fn a_full_pipe_loses_lines_and_says_so_later() {
        let (reader, writer) = io::pipe().unwrap();
        let lossy = Lossy::open(&writer).unwrap();
        assert!(matches!(lossy.0.lock().unwrap().out, Out::Own(_)));
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & OFlag::O_NONBLOCK.bits(), 0, "it is shared with others");
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        assert!(full_and_read(lossy, reader).ends_with(LOST));
        let (reader, writer) = io::pipe().unwrap();
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let out = Out::Shared(File::from(std::os::fd::OwnedFd::from(writer)));
        let lossy = Lossy(Arc::new(Mutex::new(Lines { out, lost: 0, torn: false })));
        assert!(full_and_read(lossy, reader).ends_with(LOST));
    }

    #[test]
    fn a_full_socket_loses_lines_too() {
        let (reader, writer) = UnixStream::pair().unwrap();
        reader.set_nonblocking(true).unwrap();
        assert!(full_and_read(Lossy::open(&writer).unwrap(), reader).ends_with(LOST));
    }

    #[test]
    fn a_reader_that_is_gone_is_no_trouble_and_a_file_is_appended_to() {
        let (reader, writer) = io::pipe().unwrap();
        let mut lossy = Lossy::open(&writer).unwrap();
        drop(reader);
        lossy.write_all(b"one\n").unwrap();
        assert_eq!(lossy.0.lock().unwrap().lost, 1);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        Lossy::open(&file).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
