//! Secrets that programs here name, opened. They are kept in memory, so that a child that dies is
//! started again without the bus; and are nowhere else.

mod handover;
mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::ids::{FleetName, SecretName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::secret::{SealKeys, SealedSecret, SecretPlace, SecretValue};
use uuid::Uuid;

pub(crate) use handover::StandingLeft;
pub(crate) use key::keys;

/// How long the first start with a secret waits for the agent to tell it. An agent that is there
/// answers in milliseconds; one that is not is started anew within a second. A secret that is not
/// there yet may be on its way: it and the placement of who names it are told apart.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// How a secret stands.
#[derive(Debug)]
enum Standing {
    /// The agent is asked; starts wait until then.
    Asked(BootTime),
    /// It said that there is none; starts wait as long.
    Awaited(BootTime),
    /// It did not answer in time.
    Unanswered,
    /// This worker was not given it.
    Missing,
    /// It was given something that does not open, and why.
    Closed(Uuid, String),
    Open(Uuid, SecretValue),
}

impl Standing {
    fn version(&self) -> Option<Uuid> {
        match self {
            Standing::Closed(version, _) | Standing::Open(version, _) => Some(*version),
            Standing::Asked(_)
            | Standing::Awaited(_)
            | Standing::Unanswered
            | Standing::Missing => None,
        }
    }

    /// Until when starts wait.
    fn until(&self) -> Option<BootTime> {
        match self {
            Standing::Asked(until) | Standing::Awaited(until) => Some(*until),
            Standing::Unanswered
            | Standing::Missing
            | Standing::Closed(..)
            | Standing::Open(..) => None,
        }
    }

    fn answered(&self) -> bool {
        match self {
            Standing::Asked(_) | Standing::Awaited(_) | Standing::Unanswered => false,
            Standing::Missing | Standing::Closed(..) | Standing::Open(..) => true,
        }
    }
}

/// All that programs here name; no more than they do.
#[derive(Debug)]
pub(crate) struct Secrets {
    keys: SealKeys,
    fleet: FleetName,
    worker: WorkerName,
    known: BTreeMap<SecretName, Standing>,
}

impl Secrets {
    pub(crate) fn new(keys: SealKeys, fleet: FleetName, worker: WorkerName) -> Secrets {
        Secrets { keys, fleet, worker, known: BTreeMap::new() }
    }

    /// What secrets for this worker are sealed to.
    pub(crate) fn public_key(&self) -> String {
        self.keys.public()
    }

    /// Those that an agent is to tell of.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.known.keys()
    }

    /// Those of `spec` that are new here: the agent is to be asked for them.
    pub(crate) fn want(&mut self, spec: &ProgramSpec, now: BootTime) -> Vec<SecretName> {
        let new: BTreeSet<&SecretName> =
            spec.secrets().filter(|name| !self.known.contains_key(*name)).collect();
        let new: Vec<SecretName> = new.into_iter().cloned().collect();
        let asked = |name: &SecretName| (name.clone(), Standing::Asked(now + TOLD_WITHIN));
        self.known.extend(new.iter().map(asked));
        new
    }

    /// Wipes those that no program here names any longer.
    pub(crate) fn keep(&mut self, named: &BTreeSet<&SecretName>) {
        self.known.retain(|name, _| named.contains(name));
    }

    /// Whether a start of `spec` waits for an answer.
    pub(crate) fn awaited(&self, spec: &ProgramSpec) -> bool {
        spec.secrets().any(|name| self.known.get(name).is_some_and(|one| one.until().is_some()))
    }

    /// Until when starts wait.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.known.values().filter_map(Standing::until).min()
    }

    /// Gives up waiting where it is time to; whether it did.
    pub(crate) fn expire(&mut self, now: BootTime) -> bool {
        let mut any = false;
        for standing in self.known.values_mut() {
            if standing.until().is_some_and(|until| now >= until) {
                let told = matches!(standing, Standing::Awaited(_));
                *standing = if told { Standing::Missing } else { Standing::Unanswered };
                any = true;
            }
        }
        any
    }

    /// The agent tells of a secret. What has changed, for people, unless it is the first word.
    pub(crate) fn hear(
        &mut self,
        name: &SecretName,
        found: Option<&SealedSecret>,
    ) -> Option<&'static str> {
        let before = self.known.get(name)?;
        if before.answered() && before.version() == found.map(|sealed| sealed.version) {
            return None;
        }
        let first = !before.answered();
        let place = SecretPlace { fleet: &self.fleet, worker: &self.worker, name };
        let standing = match found {
            None => before.until().map_or(Standing::Missing, Standing::Awaited),
            Some(sealed) => match sealed.open(&self.keys, place) {
                Ok(value) => Standing::Open(sealed.version, value),
                Err(why) => {
                    tracing::warn!("secret {name} cannot be read: {why}");
                    Standing::Closed(sealed.version, why.to_string())
                }
            },
        };
        self.known.insert(name.clone(), standing);
        let change = if found.is_some() { "was set" } else { "was taken away" };
        (!first).then_some(change)
    }

    /// A value.
    ///
    /// # Errors
    /// Why there is none, and what to do, for people.
    pub(crate) fn get(&self, name: &SecretName) -> Result<&SecretValue, String> {
        let worker = &self.worker;
        let again = format!("run: dsbus secret set {name} --workers {worker}");
        match self.known.get(name) {
            Some(Standing::Open(_, value)) => Ok(value),
            Some(Standing::Closed(_, why)) => {
                Err(format!("worker {worker} cannot read its secret {name}: {why}; {again}"))
            }
            Some(Standing::Missing) => {
                Err(format!("worker {worker} has no secret {name}; {again}"))
            }
            Some(Standing::Asked(_) | Standing::Awaited(_) | Standing::Unanswered) | None => {
                Err(format!(
                    "worker {worker} has not heard of its secret {name} yet: its agent has no bus; \
                 the next start tries again"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::moment::Timestamp;
    use dsbus_schema::program::EnvironmentValue;

    fn sealed(secrets: &Secrets, name: &str, value: &str, version: u128) -> SealedSecret {
        let name = name.parse().unwrap();
        let place = SecretPlace { fleet: &secrets.fleet, worker: &secrets.worker, name: &name };
        let (value, key) = (SecretValue::new(value.into()).unwrap(), secrets.public_key());
        let (version, changed) = (Uuid::from_u128(version), Timestamp::from_unix_nanos(0));
        SealedSecret::seal(&value, place, &key, version, changed, None).unwrap()
    }

    fn naming(name: &str) -> ProgramSpec {
        let value = EnvironmentValue::Secret { secret: name.parse().unwrap() };
        ProgramSpec { environment: [("DB".to_owned(), value)].into(), ..ProgramSpec::default() }
    }

    fn secrets() -> Secrets {
        Secrets::new(SealKeys::random(), "f".parse().unwrap(), "w1".parse().unwrap())
    }

    #[test]
    fn a_secret_is_asked_for_once_waited_for_and_kept_until_it_changes() {
        let (mut secrets, spec, db) = (secrets(), naming("db"), "db".parse().unwrap());
        let now = BootTime(0);
        assert_eq!(secrets.want(&spec, now), [db]);
        let db: SecretName = "db".parse().unwrap();
        assert_eq!(secrets.want(&spec, now), []);
        assert!(secrets.awaited(&spec) && secrets.deadline() == Some(now + TOLD_WITHIN));
        let first = sealed(&secrets, "db", "one", 1);
        assert_eq!(secrets.hear(&db, Some(&first)), None, "the first word is no change");
        assert!(!secrets.awaited(&spec) && secrets.deadline().is_none());
        assert_eq!(secrets.get(&db).unwrap().expose(), b"one");
        // A new agent tells it again.
        assert_eq!(secrets.hear(&db, Some(&first)), None);
        let second = sealed(&secrets, "db", "two", 2);
        assert_eq!(secrets.hear(&db, Some(&second)), Some("was set"));
        assert_eq!(secrets.get(&db).unwrap().expose(), b"two");
        assert_eq!(secrets.hear(&db, None), Some("was taken away"));
        let why = secrets.get(&db).unwrap_err();
        assert_eq!(why, "worker w1 has no secret db; run: dsbus secret set db --workers w1");
        secrets.keep(&BTreeSet::new());
        assert_eq!(secrets.names().count(), 0);
        assert_eq!(secrets.hear(&db, Some(&second)), None, "nobody here names it");
    }

    #[test]
    fn a_start_waits_no_longer_than_it_is_worth() {
        let (mut secrets, spec) = (secrets(), naming("db"));
        let db: SecretName = "db".parse().unwrap();
        secrets.want(&spec, BootTime(0));
        assert!(!secrets.expire(BootTime(1)) && secrets.awaited(&spec));
        assert!(secrets.expire(BootTime(0) + TOLD_WITHIN) && !secrets.awaited(&spec));
        assert!(secrets.get(&db).unwrap_err().contains("not heard"));
        let late = sealed(&secrets, "db", "one", 1);
        assert_eq!(secrets.hear(&db, Some(&late)), None);
        assert_eq!(secrets.get(&db).unwrap().expose(), b"one");
    }

    #[test]
    fn a_secret_that_is_not_there_yet_may_be_on_its_way() {
        let (mut secrets, spec) = (secrets(), naming("db"));
        let db: SecretName = "db".parse().unwrap();
        secrets.want(&spec, BootTime(0));
        assert_eq!(secrets.hear(&db, None), None);
        assert!(secrets.awaited(&spec) && secrets.deadline() == Some(BootTime(0) + TOLD_WITHIN));
        let late = sealed(&secrets, "db", "one", 1);
        assert_eq!(secrets.hear(&db, Some(&late)), None, "the first word is no change");
        assert!(!secrets.awaited(&spec) && secrets.get(&db).is_ok());
        // One that does not come is missing, and then is nothing to wait for.
        secrets.keep(&BTreeSet::new());
        secrets.want(&spec, BootTime(0));
        secrets.hear(&db, None);
        assert!(secrets.expire(BootTime(0) + TOLD_WITHIN) && !secrets.awaited(&spec));
        assert!(secrets.get(&db).unwrap_err().contains("has no secret"));
        assert_eq!(secrets.hear(&db, Some(&late)), Some("was set"));
    }

    #[test]
    fn what_was_copied_from_another_name_does_not_open() {
        let (mut secrets, spec) = (secrets(), naming("db"));
        let db: SecretName = "db".parse().unwrap();
        secrets.want(&spec, BootTime(0));
        let other = sealed(&secrets, "web", "hunter2", 1);
        secrets.hear(&db, Some(&other));
        let why = secrets.get(&db).unwrap_err();
        assert!(why.contains("sealed as secret web of worker w1"), "{why}");
        assert!(!format!("{secrets:?} {why}").contains("hunter2"));
        let ours = sealed(&secrets, "db", "hunter2", 2);
        secrets.hear(&db, Some(&ours));
        assert!(secrets.get(&db).is_ok() && !format!("{secrets:?}").contains("hunter2"));
    }
}
