//! What shells, manuals and people's own verbs see of `dsbus`.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fleet::{DEADLINE, Fleet, said};
use dsbus_harness::wait_until;

/// Names of `bash`'s answer to a line that is being typed.
pub(crate) fn completed(fleet: &Fleet, words: &[&str]) -> Vec<String> {
    let dsbus = fleet.command();
    let program = std::path::Path::new(dsbus.get_program());
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(dsbus completion bash)\nCOMP_WORDS=(dsbus {})\nCOMP_CWORD={}\n\
         _clap_complete_dsbus dsbus '{}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words.len(),
        words.last().unwrap()
    );
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).env("NATS_URL", fleet.nats.url()).env("PATH", path);
    let out = bash.output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let names = String::from_utf8(out.stdout).unwrap();
    names.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_verbs_options_and_names_that_live() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\ngroup = \"shop\"\n\
         [program.api]\ncommand = \"sleep 1000\"\nstartsecs = 0\n",
    );
    assert_eq!(completed(&fleet, &["sta"]), ["start", "status"]);
    assert_eq!(completed(&fleet, &["stop", "--no"]), ["--no-wait"]);
    let live: [(&[&str], &[&str]); 6] = [
        (&["stop", "we"], &["web", "web:0", "web:1"]),
        (&["logs", "web:"], &["web:0", "web:1"]),
        (&["status", "s"], &["shop"]),
        (&["drain", "w"], &["w1"]),
        (&["attach", "api"], &["api", "api:0"]),
        (&["signal", "US"], &["USR1", "USR2"]),
    ];
    for (words, names) in live {
        // Whoever presses a key does not wait for a busy machine, and presses it again.
        wait_until(&format!("{names:?}"), DEADLINE, || {
            let found = completed(&fleet, words);
            if found == names { Ok(()) } else { Err(found) }
        });
    }
    for shell in ["zsh", "fish"] {
        let script = fleet.ok(&["completion", shell]);
        assert!(script.contains("DSBUS_COMPLETE"), "{script}");
    }
}

#[test]
fn a_fleet_that_does_not_answer_has_no_names() {
    let fleet = Fleet::bare();
    assert_eq!(completed(&fleet, &["stop", "a"]), ["all"]);
    assert_eq!(completed(&fleet, &["drain", "w"]), Vec::<String>::new());
}

#[test]
fn a_program_of_ones_own_is_a_verb() {
    let fleet = Fleet::bare();
    let path = fleet.file("dsbus-hello", "#!/bin/sh\necho \"$NATS_URL $DSBUS_FLEET $*\"\nexit 7\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = fleet.command();
    command.args(["--fleet", "f", "hello", "a b", "--flag"]);
    let path = format!("{}:/usr/bin:/bin", fleet.path().display());
    let out = command.env("PATH", path).output().unwrap();
    assert_eq!(out.status.code(), Some(7), "{}", said(&out));
    let heard = String::from_utf8(out.stdout).unwrap();
    assert_eq!(heard.trim(), format!("{} f a b --flag", fleet.nats.url()));
    let told = fleet.fails(2, &["statsu"]);
    assert!(told.contains("no verb \"statsu\"") && told.contains("\"status\"?"), "{told}");
}

#[test]
fn every_verb_has_a_manual_page() {
    let fleet = Fleet::bare();
    let page = fleet.ok(&["man"]);
    assert!(page.contains(".TH dsbus 1"), "{page}");
    let pages = fleet.path().join("man");
    fleet.ok(&["man", "--dir", pages.to_str().unwrap()]);
    assert!(fleet.ok(&["man", "status"]).contains(".TH dsbus-status 1"));
    let told = fleet.fails(2, &["man", "statsu"]);
    assert!(told.contains("did you mean \"status\""), "{told}");
    for verb in ["apply", "events", "rollout-undo", "worker"] {
        let page = std::fs::read_to_string(pages.join(format!("dsbus-{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!pages.join("dsbus-gzip.1").exists(), "what people do not type has no page");
}

#[test]
fn answers_are_tables_json_yaml_or_names() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    assert_eq!(fleet.ok(&["status", "-o", "name"]), "web:0\nweb:1\n");
    assert_eq!(fleet.ok(&["workers", "-o", "name"]), "w1\n");
    let yaml = fleet.ok(&["status", "web:1", "-o", "yaml"]);
    assert!(yaml.starts_with("- name: web:1\n") && yaml.contains("\n  state: RUNNING\n"), "{yaml}");
    let yaml = fleet.ok(&["explain", "web:0", "-o", "yaml"]);
    assert!(yaml.contains("worker: w1"), "{yaml}");
    let wide = fleet.ok(&["status", "-o", "wide"]);
    assert!(wide.contains("EPOCH") && wide.contains("RESTARTS"), "{wide}");
    assert_eq!(fleet.ok(&["stop", "web", "-o", "name"]), "web:0\nweb:1\n");
    let told = fleet.fails(2, &["status", "-o", "xml"]);
    assert!(told.contains("[possible values: table, wide, json, yaml, name]"), "{told}");
}

#[test]
fn files_to_begin_with_are_written_once() {
    let fleet = Fleet::start(1, 1);
    let out = fleet.ok(&["init", "new"]);
    assert!(out.contains("new/programs.toml: what runs"), "{out}");
    fleet.ok(&["apply", "new/programs.toml"]);
    assert_eq!(fleet.row("hello:0")["state"], "RUNNING");
    fleet.ok(&["worker", "--config", "new/worker.toml", "--check-config"]);
    std::fs::write(fleet.path().join("new/programs.toml"), "mine").unwrap();
    let told = fleet.fails(1, &["init", "new"]);
    assert!(
        told.contains("new/programs.toml is there already") && told.contains("--force"),
        "{told}"
    );
    let kept = || std::fs::read_to_string(fleet.path().join("new/programs.toml")).unwrap();
    assert_eq!(kept(), "mine");
    fleet.ok(&["init", "new", "-f"]);
    assert!(kept().contains("[program.hello]"));
}
