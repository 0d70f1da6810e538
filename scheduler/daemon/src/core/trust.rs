//! Whether a placement was written by a scheduler of this fleet, and is the last that was.

use std::sync::Arc;

use dsbus_client::{Distrust, Entry, Error, Seal, Signers, Value};
use dsbus_planner::view::Life;
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::{Placement, Removal};

use super::Core;

/// Why an entry under a placement's key does not count.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    /// By its signature.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It was written before, and is written again.
    #[error("it is an older one, written again")]
    Older,
}

impl Core {
    /// Whether placements must be signed.
    pub fn checks_signatures(&self) -> bool {
        self.signers != Signers::Off
    }

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
    fn trusted(
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

    /// Folds an entry under a placement's key.
    pub(super) fn fold_placement(
        &mut self,
        worker: &WorkerName,
        name: &InstanceId,
        entry: &Entry,
        now: BootTime,
    ) -> Result<(), Error> {
        if let Err(why) = self.trusted((worker, name), entry) {
            let why = why.to_string();
            // What it says is a hint at most.
            let said = entry.json().ok().flatten();
            self.view.set_forged((worker, name), entry.seq, &why, said);
            let (what, why) = (entry.key.clone(), format!("{why}; it is written over"));
            return Err(Error::Malformed { what, why });
        }
        // One that cannot be read leaves the guard as it was, too: so the bus refuses to write over
        // a placement that somebody else may understand.
        let placement: Option<Placement> = entry.json()?;
        self.tell_placement(entry, (worker, name), placement.as_ref(), now)?;
        if let (None, Ok(Some(Removal { epoch, .. }))) = (&placement, entry.said()) {
            self.view.raise_floor(name, epoch);
        }
        let lease = placement.as_ref().map(|p| (worker.clone(), p.spec.touch_seconds()));
        let was_here = self.view.set_placement(worker, name, entry.seq, placement);
        // Its lease may not be taken yet, or be a lost one of long ago: it is judged from now on
        // (rule 4).
        if let Some(lease) = lease
            && !was_here
            && self.view.lease_of(&lease.0, lease.1).is_none_or(|held| held.life != Life::Live)
        {
            self.view.set_life(&lease.0, lease.1, Life::Silent);
            self.judge.first_seen(&lease, now);
        }
        Ok(())
    }
}
