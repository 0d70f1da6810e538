//! How often a rule tells something. What is over the limit is counted, and told of in the next
//! message, or by a message of its own as soon as the limit allows one. Pure.

use std::collections::BTreeMap;

use dsbus_schema::alert::{AlertBundle, AlertRate, NewsKind};
use dsbus_schema::moment::Timestamp;

use crate::group::{Draft, append};
use crate::spec::RateLimit;

/// What was held back before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    pub(crate) messages: u64,
    pub(crate) events: u64,
}

/// Whether a message may go out now; with what was held back before it. One that may not is held.
pub(crate) fn admit(
    limit: Option<RateLimit>,
    rate: &mut AlertRate,
    draft: Draft,
    now: Timestamp,
) -> Option<(Draft, Held)> {
    if !free(limit, rate, now) {
        rate.held += 1;
        append(&mut rate.bundle, draft.bundle);
        return None;
    }
    if limit.is_some() {
        rate.told.push(now);
    }
    let before = std::mem::take(&mut rate.bundle);
    Some((draft, Held { messages: std::mem::take(&mut rate.held), events: before.count }))
}

/// The message about what was held back, once one may go out.
pub(crate) fn release(
    limit: Option<RateLimit>,
    rate: &mut AlertRate,
    now: Timestamp,
) -> Option<(Draft, Held)> {
    if rate.held == 0 || !free(limit, rate, now) {
        return None;
    }
    if limit.is_some() {
        rate.told.push(now);
    }
    let bundle = std::mem::take(&mut rate.bundle);
    let held = Held { messages: std::mem::take(&mut rate.held), events: bundle.count };
    Some((Draft { kind: NewsKind::Held, labels: BTreeMap::new(), bundle }, held))
}

/// When what was held back may be told; `None` where nothing was.
pub(crate) fn due(limit: Option<RateLimit>, rate: &AlertRate) -> Option<Timestamp> {
    if rate.held == 0 {
        return None;
    }
    let epoch = Timestamp::from_unix_nanos(0);
    let Some(limit) = limit else { return Some(epoch) };
    match rate.told.len().checked_sub(limit.count as usize) {
        // The one whose leaving makes room.
        Some(surplus) => rate.told.get(surplus).map(|told| *told + limit.within),
        None => Some(epoch),
    }
}

/// Whether one more message is within the limit; forgets those that no longer count.
fn free(limit: Option<RateLimit>, rate: &mut AlertRate, now: Timestamp) -> bool {
    let Some(limit) = limit else {
        rate.told.clear();
        return true;
    };
    for told in &mut rate.told {
        // Another machine's clock may have been ahead.
        *told = (*told).min(now);
    }
    rate.told.retain(|told| *told + limit.within > now);
    rate.told.len() < limit.count as usize
}

/// Whether nothing needs to be remembered.
pub(crate) fn is_empty(rate: &AlertRate) -> bool {
    let AlertRate { told, held, bundle } = rate;
    told.is_empty() && *held == 0 && *bundle == AlertBundle::default()
}
