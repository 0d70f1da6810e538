//! Declarations and goals that somebody has displaced are written again: as the bucket's history has
//! them, or as this scheduler knows them, where that is gone. All schedulers try; the guard lets one
//! write through.

use std::time::Duration;

use dsbus_client::{Bus, Entry, Error, Value, Write};
use tokio::time::{sleep, timeout};

use crate::core::displaced::Displaced;
use crate::run::Shared;

/// What could not be written again is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Beside what is heard, one looks this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Never ends.
pub(crate) async fn run(bus: Bus, shared: Shared) {
    loop {
        let folded = shared.folded.notified();
        let displaced = {
            let core = shared.lock();
            if core.ready() { core.displaced() } else { Vec::new() }
        };
        if displaced.is_empty() {
            // Whether it was told or time is up: one looks again.
            let _ = timeout(LOOK_EVERY, folded).await;
            continue;
        }
        let mut failed = false;
        for what in displaced {
            let place = format!("{:?} {}", what.bucket, what.key);
            match restore(&bus, &shared, what).await {
                Ok(Some(seq)) => tracing::warn!("{place}: written again, sequence {seq}"),
                // Another scheduler, or a command, was faster.
                Ok(None) | Err(Error::LostRace { .. }) => {}
                Err(error) => {
                    tracing::error!("{place}: cannot be written again yet: {error}");
                    failed = true;
                }
            }
        }
        if failed {
            sleep(AGAIN_AFTER).await;
        } else {
            // What was written comes by the watch.
            let _ = timeout(AGAIN_AFTER, shared.folded.notified()).await;
        }
    }
}

/// Says the sequence of what was written; nothing, when it need not be any more.
async fn restore(bus: &Bus, shared: &Shared, what: Displaced) -> Result<Option<u64>, Error> {
    let Displaced { bucket, key, seq } = what.clone();
    let history = bus.history(bucket, &key).await?;
    let write = match last_before(&history, seq) {
        Some(entry) => {
            let learnt = shared.lock().learn(bucket, entry);
            if let Err(error) = learnt {
                tracing::warn!("{error}");
            }
            again(&key, Some(entry))
        }
        // It was displaced so often that the history has nothing else.
        None => shared.lock().known(bucket, &key)?.unwrap_or_else(|| again(&key, None)),
    };
    if !shared.lock().displaced().contains(&what) {
        return Ok(None);
    }
    bus.write(bucket, write.expect(seq)).await.map(Some)
}

/// The last that a scheduler wrote there before sequence `seq`.
fn last_before(history: &[Entry], seq: u64) -> Option<&Entry> {
    let ours =
        |entry: &&Entry| entry.seq < seq && entry.by.is_some() && entry.value != Value::Copied;
    history.iter().rev().find(ours)
}

/// The write that says it again. Where nothing stood, nothing is to stand.
fn again(key: &str, last: Option<&Entry>) -> Write {
    let mut write = Write::delete(key);
    if let Some(Entry { value: Value::Put(body), .. }) = last {
        write.body = Some(body.clone());
    }
    write
}

#[cfg(test)]
mod tests {
    use dsbus_schema::moment::Timestamp;

    use super::*;

    fn entry(seq: u64, by: Option<&str>, value: Value) -> Entry {
        Entry {
            key: "web".to_owned(),
            seq,
            value,
            time: Timestamp::from_unix_nanos(0),
            by: by.map(str::to_owned),
            note: bytes::Bytes::new(),
            seal: None,
        }
    }

    fn put(seq: u64, by: Option<&str>, body: &'static str) -> Entry {
        entry(seq, by, Value::Put(body.into()))
    }

    #[test]
    fn the_last_that_a_scheduler_wrote_stands_again() {
        let history = [
            put(1, Some("s1"), "one"),
            put(4, Some("s2"), "two"),
            put(7, None, "ack"),
            entry(8, Some("s1"), Value::Copied),
            put(9, None, "ack"),
        ];
        let last = last_before(&history, 9);
        assert_eq!(again("web", last).body.as_deref(), Some(&b"two"[..]));
        assert_eq!(last_before(&history, 4).map(|entry| entry.seq), Some(1));
    }

    #[test]
    fn where_nothing_stood_or_it_was_taken_away_a_tombstone_does() {
        let removed = [put(1, Some("s1"), "one"), entry(2, Some("s1"), Value::Deleted)];
        assert_eq!(again("web", last_before(&removed, 3)), Write::delete("web"));
        assert_eq!(again("web", last_before(&[put(3, None, "ack")], 3)), Write::delete("web"));
    }
}
