//! What a child may, and who it is.

use std::collections::BTreeMap;

use dsbus_schema::program::{Mode, ProgramSpec, Retries, Rlimit};
use dsbus_schema::state::State;
use dsbus_supervisor::protocol::Reported;

use crate::stage::{Stage, reported, script};

/// What a shell says, run as a child of this declaration.
fn said(text: &str, edit: impl FnOnce(&Stage, &mut ProgramSpec)) -> String {
    let mut stage = Stage::open();
    let directory = stage.directory();
    let out = directory.path().join("said").display().to_string();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let text = format!("({text}) > {out}.new 2>&1; mv {out}.new {out}; exec sleep 1000");
    let order = script("web", &text, |spec| edit(&stage, spec));
    stage.run(&order);
    stage.read(out.as_ref())
}

/// These tests switch users, which only root can.
fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_user_with_its_groups_and_its_home() {
    if !root() {
        return;
    }
    let told = said("id -un; id -gn; id -G; echo $HOME $USER $LOGNAME; pwd", |_, spec| {
        spec.user = Some("daemon:games".to_owned());
        spec.directory = Some("/tmp".to_owned());
    });
    let lines: Vec<&str> = told.lines().collect();
    let group = nix::unistd::Group::from_name("games").unwrap().unwrap().gid.to_string();
    assert_eq!(lines[..2], ["daemon", "games"]);
    assert!(lines[2].split(' ').any(|gid| gid == group) && !lines[2].split(' ').any(|g| g == "0"));
    assert_eq!(lines[3..], ["/usr/sbin daemon daemon", "/tmp"]);
}

#[test]
fn a_user_that_is_unknown_is_told() {
    let mut stage = Stage::open();
    stage.place(&script("web", "true", |spec| {
        spec.user = Some("nobody-at-all".to_owned());
        spec.startretries = Retries::Count(0);
    }));
    let (fatal, _) = stage.change("web", State::Fatal);
    assert!(fatal.spawnerr.unwrap().contains("nobody-at-all"));
}

#[test]
fn a_directory_that_its_user_may_not_enter_is_told() {
    if !root() {
        return;
    }
    let mut stage = Stage::open();
    let closed = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(closed.path(), mode).unwrap();
    stage.place(&script("web", "true", |spec| {
        spec.user = Some("daemon".to_owned());
        spec.directory = Some(closed.path().display().to_string());
        spec.startretries = Retries::Count(0);
    }));
    let (fatal, _) = stage.change("web", State::Fatal);
    let why = fatal.spawnerr.unwrap();
    assert!(why.contains(closed.path().to_str().unwrap()) && why.contains("daemon"), "{why}");
}

#[test]
fn a_mask_and_limits() {
    let told =
        said("umask; ulimit -n; ulimit -c; nice; cat /proc/self/oom_score_adj", |_, spec| {
            let one = |n| Rlimit { soft: Some(n), hard: Some(n) };
            spec.umask = Some(Mode(0o27));
            spec.rlimits =
                BTreeMap::from([("nofile".to_owned(), one(77)), ("core".to_owned(), one(0))]);
            spec.nice = Some(5);
            spec.oom_score_adj = Some(300);
        });
    assert_eq!(told, "0027\n77\n0\n5\n300\n");
}

#[test]
fn a_limit_beyond_what_is_allowed_is_told() {
    let mut stage = Stage::open();
    stage.place(&script("web", "true", |spec| {
        let limit = Rlimit { soft: Some(1 << 40), hard: Some(1 << 40) };
        spec.rlimits = BTreeMap::from([("nofile".to_owned(), limit)]);
        spec.startretries = Retries::Count(0);
    }));
    // It is refused before it is tried.
    let why = stage.hear("web to be refused", |message| match reported(message)? {
        Reported::Instance { status, .. } => Some(status.refused.clone()?.reason),
        _ => None,
    });
    assert!(why.contains("nofile") && why.contains("1099511627776"), "{why}");
}

#[test]
fn capabilities_without_being_root() {
    if !root() {
        return;
    }
    let bind = "python3 -c 'import os, socket
s = socket.socket(); s.bind((\"127.0.0.1\", 81)); print(os.getuid() != 0, s.getsockname()[1])'";
    let told = said(bind, |_, spec| {
        spec.user = Some("daemon".to_owned());
        spec.directory = Some("/".to_owned());
        spec.capabilities = vec!["NET_BIND_SERVICE".parse().unwrap()];
    });
    assert_eq!(told, "True 81\n");
}

#[test]
fn an_environment_arrives_as_it_was_given() {
    let odd = "a=b, c; \"d\" 'e' 100% \\ $HOME\nnext";
    let told = said(
        "printf %s \"$ODD\"; echo; echo $FILED $BOTH $QUOTED; echo $SUPERVISOR_ENABLED \
                     $SUPERVISOR_PROCESS_NAME $SUPERVISOR_GROUP_NAME $SUPERVISOR_SERVER_URL",
        |stage, spec| {
            let path = stage.directory().path().join("web.env");
            std::fs::write(&path, "# a comment\nexport FILED=yes\nBOTH=file\nQUOTED=\"x y\"\n")
                .unwrap();
            spec.env_file = vec![path.display().to_string()];
            spec.environment =
                BTreeMap::from([("ODD".to_owned(), odd.into()), ("BOTH".to_owned(), "own".into())]);
            spec.process_name = Some("web_%(process_num)02d".to_owned());
            spec.serverurl = Some("http://here:1".to_owned());
        },
    );
    assert_eq!(told, format!("{odd}\nyes own x y\n1 web_00 web http://here:1\n"));
}

#[test]
fn an_environment_file_that_is_gone_is_told() {
    let mut stage = Stage::open();
    stage.place(&script("web", "true", |spec| {
        spec.env_file = vec!["/no/such.env".to_owned()];
        spec.startretries = Retries::Count(0);
    }));
    let why = stage.change("web", State::Fatal).0.spawnerr.unwrap();
    assert!(why.contains("/no/such.env"), "{why}");
}
