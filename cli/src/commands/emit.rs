//! `dsbus emit TYPE [TEXT|-]`

use std::io::Read;
use std::time::Duration;

use dsbus_client::{Error, STORING_ALREADY};
use dsbus_schema::event::{Event, Fact, Source, USER_TEXT_MAX, UserFact};
use dsbus_schema::storage::events_stream;
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::describe::size;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, output};

/// How long an event is tried to be stored: an election of a new leader takes up to 9 s.
const STORE_WITHIN: Duration = Duration::from_secs(12);
/// Pause between two tries; one that nobody answers takes 2 s.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Says something on the bus. Needs the bus, not the schedulers.
///
/// # Errors
/// When the text is too long or is not the JSON that it should be, when the bus holds no fleet, and
/// when the event cannot be stored.
pub(super) async fn run(config: &Config, args: &args::Emit) -> Result<Code, Failure> {
    let text = text(args)?;
    let connection = Connection::open(config).await?;
    let fact = UserFact { by: config.user.clone(), name: args.name.clone(), text };
    let id = Uuid::now_v7();
    let fleet = connection.bus.fleet();
    let event = Event::new(fleet, &Source::User, id, clock::now(), Fact::User(fact));
    let seq = store(&connection, &event).await?;
    match args.output {
        Format::Data(data) => output::data(data, &json!({ "id": id, "seq": seq }))?,
        Format::Text(_) => output::success(format_args!("{}: told, as sequence {seq}", args.name))?,
    }
    Ok(Code::Done)
}

/// Tries until it is stored; its id makes it be stored once.
async fn store(connection: &Connection, event: &Event) -> Result<u64, Failure> {
    let until = Instant::now() + STORE_WITHIN;
    loop {
        let error = match connection.bus.store_event(&Source::User, event).await {
            Ok(seq) => return Ok(seq),
            Err(error) => error,
        };
        if !may_pass(&error) {
            return Err(connection.explain(error).await);
        }
        // A stream that has no leader answers as little as one that is not there.
        if error == Error::NoResponders && connection.bus.provisioned().await == Ok(false) {
            return Err(connection.no_fleet());
        }
        if Instant::now() >= until {
            let stream = events_stream(connection.bus.fleet());
            return Err(not_stored(&stream, &connection.shown(), &error));
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Whether another try may help: the stream elects a leader, the connection comes back, or what an
/// earlier try sent is being stored.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Timeout | Error::Disconnected | Error::NoResponders => true,
        Error::Api { code, .. } => *code == STORING_ALREADY,
        Error::LostRace { .. }
        | Error::NoScheduler
        | Error::NoBus { .. }
        | Error::NotProvisioned
        | Error::ServerTooOld { .. }
        | Error::Denied { .. }
        | Error::Refused { .. }
        | Error::Malformed { .. } => false,
    }
}

fn not_stored(stream: &str, bus: &str, error: &Error) -> Failure {
    let within = STORE_WITHIN.as_secs();
    let said = format!(
        "the stream of events {stream} at {bus} did not store it within {within} s: {error}"
    );
    let hint = "its servers may be electing a leader, or too few of them live; it may be stored all \
                the same: look with dsbus events before you tell it again";
    Failure::new(Code::Unreachable, said).hint(hint)
}

fn text(args: &args::Emit) -> Result<String, Failure> {
    let text = if args.text == "-" {
        let mut text = Vec::new();
        // One more than is allowed shows that there is more.
        std::io::stdin().take(USER_TEXT_MAX as u64 + 1).read_to_end(&mut text)?;
        String::from_utf8(text).map_err(|_| {
            Failure::failed("standard input is not UTF-8; encode it first, in base64")
        })?
    } else {
        args.text.clone()
    };
    if text.len() > USER_TEXT_MAX {
        let most = size::whole(USER_TEXT_MAX as u64);
        return Err(Failure::failed(format!("the text is longer than {most}"))
            .hint("put it where others can read it, and say where that is"));
    }
    if args.json
        && let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
    {
        return Err(Failure::failed(format!("the text is not JSON: {why}")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let api = |code| Error::Api { code, text: String::new() };
        let denied = Error::Denied { what: String::new() };
        for (error, passes) in [
            (Error::Timeout, true),
            (Error::NoResponders, true),
            (Error::Disconnected, true),
            (api(10158), true),
            (api(10077), false),
            (denied, false),
            (Error::NotProvisioned, false),
        ] {
            assert_eq!(may_pass(&error), passes, "{error:?}");
        }
    }

    #[test]
    fn what_was_not_stored_names_the_stream_and_no_scheduler() {
        let said = format!("{:?}", not_stored("DSBUS_EVENTS", "nats://h", &Error::NoResponders));
        assert!(said.contains("DSBUS_EVENTS at nats://h") && !said.contains("scheduler"), "{said}");
    }
}
