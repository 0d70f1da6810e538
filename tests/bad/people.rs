//! What people write: files, and words on a command line.

use std::process::{Command, Output, Stdio};

use dsbus_harness::wait_until;

use crate::fleet::{DEADLINE, DSBUS, Fleet};
use crate::{assert_as_before, fleet, judged, look, rows};

/// Exit code where no scheduler answers.
const UNREACHABLE: Option<i32> = Some(4);

/// Runs a command that should end at once; one that goes on is a failure, and is ended.
fn end(command: &mut Command, what: &str) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&format!("{what} to be refused"), DEADLINE, || {
        child.try_wait().unwrap().map(drop).ok_or("it runs")
    });
    child.wait_with_output().unwrap()
}

/// The same, again as long as no scheduler answers in time, where that is not what is expected.
fn answered(mut command: impl FnMut() -> Command, what: &str, expected: Option<i32>) -> Output {
    wait_until(&format!("an answer to {what}"), DEADLINE, || {
        let output = end(&mut command(), what);
        let code = output.status.code();
        if code == UNREACHABLE && code != expected { Err(text(&output)) } else { Ok(output) }
    })
}

fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// A command that reads a file of this kind.
fn reader(fleet: &Fleet, kind: &str, text: &str) -> Command {
    let mut command = fleet.command();
    match kind {
        "program" => {
            let given = if text.starts_with("command") { "" } else { "command = \"x\"\n" };
            let file = fleet.file("bad.toml", &format!("[program.web]\n{given}{text}\n"));
            command.args(["apply", &file]);
        }
        "file" => drop(command.args(["apply", &fleet.file("bad.toml", text)])),
        "supervisord" => drop(command.args(["apply", &fleet.file("bad.conf", text)])),
        "worker" => {
            let (file, dir) = (fleet.file("bad.toml", text), fleet.worker_directory("w8"));
            command.args(["worker", "--check-config", "--config", &file, "--dir"]).arg(dir);
        }
        "alert" => drop(command.args(["alert", "check", &fleet.file("bad.toml", text)])),
        "gateway" => {
            let file = fleet.file("bad.toml", text);
            command.args(["gateway", "--listen", "127.0.0.1:0", &file]);
        }
        "settings" => {
            let file = fleet.file("bad.toml", text);
            command = Command::new(DSBUS);
            command.arg("config").env("DSBUS_CONFIG", file).current_dir(fleet.path());
        }
        kind => panic!("{kind}"),
    }
    command
}

#[test]
fn a_file_that_is_wrong_is_refused_by_its_key() {
    let mut fleet = fleet();
    let before = look(&fleet);
    let mut wrong = Vec::new();
    for (kind, content, says) in rows::<(String, String, String)>(include_str!("files.toml")) {
        let row = format!("{kind}: {content}");
        let declares = ["program", "file", "supervisord"].contains(&kind.as_str());
        let expected = Some(if declares { 1 } else { 2 });
        let output = answered(|| reader(&fleet, &kind, &content), &row, expected);
        let code = output.status.code();
        wrong.extend(judged(&row, (code, &text(&output)), (expected, &says)));
    }
    assert_as_before(&mut fleet, &before, &["s1", "w1"], &wrong);
}

#[test]
fn words_that_are_wrong_are_refused() {
    let mut fleet = fleet();
    let before = look(&fleet);
    let mut wrong = Vec::new();
    for (words, code, says) in rows::<(Vec<String>, i32, String)>(include_str!("words.toml")) {
        let row = words.join(" ");
        let command = || {
            let mut command = fleet.command();
            command.args(&words);
            command
        };
        let output = answered(command, &row, Some(code));
        wrong.extend(judged(&row, (output.status.code(), &text(&output)), (Some(code), &says)));
    }
    assert_as_before(&mut fleet, &before, &["s1", "w1"], &wrong);
}
