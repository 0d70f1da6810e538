//! Signatures of placements: a scheduler's writes carry them, and whoever reads checks them. The
//! bus's permissions alone do not keep a placement from being forged: replies of the server can be
//! aimed at subjects that their requester may not publish to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dsbus_schema::ids::FleetName;
use dsbus_schema::signature::{HEADER_SIGNATURE, HEADER_SIGNER, Operation};
use nkeys::{KeyPair, KeyPairType};

use crate::entry::{Entry, Seal, Value};
use crate::storage::Write;
use crate::{Access, Bus, Error, access};

/// Most keys in a file of signers: every scheduler's twice, while keys are rotated.
const SIGNERS_MAX: usize = 256;

/// Signs what a scheduler writes.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<KeyPair>,
    public: Arc<str>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public).finish()
    }
}

impl Signer {
    /// By the seed of these credentials; `None` when they have none.
    ///
    /// # Errors
    /// [`Error::Malformed`] about a file of theirs that cannot be used.
    pub fn of(access: &Access) -> Result<Option<Signer>, Error> {
        let Some(pair) = access.credentials.seed()? else { return Ok(None) };
        let public = pair.public_key().into();
        Ok(Some(Signer { pair: Arc::new(pair), public }))
    }

    /// The public key.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The signature of a write, if it is one of a placement.
    pub fn seal(&self, fleet: &FleetName, write: &Write) -> Option<Seal> {
        let stamp = write.stamp?;
        let (operation, body) = match &write.body {
            Some(body) => (Operation::Put, body),
            None => (Operation::Delete, &write.note),
        };
        let text = stamp.text(fleet, &write.key, operation, body);
        // A pair that was made from a seed always signs; without a signature nobody obeys.
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(&text).ok()?);
        Some(Seal::Signed { signer: self.public.to_string(), stamp, signature })
    }

    /// Adds the headers of it.
    pub(crate) fn sign(&self, fleet: &FleetName, write: &Write, headers: &mut HeaderMap) {
        if let Some(Seal::Signed { signer, stamp, signature }) = self.seal(fleet, write) {
            headers.insert(HEADER_SIGNER, signer);
            headers.insert(HEADER_SIGNATURE, stamp.header(&signature));
        }
    }
}

impl Bus {
    /// The same connection, whose placements are signed with the seed of these credentials, if they
    /// hold one.
    ///
    /// # Errors
    /// [`Error::Malformed`] about a file of theirs that cannot be used.
    pub fn signing_by(&self, access: &Access) -> Result<Bus, Error> {
        let mut bus = self.clone();
        bus.signer = Signer::of(access)?;
        Ok(bus)
    }

    /// The public key that placements are signed with, if they are.
    pub fn signs_as(&self) -> Option<&str> {
        self.signer.as_ref().map(Signer::public)
    }
}

/// Whose signatures count.
#[derive(Clone, Default)]
pub enum Signers {
    /// Nobody signs here: everything counts.
    #[default]
    Off,
    /// Anybody's: it keeps out what servers and services can be made to write, who sign nothing.
    Any,
    /// Those of these keys.
    Listed(BTreeMap<String, Arc<KeyPair>>),
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signers::Off => f.write_str("Off"),
            Signers::Any => f.write_str("Any"),
            Signers::Listed(keys) => f.debug_set().entries(keys.keys()).finish(),
        }
    }
}

impl PartialEq for Signers {
    fn eq(&self, other: &Signers) -> bool {
        match (self, other) {
            (Signers::Off, Signers::Off) | (Signers::Any, Signers::Any) => true,
            (Signers::Listed(keys), Signers::Listed(others)) => keys.keys().eq(others.keys()),
            (Signers::Off | Signers::Any | Signers::Listed(_), _) => false,
        }
    }
}

/// Why a placement does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It has no signature.
    #[error("it is not signed")]
    Unsigned,
    /// Its signer is not among those who count.
    #[error("its signer {signer} is none of ours")]
    Unknown {
        /// The public key that it names.
        signer: String,
    },
    /// The signature is not one of this entry.
    #[error("its signature is one of something else")]
    Wrong,
    /// It is the answer to somebody's read.
    #[error("it is a copy of another entry")]
    Copy,
}

