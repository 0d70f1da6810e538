//! `dsbus events [NAME...]`

use std::collections::{BTreeMap, HashSet, VecDeque};

use dsbus_client::{Entry, From, Item, Watch};
use dsbus_schema::event::{Event, Fact, Source};
use dsbus_schema::ids::{Target, WorkerName};
use dsbus_schema::subject;
use futures::FutureExt;
use futures::future::{join_all, select_all};
use uuid::Uuid;

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, describe, output};

/// How many ids of events are kept to drop the second copy of one.
const SEEN_MAX: usize = 10_000;

/// What is watched, and by which name it was asked for.
type Subjects = BTreeMap<String, Option<Target>>;

/// Shows what happened, and goes on with `-f`. Needs the bus, not the schedulers.
///
/// # Errors
/// When the bus holds no fleet, or a name does not exist.
pub(super) async fn run(config: &Config, args: &args::Events) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let subjects = match &args.worker {
        Some(worker) if args.names.is_empty() => of_worker(&connection, worker),
        Some(_) | None => subjects(&connection, &args.names).await?,
    };
    let concerns = |event: &Event| args.worker.as_ref().is_none_or(|w| concerns(event, w));
    let from = || match args.lines {
        0 => From::New,
        // Which of them concern the worker is seen only when they are read.
        _ if args.worker.is_some() => From::All,
        n => From::Last(u64::from(n)),
    };
    let mut watches: Vec<Watch> = subjects
        .keys()
        .map(|subject| connection.bus.watch_events(subject, from(), "cli-events"))
        .collect();
    let past = join_all(watches.iter_mut().map(past)).await;
    let silent: Vec<&Target> = subjects
        .values()
        .zip(&past)
        .filter_map(|(name, events)| name.as_ref().filter(|_| events.is_empty()))
        .collect();
    if args.lines > 0 {
        nothing(&connection, &silent, args.follow).await?;
    }
    let mut past: Vec<(u64, Event)> = past.into_iter().flatten().collect();
    past.sort_by_key(|(seq, _)| *seq);
    past.dedup_by_key(|(seq, _)| *seq);
    past.retain(|(_, event)| concerns(event));
    if let Some(worker) = args.worker.as_ref().filter(|_| past.is_empty() && !args.follow) {
        must_exist(&connection, worker).await?;
    }
    let surplus = past.len().saturating_sub(args.lines as usize);
    let mut seen = Seen::default();
    let past: Vec<Event> = past
        .into_iter()
        .skip(surplus)
        .map(|(_, event)| event)
        .filter(|e| seen.first(e.id))
        .collect();
    if !args.follow && args.output == Format::Json {
        output::json(&past)?;
        return Ok(Code::Done);
    }
    if !args.follow && past.is_empty() && silent.is_empty() && args.lines > 0 {
        output::note("nothing happened yet");
    }
    for event in &past {
        show(event, args.output)?;
    }
    if !args.follow {
        return Ok(Code::Done);
    }
    loop {
        let news = next(&mut watches).await.into_iter();
        for event in news.filter(|e| concerns(e) && seen.first(e.id)) {
            show(&event, args.output)?;
        }
    }
}

/// The subjects of what a worker told, and of what schedulers told.
fn of_worker(connection: &Connection, worker: &WorkerName) -> Subjects {
    let fleet = connection.bus.fleet();
    let sources = [Source::Worker(worker.clone()), Source::Fleet];
    sources.iter().map(|source| (subject::events_from(fleet, source), None)).collect()
}

/// Whether an event tells of what happened on a worker, or to it.
fn concerns(event: &Event, worker: &WorkerName) -> bool {
    let is = |other: &Option<WorkerName>| other.as_ref() == Some(worker);
    let told = event.source.rsplit('/').next() == Some(worker.as_str());
    told || match &event.data {
        Fact::Process(fact) => is(&fact.worker),
        Fact::Placement(fact) => is(&fact.from) || is(&fact.to),
        Fact::Worker(fact) => fact.worker == *worker,
        Fact::Notice(_)
        | Fact::Output(_)
        | Fact::Rollout(_)
        | Fact::Program(_)
        | Fact::Group(_)
        | Fact::Command(_)
        | Fact::Scheduler(_)
        | Fact::Tick(_)
        | Fact::User(_)
        | Fact::Listener(_) => false,
    }
}

