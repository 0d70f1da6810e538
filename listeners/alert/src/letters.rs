//! Letters on their way and dead ones, for people who look after them.

use std::time::Duration;

use dsbus_client::{Bus, Entry, Error, Item, Value, Write};
use dsbus_schema::alert::{
    AlertLease, AlertName, DeadLetter, Letter, LostLetters, NewsKind, RuleName,
};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{AlertKey, Bucket};
use uuid::Uuid;

use crate::core::TOMBSTONE;
use crate::texts;

/// How long the bus may take to tell what it has.
const READ_MAX: Duration = Duration::from_secs(10);

/// How often a dead letter is written before it is somebody else's: it changes once.
const WRITES_MAX: u32 = 3;

/// What a set of rules has on the bus.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Letters {
    /// Who works at it, if anybody does.
    pub lease: Option<AlertLease>,
    /// On their way, oldest first.
    pub waiting: Vec<(Uuid, Letter)>,
    /// Given up, oldest first.
    pub dead: Vec<Dead>,
    /// Dead letters that made room for others.
    pub lost: u64,
    /// Records that cannot be read, such as those of a newer version, and why: they are left alone.
    pub unreadable: Vec<(String, String)>,
}

/// A dead letter, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    /// Its id.
    pub id: Uuid,
    /// The letter.
    pub letter: DeadLetter,
    seq: u64,
}

/// Reads all letters.
///
/// # Errors
/// When the bus does not tell what it has.
pub async fn letters(bus: &Bus, name: &AlertName) -> Result<Letters, Error> {
    match bus.get(Bucket::Alerts, &AlertKey::Lease.of(name)).await {
        // No daemon that knows of alerts was ever started here.
        Err(Error::NotProvisioned) => return Ok(Letters::default()),
        Err(e) => return Err(e),
        Ok(_) => {}
    }
    let mut watch = bus.watch(Bucket::Alerts, &AlertKey::all(name), "cli-letters");
    let mut found = Letters::default();
    let reading = async {
        loop {
            match watch.next().await {
                Item::Entry(entry) => {
                    if let Err(e) = take(&mut found, &entry) {
                        found.unreadable.push((entry.key, e.to_string()));
                    }
                }
                Item::Reset => found = Letters::default(),
                Item::CaughtUp => return,
            }
        }
    };
    tokio::time::timeout(READ_MAX, reading).await.map_err(|_| Error::Timeout)?;
    found.waiting.sort_by_key(|(id, letter)| (letter.posted, *id));
    found.dead.sort_by_key(|dead| (dead.letter.died, dead.id));
    Ok(found)
}

fn take(found: &mut Letters, entry: &Entry) -> Result<(), Error> {
    let Some((_, key)) = AlertKey::parse(&entry.key) else { return Ok(()) };
    match key {
        AlertKey::Lease => found.lease = entry.json()?,
        AlertKey::Letter(id) => found.waiting.extend(entry.json()?.map(|letter| (id, letter))),
        AlertKey::Dead(id) => {
            let seq = entry.seq;
            found.dead.extend(entry.json()?.map(|letter| Dead { id, letter, seq }));
        }
        AlertKey::Lost => found.lost = entry.json::<LostLetters>()?.unwrap_or_default().count,
        AlertKey::Group(..) | AlertKey::Rate(_) => {}
    }
    Ok(())
}

/// Tries a dead letter again, as if it were posted now: whoever works at the rules hears of it.
///
/// # Errors
/// [`Error::LostRace`] when somebody else did something with it.
pub async fn retry(bus: &Bus, name: &AlertName, dead: &Dead, now: Timestamp) -> Result<(), Error> {
    // Another id: the key of the old one may still have a tombstone.
    let id = Uuid::new_v5(&dead.id, now.to_string().as_bytes());
    let letter = Letter { posted: now, tries: 0, why: None, ..dead.letter.letter.clone() };
    let put = Write::put(AlertKey::Letter(id).of(name), &letter)?.expect(0);
    write(bus, name, dead, Some(put)).await
}

/// Forgets a dead letter.
///
/// # Errors
/// As [`retry`].
pub async fn discard(bus: &Bus, name: &AlertName, dead: &Dead) -> Result<(), Error> {
    write(bus, name, dead, None).await
}

/// Deletes a dead letter, together with what is put in its place. Whoever works at the rules writes
/// it once more, when its event is stored; after that it is tried again.
async fn write(bus: &Bus, name: &AlertName, dead: &Dead, put: Option<Write>) -> Result<(), Error> {
    let (key, mut seq) = (AlertKey::Dead(dead.id).of(name), dead.seq);
    let mut left = WRITES_MAX;
    loop {
        let delete = Write::delete(key.clone()).expect(seq).ttl(TOMBSTONE.as_secs());
        let writes = put.clone().into_iter().chain([delete]).collect();
        left -= 1;
        match bus.batch(Bucket::Alerts, writes).await {
            Err(Error::LostRace { current }) if left > 0 => {
                let entry = bus.get(Bucket::Alerts, &key).await?;
                let there = entry.filter(|entry| matches!(entry.value, Value::Put(_)));
                seq = there.ok_or(Error::LostRace { current })?.seq;
            }
            written => return written.map(drop),
        }
    }
}

/// A letter that only tries whether letters arrive, about something that did not happen. `None`
/// cannot be.
pub fn sample(fleet: &FleetName, rule: &RuleName, now: Timestamp) -> Option<Letter> {
    let mut letter = texts::sample_letter(fleet, rule, NewsKind::Test)?;
    (letter.posted, letter.news.made) = (now, now);
    letter.news.id = Uuid::now_v7();
    for of in &mut letter.news.bundle.events {
        of.event.time = now;
    }
    Some(letter)
}
