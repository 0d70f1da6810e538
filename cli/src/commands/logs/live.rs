//! Both outputs of one instance, live, each where it belongs here: for verbs that stand between a person
//! and an instance.

use std::io;

use dsbus_client::output::{Course, Lines, Noted, Reader, STAYS_MAX, Stay};
use dsbus_client::{Bus, Item, Watch};
use dsbus_schema::call::Channel;
use dsbus_schema::event::Event;
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::subject;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::follow::WATCH_MAX;
use super::printer;

/// What is shown of an instance.
#[derive(Debug)]
pub(in crate::commands) struct Live {
    stays: Vec<mpsc::Sender<Stay>>,
    over: watch::Sender<bool>,
    begins: mpsc::Receiver<()>,
    readers: JoinSet<()>,
    printed: JoinSet<io::Result<()>>,
}

/// Where to begin.
#[derive(Debug, Clone)]
pub(in crate::commands) enum Begin {
    /// With the last so many lines of where it is.
    LastLines(u32, Epoch, WorkerName),
    /// With the first word under the first epoch that is heard of.
    FirstWord,
}

impl Live {
    /// Begins to show these outputs of an instance.
    pub(in crate::commands) fn begin(
        bus: &Bus,
        name: &InstanceId,
        channels: &[Channel],
        begin: &Begin,
    ) -> Live {
        let over = watch::Sender::new(false);
        let (mut stays, mut readers, mut printed) = (Vec::new(), JoinSet::new(), JoinSet::new());
        let noted = Noted::default();
        let (begin_of_one, begins) = mpsc::channel(1);
        for channel in channels {
            let (stay, lines) = match begin {
                Begin::LastLines(lines, epoch, worker) => {
                    (Some(Stay { epoch: *epoch, worker: worker.clone() }), *lines)
                }
                Begin::FirstWord => (None, 0),
            };
            let (print, ended) = printer::start_on(*channel);
            let (sender, news) = mpsc::channel(STAYS_MAX);
            let reader = Reader {
                bus: bus.clone(),
                course: Course::from_last_lines(name.clone(), *channel, stay, lines),
                lines: Lines::new(None),
                print,
                // It is the same for both.
                announces: *channel == Channel::Stdout && matches!(begin, Begin::LastLines(..)),
                begins: Some(begin_of_one.clone()),
                noted: Some(Noted::clone(&noted)),
            };
            stays.push(sender);
            readers.spawn(reader.run_until(news, over.subscribe()));
            printed.spawn(outcome(ended));
        }
        Live { stays, over, begins, readers, printed }
    }

    /// Waits until what is said from now on is shown; a worker that does not answer is not waited for.
    pub(in crate::commands) async fn begun(&mut self) {
        drop(timeout(WATCH_MAX, self.begins.recv()).await);
    }

    /// The instance is or was there.
    pub(in crate::commands) fn hear(&self, epoch: Epoch, worker: &WorkerName) {
        for sender in &self.stays {
            // There is room for many more moves than anybody would watch.
            drop(sender.try_send(Stay { epoch, worker: worker.clone() }));
        }
    }

    /// One of the outputs cannot be shown any more. Never ends by itself. Cancel-safe.
    ///
    /// # Errors
    /// Why.
    pub(in crate::commands) async fn broken(&mut self) -> io::Result<()> {
        while let Some(ended) = self.printed.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
        std::future::pending().await
    }

    /// The instance has ended: shows the rest of what it said.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub(in crate::commands) async fn finish(mut self) -> io::Result<()> {
        self.over.send_replace(true);
        while self.readers.join_next().await.is_some() {}
        while let Some(ended) = self.printed.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

async fn outcome(ended: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    ended.await.unwrap_or(Ok(()))
}

/// Watches what happens to an instance from now on.
pub(in crate::commands) async fn watch_one(bus: &Bus, name: &InstanceId) -> Watch {
    let subject = subject::events_about(bus.fleet(), &name.program, Some(name.index));
    let mut watch = bus.watch_events(&subject, dsbus_client::From::New, "cli-hands");
    let begun = async { while watch.next().await != Item::CaughtUp {} };
    drop(timeout(WATCH_MAX, begun).await);
    watch
}

/// The event of an item, if it is one that this version can read.
pub(in crate::commands) fn event(item: &Item) -> Option<Event> {
    let Item::Entry(entry) = item else { return None };
    entry.event().ok().flatten()
}
