//! The page of the bus, for people: everything that is said on it but events.

use std::fmt::Write;

use serde_json::{Value, json};

use super::channels::{Channel, Usage, channels};
use super::examples::{Examples, Exchange};
use super::{verbs, wrap};
use crate::call::{LOG_BULK_BYTES_MAX, LOG_BYTES_MAX, LOG_LINES_MAX, LOG_WAIT_MAX, WorkerVerb};
use crate::command::{ANSWER_BYTES_MAX, APPLY_PROGRAMS_MAX, STATUS_ROWS_MIN, Verb, code};
use crate::event::{COMMAND_NAMES_MAX, GROUP_FAILED_MAX, OUTPUT_BYTES_MAX, USER_TEXT_MAX};
use crate::filter::SUBJECTS_MAX;
use crate::ids::{FleetName, NAME_LEN_MAX, UserName};
use crate::storage::{
    Bucket, EVENTS_AGE_MAX, EVENTS_BYTES_MAX, EVENTS_DUPLICATE_WINDOW, MARKER_TTL, PROGRAM_HISTORY,
    events_stream,
};
use crate::{subject, version};

const HEAD: &str = "\
# The bus

Made from the types, and from what a real fleet said, by `./run schemas`; `./run catalogue` records the examples anew.

Everything that schedulers, workers, people and listeners say to each other is said on NATS: requests and their answers, keys of buckets, and [events](events.md). There is no other channel.
For programs the same is in [asyncapi.json](../bus-schema/asyncapi.json) and in [JSON Schemas](../bus-schema/schemas).

## Rules

- Bodies are JSON. Unknown fields are ignored, new ones have defaults, and none changes its meaning within a major version.
- A request may name the major version that it speaks, `\"version\"`; another one than this fleet's is refused.
- A command may carry an `\"id\"`, a UUID: sent again with the same id, to whichever scheduler, it acts once and has the same answer. The answer comes after what it caused is stored.
- Who sends a command is a token of its subject, which permissions of NATS can pin; `anonymous` where nobody has to say who it is.
- A refusal is an answer with the headers `Nats-Service-Error-Code` and `Nats-Service-Error`, as NATS micro services have them.
- A key is written by compare-and-set: only by whoever read what stood there.
- `default` is the fleet unless another one is named; the names of another's buckets and streams carry its name: `dsbus_<fleet>_goals`, `DSBUS_EVENTS_<fleet>`.
";

const BY_HAND: &str = "\
## By hand, and from any language

