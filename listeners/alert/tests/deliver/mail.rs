//! To a mail server.

use dsbus_alert::Fate;
use dsbus_harness::{Port, Recorder, SmtpWay};
use serde_json::{Value, json};

use crate::common::{Authority, later, letter, never, now, send, sender};

fn target(server: &Recorder, more: &Value) -> Value {
    let mut target = json!({
        "type": "mail", "to": ["ops@example.org", "On call <oncall@example.org>"],
        "host": "localhost", "port": server.port(),
    });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target
}

#[tokio::test]
async fn a_mail_says_what_happened() {
    let server = Recorder::smtp(&json!(["250 OK"]), SmtpWay::None, None);
    let target = target(&server, &json!({ "tls": "none" }));
    let letter = letter();
    let sender = sender(&target);
    assert_eq!(sender.send(&letter, now()).await, Fate::Delivered);
    assert_eq!(sender.send(&letter, now()).await, Fate::Delivered);
    let given = server.given();
    let (mail, headers) = (&given[0], &given[0]["headers"]);
    assert_eq!(mail["to"], json!(["ops@example.org", "oncall@example.org"]));
    assert_eq!(
        (&mail["from"], &mail["hello"]),
        (&json!("dsbus@here.example.org"), &json!("here.example.org"))
    );
    assert_eq!(headers["subject"], "[dsbus default] TEST of rule r: web:0 FATAL on w2");
    assert_eq!(headers["date"], "Mon, 21 Sep 2026 14:13:20 +0000");
    assert_eq!(
        (&headers["auto-submitted"], &headers["x-dsbus-rule"]),
        (&json!("auto-generated"), &json!("r"))
    );
    let text = mail["text"].as_str().unwrap();
    for part in [
        "where   w2, pid 4711",
        "why     exit code 1 (not expected)",
        "stderr  boom",
        "dsbus explain web:0",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(headers["message-id"], given[1]["headers"]["message-id"], "the same at each try");
}

#[tokio::test]
async fn texts_of_the_file_are_used() {
    let server = Recorder::smtp(&json!(["250 OK"]), SmtpWay::None, None);
    let more = json!({ "tls": "none", "subject": "{{ event.program }}\n fällt", "text": "{{ event.type }}: {{ rule }} é" });
    assert_eq!(send(&target(&server, &more)).await, Fate::Delivered);
    let mail = server.given().remove(0);
    assert_eq!(
        (&mail["headers"]["subject"], &mail["text"]),
        (&json!("web fällt"), &json!("FATAL: r é\r\n"))
    );
}

#[tokio::test]
async fn answers_say_whether_another_try_is_in_vain() {
    let server = Recorder::smtp(&json!(["451 later, please"]), SmtpWay::None, None);
    let target = target(&server, &json!({ "tls": "none" }));
    let why = later(send(&target).await);
    assert!(why.contains("later, please"), "{why}");
    server.answer(&json!(["550 nobody of that name"]));
    let why = never(send(&target).await);
    assert!(why.contains("550") && why.contains("nobody of that name"), "{why}");
    // Nobody listens there, and nobody else will.
    let nobody = Port::reserve();
    let mut target = target;
    target["port"] = json!(nobody.number());
    let why = later(send(&target).await);
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn with_tls_the_server_is_known_and_the_user_logs_in() {
    let authority = Authority::new();
    let (certificate, key) = authority.pair();
    for (way, tls) in [(SmtpWay::Starttls, "starttls"), (SmtpWay::Tls, "tls")] {
        let server = Recorder::smtp(&json!(["250 OK"]), way, Some((&certificate, &key)));
        let login = json!({ "tls": tls, "username": "dsbus", "password_env": "PASSWORD" });
        let why = later(send(&target(&server, &login)).await);
        assert!(why.contains("UnknownIssuer") || why.contains("unknown"), "{tls}: {why}");
        assert!(!why.contains("secret"), "{why}");
        let mut trusted = login.clone();
        trusted["ca_file"] = json!(authority.ca());
        assert_eq!(send(&target(&server, &trusted)).await, Fate::Delivered, "{tls}");
        let mail = server.given().remove(0);
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("dsbus")), "{tls}");
        let directory = tempfile::tempdir().unwrap();
        let wrong = crate::common::file(directory.path(), "password", "wrong");
        let wrong = json!({
            "tls": tls, "username": "dsbus", "password_file": wrong, "ca_file": authority.ca(),
        });
        let why = never(send(&target(&server, &wrong)).await);
        assert!(why.contains("535") && !why.contains("wrong"), "{tls}: {why}");
        assert_eq!(server.given().len(), 1);
    }
}

#[tokio::test]
async fn who_has_no_tls_is_told_nothing() {
    let server = Recorder::smtp(&json!(["250 OK"]), SmtpWay::None, None);
    for tls in ["starttls", "tls"] {
        later(send(&target(&server, &json!({ "tls": tls, "timeout": "5s" }))).await);
    }
    assert_eq!(server.given(), Vec::<Value>::new());
}
