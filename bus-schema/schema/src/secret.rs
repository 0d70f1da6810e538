//! Secrets: values that one worker can read, and nobody else. Each is sealed to the key of its
//! worker (X25519, as the xkeys of NATS), and says inside for which fleet, worker and name: what is
//! copied to another key of the bucket does not open there.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nkeys::XKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::ids::{FleetName, SecretName, UserName, WorkerName};
use crate::moment::Timestamp;

/// Longest value, in bytes; the kernel gives no process a longer variable than 128 KiB.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// A value that is printed by nothing, and wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// A value as it was typed, or read from a file: one new line at its end is dropped.
    ///
    /// # Errors
    /// When it is empty, too long, or cannot be in an environment.
    pub fn new(mut bytes: Vec<u8>) -> Result<SecretValue, String> {
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        let value = SecretValue(Zeroizing::new(bytes));
        if value.0.len() > SECRET_BYTES_MAX {
            return Err(format!("is longer than {SECRET_BYTES_MAX} bytes"));
        }
        if value.0.contains(&0) {
            return Err("holds a NUL byte, which no environment can".to_owned());
        }
        Ok(value)
    }

    /// The value. Whoever asks for it sees to it that it goes nowhere else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// For which key of the bucket a value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretPlace<'a> {
    /// The fleet.
    pub fleet: &'a FleetName,
    /// The worker.
    pub worker: &'a WorkerName,
    /// The name.
    pub name: &'a SecretName,
}

/// The key pair of a worker. Its seed never leaves its machine.
#[derive(Clone)]
pub struct SealKeys(XKey);

impl SealKeys {
    /// A new pair, of the system's randomness.
    pub fn random() -> SealKeys {
        SealKeys(XKey::new())
    }

    /// Reads a seed (`SX...`).
    ///
    /// # Errors
    /// When it is none.
    pub fn from_seed(seed: &str) -> Result<SealKeys, String> {
        // The library's words repeat what they are about.
        let read = XKey::from_seed(seed).map_err(|_| "is no seed of an X25519 key (SX...)");
        Ok(SealKeys(read?))
    }

    /// The seed.
    pub fn seed(&self) -> Zeroizing<String> {
        // Both constructors make a pair with its private half.
        Zeroizing::new(self.0.seed().unwrap_or_default())
    }

    /// The public half (`X...`).
    pub fn public(&self) -> String {
        self.0.public_key()
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", self.public())
    }
}

/// A secret as one worker has it. Key `<worker>.<name>` of the secrets bucket, written by operators,
/// read by that worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedSecret {
    /// The public key of the worker that it is sealed to.
    pub key: String,
    /// The public half of a key that was made for this one value.
    pub sender: String,
    /// What is sealed, in base64.
    pub sealed: String,
    /// Given to a value when it is set: the same for all workers that were given it then.
    pub version: Uuid,
    /// When it was set, by the clock of whoever did.
    pub changed: Timestamp,
    /// Who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
}

/// Why a sealed value was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The worker has another key now.
    #[error("it is sealed to another key than this worker has now")]
    OtherKey,
    /// It is for another place: somebody copied it.
    #[error("it was sealed as secret {name} of worker {worker} in fleet {fleet}, and copied")]
    OtherPlace {
        /// Of which fleet.
        fleet: String,
        /// Of which worker.
        worker: String,
        /// Under which name.
        name: String,
    },
    /// It is damaged, or was made by something else.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// What is inside.
