//! What pages show of files that no command on them uses has no mistake: it is read by whoever reads such
//! files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::book::pages;
use crate::dev::{DSBUS, said};
use crate::page::{Kind, Reader};

/// Nobody listens there: what is asked of the bus fails, and a file is read before that.
const NOWHERE: &str = "nats://127.0.0.1:1";
/// Exit code where there is no bus.
const UNREACHABLE: i32 = 4;

/// What is wrong with a text.
fn wrong(reader: Reader, text: &str) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    // What pages have below /etc.
    let text = text.replace("/etc/dsbus/", &format!("{}/", place.path().display()));
    fs::write(place.path().join("slack.url"), "https://example.org/hook\n").unwrap();
    let file = place.path().join("part.toml");
    fs::write(&file, &text).unwrap();
    match reader {
        Reader::Programs => {
            let words = ["--nats", NOWHERE, "apply", "--dry-run"];
            told(&run(&words, Some(&file)), UNREACHABLE)
        }
        Reader::Worker => {
            let words = ["worker", "--name", "w1", "--check-config", "--config"];
            told(&run(&words, Some(&file)), 0)
        }
        Reader::Alert => told(&run(&["alert", "check"], Some(&file)), 0),
        Reader::Gateway => {
            let beside = |name: &Path| fs::read_to_string(place.path().join(name));
            dsbus_gateway::users::Settings::parse(&text, beside).err()
        }
        Reader::Grants => dsbus_scheduler::Grants::parse(&text).err(),
        Reader::Settings => {
            let mut command = dsbus(&["config"]);
            told(&command.env("DSBUS_CONFIG", &file).output().unwrap(), 0)
        }
    }
}

fn dsbus(words: &[&str]) -> Command {
    let mut command = Command::new(DSBUS);
    command.args(words).env_remove("DSBUS_CONFIG").env_remove("DSBUS_NATS").env_remove("NATS_URL");
    command
}

fn run(words: &[&str], file: Option<&Path>) -> Output {
    dsbus(words).args(file).output().unwrap()
}

/// What was said, where the exit code is another one.
fn told(output: &Output, code: i32) -> Option<String> {
    (output.status.code() != Some(code)).then(|| said(output))
}

#[test]
fn what_is_shown_of_a_file_has_no_mistake() {
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for block in &page.blocks {
            let Kind::Part(reader) = block.kind else { continue };
            seen += 1;
            if let Some(why) = wrong(reader, &block.text) {
                found.push(format!("{page}:{}: {}: {why}", block.line, reader.word()));
            }
        }
    }
    assert!(seen > 0);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn mistakes_in_parts_are_found() {
    let good = "[program.web]\ncommand = \"web\"\n";
    assert_eq!(wrong(Reader::Programs, good), None);
    for (reader, bad) in [
        (Reader::Programs, "[program.web]\ncomand = \"web\"\n"),
        (Reader::Worker, "lables = {}\n"),
        (Reader::Alert, "[[rule]]\nname = \"a\"\n"),
        (Reader::Gateway, "lisen = []\n"),
        (Reader::Grants, "[user.ann]\nverbs = [\"fly\"]\n"),
        (Reader::Settings, "natz = \"nats://n1\"\n"),
    ] {
        assert!(wrong(reader, bad).is_some(), "{bad}");
    }
}
