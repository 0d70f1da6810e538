//! To a command.

use std::fs;

use dsbus_alert::Fate;
use dsbus_harness::{DEADLINE, wait_until};
use dsbus_schema::alert::NewsKind;
use serde_json::{Value, json};

use crate::common::{later, letter, never, now, send, sender};

fn shell(script: &str) -> Value {
    json!({ "type": "command", "command": ["sh", "-c", script] })
}

#[tokio::test]
async fn a_command_reads_the_event_and_finds_it_in_its_environment() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let script = format!(
        "cat > {0}.json; printf '%s|' \"$DSBUS_ALERT_RULE\" \"$DSBUS_ALERT_SUBJECT\" \
         \"$DSBUS_ALERT_COUNT\" \"$DSBUS_EVENT_TYPE\" \"$DSBUS_EVENT_INSTANCE\" > {0}",
        out.display()
    );
    assert_eq!(send(&shell(&script)).await, Fate::Delivered);
    let said = fs::read_to_string(&out).unwrap();
    assert_eq!(said, "r|[dsbus default] TEST of rule r: web:0 FATAL on w2|1|FATAL|web:0|");
    let read = fs::read_to_string(out.with_extension("json")).unwrap();
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!((&read["events"][0]["subject"], &read["version"]), (&json!("web:0"), &json!(1)));
}

#[tokio::test]
async fn a_text_that_is_too_long_for_the_environment_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut letter = letter();
    letter.news.labels.insert("x".to_owned(), "é".repeat(100_000));
    letter.news.kind = NewsKind::Flapping;
    let script = format!("cat > {0}.json; printf %s \"$DSBUS_ALERT_TEXT\" > {0}", out.display());
    assert_eq!(sender(&shell(&script)).send(&letter, now()).await, Fate::Delivered);
    let (text, json) = (fs::read_to_string(&out), fs::read_to_string(out.with_extension("json")));
    // A character may be longer than what is left.
    assert!((32 * 1024 - 3..=32 * 1024).contains(&text.unwrap().len()));
    assert!(json.unwrap().len() > 200_000, "on standard input it is whole");
}

#[tokio::test]
async fn exit_codes_say_whether_another_try_is_in_vain() {
    assert_eq!(send(&shell("true")).await, Fate::Delivered, "it need not read");
    let why = later(send(&shell("echo one >&2; echo two >&2; exit 1")).await);
    assert_eq!(why, "exit status: 1: two");
    later(send(&shell("exit 75")).await);
    never(send(&shell("exit 65")).await);
    let why = later(send(&shell("kill -9 $$")).await);
    assert!(why.contains("signal: 9"), "{why}");
    let why = later(send(&json!({ "type": "command", "command": "/no/such/program" })).await);
    assert!(why.starts_with("/no/such/program cannot be run"), "{why}");
}

#[tokio::test]
async fn a_command_that_says_much_is_cut_short_and_does_not_hang() {
    let why = later(send(&shell("yes | head -c 3000000 >&2; echo last >&2; exit 3")).await);
    assert_eq!(why, "exit status: 3: last");
    // What it leaves behind holds its output open.
    assert_eq!(send(&shell("sleep 300 & true")).await, Fate::Delivered);
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_whole() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("sleep 300 & echo $! $$ > {}; wait", pids.display());
    let mut target = shell(&script);
    let mut begun = String::new();
    // A busy machine may not have begun within a short time.
    for timeout in ["1s", "10s", "50s"] {
        target["timeout"] = json!(timeout);
        let why = later(send(&target).await);
        assert!(why.contains(&format!("killed, within {timeout}")), "{why}");
        begun = fs::read_to_string(&pids).unwrap_or_default();
        if begun.ends_with('\n') {
            break;
        }
    }
    let pids = begun;
    for pid in pids.split_whitespace() {
        wait_until("the process to be gone", DEADLINE, || {
            match fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => Err(stat),
                Ok(_) | Err(_) => Ok(()),
            }
        });
    }
    assert_eq!(pids.split_whitespace().count(), 2);
}
