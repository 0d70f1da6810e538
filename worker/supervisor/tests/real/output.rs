//! What children write.

use std::fs;
use std::io::Write;

use dsbus_schema::lenient::Size;
use dsbus_schema::program::AutoRestart;
use dsbus_schema::state::State;
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, order, script, signal_one, sleeper};

#[test]
fn rotation_loses_no_byte() {
    let mut stage = Stage::open();
    // The file must grow in more than one read, whatever a pipe holds.
    // Ten times what a pipe holds, so that files are rotated while it writes.
    let text = "seq 1 100000; seq 100001 400000";
    stage.place(&script("web", text, |spec| {
        spec.autorestart = AutoRestart::Never;
        spec.stdout_logfile_maxbytes = Size(100_000);
        spec.stdout_logfile_backups = 100;
    }));
    stage.change("web", State::Exited);
    let mut files = vec![stage.file("web", "stdout.log")];
    let backups = (1..=100).map(|n| stage.file("web", &format!("stdout.log.{n}")));
    files.extend(backups.filter(|path| path.exists()));
    assert!(files.len() > 5, "{files:?}");
    let read: Vec<u8> = files.iter().rev().flat_map(|path| fs::read(path).unwrap()).collect();
    let mut expected = Vec::new();
    for n in 1..=400_000 {
        writeln!(expected, "{n}").unwrap();
    }
    assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
}

#[test]
fn only_so_many_rotated_files_are_kept() {
    let mut stage = Stage::open();
    stage.place(&script("web", "seq 1 200000; echo end", |spec| {
        spec.autorestart = AutoRestart::Never;
        spec.stdout_logfile_maxbytes = Size(10_000);
        spec.stdout_logfile_backups = 2;
    }));
    stage.change("web", State::Exited);
    assert!(stage.file("web", "stdout.log.2").exists());
    assert!(!stage.file("web", "stdout.log.3").exists());
}

#[test]
fn both_outputs_go_where_they_belong_and_the_last_word_is_never_lost() {
    let mut stage = Stage::open();
    // The grandchild leaves the group, lives on, and holds the pipe open.
    let text = "setsid sleep 1000 & echo $! > holder; echo out; echo err >&2; printf last";
    stage.place(&script("two", text, |spec| spec.autorestart = AutoRestart::Never));
    stage.change("two", State::Exited);
    let holder: i32 = stage.read(&stage.file("two", "holder")).trim().parse().unwrap();
    let output = |name, file| fs::read_to_string(stage.file(name, file)).unwrap();
    assert_eq!(output("two", "stdout.log"), "out\nlast");
    assert_eq!(output("two", "stderr.log"), "err\n");
    // It may be gone already.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder), Signal::SIGKILL);
    stage.place(&script("one", "echo out; echo err >&2", |spec| {
        spec.autorestart = AutoRestart::Never;
        spec.redirect_stderr = true;
    }));
    stage.change("one", State::Exited);
    let read = fs::read_to_string(stage.file("one", "stdout.log")).unwrap();
    assert_eq!(read, "out\nerr\n");
}

#[test]
fn a_flood_does_not_keep_others_from_being_restarted() {
    let mut stage = Stage::open();
    let flood = stage.run(&order("flood", &["yes"], |spec| {
        spec.stdout_logfile_maxbytes = Size(1 << 20);
        spec.stdout_logfile_backups = 1;
    }));
    let mut pid = stage.run(&sleeper("web"));
    // Not more often: from the sixth quick death on, a child waits a second on purpose.
    for _ in 0..5 {
        signal_one(pid, Signal::SIGKILL);
        stage.change("web", State::Exited);
        pid = stage.change("web", State::Running).0.pid.unwrap();
    }
    assert!(alive(flood) && alive(pid));
    let rotated = stage.file("flood", "stdout.log.1");
    stage.wait_for("a rotated file", || rotated.exists());
}
