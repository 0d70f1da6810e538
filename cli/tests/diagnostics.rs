//! What the binary says about wrong files and wrong command lines, word for word: the expected
//! text is in `output/`. After a change that is meant, write it anew with
//! `dsbus apply FILES 2> output/NAME.txt` from this directory.
#![expect(clippy::expect_used, reason = "a test that cannot run its parts has failed")]
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs the binary where no fleet of the person who tests is found.
fn dsbus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dsbus"))
        .args(arguments)
        .current_dir(here())
        .env_remove("NATS_URL")
        .env_remove("DSBUS_FLEET")
        .output()
        .expect("dsbus runs")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

fn check(files: &[&str], name: &str) {
    let arguments: Vec<&str> = ["apply"].iter().chain(files).copied().collect();
    check_all(&arguments, 1, name);
}

fn check_all(arguments: &[&str], code: i32, name: &str) {
    let output = dsbus(arguments);
    let expected = std::fs::read_to_string(here().join("output").join(name)).expect("is there");
    assert_eq!(said(&output), expected, "{arguments:?}");
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty());
}

#[test]
fn everything_wrong_is_told_at_once() {
    check(&["files/wrong.toml", "files/twice.toml"], "wrong.txt");
}

#[test]
fn a_file_that_is_no_toml_is_told_the_same_way() {
    check(&["files/syntax.toml", "files/same.toml"], "syntax.txt");
}

#[test]
fn slips_inside_of_tables_are_told_where_they_stand() {
    check(&["files/tables.toml"], "tables.txt");
}

#[test]
fn slips_in_event_listeners_are_told_where_they_stand() {
    check(&["files/eventlistener.toml"], "eventlistener.txt");
}

#[test]
fn slips_in_where_and_how_it_runs_are_told_where_they_stand() {
    check(&["files/placement.toml"], "placement.txt");
}

#[test]
fn files_without_a_program_and_missing_files_are_errors() {
    check(&["files/empty.toml", "files/missing.toml"], "empty.txt");
}

#[test]
fn what_is_wrong_with_a_workers_file_is_told_the_same_way() {
    for file in ["worker.toml", "supervisord.toml"] {
        let path = format!("files/{file}");
        let output = file.replace(".toml", ".txt");
        check_all(&["worker", "--config", &path], 2, &output);
    }
}

#[test]
fn what_is_wrong_with_an_alert_file_is_told_the_same_way() {
    check_all(&["alert", "check", "files/alert.toml"], 2, "alert.txt");
    let output = dsbus(&["alert", "files/none.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("files/none.toml: error: cannot be read"), "{}", said(&output));
}

#[test]
fn the_example_of_alerts_is_right_and_shows_what_it_would_send() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/alert.toml");
    let output = dsbus(&["alert", "check", file]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = dsbus(&["alert", "test", "--print", file, "fatal"]);
    let text = String::from_utf8(output.stdout.clone()).expect("it is text");
    let slack = text.lines().find(|line| line.starts_with('{')).expect("what slack gets");
    let slack: serde_json::Value = serde_json::from_str(slack).expect("it is JSON");
    let slack = slack["text"].as_str().expect("it has a text");
    for part in ["*[dsbus default] TEST of rule fatal: web:0 FATAL on w2*", "stderr  boom"] {
        assert!(slack.contains(part) && text.contains(part.trim_matches('*')), "{part}: {text}");
    }
    let output = dsbus(&["alert", "test", "--print", file, "fatel"]);
    assert!(said(&output).contains("did you mean \"fatal\"?"), "{}", said(&output));
}

#[test]
fn a_workers_file_that_is_right_is_printed_with_what_it_leaves_open() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/worker.toml");
    let output = dsbus(&["worker", "-c", file, "--name", "w1", "--check-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("it is text");
    for (setting, from) in
        [("name             = \"w1\"", "# --name"), ("loglevel         = \"info\"", "# default")]
    {
        let line = text.lines().find(|line| line.starts_with(setting));
        assert!(line.is_some_and(|line| line.ends_with(from)), "{setting} {from} is not in {text}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for (arguments, expected) in [
        (&["create", "web", "--numproc", "3", "--", "x"][..], "--numprocs"),
        (&["create", "web", "--numprocs", "x", "--", "x"], "--numprocs: expected a whole number"),
        (
            &["create", "web", "--readiness", "http=http://h/,timout=5", "--", "x"],
            "did you mean \"timeout\"?",
        ),
        (&["create", "web", "--limits", "memory", "--", "x"], "--limits: expected a table"),
        (&["reload"], "<NAME>"),
        (&["clear"], "<NAME>"),
        (&["start"], "<NAME>"),
        (&["alert"], "<FILE>"),
        (&["alert", "letters", "--retry", "--drop"], "--retry"),
        (&["start", "web:"], "needs a copy after its colon"),
        (&["statsu"], "status"),
        (&["--nats", "foo://bar", "status"], "foo:// is no address of a bus"),
        (&["--fleet", "a.b", "status"], "may hold only"),
    ] {
        let output = dsbus(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_bus_that_is_not_there_is_exit_code_4_and_says_where_it_was_looked_for() {
    let output = dsbus(&["--nats", "nats://ann:secret@127.0.0.1:1", "status"]);
    assert_eq!(output.status.code(), Some(4));
    let text = said(&output);
    for part in ["nats://ann:...@127.0.0.1:1", "from --nats", "is the address right"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn help_and_version_are_exit_code_0() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["create", "--help"],
        &["dev", "--help"],
        &["alert", "--help"],
    ] {
        let output = dsbus(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

/// A file with nothing wrong is refused for one reason only: there is no bus.
#[test]
fn what_documents_and_examples_declare_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a folder");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("is there");
    let of = |fence: &str| -> Vec<&str> {
        readme.split(fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
    };
    let directory = tempfile::tempdir().expect("a directory");
    let (alerts, blocks) = (of("```toml alert\n"), of("```toml\n"));
    assert_eq!(alerts.len(), 1, "the README has rules for alerts");
    let rules = directory.path().join("alert.toml");
    std::fs::write(directory.path().join("slack.url"), "http://127.0.0.1:1/x").expect("is written");
    // The one thing that is of a machine.
    let alert = alerts[0].replace("/etc/dsbus/slack.url", "slack.url");
    std::fs::write(&rules, alert).expect("is written");
    let checked = dsbus(&["alert", "check", rules.to_str().expect("is text")]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    let gateways = of("```toml gateway\n");
    assert_eq!(gateways.len(), 1, "the README has users of a gateway");
    let settings =
        dsbus_gateway::users::Settings::parse(gateways[0], |path| std::fs::read_to_string(path));
    assert_eq!(settings.map(|settings| settings.users.is_empty()), Ok(false));
    let mut files: Vec<PathBuf> = Vec::new();
    for (number, block) in blocks.into_iter().enumerate() {
        files.push(directory.path().join(format!("readme-{number}.toml")));
        std::fs::write(&files[number], block).expect("is written");
    }
    assert!(files.len() >= 2, "the README declares programs");
    files.extend(["hello.toml", "exclusive.toml"].map(|name| root.join("examples").join(name)));
    let mut arguments = vec!["apply", "--nats", "nats://127.0.0.1:1", "--timeout", "1s"];
    arguments.extend(files.iter().filter_map(|file| file.to_str()));
    let output = dsbus(&arguments);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
}
