//! What the witnesses say: who was born, and when.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::Outcome;
use crate::clock::Moment;

/// More than any birth takes, and less than a person waits for a bench that hangs.
const BIRTH_MAX: Duration = Duration::from_secs(60);
/// More than the longest tag and two numbers.
const WORDS_MAX: usize = 256;

/// A child that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Born {
    pub(crate) pid: i32,
    /// When its own first line ran.
    pub(crate) at: Moment,
}

/// Hears the witnesses.
#[derive(Debug)]
pub(crate) struct Births {
    directory: tempfile::TempDir,
    said: Receiver<String>,
    witness: PathBuf,
}

impl Births {
    /// Listens from now on.
    pub(crate) fn listen() -> Outcome<Births> {
        let witness = crate::beside("bench-witness")?;
        let directory = tempfile::tempdir()?;
        let socket = UnixDatagram::bind(directory.path().join("s"))?;
        let (sender, said) = channel();
        // At once, and always: the queue of such a socket is short, and a full one delays births.
        std::thread::spawn(move || {
            let mut words = [0; WORDS_MAX];
            while let Ok(n) = socket.recv(&mut words) {
                if sender.send(String::from_utf8_lossy(&words[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Births { directory, said, witness })
    }

    /// The command of a witness.
    pub(crate) fn command(&self, tag: &str, then: &[&str]) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec![path(&self.witness), path(&self.directory.path().join("s"))];
        words.push(tag.to_owned());
        words.extend(then.iter().map(|word| (*word).to_owned()));
        words
    }

    /// Where the witnesses' socket is, and what else belongs to them.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The next birth under this tag; those of others are passed over.
    pub(crate) fn next(&self, tag: &str) -> Outcome<Born> {
        loop {
            let said = self.said.recv_timeout(BIRTH_MAX);
            let said = said.map_err(|_| format!("no child of {tag} came to life"))?;
            let mut words = said.split(' ');
            if words.next() != Some(tag) {
                continue;
            }
            let (Some(pid), Some(nanos)) = (words.next(), words.next()) else {
                return Err(format!("a witness said {said:?}").into());
            };
            return Ok(Born {
                pid: pid.parse()?,
                at: Moment(Duration::from_nanos(nanos.parse()?)),
            });
        }
    }

    /// So many births.
    pub(crate) fn take(&self, tag: &str, count: usize) -> Outcome<Vec<Born>> {
        (0..count).map(|_| self.next(tag)).collect()
    }
}
