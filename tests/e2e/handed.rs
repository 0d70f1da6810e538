//! `dsbus auth init --once --hand-out`: made once, and to each machine what it needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::fleet::{DSBUS, said};

fn init(place: &Path, more: &[&str]) -> Output {
    let words = ["auth", "init", "auth", "--nodes", "n1,n2,n3", "--workers", "w1,w2"];
    let mut command = Command::new(DSBUS);
    command.args(words).args(more).current_dir(place).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let all = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_machine_is_given_what_it_needs_and_no_more() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    for name in ["nats", "w1", "scheduler", "gateway", "monitor"] {
        fs::create_dir_all(out.join(name)).unwrap();
    }
    let first = init(place.path(), &["--once", "--hand-out", "out"]);
    assert!(first.status.success(), "{}", said(&first));
    let auth = place.path().join("auth");
    let nats = out.join("nats");
    assert_eq!(names(&nats), ["nats", "tls"]);
    assert_eq!(names(&nats.join("nats")), ["n1.conf", "n2.conf", "n3.conf", "users.conf"]);
    assert_eq!(names(&nats.join("tls")), ["ca.pem", "server.key", "server.pem"], "not ca.key");
    assert_eq!(mode(&nats.join("tls/server.key")), 0o600);
    for user in ["w1", "scheduler", "gateway"] {
        let of = auth.join("users").join(user);
        assert_eq!(names(&out.join(user)), names(&of), "{user}");
        for name in names(&of) {
            let (from, to) = (of.join(&name), out.join(user).join(&name));
            assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap(), "{user}: {name}");
            assert_eq!(mode(&from), mode(&to), "{user}: {name}");
        }
    }
    assert_eq!(names(&out.join("monitor")), ["monitor.password"]);

    // Again: the same keys, and what is new of them.
    let seed = fs::read(out.join("w1/seed.nk")).unwrap();
    let rotate = ["auth", "rotate", "w1", "--dir", "auth"];
    let rotated = Command::new(DSBUS).args(rotate).current_dir(place.path()).output().unwrap();
    assert!(rotated.status.success(), "{}", said(&rotated));
    let scheduler = fs::read(auth.join("users/scheduler/seed.nk")).unwrap();
    let again = init(place.path(), &["--once", "--hand-out", "out"]);
    assert!(again.status.success(), "{}", said(&again));
    assert_ne!(fs::read(out.join("w1/seed.nk")).unwrap(), seed);
    assert_eq!(fs::read(out.join("scheduler/seed.nk")).unwrap(), scheduler);

    // Without --once it is refused, and so is something else of that name.
    assert_eq!(init(place.path(), &[]).status.code(), Some(1));
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("auth")).unwrap();
    fs::write(other.path().join("auth/mine"), "").unwrap();
    let refused = init(other.path(), &["--once"]);
    assert!(said(&refused).contains("is there already; nothing was written"), "{}", said(&refused));

    // A directory for nobody is a mistake, and nothing is handed out.
    let out = place.path().join("wrong");
    fs::create_dir_all(out.join("a")).unwrap();
    fs::create_dir_all(out.join("w1")).unwrap();
    let wrong = init(place.path(), &["--once", "--hand-out", "wrong"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        said(&wrong).contains("there is no user a to hand anything out to"),
        "{}",
        said(&wrong)
    );
    assert_eq!(names(&out.join("w1")), Vec::<String>::new());
}
