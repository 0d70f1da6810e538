//! What the server's permissions forbid, in words. Pure.

use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::Verb;
use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::{Bucket, events_stream};
use dsbus_schema::subject;

/// What to do about it.
pub(super) const HINT: &str = "dsbus doctor shows what these credentials may do; whoever keeps the users gives more \
     (dsbus auth)";

/// What `user` may not do, of what the client says of it: `publish to SUBJECT`.
pub(super) fn words(user: &str, fleet: &FleetName, what: &str) -> String {
    let deed = what.strip_prefix("publish to ").and_then(|denied| deed(fleet, denied));
    match deed {
        Some(deed) => format!("{user} may not {deed} here (NATS permissions)"),
        None => format!("denied by the permissions on NATS: {what}"),
    }
}

fn deed(fleet: &FleetName, denied: &str) -> Option<String> {
    for verb in Verb::ALL {
        let all =
            [subject::command_any_user(fleet, verb), subject::command_all_of_any_user(fleet, verb)];
        if all.iter().any(|pattern| star(pattern, denied).is_some()) {
            return Some(verb.name().to_owned());
        }
    }
    for verb in WorkerVerb::ALL {
        if let Some(worker) = star(&subject::worker_any(fleet, verb), denied) {
            return Some(format!("call {} of the worker {worker}", verb.name()));
        }
    }
    if denied.starts_with(subject::events(fleet).trim_end_matches('>')) {
        return Some("publish such events".to_owned());
    }
    for bucket in Bucket::ALL {
        let (stream, name) = (bucket.stream(fleet), bucket.name(fleet));
        if reads(denied, &stream) {
            return Some(format!("read {name}"));
        }
        if denied.starts_with(&bucket.subject(fleet, "")) {
            return Some(format!("write {name}"));
        }
    }
    reads(denied, &events_stream(fleet)).then(|| "read these events".to_owned())
}

/// What stands in a subject where a pattern has its one star.
fn star<'a>(pattern: &str, subject: &'a str) -> Option<&'a str> {
    let (before, after) = pattern.split_once('*')?;
    subject.strip_prefix(before)?.strip_suffix(after).filter(|token| !token.contains('.'))
}

/// Whether it is a call that reads a stream.
fn reads(subject: &str, stream: &str) -> bool {
    let call = subject.strip_prefix("$JS.API.").unwrap_or_default();
    ["CONSUMER.CREATE.", "CONSUMER.MSG.NEXT.", "STREAM.MSG.GET.", "STREAM.INFO.", "DIRECT.GET."]
        .into_iter()
        .filter_map(|begin| call.strip_prefix(begin))
        .any(|rest| rest == stream || rest.starts_with(&format!("{stream}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_told_as_a_deed() {
        let fleet = FleetName::default();
        for (subject, deed) in [
            ("dsbus.default.cmd.ann.scale", "scale"),
            ("dsbus.default.cmdall.ann.apply", "apply"),
            ("dsbus.default.worker.w1.signal", "call signal of the worker w1"),
            (
                "$JS.API.CONSUMER.CREATE.KV_dsbus_programs.x-1.$KV.dsbus_programs.>",
                "read dsbus_programs",
            ),
            ("$JS.API.STREAM.MSG.GET.KV_dsbus_secrets", "read dsbus_secrets"),
            ("$KV.dsbus_secrets.w1.db", "write dsbus_secrets"),
            ("$JS.API.CONSUMER.CREATE.DSBUS_EVENTS.x-1.dsbus.default.event.>", "read these events"),
        ] {
            let said = words("ann", &fleet, &format!("publish to {subject}"));
            assert_eq!(said, format!("ann may not {deed} here (NATS permissions)"));
        }
        let other = words("ann", &fleet, "publish to dsbus.lab.cmd.ann.scale");
        assert_eq!(other, "denied by the permissions on NATS: publish to dsbus.lab.cmd.ann.scale");
    }
}