impl Signers {
    /// Reads a text of one public key a line; what stands after a `#` is a comment.
    ///
    /// # Errors
    /// With the line that is no public key of a user, or that nobody is named.
    pub fn parse(text: &str) -> Result<Signers, String> {
        let mut keys = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let key = line.split('#').next().unwrap_or_default().trim();
            if key.is_empty() {
                continue;
            }
            let wrong =
                || format!("line {number} is no public NKey of a user, which begins with U");
            let pair = KeyPair::from_public_key(key).map_err(|_| wrong())?;
            if pair.key_pair_type() != KeyPairType::User {
                return Err(wrong());
            }
            keys.insert(key.to_owned(), Arc::new(pair));
            if keys.len() > SIGNERS_MAX {
                return Err(format!("names more than {SIGNERS_MAX} keys"));
            }
        }
        if keys.is_empty() {
            return Err("names no public key; write those of the schedulers, one a line".to_owned());
        }
        Ok(Signers::Listed(keys))
    }

    /// Whether it counts what was signed with this public key.
    pub fn names(&self, key: &str) -> bool {
        match self {
            Signers::Off | Signers::Any => true,
            Signers::Listed(keys) => keys.contains_key(key),
        }
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`Error::Malformed`], which names the file and what is wrong.
    pub fn read(path: &Path) -> Result<Signers, Error> {
        let read = access::read(path).and_then(|text| Signers::parse(&text));
        read.map_err(|why| Error::malformed(path.display().to_string(), why))
    }

    /// Says whether a placement, or its tombstone, was written by one of them as it stands.
    ///
    /// # Errors
    /// Why it was not.
    pub fn check(&self, fleet: &FleetName, entry: &Entry) -> Result<(), Distrust> {
        let (operation, body) = match &entry.value {
            Value::Put(body) => (Operation::Put, body),
            Value::Deleted => (Operation::Delete, &entry.note),
            // Placements never expire: somebody else wrote this marker, or made one expire.
            Value::Expired if matches!(self, Signers::Off) => return Ok(()),
            Value::Expired => return Err(Distrust::Unsigned),
            Value::Copied => return Err(Distrust::Copy),
        };
        if matches!(self, Signers::Off) {
            return Ok(());
        }
        let (signer, stamp, signature) = match &entry.seal {
            None => return Err(Distrust::Unsigned),
            Some(Seal::Ours(_)) => return Ok(()),
            Some(Seal::Signed { signer, stamp, signature }) => (signer, stamp, signature),
        };
        let unknown = || Distrust::Unknown { signer: signer.clone() };
        let pair = match self {
            Signers::Listed(keys) => Arc::clone(keys.get(signer).ok_or_else(unknown)?),
            Signers::Any | Signers::Off => {
                Arc::new(KeyPair::from_public_key(signer).map_err(|_| Distrust::Wrong)?)
            }
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Distrust::Wrong)?;
        let text = stamp.text(fleet, &entry.key, operation, body);
        pair.verify(&text, &signature).map_err(|_| Distrust::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dsbus_schema::ids::Epoch;
    use dsbus_schema::moment::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{Credentials, Secret};

    fn signer() -> Signer {
        let seed = Secret::new(KeyPair::new_user().seed().unwrap());
        let credentials = Credentials::Jwt { jwt: Secret::new(""), seed };
        Signer::of(&Access { credentials, ..Access::default() }).unwrap().unwrap()
    }

    fn listed(signers: &[&Signer]) -> Signers {
        let lines: Vec<&str> = signers.iter().map(|signer| signer.public()).collect();
        Signers::parse(&lines.join("\n")).unwrap()
    }

    fn entry(signer: &Signer, write: &Write) -> Entry {
        let value = write.body.clone().map_or(Value::Deleted, Value::Put);
        let seal = signer.seal(&FleetName::default(), write);
        let (key, note, time) =
            (write.key.clone(), write.note.clone(), Timestamp::from_unix_nanos(0));
        Entry { key, seq: 9, value, time, by: None, note, seal }
    }

    #[test]
    fn what_is_changed_in_any_way_is_not_what_was_signed() {
        let (ours, other, fleet) = (signer(), signer(), FleetName::default());
        let put = Write::put("w1.web.0", &json!({ "epoch": 7 })).unwrap().stamp(Epoch(7), 8);
        let delete = Write::delete("w1.web.0").stamp(Epoch(7), 8);
        let known = listed(&[&ours]);
        for write in [&put, &delete] {
            let entry = entry(&ours, write);
            assert_eq!(known.check(&fleet, &entry), Ok(()));
            assert_eq!(Signers::Any.check(&fleet, &entry), Ok(()));
            let wrong = Err(Distrust::Wrong);
            assert_eq!(known.check(&FleetName::parse("b").unwrap(), &entry), wrong, "fleet");
            let edits: [fn(&mut Entry); 6] = [
                |e| e.key = "w2.web.0".to_owned(),
                |e| e.value = Value::Put(Bytes::from_static(b"{}")),
                |e| (e.value, e.note) = (Value::Deleted, Bytes::from_static(b"{}")),
                |e| stamped(e, |stamp| stamp.epoch = Epoch(8)),
                |e| stamped(e, |stamp| stamp.after = 7),
                |e| signed(e, "AAAA"),
            ];
            for (number, edit) in edits.into_iter().enumerate() {
                let mut edited = entry.clone();
                edit(&mut edited);
                assert_eq!(known.check(&fleet, &edited), wrong, "{number}");
                assert_eq!(Signers::Any.check(&fleet, &edited), wrong, "{number}");
            }
            let unsigned = Entry { seal: None, ..entry.clone() };
            assert_eq!(known.check(&fleet, &unsigned), Err(Distrust::Unsigned));
            assert_eq!(Signers::Any.check(&fleet, &unsigned), Err(Distrust::Unsigned));
            assert_eq!(Signers::Off.check(&fleet, &unsigned), Ok(()));
            let copied = Entry { value: Value::Copied, ..entry };
            assert_eq!(Signers::Off.check(&fleet, &copied), Err(Distrust::Copy));
        }
        let theirs = entry(&other, &put);
        let unknown = Err(Distrust::Unknown { signer: other.public().to_owned() });
        assert_eq!(known.check(&fleet, &theirs), unknown);
        assert_eq!(listed(&[&ours, &other]).check(&fleet, &theirs), Ok(()), "two at once");
        let expired = Entry { value: Value::Expired, seal: None, ..theirs };
        assert_eq!(known.check(&fleet, &expired), Err(Distrust::Unsigned), "none ever expires");
        assert_eq!(Signers::Off.check(&fleet, &expired), Ok(()));
    }

    fn stamped(entry: &mut Entry, edit: fn(&mut dsbus_schema::signature::Stamp)) {
        match &mut entry.seal {
            Some(Seal::Signed { stamp, .. }) => edit(stamp),
            other => panic!("{other:?}"),
        }
    }

    fn signed(entry: &mut Entry, text: &str) {
        match &mut entry.seal {
            Some(Seal::Signed { signature, .. }) => text.clone_into(signature),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_of_signers_has_public_keys_of_users() {
        let (one, two) = (signer(), signer());
        let text = format!("# mine\n{} # old\n\n  {}\n", one.public(), two.public());
        assert_eq!(Signers::parse(&text).unwrap(), listed(&[&two, &one]));
        let seed = KeyPair::new_user().seed().unwrap();
        let account = KeyPair::new_account().public_key();
        for (bad, why) in [
            ("# nobody\n", "names no public key"),
            ("\nUABC", "line 2"),
            (seed.as_str(), "line 1"),
            (account.as_str(), "line 1"),
        ] {
            let said = Signers::parse(bad).unwrap_err();
            assert!(said.contains(why) && !said.contains(&seed), "{said}");
        }
        let many: String = (0..300).map(|_| KeyPair::new_user().public_key() + "\n").collect();
        assert!(Signers::parse(&many).unwrap_err().contains("256"));
    }
}