/// A worker of which nothing is known may be a slip. Without schedulers nobody knows.
async fn must_exist(connection: &Connection, worker: &WorkerName) -> Result<(), Failure> {
    let Ok(rows) = super::workers::all(connection).await else { return Ok(()) };
    if rows.iter().any(|row| row.name == *worker) {
        return Ok(());
    }
    let failure = Failure::failed(format!("no worker is named {:?}", worker.as_str()));
    let known = rows.iter().map(|row| row.name.as_str());
    Err(match crate::file::did_you_mean(worker.as_str(), known) {
        Some(near) => failure.hint(near),
        None => failure,
    })
}

/// Tells which names have no events. A name that does not exist either is a slip, unless it is
/// followed: then it may be declared yet. Without schedulers nobody knows.
async fn nothing(connection: &Connection, silent: &[&Target], follow: bool) -> Result<(), Failure> {
    for name in silent {
        match connection.status(&[(*name).clone()]).await {
            Err(failure) if failure.code == Code::Failed && !follow => return Err(failure),
            Err(failure) if failure.code == Code::Failed => output::note(failure.message),
            Ok(_) | Err(_) if !follow => output::note(format_args!("no events of {name}")),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The subjects of what was named, each with the name that may turn out not to exist.
async fn subjects(connection: &Connection, names: &[Target]) -> Result<Subjects, Failure> {
    let fleet = connection.bus.fleet();
    if names.is_empty() || names.contains(&Target::All) {
        return Ok(BTreeMap::from([(subject::events(fleet), None)]));
    }
    let mut subjects = BTreeMap::new();
    for name in names {
        match name {
            Target::Program(program) => {
                subjects.insert(subject::events_about(fleet, program, None), Some(name.clone()));
            }
            Target::Instance(instance) => {
                let index = Some(instance.index);
                let subject = subject::events_about(fleet, &instance.program, index);
                subjects.insert(subject, Some(name.clone()));
            }
            Target::All | Target::Id(_) => {
                for row in connection.status(std::slice::from_ref(name)).await? {
                    subjects.insert(subject::events_about(fleet, &row.program, None), None);
                }
            }
        }
    }
    Ok(subjects)
}

/// What a watch knows already.
async fn past(watch: &mut Watch) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    loop {
        match watch.next().await {
            Item::Entry(entry) => events.extend(read(&entry).map(|event| (entry.seq, event))),
            Item::Reset => events.clear(),
            Item::CaughtUp => return events,
        }
    }
}

/// The next event of any watch, if the next thing heard is one.
async fn next(watches: &mut [Watch]) -> Option<Event> {
    let (item, _, _) = select_all(watches.iter_mut().map(|watch| watch.next().boxed())).await;
    match item {
        Item::Entry(entry) => read(&entry),
        Item::CaughtUp | Item::Reset => None,
    }
}

/// Reads an event; one that a newer version wrote is told, not shown.
fn read(entry: &Entry) -> Option<Event> {
    match entry.json::<Event>() {
        Ok(event) => event,
        Err(e) => {
            output::warning(format_args!("an event could not be read: {e}"));
            None
        }
    }
}

fn show(event: &Event, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json_line(event)?,
        Format::Table => output::line(line(event))?,
    }
    Ok(())
}

/// Time, source, what it is about, TYPE, epoch and number, and the rest.
fn line(event: &Event) -> String {
    let (time, today) = (event.time.to_string(), clock::now().to_string());
    let time = match time.split_once('T') {
        Some((date, hour)) if today.starts_with(date) => hour.to_owned(),
        _ => time,
    };
    let source = event.source.rsplit('/').next().unwrap_or_default();
    let (kind, order) = (event.data.type_name(), describe::event::order(&event.data));
    let style = describe::event::style(&event.data);
    let gap = 10_usize.saturating_sub(kind.len());
    let text = format!(
        "{time}  {source:8} {:12} {style}{kind}{style:#}{:gap$} {order:6} {}",
        event.subject,
        "",
        describe::event::fact(&event.data)
    );
    text.trim_end().to_owned()
}

/// Ids of the last events shown.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Seen {
    /// Whether this id comes for the first time.
    fn first(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
