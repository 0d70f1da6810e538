//! Every reason for which a child cannot be started is a sentence.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn file(place: &Place, name: &str, mode: u32, text: &str) -> String {
    let path = place.home.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path.display().to_string()
}

fn word(word: &str) -> ProgramSpec {
    let command = Command::Words(vec![word.to_owned()]);
    ProgramSpec { command, ..ProgramSpec::default() }
}

#[test]
fn files_and_directories() {
    let place = Place::new();
    let home = place.home.path().display().to_string();
    let plain = file(&place, "plain", 0o644, "");
    let nothing = file(&place, "nothing", 0o755, "hello\n");
    let bad = file(&place, "bad", 0o755, "#!/no/interpreter -x\n");
    let inside =
        |directory: &str| ProgramSpec { directory: Some(directory.into()), ..word("true") };
    let env_file = ProgramSpec { env_file: vec!["/no/env".into()], ..word("true") };
    let fifo = file(&place, "gone", 0o755, "");
    std::fs::remove_file(&fifo).unwrap();
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let waits = file(&place, "waits", 0o755, &format!("#!{fifo}\n"));
    let long = word("true");
    let long =
        ProgramSpec { command: Command::Words(vec!["true".into(), "x".repeat(1 << 20)]), ..long };
    let mut nul = word("true");
    nul.environment.insert("A".into(), "x\0y".into());
    for (spec, told) in vec![
        (word("/no/such"), "/no/such does not exist".to_owned()),
        (word("./no"), format!("{home}/./no does not exist")),
        (word("no-such-word"), "no file no-such-word is in any directory of PATH (".to_owned()),
        (word(&home), format!("{home} is a directory, and cannot be executed")),
        (word(&fifo), format!("{fifo} is no regular file, and cannot be executed")),
        (word(&waits), format!("{waits} or its interpreter {fifo} may not be executed by ")),
        (word(&plain), format!("{plain} is not executable: it has mode 644")),
        (word(&nothing), format!("{nothing} is no program: ")),
        (word(&bad), format!("{bad} needs the interpreter /no/interpreter, which does not exist")),
        (inside("/no/such"), "directory /no/such does not exist".to_owned()),
        (inside(&plain), format!("directory {plain} is no directory")),
        (env_file, "env_file /no/env: does not exist".to_owned()),
        (word("%(ENV_NO_SUCH)s"), "command: the worker has no variable NO_SUCH".to_owned()),
        (long, "/".to_owned()),
        (nul, "environment A holds a NUL byte".to_owned()),
    ] {
        let why = place.start(&spec).unwrap_err();
        assert!(why.starts_with(&told), "{why:?} does not begin with {told:?}");
    }
}

#[test]
fn users_and_their_rights() {
    let place = Place::new();
    let with = |user: &str, spec: ProgramSpec| ProgramSpec { user: Some(user.into()), ..spec };
    for (user, told) in [
        ("no-such-user", "user no-such-user does not exist on this machine"),
        ("root:no-such-group", "group no-such-group does not exist on this machine"),
        ("54321", "no user has the number 54321 on this machine"),
    ] {
        let why = place.start(&with(user, word("true"))).unwrap_err();
        assert!(why.starts_with(told), "{why}");
    }
    if !root(&place) {
        return;
    }
    let closed = place.home.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let mut spec = with("nobody", word("true"));
    spec.directory = Some(closed.display().to_string());
    let why = place.start(&spec).unwrap_err();
    assert_eq!(why, format!("directory {} may not be entered by user nobody", closed.display()));
    let private = file(&place, "private", 0o700, "#!/bin/sh\n");
    let why = place.start(&with("nobody", word(&private))).unwrap_err();
    assert!(why.contains("may not be executed by user nobody"), "{why}");
    let mut spec = with("54321:54321", word("true"));
    spec.rlimits.insert("nproc".into(), "0".parse().unwrap());
    let first = place.start(&with("54321:54321", script("exec sleep 1000"))).unwrap();
    let why = place.start(&spec).unwrap_err();
    assert!(why.contains("may have no more processes"), "{why}");
    crate::process::kill_one(first.pid);
    end_of(first.pid);
}
