//! What people should know of a pool.

use dsbus_schema::event::ListenerChange;
use uuid::Uuid;

use super::member::Alive;
use super::{Ended, Parcel, Run};
use crate::protocol::Departure;

/// Something to log, and mostly to tell on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    /// What it is on the bus; `None` is only logged.
    pub change: Option<ListenerChange>,
    /// The event it is about.
    pub event: Option<Uuid>,
    /// How often.
    pub count: Option<u64>,
    /// A listener ended before it ever said READY.
    pub early: bool,
    /// For people.
    pub text: String,
}

/// Whether a rejection is told: one or two may be a listener that tries again by design; and one
/// that fails for ever is not told for ever.
fn is_told(count: u64) -> bool {
    count == 3 || (count >= 10 && count.is_multiple_of(10_u64.pow(count.ilog10())))
}

pub(super) fn rejected<K>(parcel: &Parcel<K>, said: &str) -> Option<Tell> {
    let count = parcel.rejected;
    is_told(count).then(|| Tell {
        change: Some(ListenerChange::Rejected),
        event: Some(parcel.id),
        count: Some(count),
        early: false,
        text: format!(
            "it rejected {} {count} times: it answered {said}, and not OK; the event comes again until it is accepted",
            event(parcel)
        ),
    })
}

/// It is told when its rejection was.
pub(super) fn accepted<K>(parcel: &Parcel<K>) -> Option<Tell> {
    (parcel.rejected >= 3).then(|| Tell {
        change: Some(ListenerChange::Accepted),
        event: Some(parcel.id),
        count: Some(parcel.rejected),
        early: false,
        text: format!("it accepted {}, after {} rejections", event(parcel), parcel.rejected),
    })
}

pub(super) fn left<K>(run: Run, had: Option<&Parcel<K>>, how: &Departure) -> Tell {
    let again = had.map(|had| format!("; {} comes again", event(had))).unwrap_or_default();
    Tell {
        change: Some(ListenerChange::Unknown),
        event: had.map(|had| had.id),
        count: None,
        early: false,
        text: format!(
            "listener {} left the protocol of event listeners: {how}; it is ended{again}",
            run.member
        ),
    }
}

/// An end is told on the bus when it concerns an event, unless it was asked for.
pub(super) fn ended<K>(alive: &Alive<K>, how: &Ended, stopping: bool) -> Option<Tell> {
    let member = alive.run.member;
    match &alive.has {
        Some(had) => Some(Tell {
            change: (!stopping).then_some(ListenerChange::Died),
            event: Some(had.id),
            count: None,
            early: false,
            text: format!("listener {member} {how} while it had {}, which comes again", event(had)),
        }),
        None if stopping || alive.left => None,
        None => {
            let early = !alive.spoke;
            let when = match how {
                Ended::NotStarted(_) => "",
                Ended::Code(_) | Ended::Signal(_) | Ended::LeftProtocol if early => {
                    " before it said READY"
                }
                Ended::Code(_) | Ended::Signal(_) | Ended::LeftProtocol => "",
            };
            let text = format!("listener {member} {how}{when}");
            Some(Tell { change: None, event: None, count: None, early, text })
        }
    }
}

fn event<K>(parcel: &Parcel<K>) -> String {
    format!("{} (serial {})", parcel.name, parcel.numbers.serial)
}
