//! The child of all that is tested: it says when it lives, and writes its epoch into a store that
//! remembers the highest one it saw. `chaos-witness DIRECTORY BEAT_MS`.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_chaos::beat;
use nix::fcntl::{Flock, FlockArg};

/// How many beats there are between two writes to the store.
const STORE_EVERY: u64 = 10;

/// A store that a fencing token guards: it takes no write of a lower epoch than it has seen.
struct Store {
    highest: PathBuf,
    log: PathBuf,
    epoch: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let first = beat::now();
    let words: Vec<String> = std::env::args().collect();
    let [_, directory, beat_ms] = words.as_slice() else {
        return Err("usage: chaos-witness DIRECTORY BEAT_MS".into());
    };
    let directory = Path::new(directory);
    let pause = Duration::from_millis(beat_ms.parse()?);
    let said = |name: &str| {
        let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
        value.ok_or_else(|| format!("{name} is not set"))
    };
    let (instance, worker, epoch) =
        (said("DSBUS_INSTANCE")?, said("DSBUS_WORKER")?, said("DSBUS_EPOCH")?);
    let pid = std::process::id();
    let life = directory.join("lives").join(format!("{instance}~{worker}~{epoch}~{pid}~{first}"));
    let mut life = OpenOptions::new().create_new(true).write(true).open(life)?;
    let stores = directory.join("store");
    let store = Store {
        highest: stores.join(&instance),
        log: stores.join(format!("{instance}.log")),
        epoch: epoch.parse()?,
    };
    life.write_all_at(beat::head(first, first).as_bytes(), 0)?;
    life.seek(SeekFrom::End(0))?;
    let mut last = first;
    for number in 0.. {
        let now = beat::now();
        let held_up = Duration::from_nanos(now.saturating_sub(last)) > beat::GAP;
        life.write_all_at(beat::head(first, now).as_bytes(), 0)?;
        if held_up {
            life.write_all(beat::gap(last, now).as_bytes())?;
        }
        last = now;
        if held_up || number % STORE_EVERY == 0 {
            store.write(now)?;
        }
        std::thread::park_timeout(pause);
    }
    Ok(())
}

impl Store {
    fn write(&self, now: u64) -> Result<(), Box<dyn Error>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&self.highest)?;
        // Whoever holds the lock may be frozen: nobody waits for it.
        let Ok(mut held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            return Ok(());
        };
        let mut text = String::new();
        held.read_to_string(&mut text)?;
        let highest: u64 = text.trim().parse().unwrap_or(0);
        let word = match highest.cmp(&self.epoch) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Greater => "refused",
            std::cmp::Ordering::Less => {
                held.write_all_at(format!("{:020}\n", self.epoch).as_bytes(), 0)?;
                "taken"
            }
        };
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "{word} {now} {} {}", self.epoch, std::process::id())?;
        Ok(())
    }
}
