//! The file of those whose placements are obeyed. It is read again soon after an unknown signer is met,
//! so that new keys need no restart, and now and then, so that one that is taken out counts no more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dsbus_client::Signers;
use dsbus_schema::moment::BootTime;

use crate::run::Agent;

/// The file is read again at most this often, when an unknown signer is met.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The file is read again at least this often.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// The file, and when it was read.
#[derive(Debug)]
pub(crate) struct SignersFile {
    path: PathBuf,
    read: BootTime,
    /// What was wrong with it.
    trouble: Option<String>,
}

impl SignersFile {
    pub(crate) fn new(path: PathBuf, now: BootTime) -> SignersFile {
        SignersFile { path, read: now, trouble: None }
    }

    /// Whom it names; nobody, where it cannot be used at first.
    pub(crate) fn first(&mut self) -> Signers {
        self.read().unwrap_or(Signers::Listed(BTreeMap::new()))
    }

    /// Why it cannot be used.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// When it is read again.
    pub(crate) fn due(&self, strangers: bool) -> BootTime {
        self.read + if strangers { AGAIN_AFTER } else { AGAIN_WITHIN }
    }

    /// Whom it names now; `None` where it cannot be used, which is told once.
    fn read(&mut self) -> Option<Signers> {
        match Signers::read(&self.path) {
            Ok(signers) => {
                self.trouble = None;
                Some(signers)
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("the file of signers cannot be used: {trouble}");
                }
                self.trouble = Some(trouble);
                None
            }
        }
    }
}

impl Agent {
    /// Reads the file again when it is time.
    pub(crate) fn meet_signers(&mut self, now: BootTime) {
        let strangers = self.side.meets_strangers();
        let Some(file) = self.signers.as_mut().filter(|file| file.due(strangers) <= now) else {
            return;
        };
        file.read = now;
        if let Some(signers) = file.read() {
            self.side.trust(signers, now);
        }
        self.side.note_refused(file.trouble());
        self.carry_out();
    }
}
