//! What people see.

use std::process::Command;

use crate::fleet::{DSBUS, Fleet, said};

#[test]
fn every_verb_has_help_with_its_options() {
    let help = |args: &[&str]| {
        let output = Command::new(DSBUS).args(args).arg("--help").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&[]);
    for verb in [
        "apply",
        "create",
        "start",
        "stop",
        "restart",
        "reload",
        "remove",
        "status",
        "workers",
        "logs",
        "clear",
        "events",
        "dev",
        "scheduler",
        "worker",
    ] {
        assert!(all.contains(verb), "{all}");
        assert!(help(&[verb]).contains("Usage"), "{verb}");
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    let fleet = Fleet::bare();
    for args in [&["fly"][..], &["start"], &["create", "x"], &["status", "-o", "xml"], &["logs"]] {
        let said = fleet.fails(2, args);
        assert!(!said.is_empty());
    }
    let said = fleet.fails(2, &["create", "x", "--numproc", "3", "--", "sleep", "1"]);
    assert!(said.contains("numprocs"), "did you mean: {said}");
}

#[test]
fn an_empty_fleet_says_what_to_do_next() {
    let fleet = Fleet::start(1, 0);
    for (verb, next) in [("status", "dsbus create"), ("workers", "dsbus worker")] {
        let output = fleet.run(&[verb]);
        assert_eq!(output.status.code(), Some(0));
        assert!(said(&output).contains(next), "{}", said(&output));
    }
    assert_eq!(fleet.ok(&["status", "-o", "json"]).trim(), "[]");
}