#[derive(Serialize, Deserialize)]
struct Inside {
    fleet: String,
    worker: String,
    name: String,
    version: Uuid,
    /// In base64, since it may be no text.
    value: String,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl SealedSecret {
    /// Seals a value to the public key of a worker. `version` and `changed` are of the value: the
    /// same for all workers that are given it.
    ///
    /// # Errors
    /// When `key` is no public key.
    pub fn seal(
        value: &SecretValue,
        place: SecretPlace<'_>,
        key: &str,
        version: Uuid,
        changed: Timestamp,
        by: Option<UserName>,
    ) -> Result<SealedSecret, String> {
        let recipient = XKey::from_public_key(key)
            .map_err(|_| format!("{key:?} is no public X25519 key (X...)"))?;
        let inside = Inside {
            fleet: place.fleet.to_string(),
            worker: place.worker.to_string(),
            name: place.name.to_string(),
            version,
            value: BASE64_STANDARD.encode(value.expose()),
        };
        let text = Zeroizing::new(serde_json::to_vec(&inside).map_err(|e| e.to_string())?);
        let sender = XKey::new();
        let sealed = sender.seal(&text, &recipient).map_err(|e| e.to_string())?;
        let sealed = BASE64_STANDARD.encode(sealed);
        let (key, sender) = (key.to_owned(), sender.public_key());
        Ok(SealedSecret { key, sender, sealed, version, changed, by })
    }

    /// Opens it.
    ///
    /// # Errors
    /// When it is not sealed to `keys`, or not for `place`.
    pub fn open(&self, keys: &SealKeys, place: SecretPlace<'_>) -> Result<SecretValue, OpenError> {
        if self.key != keys.public() {
            return Err(OpenError::OtherKey);
        }
        let damaged = OpenError::Damaged;
        let sender =
            XKey::from_public_key(&self.sender).map_err(|_| damaged("its sender is no key"))?;
        let sealed = BASE64_STANDARD.decode(&self.sealed).map_err(|_| damaged("no base64"))?;
        let opened = keys.0.open(&sealed, &sender).map_err(|_| damaged("it does not open"))?;
        let opened = Zeroizing::new(opened);
        let inside: Inside = serde_json::from_slice(&opened)
            .map_err(|_| damaged("what is inside is of another form"))?;
        let SecretPlace { fleet, worker, name } = place;
        let here = (fleet.as_str(), worker.as_str(), name.as_str());
        if (inside.fleet.as_str(), inside.worker.as_str(), inside.name.as_str()) != here {
            return Err(OpenError::OtherPlace {
                fleet: inside.fleet.clone(),
                worker: inside.worker.clone(),
                name: inside.name.clone(),
            });
        }
        if inside.version != self.version {
            return Err(damaged("its version is not the one that is inside"));
        }
        let value = BASE64_STANDARD.decode(&inside.value).map_err(|_| damaged("no base64"))?;
        if value.len() > SECRET_BYTES_MAX || value.contains(&0) {
            return Err(damaged("no environment can hold it"));
        }
        Ok(SecretValue(Zeroizing::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        fleet: FleetName,
        worker: WorkerName,
        name: SecretName,
    }

    impl Case {
        fn new(fleet: &str, worker: &str, name: &str) -> Case {
            let (fleet, worker) = (fleet.parse().unwrap(), worker.parse().unwrap());
            Case { fleet, worker, name: name.parse().unwrap() }
        }

        fn place(&self) -> SecretPlace<'_> {
            SecretPlace { fleet: &self.fleet, worker: &self.worker, name: &self.name }
        }
    }

    fn sealed(keys: &SealKeys, case: &Case) -> SealedSecret {
        let value = SecretValue::new(b"hunter2\n".to_vec()).unwrap();
        let (version, changed) = (Uuid::from_u128(7), Timestamp::from_unix_nanos(0));
        SealedSecret::seal(&value, case.place(), &keys.public(), version, changed, None).unwrap()
    }

    #[test]
    fn only_the_worker_that_it_is_for_opens_it() {
        let (ours, others) = (SealKeys::random(), SealKeys::random());
        let here = Case::new("default", "w1", "db");
        let one = sealed(&ours, &here);
        assert_eq!(one.open(&ours, here.place()).unwrap().expose(), b"hunter2");
        let back = SealKeys::from_seed(&ours.seed()).unwrap();
        assert_eq!(one.open(&back, here.place()).unwrap().expose(), b"hunter2");
        assert_eq!(one.open(&others, here.place()), Err(OpenError::OtherKey));
        // One who only claims that it is for another key, too.
        let forged = SealedSecret { key: others.public(), ..one };
        let why = forged.open(&others, here.place());
        assert_eq!(why, Err(OpenError::Damaged("it does not open")));
    }

    #[test]
    fn it_opens_under_no_other_name() {
        // Two workers may have the same key, when one was copied from the other.
        let keys = SealKeys::random();
        let here = Case::new("default", "w1", "db");
        let one = sealed(&keys, &here);
        for (fleet, worker, name) in
            [("other", "w1", "db"), ("default", "w2", "db"), ("default", "w1", "web")]
        {
            let there = Case::new(fleet, worker, name);
            let why = one.open(&keys, there.place()).unwrap_err();
            assert!(matches!(why, OpenError::OtherPlace { .. }), "{fleet} {worker} {name}: {why}");
        }
        // What is outside cannot be changed, either.
        let older = SealedSecret { version: Uuid::from_u128(8), ..one };
        assert!(matches!(older.open(&keys, here.place()), Err(OpenError::Damaged(_))));
    }

    #[test]
    fn damage_is_told_and_nothing_is_printed() {
        let (keys, here) = (SealKeys::random(), Case::new("default", "w1", "db"));
        let one = sealed(&keys, &here);
        let mut bytes = BASE64_STANDARD.decode(&one.sealed).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let bad = SealedSecret { sealed: BASE64_STANDARD.encode(&bytes), ..one.clone() };
            assert!(matches!(bad.open(&keys, here.place()), Err(OpenError::Damaged(_))), "{at}");
            bytes[at] ^= 1;
        }
        for (sender, sealed) in [("X", one.sealed.as_str()), (&one.sender, "%"), (&one.sender, "")]
        {
            let (sender, sealed) = (sender.to_owned(), sealed.to_owned());
            let bad = SealedSecret { sender, sealed, ..one.clone() };
            assert!(matches!(bad.open(&keys, here.place()), Err(OpenError::Damaged(_))));
        }
        let value = one.open(&keys, here.place()).unwrap();
        let json = serde_json::to_string(&one).unwrap();
        for printed in [format!("{value:?} {one:?} {keys:?}"), json] {
            assert!(!printed.contains("hunter2") && !printed.contains(&*keys.seed()), "{printed}");
        }
    }

    #[test]
    fn values_are_what_an_environment_can_hold() {
        let new = |bytes: &[u8]| SecretValue::new(bytes.to_vec());
        assert_eq!(new(b"a\n\n").unwrap().expose(), b"a\n");
        assert_eq!(new(b"\xff").unwrap().expose(), b"\xff");
        assert!(new(&vec![b'x'; SECRET_BYTES_MAX]).is_ok());
        assert!(new(&vec![b'x'; SECRET_BYTES_MAX + 1]).unwrap_err().contains("longer"));
        assert!(new(b"a\0b").unwrap_err().contains("NUL"));
        assert!(SealKeys::from_seed("SU").is_err());
    }
}
