//! Where listeners stand in the events: `dsbus listen --list`, `--forget`; and that those of one name
//! read alike.

use std::time::Duration;

use dsbus_client::{Bus, Error, Place, STAND_BY, Share};
use dsbus_schema::ids::ProgramName;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::args::Format;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text, Tone};

const COLUMNS: [Column; 4] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "WAITING", leaves: 0, optional: false },
    Column { title: "UNACKNOWLEDGED", leaves: 0, optional: false },
    Column { title: "READER", leaves: 0, optional: false },
];
/// One that was killed seems to read for [`STAND_BY`], and a pull that was left behind for less.
const GONE_WITHIN: Duration = STAND_BY.saturating_add(Duration::from_secs(2));
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Shows all.
///
/// # Errors
/// When the bus holds no fleet.
pub(super) async fn list(config: &Config, format: Format) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let places = match connection.bus.places().await {
        Ok(places) => places,
        Err(e) => return Err(connection.explain(e).await),
    };
    match format {
        Format::Data(data) => {
            output::data(data, &places.iter().map(as_json).collect::<Vec<_>>())?;
        }
        Format::Text(_) if places.is_empty() => output::note("nobody listens"),
        Format::Text(wide) => {
            output::table(wide, &COLUMNS, &places.iter().map(cells).collect::<Vec<_>>())?;
        }
    }
    Ok(Code::Done)
}

fn as_json(place: &Place) -> serde_json::Value {
    json!({
        "name": place.name,
        "waiting": place.waiting,
        "unacknowledged": place.unacknowledged,
        "read": place.read,
        "shared": place.share == Share::Many,
    })
}

fn cells(place: &Place) -> Vec<Text> {
    let reader = match (place.read, place.share) {
        (false, _) => Text { text: "none".to_owned(), tone: Tone::Bad },
        (true, Share::One) => "one".into(),
        (true, Share::Many) => "shared".into(),
    };
    vec![
        place.name.as_str().into(),
        place.waiting.to_string().into(),
        place.unacknowledged.to_string().into(),
        reader,
    ]
}

/// Forgets one that nobody reads.
///
/// # Errors
/// When there is none of the name, or somebody reads it.
pub(super) async fn forget(config: &Config, name: &ProgramName) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let (bus, place) = (&connection.bus, name.as_str());
    let there = match left(bus, place, |_| true).await {
        Ok(Some(place)) if place.read => {
            return Err(Failure::failed(format!("{name} cannot be forgotten: somebody listens"))
                .hint("stop the listener first; it would go on where it is"));
        }
        Ok(Some(_)) => bus.forget_durable(place).await,
        Ok(None) => Ok(false),
        Err(e) => Err(e),
    };
    match there {
        Ok(true) => output::line(format_args!("{name} is forgotten."))?,
        Ok(false) => {
            return Err(Failure::failed(format!("there is no listener {name}"))
                .hint("dsbus listen --list shows all"));
        }
        Err(e) => return Err(connection.explain(e).await),
    }
    Ok(Code::Done)
}

/// Makes sure that no listener of this name reads in another way: the two would change their consumer
/// in turn, and take its events from each other. What cannot be seen is left to the reader to tell.
///
/// # Errors
/// When one does.
pub(super) async fn read_alike(bus: &Bus, name: &ProgramName, share: Share) -> Result<(), Failure> {
    match left(bus, name.as_str(), |place| place.share != share).await {
        Ok(Some(place)) if place.read && place.share != share => {
            let (has, so) = match place.share {
                Share::Many => ("with --share", "give --share, too"),
                Share::One => ("without --share", "leave out --share"),
            };
            let message = format!("a listener {name} runs already, {has}");
            Err(Failure::failed(message)
                .hint(format!("{so}, or give this one a --name of its own")))
        }
        Ok(_) => Ok(()),
        Err(e) => {
            tracing::debug!("how {name} is read cannot be seen: {e}");
            Ok(())
        }
    }
}

/// How a consumer stands; while it `matters` that somebody reads it, who may have just left.
async fn left(
    bus: &Bus,
    name: &str,
    matters: impl Fn(&Place) -> bool,
) -> Result<Option<Place>, Error> {
    let end = Instant::now() + GONE_WITHIN;
    loop {
        let place = bus.place(name).await?;
        let read = place.as_ref().is_some_and(|place| place.read && matters(place));
        if !read || Instant::now() >= end {
            return Ok(place);
        }
        sleep(LOOK).await;
    }
}
