//! A way to the bus that can be broken, with what is on it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A TCP proxy.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What the server says is read and does not arrive.
    swallows: AtomicBool,
    /// New connections end at once.
    cut: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let ours = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut connections = ours.connections.lock().unwrap();
                if ours.cut.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
                    connections.extend([copy(&client), copy(&server)]);
                    pump(copy(&client), copy(&server), None);
                    pump(server, client, Some(Arc::clone(&ours)));
                }
            }
        });
        Proxy { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// From now on what the server says is lost, until [`Proxy::heal`]; what it hears is not.
    pub(crate) fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    /// Ends all connections, and all that come, until [`Proxy::heal`].
    pub(crate) fn cut(&self) {
        let mut connections = self.state.connections.lock().unwrap();
        self.state.cut.store(true, Ordering::SeqCst);
        for connection in connections.drain(..) {
            // It may have ended by itself.
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    /// Lets connections pass again.
    pub(crate) fn heal(&self) {
        self.state.swallows.store(false, Ordering::SeqCst);
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

/// Copies until one side ends.
fn pump(mut from: TcpStream, mut to: TcpStream, server: Option<Arc<State>>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let swallowed = server.as_ref().is_some_and(|s| s.swallows.load(Ordering::SeqCst));
            if !swallowed && to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
}
