//! The file of those whose placements count: read again when an unknown one is met, and now and then.

use std::path::PathBuf;

use dsbus_client::{Bus, Entry, Error, Signers};
use dsbus_schema::storage::Bucket;

use crate::run::Scheduler;

/// The file, if there is one, and whom it named last.
#[derive(Debug)]
pub(crate) struct SignersFile {
    path: Option<PathBuf>,
    now: Signers,
    /// What was wrong with it last.
    trouble: Option<String>,
}

impl SignersFile {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be used, or this scheduler is not named in it: nobody would obey it.
    pub(crate) fn open(bus: &Bus, path: Option<PathBuf>) -> Result<SignersFile, Error> {
        let now = match &path {
            Some(path) => {
                let signers = Signers::read(path)?;
                if let Some(key) = bus.signs_as().filter(|key| !signers.names(key)) {
                    let why =
                        format!("does not name {key}, which this scheduler signs with; add it");
                    return Err(Error::Malformed { what: path.display().to_string(), why });
                }
                signers
            }
            None if bus.signs_as().is_some() => Signers::Any,
            None => Signers::Off,
        };
        Ok(SignersFile { path, now, trouble: None })
    }

    /// Whom it names.
    pub(crate) fn now(&self) -> &Signers {
        &self.now
    }

    /// Reads it again; says whether something has changed.
    fn read(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        match Signers::read(path) {
            Ok(signers) => {
                self.trouble = None;
                let changed = signers != self.now;
                self.now = signers;
                changed
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("the file of signers cannot be used: {trouble}");
                }
                self.trouble = Some(trouble);
                false
            }
        }
    }
}

impl Scheduler {
    /// Before an entry is folded: its signer may be a new one.
    pub(crate) fn meet(&mut self, bucket: Bucket, entry: &Entry) {
        if bucket == Bucket::Fleet && self.shared.lock().by_stranger(entry) {
            self.read_signers();
        }
    }

    /// Reads the file again.
    pub(crate) fn read_signers(&mut self) {
        if self.signers.read() {
            tracing::info!("the file of signers has changed");
            self.shared.lock().set_signers(self.signers.now().clone());
            self.news = true;
        }
    }
}
