//! `dsbus events [NAME...]`

mod choice;
mod show;
mod span;

use std::collections::{HashSet, VecDeque};

use dsbus_client::{Entry, Error, From, Item};
use dsbus_schema::event::Event;
use dsbus_schema::filter::Filter;
use futures::FutureExt;
use uuid::Uuid;

use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, output};

use choice::Choice;
use show::Printer;
use span::Span;

/// Begins the names of consumers, as NATS shows them to its administrator.
const NAME: &str = "cli-events";
/// How many ids of events are kept to drop the second copy of one.
const SEEN_MAX: usize = 10_000;

/// Shows what happened, and goes on with `-f`. Needs the bus, not the schedulers.
///
/// # Errors
/// When the bus holds no fleet, or a name does not exist.
pub(super) async fn run(config: &Config, args: &args::Events) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let mut choice = Choice::make(&connection, args).await?;
    let span = match Span::find(&connection.bus, args, clock::now()).await {
        Ok(span) => span,
        Err(e) => return Err(connection.explain(e).await),
    };
    if let Some(gone) = &span.gone {
        output::note(gone);
    }
    let mut seen = Seen::default();
    let mut printer = Printer::new(args.output, args.follow);
    match span.last {
        Some(0) => {}
        Some(n) => {
            for (seq, event) in last(&connection, &choice.filter, &span, n).await? {
                seen.first(event.id);
                choice.heard(&event);
                printer.show(seq, &event)?;
            }
        }
        None => {
            let range = (span.start, span.end);
            let mut reader = match connection.bus.read_events(&choice.filter, range, NAME).await {
                Ok(reader) => reader,
                Err(e) => return Err(connection.explain(e).await),
            };
            while let Some(next) = reader.next().await {
                match next {
                    Ok((seq, event)) if seen.first(event.id) => {
                        choice.heard(&event);
                        printer.show(seq, &event)?;
                    }
                    Ok(_) => {}
                    Err(e) => unread(&e),
                }
            }
        }
    }
    if !args.follow {
        printer.end()?;
        if span.last != Some(0) {
            choice.explain_silence(&connection, args).await?;
        }
        return Ok(Code::Done);
    }
    printer.flush()?;
    if span.last != Some(0) {
        choice.explain_silence(&connection, args).await?;
    }
    follow(&connection, &choice.filter, span.end, seen, printer).await
}

/// The last `n` events about a program or an instance, oldest first, each with its sequence.
///
/// # Errors
/// When the bus does not answer.
pub(super) async fn last_about(
    connection: &Connection,
    name: &str,
    n: u32,
) -> Result<VecDeque<(u64, Event)>, Failure> {
    let args = args::Events::about(name, n).map_err(|e| Failure::failed(e.message))?;
    let choice = Choice::make(connection, &args).await?;
    match Span::find(&connection.bus, &args, clock::now()).await {
        Ok(span) => last(connection, &choice.filter, &span, n as usize).await,
        Err(e) => Err(connection.explain(e).await),
    }
}

/// Shows events as `dsbus events` does.
///
/// # Errors
/// When nobody reads it.
pub(super) fn print<'a>(
    events: impl IntoIterator<Item = &'a (u64, Event)>,
    shape: args::Shape,
) -> Result<(), Failure> {
    let mut printer = Printer::new(shape, false);
    for (seq, event) in events {
        printer.show(*seq, event)?;
    }
    printer.end()
}

/// Shows what happens from `start` on, for ever.
async fn follow(
    connection: &Connection,
    filter: &Filter,
    start: u64,
    mut seen: Seen,
    mut printer: Printer,
) -> Result<Code, Failure> {
    // One watch, so that they come in order.
    let subject = filter.subject(connection.bus.fleet());
    let mut watch = connection.bus.watch_events(&subject, From::Sequence(start), NAME);
    loop {
        let item = match watch.next_or_denied().now_or_never() {
            Some(item) => item,
            None => {
                printer.flush()?;
                watch.next_or_denied().await
            }
        };
        let item = match item {
            Ok(item) => item,
            Err(e) => return Err(connection.explain(e).await),
        };
        match item {
            Item::Entry(entry) => {
                if let Some((seq, event)) = read(&entry)
                    && filter.matches(&event)
                    && seen.first(event.id)
                {
                    printer.show(seq, &event)?;
                }
            }
            Item::CaughtUp => {}
            Item::Reset => {
                output::warning("the stream of events was made anew: sequences begin again");
            }
        }
    }
}

/// The last `n` events that are meant.
async fn last(
    connection: &Connection,
    filter: &Filter,
    span: &Span,
    n: usize,
) -> Result<VecDeque<(u64, Event)>, Failure> {
    let range = (span.start, span.end);
    match connection.bus.last_events(filter, range, n, NAME, |e| unread(&e)).await {
        Ok(found) => Ok(found),
        Err(e) => Err(connection.explain(e).await),
    }
}

/// Reads an event; one that a newer version wrote is told, not shown.
fn read(entry: &Entry) -> Option<(u64, Event)> {
    match entry.event() {
        Ok(event) => event.map(|event| (entry.seq, event)),
        Err(e) => {
            unread(&e);
            None
        }
    }
}

fn unread(e: &Error) {
    output::warning(format_args!("an event could not be read: {e}"));
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
