//! What a child finds open.

use super::*;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const OPEN: &str = "cd /proc/self/fd; for n in *; do [ -e $n ] && echo $n; done; true";

#[test]
fn nothing_but_the_three() {
    let place = Place::new();
    // Not close-on-exec, as a library might leave one.
    let leak = File::open("/dev/zero").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let listed = place.said(&script("ls -l /proc/self/fd"));
    assert!(listed.contains("/dev/null") && !listed.contains("/dev/zero"), "{listed}");
    assert_eq!(place.said(&script("cat | wc -c")).trim(), "0");
    let number = leak.as_raw_fd();
    assert_eq!(
        place.said(&script(&format!("[ -e /proc/self/fd/{number} ] || echo none"))),
        "none\n"
    );
}

#[test]
fn sockets_come_first_and_files_behind_them() {
    let mut place = Place::new();
    let at = |name: &str| place.home.path().join(name).display().to_string();
    let (first, second, read, append) = (at("first"), at("second"), at("read"), at("append"));
    std::fs::write(&read, "content\n").unwrap();
    let text = format!(
        "echo $LISTEN_FDS $LISTEN_FDNAMES $WATCHDOG_USEC; \
         [ $LISTEN_PID = $$ ] && [ $WATCHDOG_PID = $$ ] && echo mine; cat <&5; echo more >&6; {OPEN}"
    );
    let mut spec = script(&text);
    spec.listen = [&first, &second].map(|path| format!("unix://{path}").parse().unwrap()).to_vec();
    spec.extra_files = vec![read.parse().unwrap(), format!("{append}:a").parse().unwrap()];
    spec.watchdog = Some(dsbus_schema::lenient::Span::from_secs(3));
    let known = variables(&spec, &place.who()).unwrap();
    let name = place.name.clone();
    place.sockets.acquire(&spec, &name, &known, &place.machine.accounts).unwrap();
    let said = place.said(&spec);
    assert!(
        said.starts_with("2 first:second 3000000\nmine\ncontent\n0\n1\n2\n3\n4\n5\n6\n"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&append).unwrap(), "more\n");
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up() {
    let place = Place::new();
    let path = place.home.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut spec = script("true");
    spec.extra_files = vec![format!("{}:w", path.display()).parse().unwrap()];
    let why = place.start(&spec).unwrap_err();
    assert!(why.starts_with("extra_files: ") && why.ends_with("no device"), "{why}");
    spec.extra_files = vec!["/no/such".parse().unwrap()];
    assert!(place.start(&spec).unwrap_err().starts_with("extra_files: /no/such: "));
}

#[test]
fn a_link_of_a_childs_user_opens_it_nothing_of_the_workers() {
    let place = Place::new();
    if !root(&place) {
        return;
    }
    let (link, hidden) = (place.home.path().join("data"), place.home.path().join("hidden"));
    std::fs::write(&hidden, "hidden").unwrap();
    std::os::unix::fs::symlink(&hidden, &link).unwrap();
    let mut spec = script("cat <&3");
    for mode in ["r", "rw", "a", "w"] {
        spec.extra_files = vec![format!("{}:{mode}", link.display()).parse().unwrap()];
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        let why = place.start(&spec).unwrap_err();
        assert!(why.ends_with("it is a link of user 12345, and is not followed"), "{mode}: {why}");
        assert_eq!(std::fs::read_to_string(&hidden).unwrap(), "hidden", "{mode}");
    }
    std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
    spec.extra_files = vec![link.display().to_string().parse().unwrap()];
    assert_eq!(place.said(&spec), "hidden", "a link of root's is followed");
}

#[test]
fn a_fastcgi_socket_is_standard_input_and_outlives_the_child() {
    let mut place = Place::new();
    let path = place.home.path().join("fcgi.sock");
    let mut spec = script("exec readlink /proc/self/fd/0");
    spec.socket = Some(format!("unix://{}", path.display()).parse().unwrap());
    let known = variables(&spec, &place.who()).unwrap();
    let name = place.name.clone();
    place.sockets.acquire(&spec, &name, &known, &place.machine.accounts).unwrap();
    let first = place.said(&spec);
    assert!(first.starts_with("socket:["), "{first}");
    // No child lives now, and a caller only waits.
    let mut caller = UnixStream::connect(&path).unwrap();
    caller.write_all(b"x").unwrap();
    place.sockets.acquire(&spec, &name, &known, &place.machine.accounts).unwrap();
    assert_eq!(place.said(&spec), first);
    place.sockets.release(&name);
    assert!(UnixStream::connect(&path).is_err() && !path.exists());
}
