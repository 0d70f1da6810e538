//! The records of a set of rules on the bus.

use std::collections::HashMap;
use std::time::Duration;

use dsbus_client::{BATCH_WRITES_MAX, Bus, Entry, Error, Item, Value, Watch, Write};
use dsbus_schema::alert::AlertName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{AlertKey, Bucket, MARKER_TTL};

use crate::clock;
use crate::core::{Core, Record};

/// Most bytes of one batch, which a server keeps in memory until it is whole.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A marker that is this much older than its time is gone, by whosever clock.
const MARKER_LATE: Duration = Duration::from_secs(2);
/// With so many keys, those are looked for that are gone.
const KEYS_MAX: usize = 20_000;

/// Writes records, each of which expects to replace what was there before.
#[derive(Debug)]
pub(crate) struct Store {
    bus: Bus,
    name: AlertName,
    /// The last entry of each key, tombstones and markers too.
    last: HashMap<String, Last>,
}

/// The last entry of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    seq: u64,
    /// When a marker was left there. It goes away by itself, and nobody is told.
    marked: Option<Timestamp>,
}

impl Last {
    /// What a write must expect.
    fn seq(self, now: Timestamp) -> u64 {
        if self.marked.is_some_and(|marked| marked + MARKER_TTL + MARKER_LATE < now) {
            return 0;
        }
        self.seq
    }
}

/// Something that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Under this key.
    Entry(AlertKey, Option<bytes::Bytes>),
    /// The stream was made anew.
    Reset,
}

impl Store {
    /// Reads all that is there; what cannot be read is left alone, and told in the log.
    pub(crate) async fn load(bus: &Bus, name: &AlertName, watch: &mut Watch) -> (Store, Core) {
        let mut core = Core::default();
        let mut store = Store { bus: bus.clone(), name: name.clone(), last: HashMap::new() };
        loop {
            match watch.next().await {
                Item::CaughtUp => return (store, core),
                Item::Reset => {
                    core = Core::default();
                    store.last.clear();
                }
                Item::Entry(entry) => {
                    if let Some(Foreign::Entry(key, body)) = store.foreign(entry) {
                        fold(&mut core, &key, body.as_deref());
                    }
                }
            }
        }
    }

    /// What is news in an item of the watch: not what this store wrote itself.
    pub(crate) fn news(&mut self, item: Item) -> Option<Foreign> {
        match item {
            Item::Entry(entry) => self.foreign(entry),
            Item::CaughtUp => None,
            Item::Reset => Some(Foreign::Reset),
        }
    }

    fn foreign(&mut self, entry: Entry) -> Option<Foreign> {
        let known = self.last.entry(entry.key.clone()).or_default();
        if entry.seq <= known.seq {
            return None;
        }
        let marked = (entry.value == Value::Expired).then_some(entry.time);
        *known = Last { seq: entry.seq, marked };
        if marked.is_some() {
            self.forget_old_markers();
        }
        let (_, key) = AlertKey::parse(&entry.key)?;
        Some(match entry.value {
            Value::Put(body) => Foreign::Entry(key, Some(body)),
            Value::Deleted | Value::Expired | Value::Copied => Foreign::Entry(key, None),
        })
    }

    /// Forgets keys of which nothing is left on the bus.
    fn forget_old_markers(&mut self) {
        if self.last.len() > KEYS_MAX {
            let now = clock::wall();
            self.last.retain(|_, last| last.seq(now) > 0);
        }
    }

    /// Writes everything that changed: all at once, or, where that is too much for one batch, in an
    /// order in which nothing is lost when the rest does not follow.
    ///
    /// # Errors
    /// [`Error::LostRace`] when somebody else wrote one of the keys; others after which it may be
    /// tried again, with nothing or a part of it written.
    pub(crate) async fn write(&mut self, core: &mut Core) -> Result<(), Error> {
        let mut records: Vec<(AlertKey, Record)> =
            core.dirty().iter().map(|key| (key.clone(), core.record(key))).collect();
        records.sort_by_key(|(key, record)| rank(key, record));
        let mut rest = records.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut keys, mut writes, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((key, record)) =
                rest.next_if(|_| writes.len() < BATCH_WRITES_MAX && bytes < BATCH_BYTES_MAX)
            {
                let write = self.one(&key, &record)?;
                bytes += write.body.as_ref().map_or(0, bytes::Bytes::len);
                writes.push(write);
                keys.push(key);
            }
            let (count, names) = (writes.len() as u64, names(&writes));
            let last = self.bus.batch(Bucket::Alerts, writes).await?;
            for (name, number) in names.into_iter().zip(1..) {
                let seq = last + number - count;
                self.last.insert(name, Last { seq, marked: None });
            }
            core.written(&keys);
        }
        Ok(())
    }

    fn one(&self, key: &AlertKey, record: &Record) -> Result<Write, Error> {
        let name = key.of(&self.name);
        let seq = self.last.get(&name).copied().unwrap_or_default().seq(clock::wall());
        let mut write = match &record.body {
            Some(body) => Write::put(name, body)?,
            None => Write::delete(name),
        };
        if let Some(keep) = record.keep {
            write = write.ttl(keep.as_secs().max(1));
        }
        Ok(write.expect(seq))
    }
}

fn names(writes: &[Write]) -> Vec<String> {
    writes.iter().map(|write| write.key.clone()).collect()
}

/// Takes in what stands under a key; what a newer version wrote is left alone.
pub(crate) fn fold(core: &mut Core, key: &AlertKey, body: Option<&[u8]>) {
    if let Err(e) = core.fold(key, body) {
        tracing::warn!(?key, "a record cannot be read, and is left alone: {e}");
    }
}

/// What is new comes first, then what it was made of, then what is no longer needed.
fn rank(key: &AlertKey, record: &Record) -> u8 {
    match (key, &record.body) {
        (_, None) => 3,
        (AlertKey::Dead(_), Some(_)) => 0,
        (AlertKey::Letter(_), Some(_)) => 1,
        (AlertKey::Group(..) | AlertKey::Rate(_) | AlertKey::Lost | AlertKey::Lease, Some(_)) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::at;

    #[test]
    fn a_marker_is_expected_as_long_as_it_is_there() {
        assert_eq!(Last { seq: 7, marked: None }.seq(at(9_999_999)), 7);
        let last = Last { seq: 7, marked: Some(at(0)) };
        assert_eq!((last.seq(at(3600)), last.seq(at(3603))), (7, 0));
        assert_eq!(Last::default().seq(at(0)), 0);
    }
}
