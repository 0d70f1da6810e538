//! Keeping up.

use dsbus_client::{From, Item, News};
use dsbus_schema::ids::ProgramName;
use dsbus_schema::storage::Bucket;

use super::{Change, Fleet, Known};

/// Begins the names of consumers, as NATS shows them to its administrator.
const NAME: &str = "gateway";

impl Fleet {
    /// Keeps up with the fleet, for ever.
    pub(crate) async fn keep(&self) {
        let mut live = self.0.bus.live(Vec::new(), From::New, NAME);
        let mut programs = self.0.bus.watch(Bucket::Programs, ">", NAME);
        loop {
            tokio::select! {
                news = live.next() => self.heard(news),
                item = programs.next() => self.heard_program(item),
            }
        }
    }

    fn heard(&self, news: News) {
        match news {
            News::All(rows) => {
                self.tell(|known| known.set_silent(None));
                self.tell(|known| known.set_all(rows));
            }
            News::Changed(rows) => self.tell(|known| known.set_some(rows)),
            News::Workers(workers) => self.tell(|known| Some(known.set_workers(workers))),
            News::Event(event) => self.tell(|_| Some(Change::Event((*event).into()))),
            News::Silent(why) => {
                tracing::debug!("no scheduler answers: {why}");
                self.tell(|known| known.set_silent(Some(why.to_string())));
            }
        }
    }

    fn heard_program(&self, item: Item) {
        match item {
            Item::Entry(entry) => {
                let Ok(name) = entry.key.parse::<ProgramName>() else { return };
                // What a newer version wrote is not shown, and what stood there before is untrue.
                let program = entry.json().unwrap_or_else(|e| {
                    tracing::warn!("a program is not shown: {e}");
                    None
                });
                self.tell(|known| {
                    known.set_program(&name, program);
                    known.is_complete().then_some(Change::Programs)
                });
            }
            Item::CaughtUp => self.tell(|known| {
                known.programs_heard();
                Some(Change::Programs)
            }),
            Item::Reset => self.tell(|known| {
                known.forget_programs();
                None
            }),
        }
    }

    /// Changes what is known, and tells whoever listens.
    fn tell(&self, change: impl FnOnce(&mut Known) -> Option<Change>) {
        let mut known = self.0.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let change = change(&mut known);
        known.grow();
        drop(known);
        if let Some(change) = change {
            // Nobody may be listening.
            drop(self.0.changes.send(change));
        }
    }
}
