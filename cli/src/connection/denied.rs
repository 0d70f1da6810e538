//! What the server's permissions forbid, in words. Pure.

use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::{Bucket, events_stream};

/// What to do about it.
pub(super) const HINT: &str = "dsbus doctor shows what these credentials may do; whoever keeps the users gives more \
     (dsbus auth)";

/// What `user` may not do, of what the client says of it: `publish to SUBJECT`.
pub(super) fn words(user: &str, fleet: &FleetName, what: &str) -> String {
    let deed = what.strip_prefix("publish to ").and_then(|subject| deed(fleet, subject));
    match deed {
        Some(deed) => format!("{user} may not {deed} here (NATS permissions)"),
        None => format!("denied by the permissions on NATS: {what}"),
    }
}

fn deed(fleet: &FleetName, subject: &str) -> Option<String> {
    let own = format!("dsbus.{fleet}.");
    if let Some(rest) = subject.strip_prefix(&own) {
        let tokens: Vec<&str> = rest.split('.').collect();
        return match tokens.as_slice() {
            ["cmd" | "cmdall", _, verb] => Some((*verb).to_owned()),
            ["worker", worker, verb] => Some(format!("call {verb} of the worker {worker}")),
            ["event", ..] => Some("publish such events".to_owned()),
            _ => None,
        };
    }
    for bucket in Bucket::ALL {
        let (stream, name) = (bucket.stream(fleet), bucket.name(fleet));
        if reads(subject, &stream) {
            return Some(format!("read {name}"));
        }
        if subject.starts_with(&format!("$KV.{name}.")) {
            return Some(format!("write {name}"));
        }
    }
    reads(subject, &events_stream(fleet)).then(|| "read these events".to_owned())
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
