//! Who is let in.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsbus_harness::wait_until;

use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;

pub(crate) const USERS: &str = r#"
    [user.ann]
    password = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d" # thepassword
    role = "operator"
    [user.bob]
    password = "guest"
    role = "viewer"
"#;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn it_says_when_it_knows_the_fleet_and_when_no_scheduler_answers() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    assert_eq!(gateway.get("/healthz", &[]).body, "ok\n");
    fleet.kill("s1");
    let silent = wait_until("silence to be noticed", DEADLINE, || {
        let ready = gateway.get("/readyz", &[]);
        if ready.code == 503 { Ok(ready.body) } else { Err(ready.body) }
    });
    assert!(silent.contains("no scheduler answers"), "{silent}");
    assert_eq!(gateway.get("/healthz", &[]).code, 200);
    fleet.scheduler("s2");
    gateway.wait_ready();
}

#[test]
fn without_a_bus_it_ends_when_it_is_told_to() {
    let mut fleet = Fleet::start(1, 1);
    fleet.spawn("g1", &["--nats", "nats://127.0.0.1:1", "gateway", "--listen", "127.0.0.1:0"]);
    wait_until("it to look for a bus", DEADLINE, || {
        let log = std::fs::read_to_string(fleet.log("g1")).unwrap_or_default();
        if log.contains("no NATS server yet") { Ok(()) } else { Err(log) }
    });
    fleet.signal("g1", nix::sys::signal::Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("g1"), Some(0));
}

#[test]
fn without_users_only_this_machine_is_let_in_and_no_page_of_another_site() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let refused = gateway.get("/healthz", &[("host", "evil.example")]);
    assert_eq!(refused.code, 403, "{}", refused.body);
    let refused = gateway.post("/logout", &[("origin", "http://evil.example")], "");
    assert_eq!(refused.code, 403, "{}", refused.body);
    // Whoever opens it to everybody does not open it to every site that somebody there looks at.
    let open = Gateway::start(&mut fleet, "g2", &["--insecure"]);
    assert_eq!(open.get("/healthz", &[("host", "10.0.0.1:9001")]).code, 200);
    assert_eq!(open.get("/healthz", &[("host", "evil.example")]).code, 403);
    let said = fleet.fails(2, &["gateway", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("nobody has to say who he is") && said.contains("--insecure"), "{said}");
}

/// What a gateway says on a socket in the file system.
fn ask_socket(path: &Path) -> std::io::Result<String> {
    let mut socket = UnixStream::connect(path)?;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut said = String::new();
    socket.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn a_socket_in_the_file_system_is_its_owners_and_one_that_was_left_is_replaced() {
    let mut fleet = Fleet::start(1, 1);
    let path = fleet.path().join("gateway.sock");
    let (nats, listen) = (fleet.nats.url(), format!("unix:{}", path.display()));
    let words = ["--nats", &nats, "gateway", "--listen", &listen];
    let answers = |path: &Path| {
        wait_until("the socket to answer", DEADLINE, || {
            let said = ask_socket(path).map_err(|e| e.to_string())?;
            if said.starts_with("HTTP/1.1 200 OK") { Ok(()) } else { Err(said) }
        });
    };
    fleet.spawn("g1", &words);
    answers(&path);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    let said = fleet.fails(1, &["gateway", "--listen", &listen]);
    assert!(said.contains("somebody listens on it"), "{said}");
    fleet.kill("g1");
    assert!(path.exists());
    fleet.spawn("g2", &words);
    answers(&path);
    // One that ends takes it away.
    fleet.signal("g2", nix::sys::signal::Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("g2"), Some(0));
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    let said = fleet.fails(1, &["gateway", "--listen", &listen]);
    assert!(said.contains("it exists, and is no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn users_say_who_they_are_by_basic_or_by_a_cookie() {
    let mut fleet = Fleet::start(1, 1);
    let file = fleet.file("gateway.toml", USERS);
    let gateway = Gateway::start(&mut fleet, "g1", &[&file]);
    // Whoever watches the gateway says nothing.
    assert_eq!(gateway.get("/healthz", &[]).code, 200);
    let unknown = gateway.get("/nothing", &[]);
    assert_eq!(unknown.code, 401);
    assert_eq!(unknown.header("www-authenticate"), Some("Basic realm=\"default\""));
    let asks = |user: &str, password: &str| {
        gateway.get("/nothing", &[("authorization", &basic(user, password))]).code
    };
    assert_eq!(asks("ann", "thepassword"), 404);
    assert_eq!(asks("bob", "guest"), 404);
    assert_eq!(asks("ann", "guest"), 401);
    assert_eq!(asks("eve", "guest"), 401);
    // A viewer changes nothing; nor does a page of another site, whoever looks at it.
    let posts = |user: &str, password: &str, origin: &str| {
        let basic = basic(user, password);
        gateway.post("/nothing", &[("authorization", &basic), ("origin", origin)], "").code
    };
    assert_eq!(posts("ann", "thepassword", &gateway.url), 404);
    assert_eq!(posts("bob", "guest", &gateway.url), 403);
    assert_eq!(posts("ann", "thepassword", "http://evil.example"), 403);

    let wrong = gateway.post("/login", &[FORM], "user=ann&password=guest");
    assert_eq!((wrong.code, wrong.header("location")), (303, Some("/login?wrong")));
    assert_eq!(wrong.header("set-cookie"), None);
    let right = gateway.post("/login", &[FORM], "user=ann&password=thepassword");
    assert_eq!((right.code, right.header("location")), (303, Some("/")));
    let cookie = right.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(gateway.get("/nothing", &[("cookie", cookie)]).code, 404);
    let forged = cookie.replace("ann", "bob");
    assert_eq!(gateway.get("/nothing", &[("cookie", &forged)]).code, 401);
    // A cookie alone changes nothing: its page has a token as well.
    assert_eq!(gateway.post("/nothing", &[("cookie", cookie)], "").code, 403);
    let token = [("cookie", cookie), ("x-csrf-token", "bm90aGluZw")];
    assert_eq!(gateway.post("/nothing", &token, "").code, 403);
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
