//! Whether a placement was written by a scheduler of this fleet, and is the last that was.

use std::sync::Arc;

use dsbus_client::{Distrust, Entry, Seal, Signers, Value};
use dsbus_schema::ids::{InstanceId, WorkerName};

use super::Core;

/// Why an entry under a placement's key does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    /// By its signature.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It was written before, and is written again.
    #[error("it is an older one, written again")]
    Older,
}

impl Core {
    /// From now on these count. What was signed by others is written again.
    pub fn set_signers(&mut self, signers: Signers) {
        if signers == self.signers {
            return;
        }
        if let Signers::Listed(keys) = &signers {
            let left = self.signed_by.iter().filter(|(_, key)| !keys.contains_key(&***key));
            let left: Vec<_> = left.map(|(at, key)| (at.clone(), Arc::clone(key))).collect();
            for ((worker, name), key) in left {
                let placed = self.view.placed(&name).filter(|placed| placed.worker == worker);
                let Some((seq, said)) = placed.map(|placed| (placed.seq, placed.placement()))
                else {
                    continue;
                };
                let why = Distrust::Unknown { signer: key.to_string() }.to_string();
                self.view.set_forged((&worker, &name), seq, &why, Some(said));
            }
        }
        self.signers = signers;
    }

    /// Whether somebody has signed this placement who is not known (yet).
    pub fn by_stranger(&self, entry: &Entry) -> bool {
        match (&self.signers, &entry.seal) {
            (Signers::Listed(keys), Some(Seal::Signed { signer, .. })) => {
                !keys.contains_key(signer)
            }
            (Signers::Off | Signers::Any | Signers::Listed(_), _) => false,
        }
    }

    /// Says whether an entry counts, and remembers that it does.
    pub(super) fn trusted(
        &mut self,
        (worker, name): (&WorkerName, &InstanceId),
        entry: &Entry,
    ) -> Result<(), Doubt> {
        self.signers.check(&self.fleet, entry)?;
        let Some(seal) = &entry.seal else { return Ok(()) };
        let after = seal.stamp().after;
        // Between what it was written after and itself, only its own batch has written.
        let written = self.written.entry(name.clone()).or_default();
        if after < *written || after >= entry.seq {
            return Err(Doubt::Older);
        }
        *written = after;
        let at = (worker.clone(), name.clone());
        match (&entry.value, seal) {
            (Value::Put(_), Seal::Signed { signer, .. }) => {
                self.signed_by.insert(at, signer.as_str().into());
            }
            (Value::Put(_), Seal::Ours(_))
            | (Value::Deleted | Value::Expired | Value::Copied, _) => {
                self.signed_by.remove(&at);
            }
        }
        Ok(())
    }
}
