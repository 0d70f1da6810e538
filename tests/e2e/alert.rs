//! `dsbus alert`: what happens in a fleet reaches people, whoever dies meanwhile.

use dsbus_harness::{Recorder, SmtpWay, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, Fleet};

/// A program that is given up at once, and says why.
const BROKEN: &str = "\
    [program.broken]\ncommand = [\"sh\", \"-c\", \"echo no database >&2; exit 3\"]\n\
    startretries = 0\nmax_fail_count = 1\n";

fn hook(server: &Recorder) -> String {
    format!("[target.hook]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\n", server.port())
}

/// Starts `dsbus alert`.
fn alert(fleet: &mut Fleet, id: &str, file: &str) {
    let url = fleet.nats.url();
    fleet.spawn(id, &["--nats", &url, "alert", file]);
}

/// Waits until letters are as `is` wants them.
fn letters(fleet: &Fleet, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, DEADLINE, || {
        let found = fleet.try_json(&["alert", "letters", "-o", "json"])?;
        if is(&found) { Ok(found) } else { Err(found.to_string()) }
    })
}

fn count(letters: &Value, which: &str) -> usize {
    letters[which].as_array().unwrap().len()
}

/// Applies what becomes FATAL; that this is a failure is the point.
fn break_down(fleet: &Fleet) {
    let file = fleet.file("broken.toml", BROKEN);
    fleet.run(&["apply", &file]);
    fleet.wait_state("broken:0", "FATAL");
}

