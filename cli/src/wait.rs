//! Waiting until what was asked for is the case.

mod judge;
mod live;
mod progress;
mod refusal;
pub(crate) mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::command::code;
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
pub(crate) use judge::{Goal, Verdict, judge};
use progress::Progress;

/// How often the schedulers are asked at most: one question costs them a look at every instance
/// that it is about.
const ASK_EVERY_MIN: Duration = Duration::from_millis(200);
/// How often they are asked when no event says that something changed: events are hints, and may
/// be lost.
const ASK_EVERY_MAX: Duration = Duration::from_millis(800);
/// How long FATAL and EXITED must stand before they count as the end: a scheduler may place the
/// instance elsewhere, and a worker may start it again.
const SETTLE: Duration = Duration::from_secs(1);

/// What to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    /// The instance.
    pub(crate) name: InstanceId,
    /// What it should come to.
    pub(crate) goal: Goal,
}

/// What one instance has come to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The instance.
    pub(crate) name: InstanceId,
    /// The verdict; [`Verdict::Waiting`] when the time was up.
    pub(crate) verdict: Verdict,
    /// What was known of it last.
    pub(crate) row: Option<InstanceRow>,
}

/// What an instance stood at, and since when this process has seen it so.
type Standing = (State, Option<Timestamp>, Instant);

/// Waits until everything wanted is done or has failed, or the time is up; tells each outcome as
/// it is known, and returns all by name.
///
/// # Errors
/// When `tell` cannot tell.
pub(crate) async fn wait(
    connection: &Connection,
    wants: &[Want],
    timeout: Duration,
    mut tell: impl FnMut(&Outcome) -> Result<(), Failure>,
) -> Result<Vec<Outcome>, Failure> {
    let began = Instant::now();
    let deadline = began + timeout;
    let (terminal, mut progress) = (output::is_watched(), Progress::default());
    let mut feed = feed(connection).await;
    let mut left: Vec<&Want> = wants.iter().collect();
    let mut standing = BTreeMap::new();
    let mut outcomes = Vec::new();
    let mut rows = BTreeMap::new();
    let (mut told_of_silence, mut refused) = (false, BTreeSet::new());
    loop {
        match ask(connection, &left).await {
            Ok(known) => rows = known,
            Err(e) if !told_of_silence => {
                told_of_silence = true;
                output::note(format_args!("{} (still waiting)", e.message));
            }
            Err(_) => {}
        }
        let mut undecided = Vec::new();
        let over = Instant::now() >= deadline;
        for want in left {
            let row = rows.get(&want.name);
            let stays = settled(&mut standing, &want.name, row);
            let verdict = judge(&want.goal, row, stays);
            if stays
                && row.is_some_and(|row| row.state == State::Pending)
                && refused.insert(want.name.program.clone())
            {
                refusal::tell(connection, &want.name).await;
            }
            if matches!(verdict, Verdict::Waiting(_)) && !over {
                if terminal && let Some(news) = row.and_then(|r| progress.news(r, began.elapsed()))
                {
                    output::note(news);
                }
                undecided.push(want);
                continue;
            }
            let outcome = Outcome { name: want.name.clone(), verdict, row: row.cloned() };
            tell(&outcome)?;
            outcomes.push(outcome);
        }
        left = undecided;
        if left.is_empty() {
            outcomes.sort_by(|a: &Outcome, b| a.name.cmp(&b.name));
            return Ok(outcomes);
        }
        pause(&mut feed, deadline).await;
    }
}

/// Whether the instance has been in this state for so long that it will not leave it by itself.
fn settled(
    standing: &mut BTreeMap<InstanceId, Standing>,
    name: &InstanceId,
    row: Option<&InstanceRow>,
) -> bool {
    let Some(row) = row else { return false };
    let now = Instant::now();
    let entry = standing.entry(name.clone()).or_insert((row.state, row.since, now));
    if (entry.0, entry.1) != (row.state, row.since) {
        *entry = (row.state, row.since, now);
    }
    now.duration_since(entry.2) >= SETTLE
}

/// The rows of what is waited for. A name that is gone makes the question a question about
/// everything, since the others are still to be known.
async fn ask(
    connection: &Connection,
    wants: &[&Want],
) -> Result<BTreeMap<InstanceId, InstanceRow>, Failure> {
    let mut names: Vec<Target> =
        wants.iter().map(|want| Target::Program(want.name.program.clone())).collect();
    names.dedup();
    let rows = match connection.bus.status(&names).await {
        Err(Error::Refused { code: code::NOT_FOUND, .. }) => connection.bus.status(&[]).await,
        answer => answer,
    };
    match rows {
        Ok(rows) => Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect()),
        Err(e) => Err(connection.explain(e).await),
    }
}

pub(crate) type Feed = BoxStream<'static, ()>;

/// Hints that something changed. Without them the schedulers are only asked less often.
pub(crate) async fn feed(connection: &Connection) -> Feed {
    let subject = dsbus_schema::subject::events(connection.bus.fleet());
    match connection.bus.event_feed(&subject).await {
        Ok(events) => events.map(|_| ()).boxed(),
        Err(_) => futures::stream::pending().boxed(),
    }
}

/// Waits until something may have changed, or the deadline.
pub(crate) async fn pause(feed: &mut Feed, deadline: Instant) {
    let now = Instant::now();
    let patience = tokio::time::sleep_until(deadline.min(now + ASK_EVERY_MAX));
    tokio::select! {
        Some(()) = feed.next() => {}
        () = patience => {}
    }
    tokio::time::sleep_until(deadline.min(now + ASK_EVERY_MIN)).await;
    // What came meanwhile is answered by the next question.
    while futures::FutureExt::now_or_never(feed.next()).flatten().is_some() {}
}
