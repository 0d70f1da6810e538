//! Which part of the stream is shown.

use dsbus_client::{Bus, Error, Kept};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{EVENTS_AGE_MAX, EVENTS_BYTES_MAX};

use crate::args;
use crate::describe::size;

/// How many events are shown when nobody says.
const LINES: u32 = 50;

/// A part of the stream, from `start` to before `end`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Only the last so many of it.
    pub(super) last: Option<usize>,
    /// What was asked for and is not there any more, for people.
    pub(super) gone: Option<String>,
}

impl Span {
    pub(super) async fn find(
        bus: &Bus,
        args: &args::Events,
        now: Timestamp,
    ) -> Result<Span, Error> {
        let kept = bus.events_kept().await?;
        let since = args.since.map(|moment| moment.resolve(now));
        let start = match since {
            Some(time) => bus.event_since(time).await?.or(Some(kept.end)),
            None => args.from_seq,
        };
        let end = match args.until {
            Some(moment) => bus.event_since(moment.resolve(now)).await?.unwrap_or(kept.end),
            None => kept.end,
        };
        let gone = gone(&kept, since, args.from_seq);
        let last = args.lines.or_else(|| start.is_none().then_some(LINES));
        let start = start.unwrap_or(kept.first).max(kept.first);
        let end = if args.follow { kept.end.max(start) } else { end };
        Ok(Span { start, end, last: last.map(|n| n as usize), gone })
    }
}

/// What to say when events before the beginning are gone.
fn gone(kept: &Kept, since: Option<Timestamp>, from_seq: Option<u64>) -> Option<String> {
    let earlier = match (since, from_seq) {
        (Some(time), _) => kept.since.is_none_or(|first| time < first),
        (None, Some(seq)) => seq.max(1) < kept.first,
        (None, None) => false,
    };
    // The stream has lost nothing, as long as it holds its first event.
    if !earlier || kept.first <= 1 {
        return None;
    }
    let days = EVENTS_AGE_MAX.as_secs() / 86_400;
    let bytes = size::whole(EVENTS_BYTES_MAX.unsigned_abs());
    let when = kept.since.map(|time| format!(" ({time})")).unwrap_or_default();
    Some(format!(
        "events before sequence {}{when} are gone: the stream keeps {days} days and {bytes}, unless \
         it is configured otherwise",
        kept.first
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said() {
        let time = |hour: u8| Timestamp::parse(&format!("2026-11-26T{hour:02}:00:00Z")).unwrap();
        let kept = Kept { first: 1000, end: 2000, since: Some(time(10)) };
        let whole = Kept { first: 1, ..kept };
        let empty = Kept { first: 2000, end: 2000, since: None };
        for (kept, since, seq, said) in [
            (kept, Some(time(9)), None, true),
            (kept, Some(time(11)), None, false),
            (kept, None, Some(999), true),
            (kept, None, Some(1000), false),
            (kept, None, None, false),
            (whole, Some(time(9)), None, false),
            (whole, None, Some(0), false),
            (empty, Some(time(9)), None, true),
            (empty, None, Some(5), true),
        ] {
            let found = gone(&kept, since, seq);
            assert_eq!(found.is_some(), said, "{kept:?} {since:?} {seq:?}");
        }
        let said = gone(&kept, None, Some(5)).unwrap();
        assert!(
            said.starts_with("events before sequence 1000 (2026-11-26T10:00:00.000Z) are gone")
        );
    }
}
