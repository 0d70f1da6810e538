//! One socket that is listened on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dsbus_schema::program::{ProgramSpec, SocketAddress};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

use super::place::{Bound, Place};
use crate::users::Account;

/// A socket, and the path that goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) path: Option<Bound>,
    pub(super) rights: Rights,
}

/// What can be changed while it is listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rights {
    mode: u32,
    /// User and group of the socket file; `None` is the worker's own.
    owner: Option<(u32, u32)>,
    backlog: i32,
}

impl Rights {
    pub(super) fn of(spec: &ProgramSpec, owner: Option<&Account>) -> Rights {
        let backlog = spec.socket_backlog.map_or(libc::SOMAXCONN, |wanted| {
            i32::try_from(wanted).unwrap_or(i32::MAX).min(libc::SOMAXCONN)
        });
        let owner = owner.map(|account| (account.uid, account.gid));
        Rights { mode: spec.socket_mode.0, owner, backlog }
    }

    fn listen(&self, socket: &OwnedFd) -> nix::Result<()> {
        listen(socket, Backlog::new(self.backlog).unwrap_or(Backlog::MAXCONN))
    }
}

impl Listener {
    pub(super) fn open(address: &SocketAddress, rights: Rights) -> Result<Listener, String> {
        match address {
            SocketAddress::Unix(path) => unix(Path::new(path), rights),
            SocketAddress::Tcp(address) => tcp(address, rights),
        }
        .map_err(|why| format!("cannot listen on {address}: {why}"))
    }

    /// Gives it the rights and the backlog of a new declaration. What cannot be changed is told
    /// once, and stays.
    pub(super) fn obey(&mut self, rights: Rights) -> Result<(), String> {
        let before = std::mem::replace(&mut self.rights, rights);
        if before.backlog != rights.backlog {
            rights.listen(&self.socket).map_err(|e| format!("its backlog: {}", e.desc()))?;
        }
        let Some(bound) = &self.path else { return Ok(()) };
        if (before.mode, before.owner) == (rights.mode, rights.owner) {
            return Ok(());
        }
        let own = || (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let owner = (before.owner != rights.owner).then(|| rights.owner.unwrap_or_else(own));
        let place = Place::of(&bound.path)?;
        let done = place.give_away(rights.mode, owner, |found| bound.is(found));
        done.map_err(|e| format!("its owner and mode: {e}"))
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
        let Ok(place) = Place::of(&bound.path) else { return };
        if place.look().is_ok_and(|found| bound.is(&found)) {
            // One that stays is stale, and replaced by whoever binds next.
            let _ = place.remove();
        }
    }
}

fn unix(path: &Path, rights: Rights) -> Result<Listener, String> {
    let place = Place::of(path)?;
    place.make_way()?;
    let address = place.address()?;
    let socket = new(AddressFamily::Unix)?;
    bind(socket.as_raw_fd(), &address).map_err(|e| e.desc().to_owned())?;
    let found = place.look().map_err(|e| e.desc().to_owned())?;
    let bound = Bound { path: path.to_owned(), device: found.st_dev, inode: found.st_ino };
    // Who may write the directory's own directory could have put another in its place meanwhile,
    // with somebody's socket in it. A file that was just made has this user, and no second name.
    let ours = found.st_uid == nix::unistd::geteuid().as_raw() && found.st_nlink == 1;
    if !ours {
        return Err("somebody replaced the file".to_owned());
    }
    let listener = Listener { socket, path: Some(bound), rights };
    let is = |found: &FileStat| listener.path.as_ref().is_some_and(|bound| bound.is(found));
    // Nobody can connect before listen, so nobody gets in by the rights that it was born with.
    let done = place.give_away(rights.mode, rights.owner, is);
    done.map_err(|e| format!("its owner and mode: {e}"))?;
    rights.listen(&listener.socket).map_err(|e| e.desc().to_owned())?;
    Ok(listener)
}

fn tcp(text: &str, rights: Rights) -> Result<Listener, String> {
    let everywhere = text.starts_with(':') || text.starts_with("*:");
    let address = address(text)?;
    let mut done = listen_on(address, everywhere, rights);
    let no_v6 = [Err(Errno::EAFNOSUPPORT), Err(Errno::EADDRNOTAVAIL)];
    if everywhere && no_v6.contains(&done.as_ref().map(drop).map_err(|e| *e)) {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        done = listen_on(v4, false, rights);
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
    Ok(Listener { socket, path: None, rights })
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

fn listen_on(address: SocketAddr, both: bool, rights: Rights) -> nix::Result<OwnedFd> {
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
    rights.listen(&socket)?;
    Ok(socket)
}

fn new(family: AddressFamily) -> Result<OwnedFd, String> {
    let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    made.map_err(|e| e.desc().to_owned())
}
