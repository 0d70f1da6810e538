//! Sockets that the worker holds for its children.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use dsbus_schema::program::Retries;
use dsbus_schema::state::State;
use nix::sys::signal::Signal;

use crate::stage::{Stage, order, signal_one};

/// Accepts on a descriptor, and says its process id to whoever connects.
fn server(descriptor: i32) -> Vec<String> {
    let text = format!(
        "import os, socket
s = socket.socket(fileno={descriptor})
while True:
    c, _ = s.accept()
    c.sendall(b'%d %s\\n' % (os.getpid(), os.environ.get('LISTEN_FDS', '-').encode()))
    c.close()"
    );
    ["python3", "-c", &text].map(str::to_owned).to_vec()
}

fn ask(mut stream: impl Read) -> (i32, String) {
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (pid, fds) = said.trim().split_once(' ').unwrap();
    (pid.parse().unwrap(), fds.to_owned())
}

#[test]
fn connections_wait_while_a_child_is_replaced() {
    let mut stage = Stage::open();
    let reserved = dsbus_harness::Port::reserve();
    let port = reserved.number();
    let words = server(3);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let first = stage.run(&order("web", &words, |spec| {
        spec.listen = vec![format!("tcp://127.0.0.1:{port}").parse().unwrap()];
    }));
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("never refused");
    assert_eq!(ask(connect()), (first, "1".to_owned()));
    for _ in 0..5 {
        let pid = ask(connect()).0;
        signal_one(pid, Signal::SIGKILL);
        // Whether the child is dead, on its way, or there again: nobody is refused.
        let waiting: Vec<TcpStream> = (0..10).map(|_| connect()).collect();
        stage.change("web", State::Running);
        drop(waiting);
    }
    assert_ne!(ask(connect()).0, first);
}

#[test]
fn fastcgi_finds_its_socket_as_standard_input() {
    let mut stage = Stage::open();
    let path = stage.directory().path().join("web.sock");
    let words = server(0);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let order = order("web", &words, |spec| {
        spec.socket = Some(format!("unix://{}", path.display()).parse().unwrap());
        spec.socket_mode = dsbus_schema::program::Mode(0o600);
    });
    let pid = stage.run(&order);
    let mode = std::fs::metadata(&path).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    assert_eq!(ask(UnixStream::connect(&path).unwrap()), (pid, "-".to_owned()));
    stage.say(&dsbus_supervisor::protocol::ToSupervisor::Unplace { name: order.name });
    stage.wait_for("the socket to be closed", || UnixStream::connect(&path).is_err());
}

#[test]
fn an_address_that_is_taken_is_told() {
    let mut stage = Stage::open();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    stage.place(&order("web", &["true"], |spec| {
        spec.listen = vec![address.parse().unwrap()];
        spec.startretries = Retries::Count(0);
    }));
    let why = stage.change("web", State::Fatal).0.spawnerr.unwrap();
    assert!(why.contains(&address["tcp://".len()..]) && why.contains("in use"), "{why}");
}

#[test]
fn files_are_found_open() {
    let mut stage = Stage::open();
    let directory = stage.directory();
    let (read, append) = (directory.path().join("in"), directory.path().join("out"));
    std::fs::write(&read, "from a file\n").unwrap();
    std::fs::write(&append, "first\n").unwrap();
    let words = ["sh", "-c", "cat <&3 >&4; exec sleep 1000"];
    stage.run(&order("web", &words, |spec| {
        spec.extra_files = vec![
            read.display().to_string().parse().unwrap(),
            format!("{}:a", append.display()).parse().unwrap(),
        ];
    }));
    stage.wait_for("the words", || {
        std::fs::read_to_string(&append).unwrap() == "first\nfrom a file\n"
    });
}
