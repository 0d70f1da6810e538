//! What the supervisor is told of secrets: those that its programs name, as they are on the bus.
//! They are sealed; this process could not open them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::Item;
use dsbus_schema::ids::{SecretName, WorkerName};
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::storage::parse_secret_key;

/// Most secrets of one worker that are kept. Sealed, each has at most 120 KiB; whoever sets more of
/// them means files.
const SECRETS_MAX: usize = 1000;

/// The secrets of this worker.
#[derive(Debug)]
pub(crate) struct Secrets {
    worker: WorkerName,
    found: BTreeMap<SecretName, Box<SealedSecret>>,
    /// Everything that is there has been told by the watch.
    complete: bool,
    wanted: BTreeSet<SecretName>,
    owed: BTreeSet<SecretName>,
}

impl Secrets {
    pub(crate) fn new(worker: WorkerName) -> Secrets {
        let (found, wanted, owed) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Secrets { worker, found, complete: false, wanted, owed }
    }

    /// The supervisor wants to know of it from now on.
    pub(crate) fn want(&mut self, name: SecretName) {
        self.owed.insert(name.clone());
        self.wanted.insert(name);
    }

    /// The watch delivered something.
    pub(crate) fn heard(&mut self, item: Item) {
        let entry = match item {
            Item::Entry(entry) => entry,
            Item::CaughtUp => {
                self.complete = true;
                return;
            }
            Item::Reset => {
                self.found.clear();
                self.complete = false;
                self.owed.clone_from(&self.wanted);
                return;
            }
        };
        let key = parse_secret_key(&entry.key).filter(|(worker, _)| *worker == self.worker);
        let Some((_, name)) = key else { return };
        match entry.json::<SealedSecret>() {
            Ok(Some(sealed)) => {
                if self.found.len() >= SECRETS_MAX && !self.found.contains_key(&name) {
                    tracing::error!(%name, "more than {SECRETS_MAX} secrets: this one is left out");
                    return;
                }
                self.found.insert(name.clone(), Box::new(sealed));
            }
            Ok(None) => drop(self.found.remove(&name)),
            // What it was before is not what somebody meant it to be now.
            Err(error) => {
                tracing::error!(%error, "a secret that is none");
                self.found.remove(&name);
            }
        }
        if self.wanted.contains(&name) {
            self.owed.insert(name);
        }
    }

    /// What the supervisor is to be told next.
    pub(crate) fn owed(&self) -> Option<(SecretName, Option<Box<SealedSecret>>)> {
        let name = self.owed.first().filter(|_| self.complete)?;
        Some((name.clone(), self.found.get(name).cloned()))
    }

    /// It was told.
    pub(crate) fn told(&mut self, name: &SecretName) {
        self.owed.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_client::{Entry, Value};
    use dsbus_schema::moment::Timestamp;
    use uuid::Uuid;

    fn entry(key: &str, body: Option<&SealedSecret>) -> Item {
        let body = body.map(|sealed| Value::Put(serde_json::to_vec(sealed).unwrap().into()));
        Item::Entry(Entry {
            key: key.to_owned(),
            seq: 1,
            value: body.unwrap_or(Value::Deleted),
            time: Timestamp::from_unix_nanos(0),
            by: None,
            note: Vec::new().into(),
            seal: None,
        })
    }

    fn sealed(version: u128) -> SealedSecret {
        let (key, sender, sealed) = (String::new(), String::new(), String::new());
        let (version, changed) = (Uuid::from_u128(version), Timestamp::from_unix_nanos(0));
        SealedSecret { key, sender, sealed, version, changed, by: None }
    }

    fn told(secrets: &mut Secrets) -> Vec<(String, Option<u128>)> {
        let mut told = Vec::new();
        while let Some((name, found)) = secrets.owed() {
            secrets.told(&name);
            told.push((name.to_string(), found.map(|sealed| sealed.version.as_u128())));
        }
        told
    }

    #[test]
    fn only_what_is_wanted_is_told_once_all_is_known_and_again_when_it_changes() {
        let mut secrets = Secrets::new("w1".parse().unwrap());
        secrets.want("db".parse().unwrap());
        secrets.want("none".parse().unwrap());
        secrets.heard(entry("w1.db", Some(&sealed(1))));
        assert_eq!(told(&mut secrets), []);
        secrets.heard(Item::CaughtUp);
        let [db, none] = ["db", "none"].map(str::to_owned);
        assert_eq!(told(&mut secrets), [(db.clone(), Some(1)), (none.clone(), None)]);
        secrets.heard(entry("w1.other", Some(&sealed(2))));
        secrets.heard(entry("w2.db", Some(&sealed(3))));
        assert_eq!(told(&mut secrets), []);
        secrets.heard(entry("w1.db", Some(&sealed(4))));
        secrets.heard(entry("w1.db", Some(&sealed(5))));
        assert_eq!(told(&mut secrets), [(db.clone(), Some(5))]);
        secrets.heard(entry("w1.db", None));
        assert_eq!(told(&mut secrets), [(db.clone(), None)]);
        secrets.heard(Item::Reset);
        assert_eq!(told(&mut secrets), []);
        secrets.heard(Item::CaughtUp);
        assert_eq!(told(&mut secrets), [(db, None), (none, None)]);
    }
}
