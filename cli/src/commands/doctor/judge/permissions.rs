//! What one may do there.

use dsbus_client::{Permissions, User};
use dsbus_schema::command::Verb;
use dsbus_schema::storage::Bucket;
use dsbus_schema::subject;

use super::super::facts::{Bus, Facts};
use super::super::finding::Finding;
use super::names;

const CHECK: &str = "permissions";
/// What no verb does.
const DAEMONS: &str = "(daemons do)";

/// What these credentials may do.
pub(super) fn judge(facts: &Facts, bus: &Bus) -> Finding {
    let Ok(user) = &bus.user else {
        let text = "the server does not say what these credentials may do";
        let fix = "permit them to publish to $SYS.REQ.USER.INFO";
        return Finding::warning(CHECK, text, fix);
    };
    let who = who(user);
    let denied = user.permissions.as_ref().map(|permissions| denied(facts, permissions));
    let denied = denied.unwrap_or_default();
    if denied.is_empty() {
        return Finding::good(CHECK, format!("{who}: everything is permitted"));
    }
    let text = format!("{who}: denied are {}", denied.join("; "));
    // It has the rights of its role, and others are not for it.
    if let Some((role, name)) = &facts.role {
        let text =
            format!("{name}, made as {role} by dsbus auth; not for it are {}", denied.join("; "));
        return Finding::good(CHECK, text);
    }
    if denied.iter().all(|what| what.contains(DAEMONS)) {
        return Finding::good(CHECK, text);
    }
    let fix = "if that is not meant: permit it to this user, or use other credentials (--creds, \
               --nkey, --context)";
    Finding::warning(CHECK, text, fix)
}

fn who(user: &User) -> String {
    match (user.user.as_str(), user.account.as_str()) {
        ("", account) => format!("nobody in particular, in account {account}"),
        (name, account) => format!("{name}, in account {account}"),
    }
}

/// What of dsbus may not be published.
fn denied(facts: &Facts, permissions: &Permissions) -> Vec<String> {
    let may = |subject: &str| permissions.publish.permit(subject);
    let (fleet, asks) = (&facts.fleet, &facts.user);
    let refused = |verb: &Verb| {
        !may(&subject::command(fleet, asks, *verb))
            || !may(&subject::command_all(fleet, asks, *verb))
    };
    let verbs: Vec<&str> = Verb::ALL.into_iter().filter(refused).map(Verb::name).collect();
    let mut denied = Vec::new();
    if verbs.len() == Verb::ALL.len() {
        denied.push(format!("all commands of {asks}"));
    } else if !verbs.is_empty() {
        denied.push(format!("the commands {}", names(verbs)));
    }
    let buckets = |refused: &dyn Fn(&Bucket) -> bool| -> Vec<String> {
        Bucket::ALL.into_iter().filter(refused).map(|bucket| bucket.name(fleet)).collect()
    };
    // No verb reads goals.
    let reading = buckets(&|bucket| *bucket != Bucket::Goals && !permissions.read(fleet, *bucket));
    if !reading.is_empty() {
        denied.push(format!("reading {}", names(reading)));
    }
    let writing = buckets(&|bucket| !permissions.write(fleet, *bucket));
    if !writing.is_empty() {
        denied.push(format!("writing {} {DAEMONS}", names(writing)));
    }
    if !permissions.make_streams() {
        denied.push(format!("making streams {DAEMONS}"));
    }
    denied
}
