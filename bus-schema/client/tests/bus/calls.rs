//! Commands and calls to workers on a real server.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{PATIENCE, connect, raw, settle};
use dsbus_client::{Bus, Error, Meter, Refusal, Request, Stats, WorkerRequest};
use dsbus_harness::{NatsServer, wait_for_async};
use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::{Verb, code};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::program::Problem;
use dsbus_schema::stats::{DURATION_BOUNDS_US, SchedulerStats, WorkerStats};
use futures::StreamExt;
use serde_json::{Value, json};

async fn echo(request: Request) -> Result<String, Refusal> {
    request.understood()?;
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    Ok(json!({ "user": request.user, "verb": request.verb.name(), "body": body }).to_string())
}

/// Waits until the server knows of a scheduler: its connection is another one.
async fn listening(bus: &Bus) {
    wait_for_async("a scheduler", PATIENCE, async || {
        let answer = bus.command::<_, Value>(Verb::Workers, &json!({})).await;
        (answer != Err(Error::NoScheduler)).then_some(())
    })
    .await;
}

async fn ask(bus: &Bus, verb: Verb, body: &Value) -> Result<Value, Error> {
    tokio::time::timeout(PATIENCE, bus.command(verb, body)).await.expect("an answer of any kind")
}

/// Asks until there is an answer in time: on a busy machine it may come after that.
async fn answered(bus: &Bus, verb: Verb, body: &Value) -> Result<Value, Error> {
    wait_for_async("an answer", PATIENCE, async || {
        Some(ask(bus, verb, body).await).filter(|answer| *answer != Err(Error::Timeout))
    })
    .await
}

#[tokio::test]
async fn a_command_is_answered() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let serving = connect(&server).await.serve_commands("s1", || Value::Null, echo).await.unwrap();
    listening(&bus).await;
    let answer = answered(&bus, Verb::Status, &json!({ "names": ["web"] })).await.unwrap();
    assert_eq!(answer["user"], "anonymous");
    assert_eq!(answer["verb"], "status");
    assert_eq!(answer["body"]["names"], json!(["web"]));
    assert!(answer["body"]["id"].is_string(), "{answer}");
    // As a person would type it: no body at all.
    let client = raw(&server).await;
    let answer = client.request("dsbus.default.cmd.ann.workers", "".into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer, json!({ "user": "ann", "verb": "workers", "body": {} }));
    serving.stop().await;
    // The server may not know at once.
    wait_for_async("no scheduler", PATIENCE, async || {
        (ask(&bus, Verb::Status, &json!({})).await == Err(Error::NoScheduler)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_says_why() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let problem = Problem { key: "command".into(), message: "is missing".into(), hint: None };
    let refusal = Refusal {
        code: code::CONFLICT,
        text: "two\nlines".to_owned(),
        problems: vec![problem.clone()],
    };
    let sent = refusal.clone();
    let _served = bus
        .serve_commands(
            "s1",
            || Value::Null,
            move |_| std::future::ready(Err::<String, _>(sent.clone())),
        )
        .await
        .unwrap();
    let refused = answered(&bus, Verb::Apply, &json!({})).await;
    let Refusal { code, text, problems } = refusal;
    assert_eq!(refused, Err(Error::Refused { code, text, problems }));
    // Other tools read the headers.
    let client = raw(&server).await;
    let answer = client.request("dsbus.default.cmd.ann.apply", "{}".into()).await.unwrap();
    let headers = answer.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error").unwrap().as_str(), "two lines");
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "409");
}

/// Commands of another version are refused, and told, by schedulers.
#[tokio::test]
async fn a_call_of_another_version_is_refused() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let worker = WorkerName::parse("w1").unwrap();
    let pong = |_: WorkerRequest| async { Ok::<Value, Refusal>("pong".into()) };
    let _served = bus.serve_worker(&worker, || Value::Null, pong).await.unwrap();
    let call = async |version: u32| {
        let body = json!({ "version": version });
        bus.call_worker::<_, Value>(&worker, WorkerVerb::Ping, &body, PATIENCE).await
    };
    let refused = call(2).await;
    assert!(matches!(refused, Err(Error::Refused { code: code::BAD_REQUEST, .. })), "{refused:?}");
    assert_eq!(call(1).await, Ok("pong".into()));
}

#[tokio::test]
async fn without_schedulers_there_is_no_waiting() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    assert_eq!(answered(&bus, Verb::Status, &json!({})).await, Err(Error::NoScheduler));
}

