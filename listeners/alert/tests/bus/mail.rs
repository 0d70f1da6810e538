//! Mails to several people.

use std::collections::BTreeSet;

use dsbus_harness::{DEADLINE, NatsServer, Recorder, SmtpWay, wait_for_async};
use serde_json::{Value, json};

use crate::common::{Daemon, letters, lose, ready, spec_to};

#[tokio::test]
async fn a_recipient_who_is_refused_keeps_nobody_else_from_the_mail() {
    let (nats, server) =
        (NatsServer::start(), Recorder::smtp(&json!(["250 OK"]), SmtpWay::None, None));
    let bus = ready(&nats).await;
    let target = json!({
        "type": "mail", "host": "localhost", "port": server.port(), "tls": "none", "timeout": "2m",
        "to": ["ann@example.org", "nobody@example.org", "Bob <bob@example.org>"],
    });
    let daemon = Daemon::start(&nats.url(), spec_to(&json!({}), &[("ops", target)]));
    // Events from before the consumer was made are not heard.
    wait_for_async("the first mail", DEADLINE, async || {
        lose(&bus, "w1").await;
        (!server.given().is_empty()).then_some(())
    })
    .await;
    // Until it is the last one's turn, more may come.
    let last = lose(&bus, "w1").await;
    let found = letters(&bus, "nothing on its way", |found| {
        let mut told = found.dead.iter().flat_map(|dead| &dead.letter.letter.news.bundle.events);
        found.waiting.is_empty() && told.any(|of| of.event.id == last)
    })
    .await;
    for dead in &found.dead {
        assert_eq!(dead.letter.letter.to.as_deref(), Some("nobody@example.org"));
        assert!(dead.letter.why.contains("nobody of that name"), "{}", dead.letter.why);
    }
    let given = server.given();
    let to = |mail: &Value| mail["to"].to_string();
    let people: BTreeSet<String> = given.iter().map(to).collect();
    assert_eq!(
        people,
        [r#"["ann@example.org"]"#, r#"["bob@example.org"]"#].map(str::to_owned).into()
    );
    // It is one message, and everybody sees who else has it.
    let all = "ann@example.org, nobody@example.org, Bob <bob@example.org>";
    assert!(given.iter().all(|mail| mail["headers"]["to"] == all), "{given:?}");
    let ids: BTreeSet<String> =
        given.iter().map(|mail| mail["headers"]["message-id"].to_string()).collect();
    assert_eq!((ids.len(), given.len()), (found.dead.len(), 2 * found.dead.len()));
    daemon.stop().await;
}
