//! `dsbus logs -f`: one task for each instance, one thread that prints, and one look at where
//! instances are, by events as they happen, and by asking now and then in case one was missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use dsbus_client::output::{Course, Lines, Piece, Reader, STAYS_MAX, Stay};
use dsbus_client::{Bus, From, Item, Watch};
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::status::InstanceRow;
use dsbus_schema::subject;
use futures::FutureExt;
use futures::future::{join_all, select_all};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::Manner;
use super::printer;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{args, describe, output};

/// How often the schedulers are asked where instances are: what events do not tell, such as that one
/// was added to a group.
const LOCATE_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether anybody reads what is shown.
const READER_LOOK: Duration = Duration::from_secs(1);
/// How long the watch of events may take to begin. Later it begins by itself.
pub(super) const WATCH_MAX: Duration = Duration::from_secs(1);
/// Programs that are watched for themselves; of more, everything is.
const WATCHES_MAX: usize = 16;

/// All that is followed.
struct Following<'a> {
    bus: Bus,
    manner: &'a Manner,
    print: mpsc::Sender<Piece>,
    readers: JoinSet<()>,
    news: BTreeMap<InstanceId, mpsc::Sender<Stay>>,
    /// Where instances were when it was asked last. Events tell of each stay in turn; an answer that
    /// was overtaken by them would leave one out, and one that stands for long does not.
    located: BTreeMap<InstanceId, Stay>,
}

/// Follows until nobody reads any more.
///
/// # Errors
/// When a name does not exist, or not any more.
pub(super) async fn run(
    connection: &Connection,
    args: &args::Logs,
    rows: Vec<InstanceRow>,
    manner: &Manner,
) -> Result<Code, Failure> {
    to(connection, args, rows, manner, printer::start()).await
}

/// Where output goes, and what ends it.
pub(in crate::commands) type To = (mpsc::Sender<Piece>, oneshot::Receiver<io::Result<()>>);

/// As [`run`], wherever the output goes.
///
/// # Errors
/// As [`run`].
pub(super) async fn to(
    connection: &Connection,
    args: &args::Logs,
    rows: Vec<InstanceRow>,
    manner: &Manner,
    (print, mut printed): To,
) -> Result<Code, Failure> {
    let mut watches = watch(&connection.bus, &rows).await;
    // What happened since then is told by the watch.
    let rows = connection.status(&args.names).await?;
    let mut following = Following {
        bus: connection.bus.clone(),
        manner,
        print,
        readers: JoinSet::new(),
        news: BTreeMap::new(),
        located: BTreeMap::new(),
    };
    for row in &rows {
        following.begin(row, Some(args.lines)).await;
    }
    let (mut locate, mut look) = (interval(LOCATE_EVERY), interval(READER_LOOK));
    loop {
        tokio::select! {
            ended = &mut printed => {
                return ended.unwrap_or(Ok(())).map(|()| Code::Done).map_err(Failure::from);
            }
            item = next(&mut watches) => following.hear(&item),
            _ = look.tick() => {
                if output::reader_gone() {
                    return Ok(Code::Done);
                }
            }
            _ = locate.tick() => match connection.status(&args.names).await {
                Ok(rows) => following.locate(&rows).await,
                Err(failure) if failure.code == Code::Failed => return Err(failure),
                // The output comes from workers: it goes on without schedulers.
                Err(_) => {}
            },
        }
    }
}

/// Watches what happens to the programs from now on.
async fn watch(bus: &Bus, rows: &[InstanceRow]) -> Vec<Watch> {
    let programs: BTreeSet<&ProgramName> = rows.iter().map(|row| &row.name.program).collect();
    let subjects = if programs.len() > WATCHES_MAX {
        vec![subject::events(bus.fleet())]
    } else {
        programs.iter().map(|program| subject::events_about(bus.fleet(), program, None)).collect()
    };
    let mut watches: Vec<Watch> =
        subjects.iter().map(|subject| bus.watch_events(subject, From::New, "cli-logs")).collect();
    let begun = join_all(
        watches.iter_mut().map(|watch| async { while watch.next().await != Item::CaughtUp {} }),
    );
    drop(timeout(WATCH_MAX, begun).await);
    watches
}

async fn next(watches: &mut [Watch]) -> Item {
    if watches.is_empty() {
        return std::future::pending().await;
    }
    select_all(watches.iter_mut().map(|watch| watch.next().boxed())).await.0
}

/// The stay that an event tells of.
fn stay(event: Event) -> Option<(InstanceId, Stay)> {
    let (name, worker, epoch) = match event.data {
        Fact::Process(fact) => (fact.name, fact.worker, fact.epoch),
        Fact::Placement(fact) => (fact.name, fact.to, fact.epoch),
        _ => return None,
    };
    Some((name, Stay { epoch, worker: worker? }))
}

impl Following<'_> {
    /// Follows an instance, from its last lines on, or, if it has just come, from its begin on.
    async fn begin(&mut self, row: &InstanceRow, lines: Option<u32>) {
        let stay = row.worker.clone().map(|worker| Stay { epoch: row.epoch, worker });
        let (sender, news) = mpsc::channel(STAYS_MAX);
        let begun = stay.clone().filter(|_| lines.is_some());
        let channel = self.manner.channel;
        let lines = lines.unwrap_or(self.manner.lines);
        let course = Course::from_last_lines(row.name.clone(), channel, begun.clone(), lines);
        if stay.is_none() {
            let note = format!("{} is on no worker: {}", row.name, describe::state(row));
            // The printer is gone only when this is about to end.
            drop(self.print.send(Piece::Note(note)).await);
        }
        if let Some(stay) = stay.filter(|_| begun.is_none()) {
            // There is room: it is new.
            drop(sender.try_send(stay));
        }
        let reader = Reader {
            bus: self.bus.clone(),
            course,
            lines: Lines::new(self.manner.prefix(&row.name, self.news.len())),
            print: self.print.clone(),
            announces: true,
            begins: None,
            noted: None,
        };
        self.news.insert(row.name.clone(), sender);
        self.readers.spawn(reader.run(news));
    }

    /// Something happened.
    fn hear(&mut self, item: &Item) {
        let Item::Entry(entry) = item else { return };
        // What cannot be read is of a newer version, and is asked for.
        let Ok(Some(event)) = entry.event() else { return };
        if let Some((name, stay)) = stay(event)
            && let Some(news) = self.news.get(&name)
        {
            // One that is left out is asked for.
            drop(news.try_send(stay));
        }
    }

    /// Instances are there now.
    async fn locate(&mut self, rows: &[InstanceRow]) {
        for row in rows {
            if !self.news.contains_key(&row.name) {
                self.begin(row, None).await;
            }
            let Some(worker) = row.worker.clone() else { continue };
            let stay = Stay { epoch: row.epoch, worker };
            let before = self.located.insert(row.name.clone(), stay.clone());
            if before.as_ref() == Some(&stay)
                && let Some(news) = self.news.get(&row.name)
            {
                drop(news.try_send(stay));
            }
        }
    }
}
