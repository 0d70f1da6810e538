//! What people look at: `describe`, `status -w`, and a rollout while it goes on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use dsbus_harness::Terminal;

use crate::fleet::{Fleet, SHOP};

const BAD: &str = r#"
[program.bad]
command = "echo cannot work >&2; exit 7"
shell = true
startretries = 0
max_fail_count = 1
"#;

#[test]
fn wide_tables_have_exact_times_and_all_columns() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(SHOP);
    let plain = fleet.ok(&["status", "web"]);
    assert!(!plain.contains(" UTC)") && !plain.contains("REVISION"), "{plain}");
    let wide = fleet.ok(&["status", "web", "-o", "wide"]);
    let title = wide.lines().next().unwrap();
    for column in ["EPOCH", "REVISION", "SINCE", "RESTARTS", "ID"] {
        assert!(title.contains(column), "{column}: {wide}");
    }
    let row = fleet.json(&["status", "web:0", "-o", "json"])[0].clone();
    let since = row["since"].as_str().unwrap();
    let exact = format!("({} UTC)", since[..19].replace('T', " "));
    assert!(wide.contains(&exact) && wide.contains(row["id"].as_str().unwrap()), "{exact}: {wide}");
    for words in [["history", "web"], ["workers", "w1"]] {
        let wide = fleet.ok(&[&words[..], &["-o", "wide"]].concat());
        assert!(wide.contains("ago (20") && wide.contains(" UTC)"), "{wide}");
    }
    let wide = fleet.ok(&["workers", "-o", "wide"]);
    assert!(wide.contains("ago (20") && wide.contains(" UTC)"), "{wide}");
}

#[test]
fn a_program_is_described_without_its_secrets() {
    let fleet = Fleet::start(1, 2);
    let file = fleet.file("shop.toml", &[SHOP, BAD].concat());
    fleet.fails(1, &["apply", &file, "--as", "ann"]);
    // Who has placed them tells it for itself.
    for name in ["web:0", "web:1"] {
        fleet.wait_event("of its placement", |event| {
            event["data"]["name"] == name && event["data"]["change"] == "PLACED"
        });
    }
    let shown = fleet.ok(&["describe", "web"]);
    for part in [
        "web\nstate     2 instances, 2 as it should be",
        "ago (20",
        " UTC) by ann",
        "  command = \"sleep 1000\"",
        "TOKEN = \"...\"",
        "web:1  RUNNING",
        "1 (now)",
        "placement.PLACED",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("not-for-everybody"), "{shown}");
    let one = fleet.ok(&["describe", "web:1", "-n", "1"]);
    assert!(one.contains("web:1\nstate     RUNNING") && one.contains("because   "), "{one}");
    assert!(!one.contains("Declaration") && !one.contains("web:0"), "{one}");
    assert!(one.contains("stdout    /"), "{one}");
    let row = fleet.wait_row("bad:0", "given up", |row| {
        row["reason"].as_str().is_some_and(|why| why.contains("; given up "))
    });
    let why = row["reason"].as_str().unwrap();
    assert!(why.starts_with("failed to start 1 time: ") && why.contains("; given up "), "{why}");
    let bad = fleet.ok(&["describe", "bad"]);
    assert!(bad.contains("last exit   exit code 7") && bad.contains("cannot work"), "{bad}");

    let all = fleet.json(&["describe", "all", "-o", "json"]);
    let web = all.as_array().unwrap().iter().find(|about| about["name"] == "web").unwrap();
    assert_eq!(web["program"]["spec"]["environment"]["TOKEN"], "...");
    assert_eq!(web["instances"].as_array().unwrap().len(), 2);
    assert!(web["instances"][0]["because"].is_string(), "{web}");
    assert!(!all.to_string().contains("not-for-everybody"));
    let told = fleet.fails(1, &["describe", "wev"]);
    assert!(told.contains("did you mean web"), "{told}");
}

