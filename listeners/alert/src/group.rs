//! One group of a rule: what waits, since when, and when it is told. Pure.

use std::collections::BTreeMap;

use dsbus_schema::alert::{AlertBundle, AlertEvent, AlertGroup, AlertStage, NewsKind};
use dsbus_schema::event::Event;
use dsbus_schema::moment::Timestamp;
use uuid::Uuid;

use crate::facts;
use crate::spec::Rule;

/// Most events that one message shows; of those before only the number is kept. A letter is one
/// NATS message, and people read the first few lines.
pub(crate) const EVENTS_MAX: usize = 10;

/// How many events a group remembers, to know those that come again: as many as are on their way at
/// once. They may come in another order.
pub(crate) const IDS_MAX: u16 = 64;

/// Something that is to be told, if the limit of its rule allows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) kind: NewsKind,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) bundle: AlertBundle,
}

/// Puts an event into a bundle.
pub(crate) fn add(bundle: &mut AlertBundle, event: AlertEvent) {
    bundle.count += 1;
    bundle.first.get_or_insert(event.event.time);
    bundle.events.push(event);
    shorten(bundle);
}

/// Puts all of one bundle behind another.
pub(crate) fn append(bundle: &mut AlertBundle, later: AlertBundle) {
    bundle.count += later.count;
    bundle.first = bundle.first.or(later.first);
    bundle.events.extend(later.events);
    shorten(bundle);
}

fn shorten(bundle: &mut AlertBundle) {
    let surplus = bundle.events.len().saturating_sub(EVENTS_MAX);
    bundle.events.drain(..surplus);
}

impl Rule {
    /// Whether the rule is about an event.
    pub(crate) fn concerns(&self, event: &Event) -> bool {
        if !self.filter.matches(event) {
            return false;
        }
        let expected = self.expected.is_none_or(|wanted| facts::expected(event) == Some(wanted));
        let ended = |exit| self.exit.iter().any(|word| word.matches(&exit));
        expected && (self.exit.is_empty() || facts::exit(event).is_some_and(ended))
    }

    /// What an event has in common with the others of its group.
    pub(crate) fn labels(&self, event: &Event) -> BTreeMap<String, String> {
        let labels = self.group_by.iter();
        labels
            .filter_map(|label| Some((label.name().to_owned(), facts::label(event, *label)?)))
            .collect()
    }

    /// A group that nothing is known of.
    pub(crate) fn group(&self, labels: BTreeMap<String, String>) -> AlertGroup {
        AlertGroup {
            rule: self.name.clone(),
            labels,
            seqs: Vec::new(),
            ids: Vec::new(),
            told: None,
            recent: Vec::new(),
            stage: AlertStage::Quiet,
        }
    }

    /// An event comes into its group; `stored` is when the stream got it. Gives what is to be told
    /// at once. An event that comes again changes nothing.
    pub(crate) fn absorb(
        &self,
        group: &mut AlertGroup,
        event: AlertEvent,
        stored: Timestamp,
        now: Timestamp,
    ) -> Option<Draft> {
        if knows(group, event.event.id) {
            return None;
        }
        group.seqs.push(event.seq);
        group.ids.push(event.event.id);
        let surplus = |len: usize| len.saturating_sub(usize::from(IDS_MAX));
        group.seqs.drain(..surplus(group.seqs.len()));
        group.ids.drain(..surplus(group.ids.len()));
        // Another machine's clock may have been ahead: nothing waits for longer because of that.
        group.told = group.told.map(|told| told.min(now));
        let flaps = self.count(group, stored);
        match &mut group.stage {
            AlertStage::Flapping { due, bundle } => {
                add(bundle, event);
                if let Some(flap) = self.flap {
                    *due = now + flap.within;
                }
                None
            }
            AlertStage::Quiet => {
                let free = group.told.map_or(now, |told| told + self.quiet);
                let due = free.max(now + self.group_wait);
                let mut bundle = AlertBundle::default();
                add(&mut bundle, event);
                self.waits(group, flaps, due, bundle, now)
            }
            AlertStage::Waiting { due, bundle } => {
                let (due, mut bundle) = (*due, std::mem::take(bundle));
                add(&mut bundle, event);
                self.waits(group, flaps, due, bundle, now)
            }
        }
    }

    /// Notes when an event came; whether events come so often that the group flaps.
    fn count(&self, group: &mut AlertGroup, stored: Timestamp) -> bool {
        let Some(flap) = self.flap else {
            group.recent.clear();
            return false;
        };
        let count = flap.count as usize;
        group.recent.push(stored);
        let surplus = group.recent.len().saturating_sub(count);
        group.recent.drain(..surplus);
        let first = group.recent.first();
        group.recent.len() >= count
            && first.is_some_and(|first| stored.since(*first) <= flap.within)
    }

    /// What waits goes on waiting, unless the group begins to flap now.
    fn waits(
        &self,
        group: &mut AlertGroup,
        flaps: bool,
        due: Timestamp,
        bundle: AlertBundle,
        now: Timestamp,
    ) -> Option<Draft> {
        let Some(flap) = self.flap.filter(|_| flaps) else {
            group.stage = AlertStage::Waiting { due, bundle };
            return None;
        };
        group.told = Some(now);
        let (calm, none) = (now + flap.within, AlertBundle::default());
        group.stage = AlertStage::Flapping { due: calm, bundle: none };
        Some(Draft { kind: NewsKind::Flapping, labels: group.labels.clone(), bundle })
    }

    /// For how long a group that is quiet must still be known.
    pub(crate) fn remembers(&self) -> std::time::Duration {
        self.quiet.max(self.flap.map_or(std::time::Duration::ZERO, |flap| flap.within))
    }
}

/// Whether an event is in a group already. By its id: in a stream that was made anew, or that lost
/// its end, others have the same sequences.
pub(crate) fn knows(group: &AlertGroup, id: Uuid) -> bool {
    group.ids.contains(&id)
}

/// When something is to be done about a group.
pub(crate) fn due(group: &AlertGroup) -> Option<Timestamp> {
    match &group.stage {
        AlertStage::Quiet => None,
        AlertStage::Waiting { due, .. } | AlertStage::Flapping { due, .. } => Some(*due),
    }
}

/// Time passes. Gives what is to be told now.
pub(crate) fn tick(group: &mut AlertGroup, now: Timestamp) -> Option<Draft> {
    due(group).filter(|due| *due <= now)?;
    let (kind, bundle) = match std::mem::replace(&mut group.stage, AlertStage::Quiet) {
        AlertStage::Quiet => return None,
        AlertStage::Waiting { bundle, .. } => (NewsKind::Events, bundle),
        AlertStage::Flapping { bundle, .. } => {
            // Counting begins anew: else the next event would be one too many at once.
            group.recent.clear();
            (NewsKind::Calm, bundle)
        }
    };
    group.told = Some(now);
    Some(Draft { kind, labels: group.labels.clone(), bundle })
}