#[test]
fn a_program_that_is_given_up_sends_one_mail_and_one_webhook() {
    let mut fleet = Fleet::start(1, 2);
    let mail = Recorder::smtp(&json!(["250 OK"]), SmtpWay::None, None);
    let server = Recorder::http(&json!([{}]), None);
    let text = format!(
        "[[rule]]\nname = \"fatal\"\nevents = \"FATAL\"\ngroup_wait = \"1s\"\n\
         send = [\"ops\", \"hook\"]\n{}\
         [target.ops]\ntype = \"mail\"\nto = \"ops@example.org\"\nhost = \"127.0.0.1\"\n\
         port = {}\ntls = \"none\"\n",
        hook(&server),
        mail.port()
    );
    let file = fleet.file("alert.toml", &text);
    alert(&mut fleet, "a1", &file);
    letters(&fleet, "alerts to work", |found| found["lease"] != Value::Null);
    break_down(&fleet);
    let mails = mail.wait_given(1);
    server.wait_given(1);
    letters(&fleet, "every letter to have arrived", |found| count(found, "waiting") == 0);
    assert_eq!((mail.given().len(), server.given().len()), (1, 1));
    let text = mails[0]["text"].as_str().unwrap();
    let subject = mails[0]["headers"]["subject"].as_str().unwrap();
    assert!(subject.starts_with("[dsbus default] broken:0 FATAL on w"), "{subject}");
    // Alone, or before the word of the fleet that it is given up everywhere.
    for part in ["no database", "exit code 3", "dsbus explain broken:0"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let body: Value = serde_json::from_str(server.given()[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["events"][0]["data"]["state"], "FATAL");
    assert_eq!(body["subject"].as_str(), Some(subject));
    let said = String::from_utf8(fleet.run(&["alert", "letters"]).stderr).unwrap();
    assert!(said.contains("every letter has arrived"), "{said}");
}

#[test]
fn another_one_tells_what_the_one_that_was_killed_did_not() {
    let mut fleet = Fleet::start(1, 1);
    let server = Recorder::http(&json!([{ "status": 503, "body": "busy" }]), None);
    let rule = "[[rule]]\nname = \"r\"\nevents = \"FATAL\"\ngroup_wait = 0\nsend = \"hook\"\n";
    let file = fleet.file("alert.toml", &format!("{rule}{}", hook(&server)));
    alert(&mut fleet, "a1", &file);
    let first = letters(&fleet, "alerts to work", |found| found["lease"] != Value::Null);
    alert(&mut fleet, "a2", &file);
    break_down(&fleet);
    let waits = letters(&fleet, "a try to fail", |found| {
        found["waiting"][0]["letter"]["why"] == "503 Service Unavailable: busy"
    });
    assert_eq!(count(&waits, "waiting"), 1);
    fleet.kill("a1");
    let tried = server.given().len();
    server.answer(&json!([{}]));
    server.wait_given(tried + 1);
    let last = letters(&fleet, "the letter to have arrived", |found| count(found, "waiting") == 0);
    assert_ne!(last["lease"]["pid"], first["lease"]["pid"]);
    let id = |n: usize| server.given()[n]["headers"]["dsbus-message-id"].clone();
    assert_eq!(id(0), id(tried), "who gets it twice can see that");
}

#[test]
fn dead_letters_are_shown_tried_again_and_forgotten() {
    let mut fleet = Fleet::start(1, 1);
    let server = Recorder::http(&json!([{ "status": 404, "body": "no such hook" }]), None);
    let rules = "[[rule]]\nname = \"r\"\nevents = \"FATAL\"\ngroup_wait = 0\nsend = \"hook\"\n\
         [[rule]]\nname = \"s\"\nevents = \"FATAL\"\ngroup_wait = 0\nsend = \"hook\"\n";
    let file = fleet.file("alert.toml", &format!("{rules}{}", hook(&server)));
    alert(&mut fleet, "a1", &file);
    letters(&fleet, "alerts to work", |found| found["lease"] != Value::Null);
    break_down(&fleet);
    let found = letters(&fleet, "two dead letters", |found| count(found, "dead") == 2);
    let table = fleet.ok(&["alert", "letters"]);
    for part in ["dead", "404 Not Found: no such hook"] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    // Alone, or with the word of the fleet that it is given up everywhere.
    assert!(table.contains("broken:0 FATAL") || table.contains("2 events"), "{table}");
    fleet.wait_event("DEAD_LETTER", |event| event["data"]["change"] == "DEAD_LETTER");
    let id = found["dead"][0]["id"].as_str().unwrap();
    assert!(fleet.ok(&["alert", "letters", id]).contains("broken:0 FATAL"));
    assert!(fleet.fails(1, &["alert", "letters", "zz"]).contains("there is no dead letter zz"));
    let tried = server.given().len();
    server.answer(&json!([{}]));
    assert!(fleet.ok(&["alert", "letters", "--retry", id]).contains("1 dead letter is"));
    server.wait_given(tried + 1);
    assert!(fleet.ok(&["alert", "letters", "--drop"]).contains("1 dead letter is"));
    letters(&fleet, "no letters", |found| count(found, "dead") + count(found, "waiting") == 0);

    // A file with a mistake changes nothing; one without is gone on with.
    let other = Recorder::http(&json!([{}]), None);
    std::fs::write(&file, "[[rule]]\n").unwrap();
    fleet.signal("a1", Signal::SIGHUP);
    let log = fleet.path().join("a1.log");
    wait_until("the mistake to be told", DEADLINE, || {
        let log = std::fs::read_to_string(&log).unwrap();
        if log.contains("the rules stay as they are") { Ok(()) } else { Err(log) }
    });
    let rule =
        "[[rule]]\nname = \"r\"\nevents = \"program.REMOVED\"\ngroup_wait = 0\nsend = \"hook\"\n";
    fleet.file("alert.toml", &format!("{rule}{}", hook(&other)));
    fleet.signal("a1", Signal::SIGHUP);
    wait_until("the changed file to be used", DEADLINE, || {
        let log = std::fs::read_to_string(&log).unwrap();
        if log.contains("the file has changed") { Ok(()) } else { Err(log) }
    });
    fleet.signal("a1", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("a1"), Some(0));
    letters(&fleet, "nobody to work", |found| found["lease"] == Value::Null);
}
