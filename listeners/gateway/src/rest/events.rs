//! What happened: of the fleet, and of one instance.

use std::time::Duration;

use dsbus_schema::command::code;
use dsbus_schema::event::Event;
use dsbus_schema::filter::Filter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::Json;
use super::api::{Api, Call};
use super::given::Given;
use super::instances;
use super::refusal::Refusal;
use crate::http::Gateway;

/// Events when nobody says how many: of an instance, and of the fleet.
const LIMITS: [usize; 2] = [100, 200];
/// Most events in one answer: some megabytes.
const LIMIT_MAX: usize = 2_000;
/// How many look at once, the others wait: one who looks for what is rare reads all that is kept.
static LOOKS: Semaphore = Semaphore::const_new(8);
/// How long one may look, the wait for others included.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// Begins the names of consumers, as NATS shows them to its administrator.
const NAME: &str = "gateway-events";

pub(super) fn add(api: Api) -> Api {
    api.get("/events", "What happened, newest first; everything but ticks unless asked for", list)
        .get("/instances/{name}/events", "What happened to it, newest first", of_one)
}

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// How many at most; 200 unless said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_000))]
    limit: Option<usize>,
    /// Only those about these programs, instances or groups, with commas between: `web`, `web:0`,
    /// `web*`, `shop:*`.
    #[serde(default)]
    about: Option<String>,
    /// Only those on these workers, with commas between.
    #[serde(default)]
    worker: Option<String>,
    /// Only those of these kinds, with commas between: `process`, `worker`.
    #[serde(default)]
    kind: Option<String>,
    /// Only those of these TYPEs, with commas between: `FATAL`, `worker.LOST`. Of these kinds, where
    /// kinds are given.
    #[serde(default, rename = "type")]
    type_: Option<String>,
    /// Only those before this sequence; as it was given with the last one.
    #[serde(default)]
    before: Option<u64>,
}

impl Given for Which {}

/// How many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// How many at most; 100 unless said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_000))]
    limit: Option<usize>,
}

impl Given for Limit {}

/// An event, and where in the stream it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Told {
    /// Its sequence.
    seq: u64,
    /// The event.
    event: Event,
}

/// Newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct Events {
    /// Newest first.
    events: Vec<Told>,
}

async fn list(call: Call<Which>) -> Result<Json<Events>, Refusal> {
    let limit = limit(call.query.limit, LIMITS[1])?;
    let filter = filter(&call.query)?;
    let found = last(&call.gateway, &filter, limit, call.query.before).await?;
    let events = found.into_iter().map(|(seq, event)| Told { seq, event }).collect();
    Ok(Json(Events { events }))
}

async fn of_one(call: Call<Limit>) -> Result<Json<Vec<Event>>, Refusal> {
    let limit = limit(call.query.limit, LIMITS[0])?;
    let row = instances::row(&call.gateway, &call.name)?;
    let filter = Filter::parse(&[], &[row.name.to_string()], &[]);
    let filter = filter.map_err(|e| Refusal::bad("", e.to_string()))?;
    let found = last(&call.gateway, &filter, limit, None).await?;
    Ok(Json(found.into_iter().map(|(_, event)| event).collect()))
}

fn limit(given: Option<usize>, usual: usize) -> Result<usize, Refusal> {
    let limit = given.unwrap_or(usual);
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Refusal::bad("limit", format!("1 to {LIMIT_MAX}; ask again with `before` for more")))
    }
}

fn filter(which: &Which) -> Result<Filter, Refusal> {
    let words = |given: &Option<String>| -> Vec<String> {
        let words = given.iter().flat_map(|text| text.split(','));
        words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let (kinds, types) = (words(&which.kind), words(&which.type_));
    let dotted = |kind: &String, type_: &String| {
        if type_.contains('.') { type_.clone() } else { format!("{kind}.{type_}") }
    };
    let events: Vec<String> = match (kinds.as_slice(), types.as_slice()) {
        (kinds, []) => kinds.to_vec(),
        ([], types) => types.to_vec(),
        (kinds, types) => kinds
            .iter()
            .flat_map(|kind| types.iter().map(move |type_| dotted(kind, type_)))
            .collect(),
    };
    let (about, workers) = (words(&which.about), words(&which.worker));
    if events.is_empty() && about.is_empty() && workers.is_empty() {
        return Ok(Filter::all_but_ticks());
    }
    let one = |key: &str, e: [&[String]; 3]| {
        let [events, about, workers] = e;
        Filter::parse(events, about, workers).map_err(|e| Refusal::bad(key, e.to_string()))
    };
    // One by one first, so that what is wrong has its name.
    one(if types.is_empty() { "kind" } else { "type" }, [&events, &[], &[]])?;
    one("about", [&[], &about, &[]])?;
    one("worker", [&[], &[], &workers])?;
    one("", [&events, &about, &workers])
}

/// The last events, newest first.
async fn last(
    gateway: &Gateway,
    filter: &Filter,
    limit: usize,
    before: Option<u64>,
) -> Result<Vec<(u64, Event)>, Refusal> {
    let looking = async {
        let _place = LOOKS.acquire().await.ok();
        let bus = gateway.fleet.bus();
        let kept = bus.events_kept().await?;
        let end = before.map_or(kept.end, |before| before.clamp(kept.first, kept.end));
        let unread = |e| tracing::debug!("an event could not be read: {e}");
        let found = bus.last_events(filter, (kept.first, end), limit, NAME, unread).await?;
        Ok(found.into_iter().rev().collect())
    };
    // A reader of events waits for a bus that is away.
    timeout(LOOK_MAX, looking).await.unwrap_or_else(|_late| {
        let said = format!("the events were not found within {} s", LOOK_MAX.as_secs());
        Err(Refusal::new(code::UNAVAILABLE, said))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_dsbus_events() {
        let read = |query: &str| {
            let uri = format!("/events?{query}").parse().unwrap();
            filter(&super::super::given::query::<Which>(&uri).unwrap())
        };
        let same = |query: &str, events: &[&str], about: &[&str]| {
            assert_eq!(read(query).unwrap(), Filter::parse(events, about, &[]).unwrap(), "{query}");
        };
        assert_eq!(read("").unwrap(), Filter::all_but_ticks());
        same("kind=process,worker", &["process", "worker"], &[]);
        same("type=FATAL&about=web,shop:*", &["FATAL"], &["web", "shop:*"]);
        same("kind=process&type=FATAL,RUNNING", &["process.FATAL", "process.RUNNING"], &[]);
        for (query, key) in [("kind=nothing", "kind"), ("about=a/b", "about"), ("type=a.b", "type")]
        {
            let Refusal(refused) = read(query).unwrap_err();
            assert_eq!((refused.code, refused.problems[0].key.as_str()), (400, key), "{query}");
        }
    }
}
