//! One socket that is listened on.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use dsbus_schema::program::{Mode, ProgramSpec, SocketAddress};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, UnixAddr, bind, connect,
    listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::Mode as Bits;

use crate::users::Account;

/// A socket, and the path that goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    path: Option<Bound>,
}

/// A path in the file system, and which file was there when it was bound.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    pub(super) fn open(
        address: &SocketAddress,
        spec: &ProgramSpec,
        owner: Option<&Account>,
    ) -> Result<Listener, String> {
        let backlog = spec.socket_backlog.map_or(libc::SOMAXCONN, |wanted| {
            i32::try_from(wanted).unwrap_or(i32::MAX).min(libc::SOMAXCONN)
        });
        let backlog = Backlog::new(backlog).unwrap_or(Backlog::MAXCONN);
        match address {
            SocketAddress::Unix(path) => unix(Path::new(path), spec.socket_mode, owner, backlog),
            SocketAddress::Tcp(address) => tcp(address, backlog),
        }
        .map_err(|why| format!("cannot listen on {address}: {why}"))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(bound) = &self.path else { return };
        let still = fs::symlink_metadata(&bound.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (bound.device, bound.inode));
        if still {
            // One that stays is stale, and replaced by whoever binds next.
            let _ = fs::remove_file(&bound.path);
        }
    }
}

fn unix(
    path: &Path,
    mode: Mode,
    owner: Option<&Account>,
    backlog: Backlog,
) -> Result<Listener, String> {
    make_way(path)?;
    let address = UnixAddr::new(path).map_err(|_| {
        "the path is too long: a unix socket's path has at most 107 bytes".to_owned()
    })?;
    let socket = new(AddressFamily::Unix)?;
    bind(socket.as_raw_fd(), &address).map_err(|e| e.desc().to_owned())?;
    let found = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    let bound = Bound { path: path.to_owned(), device: found.dev(), inode: found.ino() };
    let listener = Listener { socket, path: Some(bound) };
    // Nobody can connect before listen, so nobody gets in by the rights that it was born with.
    give_away(path, mode, owner).map_err(|e| format!("its owner and mode: {e}"))?;
    listen(&listener.socket, backlog).map_err(|e| e.desc().to_owned())?;
    Ok(listener)
}

/// Removes a socket file that nobody listens on.
fn make_way(path: &Path) -> Result<(), String> {
    // What else is wrong with the path, binding says better.
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err("the file exists and is no socket".to_owned());
    }
    let address = UnixAddr::new(path).map_err(|e| e.desc().to_owned())?;
    // It does not block: somebody may listen there whose queue is full.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None);
    let caller = caller.map_err(|e| e.desc().to_owned())?;
    let stale = match connect(caller.as_raw_fd(), &address) {
        Ok(()) => false,
        Err(Errno::EAGAIN) => false,
        Err(Errno::ECONNREFUSED) => true,
        Err(e) => return Err(format!("whether somebody listens there is not known: {}", e.desc())),
    };
    if !stale {
        return Err("somebody else listens there".to_owned());
    }
    fs::remove_file(path).map_err(|e| format!("the old socket file cannot be removed: {e}"))
}

/// Sets the rights of the socket file. The file is held by a descriptor, so that whoever owns the
/// directory cannot put a link to another file in its place in between.
fn give_away(path: &Path, mode: Mode, owner: Option<&Account>) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open(path, flags, Bits::empty())?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if !fs::metadata(&held)?.file_type().is_socket() {
        return Err(io::Error::other("somebody replaced the file"));
    }
    fs::set_permissions(&held, Permissions::from_mode(mode.0))?;
    if let Some(owner) = owner {
        let own = fs::metadata(&held)?;
        if (own.uid(), own.gid()) != (owner.uid, owner.gid) {
            chown(&held, Some(owner.uid), Some(owner.gid))?;
        }
    }
    Ok(())
}

fn tcp(text: &str, backlog: Backlog) -> Result<Listener, String> {
    let everywhere = text.starts_with(':') || text.starts_with("*:");
    let address = address(text)?;
    let mut done = listen_on(address, everywhere, backlog);
    let no_v6 = [Err(Errno::EAFNOSUPPORT), Err(Errno::EADDRNOTAVAIL)];
    if everywhere && no_v6.contains(&done.as_ref().map(drop).map_err(|e| *e)) {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        done = listen_on(v4, false, backlog);
    }
    let why = |error: Errno| {
        let told = [
            (Errno::EADDRINUSE, "the address is in use"),
            (Errno::EADDRNOTAVAIL, "this machine has no such address"),
            (Errno::EACCES, "the worker may not use a port below 1024"),
        ];
        told.iter().find(|(known, _)| *known == error).map_or(error.desc(), |(_, text)| text)
    };
    let socket = done.map_err(|e| why(e).to_owned())?;
    Ok(Listener { socket, path: None })
}

/// Reads `host:port`. The supervisor has no network, so it looks up no names.
fn address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected host:port")?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match bare {
        "" | "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        literal => literal.parse().map_err(|_| {
            format!("{host:?} is a name, and the supervisor looks up none: use an IP address, localhost, or no host for every address")
        })?,
    };
    Ok(SocketAddr::new(host, port))
}

fn listen_on(address: SocketAddr, both: bool, backlog: Backlog) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!both)?;
    }
    match address {
        SocketAddr::V4(address) => bind(socket.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?,
    }
    listen(&socket, backlog)?;
    Ok(socket)
}

fn new(family: AddressFamily) -> Result<OwnedFd, String> {
    let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    made.map_err(|e| e.desc().to_owned())
}
