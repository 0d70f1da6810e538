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
fn a_variable_that_is_almost_ours_is_told() {
    let fleet = Fleet::bare();
    let told = |args: &[&str], name: &str| {
        let output = fleet.command().args(args).env(name, "eu").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    let slip = "warning: DSBUS_FLET means nothing here; did you mean DSBUS_FLEET?\n";
    assert_eq!(told(&["config"], "DSBUS_FLET"), slip);
    assert_eq!(told(&["-q", "config"], "DSBUS_FLET"), "");
    for name in ["DSBUS_EPOCH", "DSBUS_DEPLOY_TOKEN"] {
        assert_eq!(told(&["config"], name), "", "{name}");
    }
}

#[test]
fn words_in_another_order_are_put_right() {
    let fleet = Fleet::bare();
    for (args, meant) in [
        (["signal", "web", "USR1"], "did you mean dsbus signal USR1 web"),
        (["scale", "web", "3"], "did you mean dsbus scale web=3"),
        (["rollout", "web", "pause"], "did you mean dsbus rollout pause web"),
    ] {
        let said = fleet.fails(2, &args);
        assert!(said.contains(meant), "{said}");
    }
    let said = fleet.fails(2, &["status", "--json"]);
    assert!(said.contains("did you mean -o json?") && !said.contains("tip:"), "{said}");
    let said = fleet.fails(2, &["ps"]);
    assert!(said.contains("did you mean \"status\"?"), "{said}");
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
