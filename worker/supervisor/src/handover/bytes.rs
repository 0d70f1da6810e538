//! Bytes in JSON: text where they are, which they mostly are, and numbers where not.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Text(String),
    Numbers(Vec<u8>),
}

impl From<Read> for Vec<u8> {
    fn from(read: Read) -> Vec<u8> {
        match read {
            Read::Text(text) => text.into_bytes(),
            Read::Numbers(numbers) => numbers,
        }
    }
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.serialize(to),
        Err(_) => bytes.serialize(to),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    Read::deserialize(from).map(Vec::from)
}

/// The same for a queue that may be missing.
pub(crate) mod maybe {
    use std::collections::VecDeque;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Read;

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<VecDeque<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => {
                let bytes: Vec<u8> = bytes.iter().copied().collect();
                super::serialize(&bytes, to)
            }
            None => None::<()>.serialize(to),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<VecDeque<u8>>, D::Error> {
        let read = Option::<Read>::deserialize(from)?;
        Ok(read.map(|read| Vec::from(read).into()))
    }
}
