//! What the users of `dsbus auth` are for: the inbox of each says its role.

use dsbus_schema::permit::INBOXES;

use crate::config::Config;
use crate::failure::Failure;
use crate::settings::Origin;

const ROLES: [&str; 7] =
    ["scheduler", "gateway", "viewer", "operator", "worker", "listener", "alert"];

/// Role and name, where `dsbus auth` has made them.
pub(crate) fn of(config: &Config) -> Option<(&str, &str)> {
    read(config.access.inbox_prefix.as_deref()?)
}

fn read(inbox: &str) -> Option<(&str, &str)> {
    let (role, name) = inbox.strip_prefix(INBOXES)?.strip_prefix('.')?.split_once('.')?;
    ROLES.contains(&role).then_some((role, name))
}

/// Refuses credentials of a role that the bus would refuse, one thing after the other.
///
/// # Errors
/// When they are of another role than one of `fit`, the first of which is what `who` is.
pub(crate) fn must_be(config: &Config, fit: &[&str], who: &str) -> Result<(), Failure> {
    let Some((role, name)) = of(config).filter(|(role, _)| !fit.contains(role)) else {
        return Ok(());
    };
    let first = fit.first().copied().unwrap_or(who);
    let said = format!(
        "these credentials are those of {} {role}, {name} ({}); {} {who} needs those of {} {first}",
        article(role),
        config.origin,
        article(who),
        article(first)
    );
    Err(Failure::usage(said).hint(format!(
        "start it in the folder of {} {first} that dsbus auth made (users/NAME), or make one: dsbus \
         auth add {first} NAME",
        article(first)
    )))
}

/// Refuses a worker under the key of another one: it could not touch, and would seem lost.
///
/// # Errors
/// When it is so.
pub(crate) fn must_be_worker(config: &Config, worker: &str) -> Result<(), Failure> {
    must_be(config, &["worker"], "worker")?;
    match of(config).filter(|(_, name)| *name != worker) {
        None => Ok(()),
        Some((_, name)) => Err(Failure::usage(format!(
            "these credentials are those of the worker {name} ({}), and this one is called {worker}",
            config.origin
        ))
        .hint(format!(
            "say --name {name}, or start it in the folder users/{worker} of dsbus auth"
        ))),
    }
}

/// How another daemon is started that finds the same fleet: on the command line, or where credentials
/// are needed that only a folder has.
pub(crate) fn start(config: &Config, daemon: &str) -> String {
    if is_folder(config) {
        return format!("dsbus {daemon}, in the folder of a {daemon} (dsbus auth: users/NAME)");
    }
    format!("dsbus {daemon} --nats {}{}", config.shown(), config.fleet_option())
}

fn is_folder(config: &Config) -> bool {
    matches!(config.origin, Origin::File(..)) && config.says_who()
}

/// The article of a role.
pub(crate) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_says_who_has_it() {
        assert_eq!(read("_INBOX.viewer.ann"), Some(("viewer", "ann")));
        assert_eq!(read("_INBOX.worker.w1"), Some(("worker", "w1")));
        for other in ["_INBOX", "_INBOX.ann", "_INBOX.boss.ann", "viewer.ann", "_INBOXES.viewer.x"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!((article("alert"), article("worker")), ("an", "a"));
    }
}
