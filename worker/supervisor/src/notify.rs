//! What a child says of itself by `sd_notify(3)`: a datagram socket for each child that is asked
//! to. What comes from others than the child's user is not heard, and nothing is waited for.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod receive;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt,
};

/// Longest datagram that is read; a longer one is cut. systemd reads 4 KiB, too.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Most datagrams that are read in one go, so that a child that never stops talking does not keep
/// the worker from its other children; the rest is read at the next wake-up.
const DATAGRAMS_MAX: usize = 32;
/// Longest status text that is kept, in bytes; it is shown to people, and published.
const STATUS_BYTES_MAX: usize = 512;

/// Something that a child said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// `READY=1`
    Ready,
    /// `STOPPING=1`
    Stopping,
    /// `RELOADING=1`
    Reloading,
    /// `WATCHDOG=1`: it lives.
    Watchdog,
    /// `WATCHDOG=trigger`: it is unwell, and says so itself.
    WatchdogTrigger,
    /// `STATUS=...`, in one line.
    Status(String),
    /// `MAINPID=...`
    MainPid(i32),
}

/// The socket of one child.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: OwnedFd,
    name: String,
    uid: u32,
}

impl NotifySocket {
    /// Listens under a name of the abstract name space: `unique` among all on this machine. What
    /// `uid`, the child's user, says is heard, and what root and the worker's own user say.
    ///
    /// # Errors
    /// When the kernel refuses the socket, or the name is taken.
    pub(crate) fn open(unique: &str, uid: u32) -> io::Result<NotifySocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        let name = format!("dsbus/{unique}");
        bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        Ok(NotifySocket { socket, name: format!("@{name}"), uid })
    }

    /// One that was opened before, under this name.
    pub(crate) fn of(socket: OwnedFd, name: String, uid: u32) -> NotifySocket {
        NotifySocket { socket, name, uid }
    }

    /// Whose words are heard.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What arrived since the last time, or a part of it.
    pub(crate) fn recv(&self) -> Vec<Message> {
        let mut said = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            match self.datagram() {
                Ok(Some(text)) => said.extend(parse(&text)),
                Ok(None) => {}
                // Empty, or not to be read at all; either way there is nothing more.
                Err(_) => break,
            }
        }
        said
    }

    /// One datagram; `None` when it came from somebody who is not heard.
    fn datagram(&self) -> io::Result<Option<String>> {
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        let (count, by) = receive::receive(&self.socket, &mut bytes)?;
        let heard = by.is_some_and(|uid| self.hears(uid));
        Ok(heard.then(|| String::from_utf8_lossy(&bytes[..count]).into_owned()))
    }

    fn hears(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid || uid == nix::unistd::geteuid().as_raw()
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn parse(text: &str) -> Vec<Message> {
    text.lines().filter_map(|line| line.split_once('=')).filter_map(message).collect()
}

fn message((name, value): (&str, &str)) -> Option<Message> {
    match (name, value) {
        ("READY", "1") => Some(Message::Ready),
        ("STOPPING", "1") => Some(Message::Stopping),
        ("RELOADING", "1") => Some(Message::Reloading),
        ("WATCHDOG", "1") => Some(Message::Watchdog),
        ("WATCHDOG", "trigger") => Some(Message::WatchdogTrigger),
        ("STATUS", text) => {
            let end = text.floor_char_boundary(STATUS_BYTES_MAX);
            Some(Message::Status(text[..end].to_owned()))
        }
        ("MAINPID", pid) => pid.parse().ok().filter(|pid| *pid > 1).map(Message::MainPid),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::RawFd;

    fn send(to: &NotifySocket, text: &str, descriptors: &[RawFd]) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).unwrap();
        let to = UnixAddr::new_abstract(&to.name.as_bytes()[1..]).unwrap();
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg(socket.as_raw_fd(), &text, control, MsgFlags::empty(), Some(&to)).unwrap();
    }

    fn open(name: &str) -> NotifySocket {
        NotifySocket::open(&format!("{name}-{}", std::process::id()), 65534).unwrap()
    }

    #[test]
    fn everything_that_is_known_is_heard_and_nothing_else() {
        let socket = open("known");
        assert_eq!(socket.recv(), []);
        send(&socket, "READY=1\nSTATUS=all is well\nMAINPID=77\nERRNO=5\nX=1\nREADY=0", &[]);
        send(&socket, "WATCHDOG=1\nWATCHDOG=trigger\nSTOPPING=1\nRELOADING=1\nMAINPID=x\n", &[]);
        assert_eq!(
            socket.recv(),
            [
                Message::Ready,
                Message::Status("all is well".to_owned()),
                Message::MainPid(77),
                Message::Watchdog,
                Message::WatchdogTrigger,
                Message::Stopping,
                Message::Reloading,
            ]
        );
    }

    #[test]
    fn descriptors_are_closed_at_once() {
        let (reader, writer) = io::pipe().unwrap();
        let socket = open("barrier");
        send(&socket, "BARRIER=1", &[writer.as_raw_fd(); 3]);
        drop(writer);
        assert_eq!(socket.recv(), []);
        // A pipe whose writers are all closed ends; else this would wait for ever.
        assert_eq!(io::read_to_string(reader).unwrap(), "");
    }

    #[test]
    fn descriptors_beyond_the_limit_of_open_files_do_not_stay() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        const NAME: &str = "notify::tests::descriptors_beyond_the_limit_of_open_files_do_not_stay";
        if !crate::spawn::tests::alone(NAME) {
            return;
        }
        let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let socket = open("limit");
        let null = std::fs::File::open("/dev/null").unwrap();
        for _ in 0..5 {
            send(&socket, "READY=1", &[null.as_raw_fd(); 9]);
        }
        let before = open_files();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // The lowest free number and two more are allowed, of nine that are sent.
        let free = nix::unistd::dup(&null).unwrap();
        let limit = u64::try_from(free.as_raw_fd()).unwrap() + 3;
        drop(free);
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        assert_eq!(socket.recv(), [const { Message::Ready }; 5]);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(open_files(), before);
    }

    #[test]
    fn reading_is_bounded_and_a_long_status_is_cut() {
        let socket = open("bounded");
        let long = "é".repeat(STATUS_BYTES_MAX);
        send(&socket, &format!("STATUS={long}"), &[]);
        let [Message::Status(text)] = &socket.recv()[..] else { panic!("one status") };
        assert_eq!(text.len(), STATUS_BYTES_MAX);
        let everyone = NotifySocket { uid: 1, ..open("nobody") };
        assert!(everyone.hears(0) && everyone.hears(1) && !everyone.hears(12345));
    }
}
