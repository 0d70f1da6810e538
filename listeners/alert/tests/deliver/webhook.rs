//! To a web server.

use std::time::Duration;

use dsbus_alert::Fate;
use dsbus_harness::Recorder;
use serde_json::{Value, json};

use crate::common::{Authority, file, found, later, letter, never, now, send, sender};

fn url(server: &Recorder) -> String {
    format!("http://127.0.0.1:{}/hook?token=hidden", server.port())
}

fn body(request: &Value) -> Value {
    serde_json::from_str(request["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn everything_that_is_known_is_sent_as_json() {
    let server = Recorder::http(&json!([{ "status": 204 }]), None);
    let target = json!({ "type": "webhook", "url": url(&server) });
    assert_eq!(send(&target).await, Fate::Delivered);
    let request = server.given().remove(0);
    assert_eq!(
        (&request["method"], &request["path"]),
        (&json!("POST"), &json!("/hook?token=hidden"))
    );
    assert_eq!(request["headers"]["content-type"], "application/json");
    let body = body(&request);
    assert_eq!(request["headers"]["dsbus-message-id"], body["id"]);
    assert_eq!(
        (&body["version"], &body["rule"], &body["kind"], &body["count"], &body["fleet"]),
        (&json!(1), &json!("r"), &json!("test"), &json!(1), &json!("default"))
    );
    assert_eq!(body["subject"], "[dsbus default] TEST of rule r: web:0 FATAL on w2");
    let event = &body["events"][0];
    assert_eq!((&event["specversion"], &event["data"]["state"]), (&json!("1.0"), &json!("FATAL")));
}

#[tokio::test]
async fn a_table_of_templates_is_json_whatever_events_say() {
    let server = Recorder::http(&json!([{}]), None);
    let target = json!({ "type": "webhook", "url": url(&server), "method": "put", "json": {
        "text": "{{ event.stderr_line | slack }}", "blocks": [{ "n": 1, "of": "{{ event.program }}" }],
    }});
    let mut letter = letter();
    let event = &mut letter.news.bundle.events[0].event;
    let mut changed = serde_json::to_value(&*event).unwrap();
    changed["data"]["stderr_line"] = json!("\"quoted\" \\ <!channel> & so");
    *event = serde_json::from_value(changed).unwrap();
    assert_eq!(sender(&target).send(&letter, now()).await, Fate::Delivered);
    let request = server.given().remove(0);
    assert_eq!(request["method"], "PUT");
    let text = "\"quoted\" \\ &lt;!channel&gt; &amp; so";
    let expected = json!({ "text": text, "blocks": [{ "n": 1, "of": "web" }] });
    assert_eq!(body(&request), expected);
}

#[tokio::test]
async fn a_template_of_a_body_must_give_what_it_says() {
    let server = Recorder::http(&json!([{}]), None);
    let url = url(&server);
    let with = |body: &str, media: &str| json!({ "type": "webhook", "url": url, "body": body, "content_type": media });
    assert_eq!(send(&with("{{ subject }}", "text/plain")).await, Fate::Delivered);
    let good = r#"{"a": {{ subject | tojson }}}"#;
    assert_eq!(send(&with(good, "application/json; charset=utf-8")).await, Fate::Delivered);
    let given = server.given();
    assert!(given[0]["body"].as_str().unwrap().starts_with("[dsbus default] TEST"));
    assert_eq!(given[1]["headers"]["content-type"], "application/json; charset=utf-8");
    // What is wrong is found when the file is read.
    let problems = found(&with(r#"{"a": "{{ event.reason }}}"#, "application/json")).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].1.message.contains("does not give JSON"), "{problems:?}");
}

#[tokio::test]
async fn answers_say_whether_another_try_is_in_vain() {
    let server = Recorder::http(&json!([{}]), None);
    let target = json!({ "type": "webhook", "url": url(&server) });
    for (status, temporary) in [
        (500, true),
        (503, true),
        (408, true),
        (429, true),
        (400, false),
        (401, false),
        (404, false),
        (410, false),
        (302, false),
    ] {
        let answer = json!({ "status": status, "body": "\n no such hook \nmore" });
        server.answer(&json!([answer]));
        let fate = send(&target).await;
        let why = match &fate {
            Fate::Later { why, .. } if temporary => why,
            Fate::Never { why } if !temporary => why,
            Fate::Delivered | Fate::Later { .. } | Fate::Never { .. } => {
                panic!("{status}: {fate:?}")
            }
        };
        assert!(why.starts_with(&status.to_string()), "{why}");
        assert!(status == 302 || why.ends_with("no such hook"), "{why}");
        assert!(!why.contains("hidden"), "{why}");
    }
    let answer = json!({ "status": 429, "headers": { "Retry-After": "7" } });
    server.answer(&json!([answer]));
    let Fate::Later { after, .. } = send(&target).await else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn who_does_not_answer_is_tried_later() {
    let server = Recorder::http(&json!([{ "delay": 600 }]), None);
    let target = json!({ "type": "webhook", "url": url(&server), "timeout": "300ms" });
    let why = later(send(&target).await);
    assert!(why.starts_with("no answer"), "{why}");
    assert!(!why.contains("hidden"), "{why}");
    let nobody = format!("http://127.0.0.1:{}/secret", 1);
    let why = later(send(&json!({ "type": "webhook", "url": nobody })).await);
    assert_eq!(why, "no connection: Connection refused (os error 111)");
    assert!(!why.contains("secret"), "{why}");
}

#[tokio::test]
async fn only_an_authority_that_is_trusted_is_believed() {
    let authority = Authority::new();
    let (certificate, key) = authority.pair();
    let server = Recorder::http(&json!([{}]), Some((&certificate, &key)));
    let url = format!("https://localhost:{}/", server.port());
    let why = later(send(&json!({ "type": "webhook", "url": url })).await);
    assert!(why.contains("no connection: invalid peer certificate: UnknownIssuer"), "{why}");
    let other = Authority::new();
    let why = later(send(&json!({ "type": "webhook", "url": url, "ca_file": other.ca() })).await);
    assert!(why.contains("invalid peer certificate"), "{why}");
    let other_name = format!("https://127.0.0.1:{}/", server.port());
    let target = json!({ "type": "webhook", "url": other_name, "ca_file": authority.ca() });
    let why = later(send(&target).await);
    assert!(why.contains("not valid for name"), "{why}");
    assert_eq!(server.given(), Vec::<Value>::new(), "nobody is told who is not trusted");
    let target = json!({ "type": "webhook", "url": url, "ca_file": authority.ca() });
    assert_eq!(send(&target).await, Fate::Delivered);
    assert_eq!(server.given().len(), 1);
}

#[tokio::test]
async fn secrets_are_read_at_each_try_and_never_told() {
    let directory = tempfile::tempdir().unwrap();
    let server = Recorder::http(&json!([{ "status": 401 }]), None);
    let hook = file(directory.path(), "url", &format!("{}\n", url(&server)));
    let token = file(directory.path(), "token", "t0ken-1\n");
    let key = file(directory.path(), "key", "k3y");
    let target = json!({
        "type": "webhook", "url_file": hook, "token_file": token,
        "headers": { "X-Plain": "yes" }, "header_files": { "X-Key": key },
    });
    let sender = sender(&target);
    let why = never(sender.send(&letter(), now()).await);
    file(directory.path(), "token", "t0ken-2");
    never(sender.send(&letter(), now()).await);
    let told = |n: usize, name: &str| server.given()[n]["headers"][name].clone();
    assert_eq!(
        (told(0, "authorization"), told(1, "authorization")),
        (json!("Bearer t0ken-1"), json!("Bearer t0ken-2"))
    );
    assert_eq!((told(0, "x-plain"), told(0, "x-key")), (json!("yes"), json!("k3y")));
    for shown in [why, format!("{sender:?}")] {
        for secret in ["t0ken-1", "t0ken-2", "k3y", "hidden"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
    std::fs::remove_file(directory.path().join("token")).unwrap();
    let why = later(sender.send(&letter(), now()).await);
    assert!(why.contains("token cannot be read"), "{why}");
    let target = json!({
        "type": "webhook", "url": url(&server), "username": "dsbus", "password_env": "PASSWORD",
    });
    send(&target).await;
    assert_eq!(told(2, "authorization"), "Basic ZHNidXM6c2VjcmV0");
}
