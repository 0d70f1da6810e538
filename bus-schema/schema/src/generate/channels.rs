//! Every channel: an address on the bus, and the messages that go over it. Addresses come from
//! [`crate::subject`] and [`crate::storage`], filled with marker names that are then written as
//! parameters, so that the document cannot say anything else than the code does.

use serde_json::{Value, json};
use uuid::Uuid;

use super::verbs;
use crate::alert::{AlertName, RuleName};
use crate::call::WorkerVerb;
use crate::command::Verb;
use crate::event::Kind;
use crate::ids::{FleetName, InstanceId, NameError, ProgramName, SecretName, UserName, WorkerName};
use crate::storage::{self, AlertKey, Bucket};
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
    /// Events of a kind.
    Tells(Kind),
}

/// Stands for an index, which is a number and cannot be a name.
const INDEX: u32 = u32::MAX;

/// All channels.
pub(super) fn channels() -> Result<Vec<Channel>, NameError> {
    let mut channels = Vec::new();
    commands(&mut channels)?;
    worker_calls(&mut channels)?;
    events(&mut channels);
    keys(&mut channels)?;
    alerts(&mut channels)?;
    Ok(channels)
}

/// Writes markers as parameters.
fn parameters(address: &str) -> String {
    ["fleet", "user", "worker", "program", "group", "scheduler", "alert", "rule", "secret"]
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
        let (request, answer) = verbs::messages(verb);
        let name = verb.name();
        channels.push(Channel {
            name: format!("command.{name}"),
            address: parameters(&subject::command(&fleet, &user, verb)),
            about: format!("{} One scheduler answers, after the write.", verbs::about(verb)),
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
        let (request, answer) = verbs::call_messages(verb);
        channels.push(Channel {
            name: format!("worker.{}", verb.name()),
            address: parameters(&subject::worker(&fleet, &worker, verb)),
            about: verbs::call_about(verb).to_owned(),
            usage: Usage::Answers { request, answer },
            kept: None,
        });
    }
    Ok(())
}

fn events(channels: &mut Vec<Channel>) {
    for kind in Kind::ALL {
        let program = if kind.has_program() { "{program}" } else { "_" };
        let index = if kind.has_user() {
            "{user}"
        } else if kind.has_instance() {
            "{index}"
        } else {
            "_"
        };
        let address =
            subject::event_tokens("{fleet}", "{source}", kind.name(), program, index, "{type}");
        channels.push(Channel {
            name: event_name(kind),
            address,
            about: kind.about().to_owned(),
            usage: Usage::Tells(kind),
            kept: Some(json!({
                "stream": storage::events_stream(&FleetName::default()),
                "maxAgeSeconds": storage::EVENTS_AGE_MAX.as_secs(),
                "maxBytes": storage::EVENTS_BYTES_MAX,
                "duplicateWindowSeconds": storage::EVENTS_DUPLICATE_WINDOW.as_secs(),
                "messageId": "the event's id",
            })),
        });
    }
}

/// Name of the channel and of the message of a kind of events.
pub(super) fn event_name(kind: Kind) -> String {
    format!("event.{}", kind.name())
}

fn keys(channels: &mut Vec<Channel>) -> Result<(), NameError> {
    let worker = WorkerName::parse("X-worker")?;
    let program = ProgramName::parse("X-program")?;
    let instance = InstanceId::new(program.clone(), INDEX);
    let of_worker = storage::worker_goal_key(&worker);
    let rows: [Row; 9] = [
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
        (
            "secret",
            Bucket::Secrets,
            storage::secret_key(&worker, &SecretName::parse("X-secret")?),
            "secret",
            "A secret of a worker, sealed to its key.",
        ),
    ];
    channels.extend(rows.into_iter().map(key));
    channels.extend(statuses(&worker, &instance).into_iter().map(key));
    Ok(())
}

/// Name, bucket, key, message, what it is for.
type Row = (&'static str, Bucket, String, &'static str, &'static str);

fn statuses(worker: &WorkerName, instance: &InstanceId) -> [Row; 3] {
    let program = &instance.program;
    let of_group = storage::group_key(program).replace("X-program", "X-group");
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
        ("status.group", Bucket::Status, of_group, "group", "What was last told of a group."),
    ]
}

fn key((name, bucket, key, message, about): Row) -> Channel {
    Channel {
        name: format!("key.{name}"),
        address: parameters(&bucket.subject(&FleetName::default(), &key)),
        about: about.to_owned(),
        usage: Usage::Sends(message),
        kept: Some(kept(bucket)),
    }
}

fn alerts(channels: &mut Vec<Channel>) -> Result<(), NameError> {
    let (name, rule) = (AlertName::parse("X-alert")?, RuleName::parse("X-rule")?);
    let id = Uuid::max();
    let rows = [
        (AlertKey::Lease, "lease", "alert-lease", "Which `dsbus alert` works at these rules."),
        (
            AlertKey::Group(rule.clone(), id),
            "group",
            "alert-group",
            "Events that a rule tells together, and what of them is not told yet.",
        ),
        (AlertKey::Rate(rule), "rate", "alert-rate", "How often a rule has told something."),
        (AlertKey::Letter(id), "letter", "letter", "A message to one target, on its way."),
        (AlertKey::Dead(id), "dead", "dead-letter", "A letter that could not be delivered."),
        (AlertKey::Lost, "lost", "lost-letters", "How many dead letters made room for others."),
    ];
    let bucket = Bucket::Alerts;
    channels.extend(rows.into_iter().map(|(key, name_of_key, message, about)| {
        Channel {
            name: format!("key.alert.{name_of_key}"),
            address: parameters(&bucket.subject(&FleetName::default(), &key.of(&name)))
                .replace(&id.simple().to_string(), "{id}"),
            about: about.to_owned(),
            usage: Usage::Sends(message),
            kept: Some(kept(bucket)),
        }
    }));
    Ok(())
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