#[test]
fn a_watched_status_tells_each_change() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let mut watching = fleet
        .command()
        .args(["status", "-w", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut until = |what: &str, is: &dyn Fn(&serde_json::Value) -> bool| {
        for line in lines.by_ref() {
            if is(&serde_json::from_str(&line.unwrap()).unwrap()) {
                return;
            }
        }
        panic!("{what} was not told");
    };
    until("the state before", &|row| row["name"] == "web:0" && row["state"] == "RUNNING");
    fleet.ok(&["stop", "web"]);
    until("the stop", &|row| row["state"] == "STOPPED");
    fleet.ok(&["create", "new", "--startsecs", "0", "--", "sleep", "1000"]);
    until("what is new", &|row| row["name"] == "new:0" && row["state"] == "RUNNING");
    fleet.ok(&["remove", "new"]);
    until("what is gone", &|row| row["name"] == "new:0" && row["gone"] == true);
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_watched_status_stays_current_on_a_terminal() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 30\nstartsecs = 0\n");
    let mut command = fleet.command();
    command.args(["status", "-w"]);
    let mut terminal = Terminal::start(command, 80, 24);
    // What it draws comes in parts.
    terminal.wait_until("as many as there is room for", |shown| {
        ["30 of 30 as they should be", "● RUNNING", "more lines"]
            .iter()
            .all(|part| shown.contains(part))
    });
    fleet.ok(&["stop", "web:0"]);
    terminal.wait_until("a stop, and nothing that has scrolled", |shown| {
        shown.contains("○ STOPPED") && shown.starts_with("default: ")
    });
    terminal.press("\x03");
    terminal.ended();
}

#[test]
fn a_watched_status_has_a_line_for_each_however_much_is_to_be_said() {
    let fleet = Fleet::start(1, 1);
    let story = "many words about what is missing here ".repeat(5);
    let text = format!(
        "[program.bad]\ncommand = \"echo {story} >&2; exit 7\"\nshell = true\nnumprocs = 12\n\
         startretries = 0\nmax_fail_count = 1\n"
    );
    let file = fleet.file("bad.toml", &text);
    fleet.fails(1, &["apply", &file]);
    let mut command = fleet.command();
    command.args(["status", "-w"]);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.wait_until("all twelve", |shown| {
        shown.matches("✗ FATAL").count() == 12
            && shown.contains('…')
            && !shown.contains("more lines")
    });
    terminal.press("\x03");
    terminal.ended();
}

#[test]
fn a_rollout_is_shown_live_and_goes_on_when_one_leaves() {
    let fleet = Fleet::start(1, 2);
    let file = |command: &str| {
        let text = format!(
            "[program.web]\ncommand = \"{command}\"\nshell = true\nnumprocs = 3\nstartsecs = 0\n\
             stopwaitsecs = 1\n[program.web.update]\nmin_healthy = \"1s\"\n"
        );
        fleet.file("web.toml", &text)
    };
    fleet.ok(&["apply", &file("exec sleep 1000")]);
    let gate = fleet.path().join("gate");
    // None of the new ones is ready before the test lets it.
    let readiness =
        format!("readiness = {{ exec = \"test -e {}\", interval = \"200ms\" }}\n", gate.display());
    let text = std::fs::read_to_string(file("exec sleep 999")).unwrap();
    let text = text.replace("stopwaitsecs = 1\n", &format!("stopwaitsecs = 1\n{readiness}"));
    let changed = fleet.file("changed.toml", &text);
    let mut command = fleet.command();
    command.args(["apply", &changed]);
    let mut terminal = Terminal::start(command, 100, 24);
    let shown = terminal.wait_for("0 of 3 changed");
    assert!(
        shown.contains("web: changed (3 instances): command, readiness; it is rolled out"),
        "{shown}"
    );
    terminal.wait_until("what is changed now, and what is to come", |shown| {
        shown.contains("  changing  web:")
            && shown.contains("STARTING")
            && shown.contains("to come")
    });
    terminal.press("\x03");
    terminal.ended();
    std::fs::write(&gate, "").unwrap();
    let mut command = fleet.command();
    command.args(["rollout", "status", "-w", "web"]);
    let mut terminal = Terminal::start(command, 100, 24);
    terminal.wait_until("the end, and nothing that was passing", |shown| {
        shown.contains("web: rolled out (revision 2)") && !shown.contains("Ctrl-C")
    });
    assert_eq!(terminal.ended().code(), Some(0));
}
