//! Real sockets. That one outlives its child is shown beside the spawning of children.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use dsbus_harness::{DEADLINE, Port, wait_for, wait_until};

use super::*;

struct Desk {
    home: tempfile::TempDir,
    sockets: Sockets,
}

impl Desk {
    fn new() -> Desk {
        Desk { home: tempfile::tempdir().unwrap(), sockets: Sockets::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn unix(&self, name: &str) -> ProgramSpec {
        let listen = vec![format!("unix://{}", self.path(name).display()).parse().unwrap()];
        ProgramSpec { listen, ..ProgramSpec::default() }
    }

    fn acquire(&mut self, spec: &ProgramSpec, name: &str) -> Result<(), String> {
        let name: InstanceId = name.parse().unwrap();
        let known = spec.variables(&name, &"w".parse().unwrap(), "h");
        self.sockets.acquire(spec, &name, &known, &Accounts::default())
    }

    fn release(&mut self, name: &str) {
        self.sockets.release(&name.parse().unwrap());
    }

    fn numbers(&self, name: &str) -> Vec<i32> {
        let passed = self.sockets.passed(&name.parse().unwrap());
        passed.iter().map(|one| one.socket.as_raw_fd()).collect()
    }
}

#[test]
fn one_address_is_one_socket_and_closes_with_its_last_instance() {
    let mut desk = Desk::new();
    let spec = desk.unix("s");
    desk.acquire(&spec, "web:0").unwrap();
    desk.acquire(&spec, "web:1").unwrap();
    assert_eq!(desk.numbers("web:0"), desk.numbers("web:1"));
    let why = desk.acquire(&spec, "api:0").unwrap_err();
    assert!(why.ends_with("/s: somebody else listens there"), "{why}");
    desk.release("web:0");
    UnixStream::connect(desk.path("s")).unwrap();
    desk.release("web:1");
    assert!(!desk.path("s").exists());
    let each = desk.unix("s%(process_num)d");
    desk.acquire(&each, "web:0").unwrap();
    desk.acquire(&each, "web:1").unwrap();
    assert_ne!(desk.numbers("web:0"), desk.numbers("web:1"));
    // Another address takes the place of the old one.
    desk.acquire(&spec, "web:0").unwrap();
    assert!(desk.path("s").exists() && !desk.path("s0").exists() && desk.path("s1").exists());
}

#[test]
fn a_stale_file_is_replaced_and_nothing_else() {
    let mut desk = Desk::new();
    drop(UnixListener::bind(desk.path("stale")).unwrap());
    let spec = ProgramSpec { socket_mode: "660".parse().unwrap(), ..desk.unix("stale") };
    // A process that another test starts has what is open here until it executes its program.
    wait_until("nobody to listen", DEADLINE, || desk.acquire(&spec, "web:0"));
    let mode = std::fs::metadata(desk.path("stale")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let _living = UnixListener::bind(desk.path("living")).unwrap();
    let why = desk.acquire(&desk.unix("living"), "a:0").unwrap_err();
    assert!(why.starts_with("cannot listen on unix:///") && why.ends_with("listens there"));
    std::fs::write(desk.path("file"), "x").unwrap();
    let why = desk.acquire(&desk.unix("file"), "a:0").unwrap_err();
    assert!(why.ends_with("the file exists and is no socket"), "{why}");
    assert!(desk.acquire(&desk.unix("no/dir"), "a:0").is_err());
    let why = desk.acquire(&desk.unix(&"x".repeat(120)), "a:0").unwrap_err();
    assert!(why.ends_with("107 bytes"), "{why}");
}

#[test]
fn a_file_that_somebody_else_put_there_stays() {
    let mut desk = Desk::new();
    desk.acquire(&desk.unix("s"), "web:0").unwrap();
    std::fs::remove_file(desk.path("s")).unwrap();
    let _other = UnixListener::bind(desk.path("s")).unwrap();
    desk.release("web:0");
    UnixStream::connect(desk.path("s")).unwrap();
}

#[test]
fn the_owner_is_who_was_said() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing is tested");
        return;
    }
    let mut desk = Desk::new();
    let spec = ProgramSpec { user: Some("12:34".into()), ..desk.unix("s") };
    desk.acquire(&spec, "web:0").unwrap();
    let owner = |name: &str| {
        let found = std::fs::metadata(desk.path(name)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    assert_eq!(owner("s"), (12, 34, 0o700));
    let spec = ProgramSpec { socket_owner: Some("56:78".into()), ..spec };
    let spec = ProgramSpec { listen: desk.unix("t").listen, ..spec };
    let path = desk.path("t");
    desk.acquire(&spec, "api:0").unwrap();
    let found = std::fs::metadata(path).unwrap();
    assert_eq!((found.uid(), found.gid()), (56, 78));
}

#[test]
fn a_new_declaration_changes_the_rights_of_what_is_open() {
    let mut desk = Desk::new();
    let spec = ProgramSpec { socket_mode: "600".parse().unwrap(), ..desk.unix("s") };
    desk.acquire(&spec, "web:0").unwrap();
    let before = desk.numbers("web:0");
    let path = desk.path("s");
    let seen = || {
        let found = std::fs::metadata(&path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    let (uid, gid, _) = seen();
    let wide = ProgramSpec { socket_mode: "666".parse().unwrap(), ..spec.clone() };
    desk.acquire(&wide, "web:0").unwrap();
    assert_eq!(seen(), (uid, gid, 0o666));
    if uid == 0 {
        let given = ProgramSpec { socket_owner: Some("56:78".into()), ..spec.clone() };
        desk.acquire(&given, "web:0").unwrap();
        assert_eq!(seen(), (56, 78, 0o600));
        desk.acquire(&spec, "web:0").unwrap();
        assert_eq!(seen(), (uid, gid, 0o600));
    }
    assert_eq!(desk.numbers("web:0"), before, "it stayed open");
    // Somebody else's file is not touched, and no start fails for it.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    desk.acquire(&wide, "web:0").unwrap();
    assert_eq!(seen(), (uid, gid, 0o640));
}

#[test]
fn a_new_backlog_is_obeyed_at_once() {
    let mut desk = Desk::new();
    let spec = ProgramSpec { socket_backlog: Some(1), ..desk.unix("s") };
    desk.acquire(&spec, "web:0").unwrap();
    let call = |path: &std::path::Path| {
        let flags = nix::sys::socket::SockFlag::SOCK_NONBLOCK;
        let (family, kind) =
            (nix::sys::socket::AddressFamily::Unix, nix::sys::socket::SockType::Stream);
        let caller = nix::sys::socket::socket(family, kind, flags, None).unwrap();
        let address = nix::sys::socket::UnixAddr::new(path).unwrap();
        nix::sys::socket::connect(caller.as_raw_fd(), &address).map(|()| caller)
    };
    let path = desk.path("s");
    let waiting: Vec<_> = std::iter::repeat_with(|| call(&path)).map_while(Result::ok).collect();
    assert!(waiting.len() < 5, "{}", waiting.len());
    desk.acquire(&ProgramSpec { socket_backlog: Some(9), ..spec }, "web:0").unwrap();
    assert!(call(&path).is_ok());
}

#[test]
fn tcp_of_both_families() {
    let mut desk = Desk::new();
    let spec =
        |text: &str| ProgramSpec { listen: vec![text.parse().unwrap()], ..ProgramSpec::default() };
    let reserved = Port::reserve();
    let port = reserved.number();
    desk.acquire(&spec(&format!("tcp://:{port}")), "a:0").unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let names = desk.sockets.passed(&"a:0".parse().unwrap());
    assert_eq!(names[0].name, port.to_string());
    let why = desk.acquire(&spec(&format!("tcp://127.0.0.1:{port}")), "b:0").unwrap_err();
    assert_eq!(why, format!("cannot listen on tcp://127.0.0.1:{port}: the address is in use"));
    desk.release("a:0");
    // As long as a process that another test starts has it, too.
    let closed = || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(());
    wait_for("the port to be closed", DEADLINE, closed);
    desk.acquire(&spec(&format!("tcp://localhost:{port}")), "a:0").unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let why = desk.acquire(&spec("tcp://example.org:80"), "b:0").unwrap_err();
    assert!(why.contains("\"example.org\" is a name, and the supervisor looks up none"), "{why}");
    let why = desk.acquire(&spec("tcp://192.0.2.1:80"), "b:0").unwrap_err();
    assert!(why.ends_with("this machine has no such address"), "{why}");
}
