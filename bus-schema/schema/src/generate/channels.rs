//! Every channel: an address on the bus, and the messages that go over it. Addresses come from
//! [`crate::subject`] and [`crate::storage`], filled with marker names that are then written as
//! parameters, so that the document cannot say anything else than the code does.

use serde_json::{Value, json};

use crate::call::WorkerVerb;
use crate::command::Verb;
use crate::ids::{FleetName, InstanceId, NameError, ProgramName, UserName, WorkerName};
use crate::storage::{self, Bucket};
use crate::subject;

/// A channel, and how it is used.
pub(super) struct Channel {
    /// Its name in the document.
    pub(super) name: String,
    /// Its address, with `{parameters}`.
    pub(super) address: String,
    /// What it is for.
    pub(super) about: String,
    /// Which way, and what goes over it.
    pub(super) usage: Usage,
    /// What JetStream keeps of it, as an extension of the document.
    pub(super) kept: Option<Value>,
}

/// How a channel is used, as seen by the fleet.
pub(super) enum Usage {
    /// The fleet answers requests. An empty request has no message.
    Answers {
        /// What is asked.
        request: Option<&'static str>,
        /// What is answered; the other answer is `refused`.
        answer: &'static str,
    },
    /// The fleet sends.
    Sends(&'static str),
}

/// A key: name, bucket, key, message, what it is for.
type Row = (&'static str, Bucket, String, &'static str, &'static str);

/// Stands for an index, which is a number and cannot be a name.
const INDEX: u32 = u32::MAX;

/// All channels.
pub(super) fn channels() -> Result<Vec<Channel>, NameError> {
    let mut channels = Vec::new();
    commands(&mut channels)?;
    worker_calls(&mut channels)?;
    events(&mut channels);
    keys(&mut channels)?;
    Ok(channels)
}

/// Writes markers as parameters.
fn parameters(address: &str) -> String {
    ["fleet", "user", "worker", "program", "group", "scheduler"]
        .iter()
        .fold(address.to_owned(), |text, name| {
            text.replace(&format!("X-{name}"), &format!("{{{name}}}"))
        })
        .replace(&INDEX.to_string(), "{index}")
}

fn commands(channels: &mut Vec<Channel>) -> Result<(), NameError> {
    let fleet = FleetName::parse("X-fleet")?;
    let user = UserName::parse("X-user")?;
    for verb in Verb::ALL {
        let (request, answer) = match verb {
            Verb::Apply => ("apply", "applied"),
            Verb::Create => ("create", "applied"),
            Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Reload
            | Verb::Remove
            | Verb::Enable
            | Verb::Disable => ("act", "acted"),
            Verb::Status => ("ask", "instance-rows"),
            Verb::Workers => ("ask", "worker-rows"),
            Verb::Scale => ("scale", "applied"),
            Verb::Rollout => ("rollout-act", "rollout-rows"),
            Verb::Rollouts => ("ask", "rollout-rows"),
            Verb::History => ("ask", "revision-rows"),
            Verb::Explain => ("ask", "explanations"),
            Verb::Groups => ("ask", "group-rows"),
            Verb::Cordon | Verb::Uncordon | Verb::Drain | Verb::Undrain | Verb::Forget => {
                ("worker-act", "workers-acted")
            }
            Verb::Rebalance => ("rebalance", "planned-moves"),
        };
        let name = verb.name();
        channels.push(Channel {
            name: format!("command.{name}"),
            address: parameters(&subject::command(&fleet, &user, verb)),
            about: format!("The command `{name}`; one scheduler answers, after the write."),
            usage: Usage::Answers { request: Some(request), answer },
            kept: None,
        });
        channels.push(Channel {
            name: format!("command_all.{name}"),
            address: parameters(&subject::command_all(&fleet, &user, verb)),
            about: format!(
                "The same `{name}` again, with the same id, when nobody answered within a second: \
                 every scheduler hears it, and the id makes it act once."
            ),
            usage: Usage::Answers { request: Some(request), answer },
            kept: None,
        });
    }
    Ok(())
}

fn worker_calls(channels: &mut Vec<Channel>) -> Result<(), NameError> {
    let fleet = FleetName::parse("X-fleet")?;
    let worker = WorkerName::parse("X-worker")?;
    for verb in WorkerVerb::ALL {
        let (request, answer) = match verb {
            WorkerVerb::Ping => (None, "pong"),
            WorkerVerb::Log => (Some("log-ask"), "log-part"),
            WorkerVerb::Clear => (Some("clear"), "cleared"),
        };
        channels.push(Channel {
            name: format!("worker.{}", verb.name()),
            address: parameters(&subject::worker(&fleet, &worker, verb)),
            about: format!("The call `{}` to one worker.", verb.name()),
            usage: Usage::Answers { request, answer },
            kept: None,
        });
    }
    Ok(())
}

fn events(channels: &mut Vec<Channel>) {
    let address =
        subject::event_tokens("{fleet}", "{source}", "{kind}", "{program}", "{index}", "{type}");
    channels.push(Channel {
        name: "event".to_owned(),
        address,
        about: "One fact, as a CloudEvent 1.0 in structured mode.".to_owned(),
        usage: Usage::Sends("event"),
        kept: Some(json!({
            "stream": storage::events_stream(&FleetName::default()),
            "maxAgeSeconds": storage::EVENTS_AGE_MAX.as_secs(),
            "maxBytes": storage::EVENTS_BYTES_MAX,
            "duplicateWindowSeconds": storage::EVENTS_DUPLICATE_WINDOW.as_secs(),
            "messageId": "the event's id",
        })),
    });
}

fn keys(channels: &mut Vec<Channel>) -> Result<(), NameError> {
    let worker = WorkerName::parse("X-worker")?;
    let program = ProgramName::parse("X-program")?;
    let instance = InstanceId::new(program.clone(), INDEX);
    let of_worker = storage::worker_goal_key(&worker);
    let rows: [Row; 8] = [
        ("program", Bucket::Programs, program.to_string(), "program", "What was declared."),
        (
            "goal.program",
            Bucket::Goals,
            storage::goal_key(&program, None),
            "goal",
            "What people want of every instance of a program.",
        ),
        (
            "goal.instance",
            Bucket::Goals,
            storage::goal_key(&program, Some(INDEX)),
            "goal",
            "What people want of one instance; the greater stamp of the two goals decides.",
        ),
        ("goal.worker", Bucket::Goals, of_worker, "worker-goal", "What people want of a worker."),
        (
            "placement",
            Bucket::Fleet,
            storage::instance_key(&worker, &instance),
            "placement",
            "Where an instance runs; at most one per instance, guarded over all workers. The tombstone \
             of one that was taken away has a body: `removal`.",
        ),
        (
            "touch.worker",
            Bucket::Fleet,
            storage::touch_key(&worker, u64::from(INDEX)).replace(&INDEX.to_string(), "{seconds}"),
            "touch",
            "A worker's lease of so many seconds, which is also the key's TTL.",
        ),
        (
            "touch.scheduler",
            Bucket::Fleet,
            storage::scheduler_key("X-scheduler"),
            "scheduler-touch",
            "A scheduler's lease.",
        ),
        ("worker", Bucket::Workers, worker.to_string(), "worker", "A worker about itself."),
    ];
    let states = states(&worker, &instance);
    channels.extend(rows.into_iter().chain(states).map(|(name, bucket, key, message, about)| {
        Channel {
            name: format!("key.{name}"),
            address: parameters(&bucket.subject(&FleetName::default(), &key)),
            about: about.to_owned(),
            usage: Usage::Sends(message),
            kept: Some(kept(bucket)),
        }
    }));
    Ok(())
}

/// The keys of the bucket of states.
fn states(worker: &WorkerName, instance: &InstanceId) -> [Row; 3] {
    let group = storage::group_key(&instance.program).replace("X-program", "X-group");
    [
        (
            "status.worker",
            Bucket::Status,
            storage::instance_key(worker, instance),
            "status",
            "Last known state of an instance, by its worker.",
        ),
        (
            "status.fleet",
            Bucket::Status,
            storage::fleet_status_key(instance),
            "status",
            "What only schedulers know of an instance: PENDING, FATAL over the fleet.",
        ),
        ("status.group", Bucket::Status, group, "group", "What was last told of a group."),
    ]
}

fn kept(bucket: Bucket) -> Value {
    let rules = bucket.rules();
    json!({
        "bucket": bucket.name(&FleetName::default()),
        "stream": bucket.stream(&FleetName::default()),
        "history": rules.history,
        "perMessageTtl": rules.ttl,
        "atomicBatch": rules.batch,
    })
}