#[tokio::test]
async fn another_scheduler_answers_for_a_frozen_one_and_acts_once() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    // One that is in the queue group and never answers.
    let client = raw(&server).await;
    let subject = "dsbus.default.cmd.*.start";
    let mut frozen = client.queue_subscribe(subject, "dsbus".to_owned()).await.unwrap();
    settle(&client).await;
    // Alone, it leaves the command without an answer.
    assert_eq!(ask(&bus, Verb::Start, &json!({})).await, Err(Error::Timeout));
    frozen.next().await.unwrap();

    let acted = Arc::new(Mutex::new(HashSet::new()));
    let log = Arc::clone(&acted);
    let act = move |request: Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let news = log.lock().unwrap().insert(body["id"].as_str().unwrap().to_owned());
        std::future::ready(Ok(json!({ "id": body["id"], "news": news }).to_string()))
    };
    let _served = connect(&server).await.serve_commands("s1", || Value::Null, act).await.unwrap();
    let (mut sent, mut late) = (0, 0);
    wait_for_async("the second one", PATIENCE, async || {
        let nothing = json!({});
        bus.command::<_, Value>(Verb::Workers, &nothing).await.ok()
    })
    .await;
    acted.lock().unwrap().clear();
    // Until one that was given to the frozen one is answered.
    loop {
        let answer = ask(&bus, Verb::Start, &json!({})).await;
        let mut missed = false;
        while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, frozen.next()).await {
            missed = true;
        }
        match answer {
            // One that is slow may be asked twice: what it answers then is no news to it.
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, Error::Timeout);
                late += 1;
                assert!(late < 10, "nobody answers for the frozen one");
                continue;
            }
        }
        if missed {
            break;
        }
    }
    // What was answered too late was acted on, or not.
    let acted = acted.lock().unwrap().len();
    assert!((sent..=sent + late).contains(&acted), "{acted} of {sent} and {late}");
}

#[tokio::test]
async fn a_better_answer_wins_over_a_refusal() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let client = raw(&server).await;
    let subject = "dsbus.default.cmd.*.stop";
    let _frozen = client.queue_subscribe(subject, "dsbus".to_owned()).await.unwrap();
    let mut all = client.subscribe("dsbus.default.cmdall.*.*").await.unwrap();
    settle(&client).await;
    let answers = async {
        let to = all.next().await.unwrap().reply.unwrap();
        let mut refusal = async_nats::HeaderMap::new();
        refusal.insert("Nats-Service-Error", "busy");
        refusal.insert("Nats-Service-Error-Code", "503");
        client.publish_with_headers(to.clone(), refusal, "".into()).await.unwrap();
        client.publish(to, "\"done\"".into()).await.unwrap();
    };
    let nothing = json!({});
    let (answer, ()) = tokio::join!(ask(&bus, Verb::Stop, &nothing), answers);
    assert_eq!(answer, Ok(json!("done")));
}

