//! `sendProcessStdin` and `sendRemoteCommEvent`.

use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{STDIN_BYTES_MAX, STDIN_PAUSE_MAX, StdinAsk, StdinTaken};
use dsbus_schema::command::Verb;
use dsbus_schema::event::{Event, Fact, Source, USER_TEXT_MAX, UserFact};
use dsbus_schema::ids::EventType;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::acts::ANSWER_MAX;
use super::call::Desk;
use super::fault::{Faults, Wrong};
use super::value::Value;

/// How long a child may not take what it is given. Supervisor keeps it in memory, without a limit.
const TAKEN_MAX: Duration = Duration::from_secs(10);

/// Writes to a process.
pub(super) async fn send(desk: &Desk, name: &str, chars: &Value) -> Result<Value, Wrong> {
    let Value::Text(text) = chars else {
        return Err(Faults::IncorrectParameters.about(chars.shown()));
    };
    let one = desk.view()?.one(name)?;
    let row = &one.row;
    let (Some(worker), Some(pid)) = (&row.worker, row.pid) else {
        return Err(Faults::NotRunning.about(name));
    };
    if row.state == State::Stopping {
        return Err(Faults::NotRunning.about(name));
    }
    let bus = desk.fleet.bus().speaking_for(desk.caller.user.clone());
    let (writer, mut written, mut since) = (Uuid::now_v7(), 0, Instant::now());
    let bytes = text.as_bytes();
    while written < bytes.len() {
        let piece = &bytes[written..bytes.len().min(written + STDIN_BYTES_MAX)];
        let ask = StdinAsk {
            name: row.name.clone(),
            epoch: row.epoch,
            pid,
            writer,
            offset: written as u64,
            base64: StdinAsk::encoded(piece),
            eof: false,
            by: desk.caller.user.clone(),
        };
        let taken: Result<StdinTaken, Error> =
            bus.hand(worker, Verb::Stdin, &ask, ANSWER_MAX).await;
        let taken = taken.map_err(|e| match e {
            Error::Refused { text, .. } => Faults::NoFile.about(format!("{name}: {text}")),
            e => Faults::Failed.about(format!("{name} (on {worker}): {e}")),
        })?;
        let through = usize::try_from(taken.through).unwrap_or(usize::MAX).min(bytes.len());
        if through > written {
            (written, since) = (through, Instant::now());
        } else if since.elapsed() >= TAKEN_MAX {
            let said = format!("{name} takes no more: {written} of {} bytes", bytes.len());
            return Err(Faults::Failed.about(said));
        } else {
            sleep(STDIN_PAUSE_MAX).await;
        }
    }
    Ok(true.into())
}

/// Tells an event.
pub(super) async fn tell(desk: &Desk, name: &str, text: &str) -> Result<Value, Wrong> {
    let name: EventType =
        name.parse().map_err(|e| Faults::BadArguments.about(format!("type: {e}")))?;
    if text.len() > USER_TEXT_MAX {
        let said = format!("data: more than {USER_TEXT_MAX} bytes");
        return Err(Faults::BadArguments.about(said));
    }
    let fact = UserFact { by: desk.caller.user.clone(), name, text: text.to_owned() };
    let bus = desk.fleet.bus();
    let now = Timestamp::from_unix_nanos(jiff::Timestamp::now().as_nanosecond());
    let event = Event::new(bus.fleet(), &Source::User, Uuid::now_v7(), now, Fact::User(fact));
    let stored =
        bus.speaking_for(desk.caller.user.clone()).publish_event(&Source::User, &event).await;
    stored.map_err(|e| Faults::Failed.about(format!("it was not stored: {e}")))?;
    Ok(true.into())
}
