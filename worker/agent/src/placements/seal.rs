//! Whether an entry counts: who signed it, and that it is no earlier one, written again.

use dsbus_client::{Distrust, Entry, Signers};
use dsbus_schema::ids::InstanceId;

use super::Placements;

impl Placements {
    /// Says whether an entry counts, and remembers that it does.
    ///
    /// # Errors
    /// Why not, and whether it may once another signer is known.
    pub(super) fn check(&mut self, name: &InstanceId, entry: &Entry) -> Result<(), (String, bool)> {
        self.signers.check(&self.fleet, entry).map_err(|distrust| {
            (distrust.to_string(), matches!(distrust, Distrust::Unknown { .. }))
        })?;
        let (Some(seal), false) = (&entry.seal, self.signers == Signers::Off) else {
            return Ok(());
        };
        let stamp = seal.stamp();
        let older = |why: String| Err((format!("it is an older one, written again: {why}"), false));
        let written = self.written.get(name).copied().unwrap_or_default();
        if stamp.after < written || stamp.after >= entry.seq {
            return older(format!(
                "it was to follow {}, after one that followed {written}",
                stamp.after
            ));
        }
        let highest = self.highest.get(name).copied().unwrap_or_default();
        if stamp.epoch < highest {
            return older(format!("it has epoch {}, after epoch {highest}", stamp.epoch));
        }
        self.written.insert(name.clone(), stamp.after);
        Ok(())
    }
}
