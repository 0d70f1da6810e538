//! Questions that pass through the agent: probes to children, and calls to empty logs.

use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Clear, Cleared, WorkerVerb};
use dsbus_supervisor::protocol::{Asked, ToAgent, ToSupervisor};
use tokio::net::TcpListener;

use crate::fleet::{Fleet, name, worker};
use crate::supervisor::{Supervisor, hello};

const PATIENCE: Duration = Duration::from_secs(20);

async fn probed(supervisor: &mut Supervisor, wanted: u64) -> Option<String> {
    let pick = |message| match message {
        ToSupervisor::Probed { number, trouble } if number == wanted => Some(trouble),
        _ => None,
    };
    supervisor.hear("an answer to a probe", pick).await
}

#[tokio::test]
async fn a_child_is_asked_even_while_there_is_no_bus() {
    let mut fleet = Fleet::start().await;
    fleet.server.stop();
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ask = Asked::Tcp(address.clone());
    supervisor.say(ToAgent::Probe { number: 7, ask: ask.clone(), timeout_ms: 20_000 });
    assert_eq!(probed(&mut supervisor, 7).await, None);
    // It accepts, and says nothing.
    let http = Asked::Http(format!("http://{address}/"));
    supervisor.say(ToAgent::Probe { number: 8, ask: http, timeout_ms: 50 });
    assert!(probed(&mut supervisor, 8).await.unwrap().contains("no answer"));
    drop(listener);
    supervisor.say(ToAgent::Probe { number: 9, ask, timeout_ms: 20_000 });
    assert!(probed(&mut supervisor, 9).await.unwrap().contains("refused"));
}

#[tokio::test]
async fn a_log_is_cleared_when_the_supervisor_says_so() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let bus = fleet.bus.clone();
    let clear = async |index| {
        let ask = Clear { name: name(index), forget: false };
        loop {
            let answer: Result<Cleared, Error> =
                bus.call_worker(&worker(), WorkerVerb::Clear, &ask, PATIENCE).await;
            // It does not listen yet.
            if !matches!(answer, Err(Error::NoResponders)) {
                return answer;
            }
        }
    };
    let answer = async {
        for (trouble, unknown) in [
            (None, false),
            (Some("the disk is gone".to_owned()), false),
            (Some("web:1 is not placed here".to_owned()), true),
        ] {
            let pick = |message| match message {
                ToSupervisor::ClearLogs { number, name, .. } => Some((number, name)),
                _ => None,
            };
            let (number, name) = supervisor.hear("a call to clear", pick).await;
            assert_eq!(name.index, u32::from(trouble.is_some()));
            supervisor.say(ToAgent::Cleared { number, trouble, unknown });
        }
    };
    let calls = async {
        assert_eq!(clear(0).await.unwrap().name, name(0));
        for (code, said) in [(503, "the disk is gone"), (404, "web:1 is not placed here")] {
            match clear(1).await {
                Err(Error::Refused { code: found, text, .. }) => {
                    assert_eq!((found, text.as_str()), (code, said));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(answer, calls);
}
