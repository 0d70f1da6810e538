//! Ports that stay ours.
//!
//! Whoever asks the kernel for a free port and lets go of it may find it taken when a server binds
//! it: by another test, or by an outgoing connection. So the socket that asked is kept, bound and
//! not listening. With `SO_REUSEADDR`, which a nats-server sets as well, the server can bind beside
//! it, and the kernel gives the port to nobody else, also while the server is down.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};

/// A port on 127.0.0.1, reserved while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _socket: OwnedFd,
}

impl Port {
    /// Reserves one that nobody uses.
    ///
    /// # Panics
    /// When the kernel has none.
    pub fn reserve() -> Port {
        let kind = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Inet, kind.0, kind.1, None).expect("a socket");
        setsockopt(&socket, sockopt::ReuseAddr, &true).expect("SO_REUSEADDR");
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
        let address: SockaddrIn = getsockname(socket.as_raw_fd()).expect("its address");
        Port { number: address.port(), _socket: socket }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_server_can_listen_on_it_again_and_again() {
        let port = Port::reserve();
        for _ in 0..3 {
            // The standard library sets SO_REUSEADDR, as Go does.
            // A process that another test starts has what is open here until it executes its program.
            let bind = || TcpListener::bind(("127.0.0.1", port.number()));
            let server = crate::wait_until("the port", crate::DEADLINE, bind);
            let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            drop(server.accept().unwrap());
            drop(client);
        }
    }

    #[test]
    fn the_kernel_gives_it_to_nobody_else() {
        let reserved: Vec<Port> = (0..500).map(|_| Port::reserve()).collect();
        let numbers: BTreeSet<u16> = reserved.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), reserved.len());
        let asked: Vec<TcpListener> =
            (0..500).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let outgoing: Vec<TcpStream> = (0..500)
            .map(|_| {
                let stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
                drop(server.accept().unwrap());
                stream
            })
            .collect();
        let others = asked.iter().map(|l| l.local_addr().unwrap().port());
        let others = others.chain(outgoing.iter().map(|s| s.local_addr().unwrap().port()));
        assert_eq!(others.filter(|port| numbers.contains(port)).count(), 0);
    }
}
