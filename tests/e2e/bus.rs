//! dsbus without dsbus: plain NATS clients.

use std::path::Path;
use std::process::Command;

use crate::fleet::{DEADLINE, Fleet, said};
use dsbus_client::{Bus, ConnectOptions, Error};
use dsbus_harness::{wait_for_async, wait_until};
use dsbus_schema::command::{Act, Acted, Envelope, Verb, code};
use dsbus_schema::ids::{FleetName, Target, UserName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) async fn connect(fleet: &Fleet) -> Bus {
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: false,
    };
    // One attempt ends soon, as that of a verb.
    wait_for_async("the bus", DEADLINE, async || Bus::connect(options.clone()).await.ok()).await
}

/// Sends a command that has an id until it is answered, as whoever gets no answer may: a busy machine
/// answers late.
pub(crate) async fn answered<A: DeserializeOwned>(
    bus: &Bus,
    verb: Verb,
    body: &impl Serialize,
) -> Result<A, Error> {
    let asking = async {
        loop {
            match bus.command(verb, body).await {
                Err(Error::Timeout | Error::Refused { code: code::UNAVAILABLE, .. }) => {}
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or(Err(Error::Timeout))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_again_with_its_id_acts_once() {
    let fleet = Fleet::start(2, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let bus = connect(&fleet).await;
    let id = Some(uuid::Uuid::now_v7());
    let act = Act::new(Envelope { id, version: None }, vec![Target::parse("web").unwrap()]);
    // Ten times, to whichever scheduler gets it.
    for _ in 0..10 {
        let acted: Acted = answered(&bus, Verb::Restart, &act).await.unwrap();
        assert_eq!(acted.instances[0].wanted.restarts, 1);
    }
    assert_eq!(fleet.row("web:0")["wanted"]["restarts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_commands_at_once_each_act_and_are_answered() {
    let fleet = Fleet::start(2, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nautostart = false\n");
    let bus = connect(&fleet).await;
    let commands = (0..50).map(|n| {
        let bus = bus.clone();
        tokio::spawn(async move {
            let verb = if n % 2 == 0 { Verb::Start } else { Verb::Stop };
            let body = json!({"id": uuid::Uuid::now_v7().to_string(), "names": ["web"]});
            answered::<Acted>(&bus, verb, &body).await
        })
    });
    for answer in commands.collect::<Vec<_>>() {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(fleet.row("web:0")["wanted"]["starts"], 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_refused_with_a_code_and_a_reason() {
    let fleet = Fleet::start(1, 1);
    let bus = connect(&fleet).await;
    let refused = |verb, body: Value| {
        let bus = bus.clone();
        async move {
            match answered::<Value>(&bus, verb, &body).await {
                Err(Error::Refused { code, text, .. }) => (code, text),
                other => panic!("{body}: {other:?}"),
            }
        }
    };
    for (verb, body, code, part) in [
        (Verb::Start, json!({"names": ["nobody"]}), 404, "nobody"),
        (Verb::Start, json!({"names": []}), 400, "names"),
        (Verb::Start, json!({"names": ["a.b"]}), 400, "a.b"),
        (Verb::Start, json!({}), 400, "names"),
        (Verb::Start, json!({"version": 2, "names": ["web"]}), 400, "version 2"),
        (Verb::Create, json!({"name": "x", "program": {"numprocs": 0}}), 400, "numprocs"),
        (Verb::Apply, json!({"programs": {"all": {"command": "x"}}}), 400, "reserved"),
        (
            Verb::Apply,
            json!({"programs": {"a": {"command": "x"}, "b": {}}}),
            400,
            "program.b.command",
        ),
    ] {
        let (got, text) = refused(verb, body.clone()).await;
        assert_eq!(got, code, "{body}: {text}");
        assert!(text.contains(part), "{body}: {text}");
    }
    assert!(fleet.status().is_empty(), "nothing was half done");
    // What a newer client may add is ignored.
    let body = json!({
        "id": uuid::Uuid::now_v7().to_string(), "later": 2,
        "programs": {"a": {"command": "sleep 1000", "later_key": 1}},
    });
    answered::<Value>(&bus, Verb::Apply, &body).await.unwrap();
}

#[test]
fn a_ten_line_python_script_is_enough() {
    let fleet = Fleet::start(1, 1);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    fleet.ok(&["apply", examples.join("hello.toml").to_str().unwrap()]);
    // As `dsbus dev` does.
    std::fs::create_dir(fleet.path().join(".dsbus")).unwrap();
    fleet.file(".dsbus/url", &fleet.nats.url());
    let what = "the script (run the tests by ./run test, which fetches nats-py)";
    // It waits for some seconds, and is run again where a busy machine takes longer.
    wait_until(what, DEADLINE, || {
        let mut python = Command::new("python3");
        python.arg(examples.join("command.py")).current_dir(fleet.path());
        let output = python.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let done = output.status.success() && out.contains("RUNNING") && out.contains("STOPPED");
        if done { Ok(()) } else { Err(said(&output)) }
    });
}