With the [`nats`](https://github.com/nats-io/natscli) command:

```sh
nats req dsbus.default.cmd.anonymous.create '{\"name\": \"web\", \"program\": {\"command\": \"sleep 1000\"}}'
nats req dsbus.default.cmd.anonymous.status '{}'
nats req dsbus.default.cmd.anonymous.restart '{\"names\": [\"web\"]}'
nats sub --count 1 'dsbus.default.event.>'       # until Ctrl-C without --count
nats consumer add DSBUS_EVENTS mine --pull --ack explicit --deliver all --filter 'dsbus.default.event.*.process.>' --defaults
nats consumer next DSBUS_EVENTS mine --count 2
nats kv get dsbus_workers w1
```

`nats kv watch dsbus_status` follows a bucket, until Ctrl-C.

In any language with a NATS client a command is one request: the subject, a JSON body, and an answer whose header `Nats-Service-Error-Code` says whether it is a refusal. When nobody answers within a second, send the same body, with its `id`, to `cmdall` in the place of `cmd`: every scheduler hears that, and one acts.
Examples of commands are [command.py](../examples/command.py), [command.mjs](../examples/command.mjs) and [command.sh](../examples/command.sh), and for Python there is [a client](../clients/python/README.md). Of listeners: [listen.py](../examples/listen.py), [listen.mjs](../examples/listen.mjs) and [listen.rs](../examples/listen.rs); how to listen without missing anything is in [listeners](../listeners/README.md).
";

/// The document.
pub(super) fn document(examples: &Examples) -> String {
    let all = channels().unwrap_or_default();
    let mut text = HEAD.to_owned();
    text.push('\n');
    text.push_str(BY_HAND);
    subjects(&mut text, &all);
    stores(&mut text);
    headers(&mut text);
    limits(&mut text);
    codes(&mut text, examples);
    commands(&mut text, examples);
    calls(&mut text, examples);
    keys(&mut text, examples, &all);
    text
}

fn row(text: &mut String, cells: &[&str]) {
    // Writing to text cannot fail.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn table(text: &mut String, title: &str, before: &str, columns: &[&str]) {
    let _ = write!(text, "\n## {title}\n\n{before}");
    row(text, columns);
    row(text, &vec!["---"; columns.len()]);
}

fn subjects(text: &mut String, all: &[Channel]) {
    // Addresses of one verb, with any verb in its place.
    let of = |channel: &str, verb: &str| {
        let found = all.iter().find(|one| one.name == format!("{channel}.{verb}"));
        let address = found.map_or("", |one| &one.address);
        address.replace(&format!(".{verb}"), ".{verb}").replace('{', "<").replace('}', ">")
    };
    let stop = Verb::Stop.name();
    let event =
        subject::event_tokens("<fleet>", "<source>", "<kind>", "<program>", "<index>", "<TYPE>");
    let key = Bucket::Fleet.subject(&FleetName::default(), "<key>");
    table(text, "Subjects", "", &["subject", "what", "who says it", "who hears it"]);
    for (address, what, who, hears) in [
        (
            of("command", stop),
            "a [command](#commands): request and answer",
            "people, programs",
            "one scheduler (queue group `dsbus`, micro service `dsbus`)",
        ),
        (
            of("command_all", stop),
            "the same command again, when nobody answered within a second",
            "the same",
            "every scheduler",
        ),
        (
            of("worker", WorkerVerb::Ping.name()),
            "a [call](#calls-to-a-worker): request and answer",
            "schedulers, people",
            "that worker (micro service `dsbus-worker`)",
        ),
        (
            subject::stats(subject::SERVICE),
            "what schedulers count of themselves: the `data` of the endpoint `status` is [scheduler-stats](../bus-schema/schemas/scheduler-stats.json)",
            "`dsbus gateway`, `nats micro stats dsbus`",
            "every scheduler",
        ),
        (
            subject::stats(subject::SERVICE_WORKER),
            "what workers count of themselves: the `data` of the endpoint `ping` is [worker-stats](../bus-schema/schemas/worker-stats.json)",
            "the same",
            "every worker",
        ),
        (event, "an [event](events.md)", "whoever saw it", "listeners; stream `DSBUS_EVENTS`"),
        (
            key.replace("_fleet", "_<bucket>"),
            "a [key](#keys)",
            "its one writer",
            "watchers of the bucket",
        ),
    ] {
        row(text, &[&format!("`{address}`"), what, who, hears]);
    }
}

fn stores(text: &mut String) {
    let fleet = FleetName::default();
    table(text, "Buckets and streams", "", &["name", "stream", "written by", "read by", "rules"]);
    for bucket in Bucket::ALL {
        let (writers, readers) = match bucket {
            Bucket::Programs => (
                "schedulers",
                "schedulers only: it holds environments; people ask by commands, which leave values out",
            ),
            Bucket::Goals => ("schedulers", "schedulers"),
            Bucket::Fleet => (
                "schedulers (placements), workers and schedulers (their own touches)",
                "schedulers; each worker its own keys",
            ),
            Bucket::Workers => ("each worker its own", "all"),
            Bucket::Status => ("each worker its own, schedulers `_fleet.>`", "all"),
            Bucket::Alerts => {
                ("the `dsbus alert` that holds the lease of its set of rules", "`dsbus alert`")
            }
            Bucket::Secrets => (
                "people, with `dsbus secret`",
                "each worker its own keys; people who ask who has which. Values are sealed to the worker",
            ),
        };
        let rules = bucket.rules();
        let mut told = vec![format!("history {}", rules.history)];
        told.extend(rules.ttl.then(|| {
            format!("TTL per message, markers kept for {} h", MARKER_TTL.as_secs() / 3600)
        }));
        told.extend(rules.batch.then(|| "atomic batches".to_owned()));
        let (name, stream) =
            (format!("`{}`", bucket.name(&fleet)), format!("`{}`", bucket.stream(&fleet)));
        row(text, &[&name, &stream, writers, readers, &told.join("; ")]);
    }
    let events = format!("`{}`", events_stream(&fleet));
    let rules = format!(
        "limits: {} days, {} GiB, oldest first; duplicates dropped within {} min",
        EVENTS_AGE_MAX.as_secs() / 86_400,
        EVENTS_BYTES_MAX >> 30,
        EVENTS_DUPLICATE_WINDOW.as_secs() / 60
    );
    row(text, &["events", &events, "whoever saw it", "listeners", &rules]);
    let _ = write!(
        text,
        "\nnats-server {}.{} or newer, with JetStream. Whoever starts first makes them, with 3 replicas where the cluster has three servers or more; later starts check them, and leave limits and replicas to the administrator.\n",
        version::NATS_SERVER_MIN.0,
        version::NATS_SERVER_MIN.1
    );
}

fn headers(text: &mut String) {
    table(text, "Headers", "", &["header", "on", "says"]);
    let guard = Bucket::Fleet.subject(&FleetName::default(), "*.<program>.<index>");
    let guard = format!("`{guard}`: no placement of that instance on any worker was written since");
    for cells in [
        ["`Nats-Msg-Id`", "events", "id of the event: stored once"],
        [
            "`Nats-Service-Error-Code`, `Nats-Service-Error`",
            "answers that are refusals",
            "a [code](#codes), and why",
        ],
        ["`Nats-TTL`", "touches", "the lease, in whole seconds"],
        [
            "`Nats-Expected-Last-Subject-Sequence`",
            "every write of a key",
            "the sequence that was read; another one there refuses the write",
        ],
        ["`Nats-Expected-Last-Subject-Sequence-Subject`", "placements", &guard],
        [
            "`Nats-Batch-Id`, `Nats-Batch-Sequence`, `Nats-Batch-Commit`",
            "moves, `apply`",
            "an atomic batch: all of it or nothing",
        ],
        ["`KV-Operation: DEL`", "keys", "the key was deleted"],
        ["`Nats-Marker-Reason: MaxAge`", "touches", "the lease ran out"],
    ] {
        row(text, &cells);
    }
}

fn limits(text: &mut String) {
    table(text, "Limits", "", &["limit", "is"]);
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    for (what, is) in [
        (
            "a name (program, worker, fleet, user), `[A-Za-z0-9_-]`, not beginning with `_`",
            format!("{NAME_LEN_MAX} characters"),
        ),
        ("programs in one `apply`", APPLY_PROGRAMS_MAX.to_string()),
        (
            "rows in one answer to `status` that more follow, at least; its header `Dsbus-Next` is the `after` to go on with",
            STATUS_ROWS_MIN.to_string(),
        ),
        (
            "rows in one answer to `rollouts`, `history`, `explain` and `groups`",
            kib(ANSWER_BYTES_MAX),
        ),
        ("revisions of a program that are kept", PROGRAM_HISTORY.to_string()),
        ("output in one answer to `log`", kib(LOG_BYTES_MAX)),
        ("output in one answer to `log-bulk`", kib(LOG_BULK_BYTES_MAX)),
        (
            "how long an answer to `log-bulk` waits for output",
            format!("{} s", LOG_WAIT_MAX.as_secs()),
        ),
        ("lines from the end of a log that are looked for", LOG_LINES_MAX.to_string()),
        ("output in one event", kib(OUTPUT_BYTES_MAX)),
        ("text in one event of a user", kib(USER_TEXT_MAX)),
        ("instances in one event of a group", GROUP_FAILED_MAX.to_string()),
        (
            "names in one event of a command; `count` tells how many there were",
            COMMAND_NAMES_MAX.to_string(),
        ),
        ("subjects that one filter of events becomes", SUBJECTS_MAX.to_string()),
    ] {
        row(text, &[what, &is]);
    }
}

fn codes(text: &mut String, examples: &Examples) {
    table(text, "Codes", "", &["code", "means"]);
    for (code, means) in [
        (
            code::BAD_REQUEST,
            "The request could not be read, or what it declares is wrong; `problems` say which key.",
        ),
        (code::NOT_FOUND, "No such program, instance or worker."),
        (code::CONFLICT, "It exists, lives, or changed meanwhile."),
        (
            code::UNAVAILABLE,
            "The bus refused or did not answer; nothing is known to be written. Try again, with the same id.",
        ),
    ] {
        row(text, &[&code.to_string(), means]);
    }
    if let Some(told) = examples.command("refused") {
        let _ = write!(
            text,
            "\nA refusal ({}), asked on `{}`:\n\n```json\n{}\n```\n\nHeaders, then body of the answer:\n\n```json\n{}\n{}\n```\n",
            schema("refused"),
            told.subject,
            wrap::filled(&told.request),
            wrap::filled(&told.headers),
            wrap::filled(&told.answer)
        );
    }
}

fn schema(name: &str) -> String {
    format!("[{name}](../bus-schema/schemas/{name}.json)")
}

fn commands(text: &mut String, examples: &Examples) {
    let user = UserName::default();
    let before = "Lists in examples that are longer than four are cut; [the files](../bus-schema/examples/commands) have all.\n\n";
    table(text, "Commands", before, &["verb", "does", "request", "answer"]);
    for verb in Verb::ALL {
        let (request, answer) = verbs::messages(verb);
        let name = format!("[{0}](#{0})", verb.name());
        row(text, &[&name, verbs::about(verb), &schema(request), &schema(answer)]);
    }
    for verb in Verb::ALL {
        let (request, answer) = verbs::messages(verb);
        let at = subject::command(&FleetName::default(), &user, verb);
        let _ = write!(
            text,
            "\n### {}\n\n{} `{at}`, {} -> {}\n",
            verb.name(),
            verbs::about(verb),
            schema(request),
            schema(answer)
        );
        exchange(text, examples.command(verb.name()));
    }
}

fn calls(text: &mut String, examples: &Examples) {
    table(text, "Calls to a worker", "", &["verb", "does", "request", "answer"]);
    for verb in WorkerVerb::ALL {
        let (request, answer) = verbs::call_messages(verb);
        let request = request.map_or_else(|| "empty".to_owned(), schema);
        row(text, &[verb.name(), verbs::call_about(verb), &request, &schema(answer)]);
    }
    for verb in WorkerVerb::ALL {
        if let Some(told) = examples.call(verb.name()) {
            let _ = write!(text, "\n### worker {}\n", verb.name());
            exchange(text, Some(told));
        }
    }
}

fn exchange(text: &mut String, told: Option<Exchange>) {
    let Some(Exchange { request, mut answer, .. }) = told else { return };
    let request = if request.is_null() { "(empty)".to_owned() } else { wrap::filled(&request) };
    wrap::cut(&mut answer);
    let _ = write!(text, "\n```json\n{request}\n```\n\n```json\n{}\n```\n", wrap::filled(&answer));
}

fn keys(text: &mut String, examples: &Examples, all: &[Channel]) {
    let before = "Written and watched as any NATS client for KV does.\n\n";
    table(text, "Keys", before, &["key", "in", "is", "schema"]);
    let keys: Vec<(&str, &Channel, &str)> = all
        .iter()
        .filter_map(|channel| match channel.usage {
            Usage::Sends(message) => Some((channel.name.strip_prefix("key.")?, channel, message)),
            Usage::Answers { .. } | Usage::Tells(_) => None,
        })
        .collect();
    let split = |address: &str| {
        let mut parts = address.splitn(3, '.').skip(1).map(str::to_owned);
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    };
    for (_, channel, message) in &keys {
        let (bucket, key) = split(&channel.address);
        let key = key.replace('{', "<").replace('}', ">");
        row(text, &[&format!("`{key}`"), &format!("`{bucket}`"), &channel.about, &schema(message)]);
    }
    for (name, _, _) in &keys {
        let Some(mut kept) = examples.key(name) else { continue };
        wrap::cut(&mut kept.value);
        let _ = write!(
            text,
            "\n`{}` in `{}`:\n\n```json\n{}\n```\n",
            kept.key,
            kept.bucket,
            wrap::filled(&kept.value)
        );
    }
}

/// For the AsyncAPI document: the examples of a message that is a request or an answer.
pub(super) fn of_message(examples: &Examples, name: &str) -> Vec<Value> {
    let exchanges = Verb::ALL.into_iter().filter_map(|verb| {
        let (request, answer) = verbs::messages(verb);
        Some((Some(request), answer, verb.name(), examples.command(verb.name())?))
    });
    let calls = WorkerVerb::ALL.into_iter().filter_map(|verb| {
        let (request, answer) = verbs::call_messages(verb);
        Some((request, answer, verb.name(), examples.call(verb.name())?))
    });
    exchanges
        .chain(calls)
        .filter_map(|(request, answer, verb, told)| {
            let payload = match (request == Some(name), answer == name) {
                (true, _) => told.request,
                (false, true) => told.answer,
                (false, false) => return None,
            };
            Some(json!({ "name": verb, "payload": payload }))
        })
        .collect()
}
