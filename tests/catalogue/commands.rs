//! Requests and their answers, and the keys of buckets.

use dsbus_client::{Bus, Error, Value as Stands};
use dsbus_harness::wait_for_async;
use dsbus_schema::call::{StdinAsk, WorkerVerb};
use dsbus_schema::command::{Refused, Verb};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::storage::{self, Bucket};
use dsbus_schema::subject;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::book::{record, wait, write};
use crate::fleet::{DEADLINE, Fleet};
use crate::workers::connect;

/// Asks, and records question and answer.
async fn ask(fleet: &Fleet, bus: &Bus, verb: Verb, request: Value) {
    let answer: Value = match bus.command(verb, &request).await {
        Ok(answer) => answer,
        Err(e) => panic!("{}: {request}: {e}", verb.name()),
    };
    let user = "ann".parse().unwrap();
    let at = subject::command(bus.fleet(), &user, verb);
    let told = json!({ "subject": at, "request": request, "answer": answer });
    write(fleet, &format!("commands/{}", verb.name()), &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers() {
    let mut fleet = Fleet::start(1, 3);
    let bus = connect(&fleet).await;
    let command = |verb, request| ask(&fleet, &bus, verb, request);
    let web = json!({
        "command": "echo listening on port 8080; exec sleep 1000", "shell": true, "numprocs": 2, "startsecs": 0, "group": "shop", "stdin": true,
        "update": { "canary": 1 },
    });
    let programs = json!({ "web": web });
    command(Verb::Apply, json!({ "programs": programs })).await;
    let program = json!({ "command": ["sleep", "1000"], "startsecs": 0 });
    command(Verb::Create, json!({ "name": "hello", "program": program })).await;
    for name in ["web:0", "web:1", "hello:0"] {
        fleet.wait_state(name, "RUNNING");
    }
    command(Verb::Status, json!({ "names": ["web:0"] })).await;
    command(Verb::Workers, json!({})).await;
    let names = json!({ "names": ["hello"] });
    for verb in [Verb::Stop, Verb::Disable, Verb::Enable, Verb::Start, Verb::Restart, Verb::Reload]
    {
        let id = Uuid::now_v7();
        command(verb, json!({ "id": id, "names": ["hello"] })).await;
    }
    command(Verb::Scale, json!({ "programs": { "hello": 2 } })).await;
    fleet.wait_state("hello:1", "RUNNING");
    let mut changed = web.clone();
    changed["command"] = json!("echo listening on port 8081; exec sleep 1000");
    bus.command::<_, Value>(Verb::Apply, &json!({ "programs": { "web": changed } })).await.unwrap();
    command(Verb::Rollout, json!({ "names": ["web"], "step": "pause" })).await;
    command(Verb::Rollouts, json!({ "names": ["web"] })).await;
    for step in ["resume", "promote"] {
        let body = json!({ "names": ["web"], "step": step });
        bus.command::<_, Value>(Verb::Rollout, &body).await.unwrap();
    }
    wait(&fleet, &["rollout.DONE"]);
    command(Verb::History, json!({ "names": ["web"] })).await;
    command(Verb::Explain, json!({ "names": ["web:0"] })).await;
    command(Verb::Groups, json!({})).await;
    for verb in [Verb::Cordon, Verb::Uncordon, Verb::Drain] {
        command(verb, json!({ "names": ["w2"] })).await;
    }
    wait(&fleet, &["worker.DRAINED"]);
    command(Verb::Undrain, json!({ "names": ["w2"] })).await;
    command(Verb::Rebalance, json!({ "dry_run": true })).await;
    command(Verb::Recover, json!({ "dry_run": true })).await;

    keys(&fleet, &bus).await;
    calls(&fleet, &bus).await;

    let request = json!({ "names": ["wbe"] });
    match bus.command::<_, Value>(Verb::Stop, &request).await {
        Err(Error::Refused { code, text, problems }) => {
            let user = "ann".parse().unwrap();
            let at = subject::command(bus.fleet(), &user, Verb::Stop);
            let answer = Refused { code, error: text.clone(), problems };
            let headers =
                json!({ "Nats-Service-Error-Code": code.to_string(), "Nats-Service-Error": text });
            let told =
                json!({ "subject": at, "request": request, "headers": headers, "answer": answer });
            write(&fleet, "commands/refused", &told);
        }
        other => panic!("{other:?}"),
    }
    ask(&fleet, &bus, Verb::Remove, names).await;
    fleet.kill_worker("w3");
    wait(&fleet, &["worker.LOST"]);
    ask(&fleet, &bus, Verb::Forget, json!({ "names": ["w3"] })).await;
    wait(&fleet, &["command.REFUSED"]);
    record(&fleet);
}

async fn calls(fleet: &Fleet, bus: &Bus) {
    let row = fleet.row("web:0");
    let worker: WorkerName = row["worker"].as_str().unwrap().parse().unwrap();
    let mut place = json!({ "last": 10 });
    for verb in WorkerVerb::ALL {
        let request = match verb {
            WorkerVerb::Ping => Value::Null,
            WorkerVerb::Inventory => json!({}),
            WorkerVerb::Log => json!({ "name": "web:0", "from": place, "wait_ms": 100 }),
            WorkerVerb::LogBulk => {
                json!({ "name": "web:0", "from": { "place": place }, "wait_ms": 100 })
            }
            WorkerVerb::LogWindow => {
                json!({ "name": "web:0", "from": { "last": 1024 }, "bytes": 1024 })
            }
            WorkerVerb::Clear => json!({ "name": "web:0" }),
            WorkerVerb::Usage => {
                json!({ "instances": [{ "name": "web:0", "pid": fleet.row("web:0")["pid"] }] })
            }
            WorkerVerb::Signal => {
                json!({ "name": "web:0", "epoch": row["epoch"], "pid": row["pid"], "signal": "CONT", "by": "ann" })
            }
            WorkerVerb::Stdin => json!({
                "name": "web:0", "epoch": row["epoch"], "pid": row["pid"], "writer": Uuid::now_v7(),
                "offset": 0, "base64": StdinAsk::encoded(b"reload\n"), "by": "ann",
            }),
        };
        // It takes a moment until there is a connection for `log-bulk`.
        let answer: Value = wait_for_async("an answer", DEADLINE, async || {
            bus.call_worker(&worker, verb, &request, DEADLINE).await.ok()
        })
        .await;
        if verb == WorkerVerb::Log {
            place = answer["next"].clone();
        }
        let hand = match verb {
            WorkerVerb::Signal => Some(Verb::Signal),
            WorkerVerb::Stdin => Some(Verb::Stdin),
            WorkerVerb::Clear => Some(Verb::Clear),
            _ => None,
        };
        if let Some(verb) = hand {
            let mut again = request.clone();
            if verb == Verb::Stdin {
                again["writer"] = Uuid::now_v7().to_string().into();
            }
            ask(fleet, bus, verb, json!({ "worker": worker, "ask": again })).await;
        }
        let at = subject::worker(bus.fleet(), &worker, verb);
        let told = json!({ "subject": at, "request": request, "answer": answer });
        write(fleet, &format!("calls/{}", verb.name()), &told);
    }
}

async fn keys(fleet: &Fleet, bus: &Bus) {
    let row = fleet.row("web:0");
    let worker: WorkerName = row["worker"].as_str().unwrap().parse().unwrap();
    let instance: InstanceId = "web:0".parse().unwrap();
    let program: ProgramName = "web".parse().unwrap();
    let (other, secret) = ("w2".parse().unwrap(), "db-password".parse().unwrap());
    fleet.set_secret("db-password", "correct horse");
    let nowhere: InstanceId = "nowhere:0".parse().unwrap();
    let declared = json!({ "nowhere": { "command": "sleep 1", "labels": ["zone = mars"] } });
    bus.command::<_, Value>(Verb::Apply, &json!({ "programs": declared })).await.unwrap();
    wait(fleet, &["process.PENDING"]);
    for (verb, name) in [(Verb::Stop, "web"), (Verb::Start, "web"), (Verb::Restart, "web:0")] {
        bus.command::<_, Value>(verb, &json!({ "names": [name] })).await.unwrap();
    }
    fleet.wait_state("web:0", "RUNNING");
    for (name, bucket, key) in [
        ("program", Bucket::Programs, program.to_string()),
        ("goal.program", Bucket::Goals, storage::goal_key(&program, None)),
        ("goal.instance", Bucket::Goals, storage::goal_key(&program, Some(0))),
        ("goal.worker", Bucket::Goals, storage::worker_goal_key(&other)),
        ("placement", Bucket::Fleet, storage::instance_key(&worker, &instance)),
        ("touch.worker", Bucket::Fleet, storage::touch_key(&worker, 5)),
        ("touch.scheduler", Bucket::Fleet, storage::scheduler_key("s1")),
        ("worker", Bucket::Workers, worker.to_string()),
        ("secret", Bucket::Secrets, storage::secret_key(&worker, &secret)),
        ("status.worker", Bucket::Status, storage::instance_key(&worker, &instance)),
        ("status.fleet", Bucket::Status, storage::fleet_status_key(&nowhere)),
    ] {
        let entry = bus.get(bucket, &key).await.unwrap();
        let Some(Stands::Put(body)) = entry.map(|entry| entry.value) else {
            let text = format!("catalogue: there is no {key} in {bucket:?}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            continue;
        };
        let told = json!({ "bucket": bucket.name(bus.fleet()), "key": key,
            "value": serde_json::from_slice::<Value>(&body).unwrap() });
        write(fleet, &format!("keys/{name}"), &told);
    }
}