#[tokio::test]
async fn daemons_tell_what_they_count() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let durations = Meter::new(DURATION_BOUNDS_US);
    durations.add(Duration::from_millis(3));
    let scheduler = SchedulerStats {
        fleet: bus.fleet().clone(),
        scheduler: "s1".to_owned(),
        run: uuid::Uuid::nil(),
        events_stored: 7,
        events_queued: 0,
        events_dropped: 1,
        touches: durations.read(),
        touches_failed: 2,
        plans: durations.read(),
    };
    let worker = WorkerStats {
        fleet: bus.fleet().clone(),
        worker: WorkerName::parse("w1").unwrap(),
        incarnation: dsbus_schema::ids::Incarnation(uuid::Uuid::nil()),
        agent: 1,
        events_stored: 9,
        events_queued: 3,
        events_dropped: 0,
        touches: durations.read(),
        touches_failed: 0,
    };
    let other = WorkerStats { fleet: "other".parse().unwrap(), ..worker.clone() };
    let told = |stats: &WorkerStats| {
        let stats = serde_json::to_value(stats).unwrap();
        move || stats.clone()
    };
    let silent = |_: WorkerRequest| async { Err::<Value, _>(Refusal::silent()) };
    let stats = serde_json::to_value(&scheduler).unwrap();
    let (one, two, three) =
        (connect(&server).await, connect(&server).await, connect(&server).await);
    let _s1 = one.serve_commands("s1", move || stats.clone(), echo).await.unwrap();
    let _w1 = two.serve_worker(&worker.worker, told(&worker), silent).await.unwrap();
    // One of another fleet, and one of a version that counts nothing.
    let _other = three.serve_worker(&worker.worker, told(&other), silent).await.unwrap();
    let _old = three.serve_worker(&worker.worker, || Value::Null, silent).await.unwrap();
    let wanted = [Stats::Scheduler(scheduler), Stats::Worker(worker)];
    wait_for_async("both to tell", PATIENCE, async || {
        // They may not serve yet, when they are asked first.
        let told = bus.stats(PATIENCE / 10, |told| told.len() == 2).await.unwrap();
        wanted.iter().all(|one| told.contains(one)).then_some(())
    })
    .await;
    // And nobody else does, however long one waits: as long as both take to tell it again.
    wait_for_async("both to tell again", PATIENCE, async || {
        let told = bus.stats(Duration::from_millis(300), |_| false).await.unwrap();
        assert!(told.iter().all(|one| wanted.contains(one)), "{told:?}");
        (told.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_answers_or_is_known_to_be_gone() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let worker = WorkerName::parse("w1").unwrap();
    let nothing = json!({});
    let short = Duration::from_millis(300);
    let call = || bus.call_worker::<_, Value>(&worker, WorkerVerb::Ping, &nothing, short);
    let nobody = async || {
        wait_for_async("nobody", PATIENCE, async || {
            (call().await == Err(Error::NoResponders)).then_some(())
        })
        .await;
    };
    nobody().await;
    let answer = |request: WorkerRequest| {
        let answer = match request.verb {
            WorkerVerb::Ping => Ok(json!("pong")),
            WorkerVerb::Log
            | WorkerVerb::LogBulk
            | WorkerVerb::LogWindow
            | WorkerVerb::Clear
            | WorkerVerb::Usage
            | WorkerVerb::Signal
            | WorkerVerb::Stdin
            | WorkerVerb::Inventory => Err(Refusal::silent()),
        };
        std::future::ready(answer)
    };
    let serving =
        connect(&server).await.serve_worker(&worker, || Value::Null, answer).await.unwrap();
    wait_for_async("a pong", PATIENCE, async || call().await.ok().filter(|a| a == "pong")).await;
    wait_for_async("silence", PATIENCE, async || {
        let silent = bus.call_worker::<_, Value>(&worker, WorkerVerb::Log, &json!({}), short).await;
        // It may be asked before it listens to this verb, too.
        assert!(matches!(silent, Err(Error::Timeout | Error::NoResponders)), "{silent:?}");
        (silent == Err(Error::Timeout)).then_some(())
    })
    .await;
    drop(serving);
    nobody().await;
}

#[tokio::test]
async fn calls_of_one_verb_are_taken_over_a_connection_of_their_own() {
    let server = NatsServer::start();
    let (bus, other) = (connect(&server).await, connect(&server).await);
    assert_eq!(other.payload_max(), 1 << 20);
    let worker = WorkerName::parse("w1").unwrap();
    let call = async |body: Value| {
        bus.call_worker::<_, Value>(&worker, WorkerVerb::LogBulk, &body, PATIENCE).await
    };
    assert_eq!(call(json!({})).await, Err(Error::NoResponders));
    let mut calls = other.take_calls(&worker, WorkerVerb::LogBulk).await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            match call.read::<Value>() {
                Ok(asked) if asked["n"] == 1 => {
                    let text = "x".repeat(900_000);
                    call.answer(serde_json::to_vec(&text).unwrap()).await;
                }
                Ok(_) => call.refuse(Refusal::new(503, "too many\ncalls")).await,
                Err(refusal) => call.refuse(refusal).await,
            }
        }
    });
    // A refusal says that they are heard.
    let refused = Error::Refused { code: 503, text: "too many\ncalls".into(), problems: vec![] };
    wait_for_async("a refusal", PATIENCE, async || {
        (call(json!({"n": 2})).await == Err(refused.clone())).then_some(())
    })
    .await;
    let large = call(json!({"n": 1})).await.unwrap();
    assert_eq!(large.as_str().unwrap().len(), 900_000);
    match call(json!({"version": 2})).await {
        Err(Error::Refused { code: 400, text, .. }) => {
            assert!(text.contains("version 2"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    answering.abort();
    let (verb, short) = (WorkerVerb::LogBulk, Duration::from_millis(300));
    wait_for_async("nobody", PATIENCE, async || {
        // The first one may come before it is known that nobody hears it.
        let answer = bus.call_worker::<_, Value>(&worker, verb, &json!({}), short).await;
        (answer == Err(Error::NoResponders)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn services_are_discovered() {
    let server = NatsServer::start();
    let (bus, client) = (connect(&server).await, raw(&server).await);
    let _schedulers = bus.serve_commands("s1", || Value::Null, echo).await.unwrap();
    let ping = wait_for_async("a scheduler", PATIENCE, async || {
        client.request("$SRV.PING.dsbus", "".into()).await.ok()
    })
    .await;
    let ping: Value = serde_json::from_slice(&ping.payload).unwrap();
    assert_eq!(ping["metadata"], json!({ "id": "s1", "fleet": "default" }));
}
