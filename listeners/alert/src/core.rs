//! All that is known of a set of rules: groups, limits, letters on their way and dead ones. Pure:
//! what changed is noted, and written to the bus by whoever asked for the change.
//!
//! What is to be delivered is given out only after it was written: see [`Core::take_outbox`].

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::alert::{
    AlertEvent, AlertGroup, AlertRate, AlertStage, DeadLetter, Letter, LostLetters, News, RuleName,
    TargetName,
};
use dsbus_schema::event::{Event, Fact, ListenerChange};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::AlertKey;
use serde_json::Value;
use uuid::Uuid;

use crate::facts;
use crate::group::{self, Draft};
use crate::rate::{self, Held};
use crate::spec::{Rule, Spec, Target};

/// Most letters that wait for one target. One that nobody can reach for so long has enough to read;
/// those that follow are dead letters at once, and kept as such.
pub(crate) const LETTERS_MAX: usize = 1000;
/// Most dead letters that are kept; the oldest make room, and are counted.
pub(crate) const DEAD_LETTERS_MAX: usize = 1000;
/// Most groups of all rules: what comes beyond is told as one group of its rule.
const GROUPS_MAX: usize = 10_000;
/// How long a record is kept beyond what it is needed for: expiry is by the clock of the bus.
const SLACK: Duration = Duration::from_secs(60);
/// How long the marker of a deleted key is kept: as long as a write that was on its way then may
/// still arrive, and not for ever.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(600);
/// Ids of groups and letters are made of their contents under this one.
const NAMESPACE: Uuid = Uuid::from_u128(0x9f61_c1d2_6b5e_4c3a_8d52_d5b0_5a1e_47e2);

/// Which group.
type GroupId = (RuleName, Uuid);
/// A target, and which of its recipients where it has several.
type Line = (TargetName, Option<String>);

/// What is to be written under a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// `None` deletes it.
    pub(crate) body: Option<Value>,
    /// When it may be forgotten, after the write.
    pub(crate) keep: Option<Duration>,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Core {
    spec: Arc<Spec>,
    groups: BTreeMap<GroupId, AlertGroup>,
    due: BTreeSet<(Timestamp, GroupId)>,
    rates: BTreeMap<RuleName, AlertRate>,
    letters: BTreeMap<Uuid, Letter>,
    waiting: BTreeMap<Line, usize>,
    dead: BTreeSet<(Timestamp, Uuid)>,
    /// Bodies of those that are not written yet.
    buried: BTreeMap<Uuid, DeadLetter>,
    /// Those of which the event is not stored yet.
    untold: BTreeMap<Uuid, DeadLetter>,
    lost: u64,
    dirty: BTreeSet<AlertKey>,
    outbox: Vec<(Uuid, Letter)>,
    deaths: Vec<(Uuid, DeadLetter)>,
    /// Keys whose records cannot be read: nothing is written over them.
    sealed: BTreeSet<AlertKey>,
}

impl Core {
    /// An event was heard; `stored` is when the stream got it.
    pub(crate) fn heard(&mut self, event: &Event, seq: u64, stored: Timestamp, now: Timestamp) {
        let spec = Arc::clone(&self.spec);
        for rule in spec.rules.iter().filter(|rule| rule.concerns(event)) {
            let id = self.group_of(rule, event);
            let Some(mut group) = self.groups.remove(&id) else { continue };
            self.unschedule(&id, &group);
            let changed = !group::knows(&group, event.id);
            let event = AlertEvent { seq, event: facts::cut(event) };
            let draft = rule.absorb(&mut group, event, stored, now);
            self.put_group(id, group, changed);
            if let Some(draft) = draft {
                self.tell(rule, draft, now);
            }
        }
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let spec = Arc::clone(&self.spec);
        while let Some((_, id)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            let Some(mut group) = self.groups.remove(&id) else { break };
            self.unschedule(&id, &group);
            let draft = group::tick(&mut group, now);
            let rule = spec.rule(&id.0);
            self.put_group(id, group, true);
            if let (Some(rule), Some(draft)) = (rule, draft) {
                self.tell(rule, draft, now);
            }
        }
        for rule in &spec.rules {
            let Some(rate) = self.rates.get_mut(&rule.name) else { continue };
            if let Some((draft, held)) = rate::release(rule.rate_limit, rate, now) {
                self.dirty.insert(AlertKey::Rate(rule.name.clone()));
                self.post(rule, draft, held, now);
            }
        }
    }

    /// When time must be looked at again.
    pub(crate) fn wakes(&self) -> Option<Timestamp> {
        let groups = self.due.first().map(|(due, _)| *due);
        let rates = self
            .spec
            .rules
            .iter()
            .filter_map(|rule| rate::due(rule.rate_limit, self.rates.get(&rule.name)?));
        groups.into_iter().chain(rates).min()
    }

    /// A letter arrived.
    pub(crate) fn delivered(&mut self, id: Uuid) {
        if self.remove_letter(id).is_some() {
            self.dirty.insert(AlertKey::Letter(id));
        }
    }

    /// A try failed; there will be another one.
    pub(crate) fn failed(&mut self, id: Uuid, why: String) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.tries += 1;
            letter.why = Some(why);
            self.dirty.insert(AlertKey::Letter(id));
        }
    }

    /// A letter is given up; `tried` when the last try was just now.
    pub(crate) fn died(&mut self, id: Uuid, why: String, tried: bool, now: Timestamp) {
        let Some(mut letter) = self.remove_letter(id) else { return };
        letter.tries += u32::from(tried);
        self.dirty.insert(AlertKey::Letter(id));
        self.bury(id, letter, why, now);
    }

    /// Keys whose records changed since they were last written.
    pub(crate) fn dirty(&self) -> &BTreeSet<AlertKey> {
        &self.dirty
    }

    /// What is to be written under a key.
    pub(crate) fn record(&self, key: &AlertKey) -> Record {
        let put = |body: Value, keep| Record { body: Some(body), keep };
        let found = match key {
            AlertKey::Group(rule, id) => {
                let group = self.groups.get(&(rule.clone(), *id));
                group.map(|group| put(json(group), self.group_keeps(group)))
            }
            AlertKey::Rate(rule) => self.rates.get(rule).map(|rate| {
                let limit = self.spec.rule(rule).and_then(|rule| rule.rate_limit);
                let within = limit.map_or(Duration::ZERO, |limit| limit.within);
                put(json(rate), (rate.held == 0).then_some(within + SLACK))
            }),
            AlertKey::Letter(id) => self.letters.get(id).map(|letter| put(json(letter), None)),
            AlertKey::Dead(id) => self.buried.get(id).map(|dead| put(json(dead), None)),
            AlertKey::Lost => Some(put(json(&LostLetters { count: self.lost }), None)),
            AlertKey::Lease => None,
        };
        found.unwrap_or(Record { body: None, keep: Some(TOMBSTONE) })
    }

    /// These keys were written as [`Core::record`] said, and nothing changed since.
    pub(crate) fn written(&mut self, keys: &[AlertKey]) {
        for key in keys {
            self.dirty.remove(key);
            if let AlertKey::Dead(id) = key {
                self.buried.remove(id);
            }
        }
    }

    /// Letters to be delivered, once everything is written.
    pub(crate) fn take_outbox(&mut self) -> Vec<(Uuid, Letter)> {
        if self.dirty.is_empty() { std::mem::take(&mut self.outbox) } else { Vec::new() }
    }

    /// The event about a dead letter is stored.
    pub(crate) fn told(&mut self, id: Uuid) {
        if let Some(dead) = self.untold.remove(&id) {
            self.buried.insert(id, DeadLetter { told: true, ..dead });
            self.dirty.insert(AlertKey::Dead(id));
        }
    }

    /// Letters that died, once everything is written; those that nobody was told of come again after
    /// everything was read anew.
    pub(crate) fn take_deaths(&mut self) -> Vec<(Uuid, DeadLetter)> {
        if self.dirty.is_empty() { std::mem::take(&mut self.deaths) } else { Vec::new() }
    }

    /// How many letters are on their way, and how many are dead.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.letters.len(), self.dead.len())
    }

    fn group_of(&mut self, rule: &Rule, event: &Event) -> GroupId {
        let id_of = |labels: &BTreeMap<String, String>| {
            let text = json(labels).to_string();
            (rule.name.clone(), Uuid::new_v5(&NAMESPACE, text.as_bytes()))
        };
        let mut labels = rule.labels(event);
        let mut id = self.beside(id_of(&labels));
        if !self.groups.contains_key(&id) && self.groups.len() >= GROUPS_MAX {
            labels = BTreeMap::from([("group".to_owned(), "others".to_owned())]);
            id = self.beside(id_of(&labels));
        }
        self.groups.entry(id.clone()).or_insert_with(|| rule.group(labels));
        id
    }

    /// The same group, or one beside it while its record cannot be read.
    fn beside(&self, (rule, mut id): GroupId) -> GroupId {
        while self.sealed.contains(&AlertKey::Group(rule.clone(), id)) {
            id = Uuid::new_v5(&id, b"beside");
        }
        (rule, id)
    }

    /// Puts a group back that was taken out to be changed.
    fn put_group(&mut self, id: GroupId, group: AlertGroup, changed: bool) {
        if let Some(due) = group::due(&group) {
            self.due.insert((due, id.clone()));
        }
        if changed {
            self.dirty.insert(AlertKey::Group(id.0.clone(), id.1));
        }
        self.groups.insert(id, group);
    }

    fn unschedule(&mut self, id: &GroupId, group: &AlertGroup) {
        if let Some(due) = group::due(group) {
            self.due.remove(&(due, id.clone()));
        }
    }

    fn tell(&mut self, rule: &Rule, draft: Draft, now: Timestamp) {
        // What cannot be written down cannot be held back either.
        let sealed = self.sealed.contains(&AlertKey::Rate(rule.name.clone()));
        if sealed || (rule.rate_limit.is_none() && !self.rates.contains_key(&rule.name)) {
            return self.post(rule, draft, Held::default(), now);
        }
        let rate = self.rates.entry(rule.name.clone()).or_default();
        let admitted = rate::admit(rule.rate_limit, rate, draft, now);
        if rate::is_empty(rate) {
            self.rates.remove(&rule.name);
        }
        self.dirty.insert(AlertKey::Rate(rule.name.clone()));
        if let Some((draft, held)) = admitted {
            self.post(rule, draft, held, now);
        }
    }

    /// One letter for each target of the rule; for each of its recipients where it has several.
    fn post(&mut self, rule: &Rule, draft: Draft, held: Held, now: Timestamp) {
        let Draft { kind, labels, bundle } = draft;
        let last = bundle.events.last().map_or(0, |event| event.seq);
        let name = format!("{} {} {last} {now} {}", rule.name, kind.name(), json(&labels));
        let news = News {
            id: Uuid::new_v5(&NAMESPACE, name.as_bytes()),
            rule: rule.name.clone(),
            kind,
            made: now,
            labels,
            bundle,
            held: held.messages,
            held_events: held.events,
        };
        let recipients = |target| self.spec.target(target).map_or(vec![None], Target::recipients);
        let each = |target| recipients(target).into_iter().map(move |to| (target, to));
        let lines: Vec<_> = rule.send.iter().flat_map(each).collect();
        for (target, to) in lines {
            let name = to.as_ref().map_or(target.to_string(), |to| format!("{target} {to}"));
            let id = Uuid::new_v5(&news.id, name.as_bytes());
            let (target, news) = (target.clone(), news.clone());
            let letter = Letter { target, to, posted: now, tries: 0, why: None, news };
            if self.waiting.get(&line(&letter)).is_some_and(|n| *n >= LETTERS_MAX) {
                let why = format!("{LETTERS_MAX} letters wait for this target already");
                self.bury(id, letter, why, now);
                continue;
            }
            self.dirty.insert(AlertKey::Letter(id));
            self.add_letter(id, letter);
        }
    }

    fn add_letter(&mut self, id: Uuid, letter: Letter) {
        *self.waiting.entry(line(&letter)).or_insert(0) += 1;
        self.outbox.push((id, letter.clone()));
        self.letters.insert(id, letter);
    }

    fn remove_letter(&mut self, id: Uuid) -> Option<Letter> {
        let letter = self.letters.remove(&id)?;
        self.outbox.retain(|(other, _)| *other != id);
        if let Some(count) = self.waiting.get_mut(&line(&letter)) {
            *count = count.saturating_sub(1);
        }
        Some(letter)
    }

    fn bury(&mut self, id: Uuid, letter: Letter, why: String, now: Timestamp) {
        let told = is_about_a_dead_letter(&letter);
        let dead = DeadLetter { died: now, why, letter, told };
        self.dirty.insert(AlertKey::Dead(id));
        self.dead.insert((now, id));
        self.note_death(id, &dead);
        self.buried.insert(id, dead);
        while self.dead.len() > DEAD_LETTERS_MAX {
            let Some((_, oldest)) = self.dead.pop_first() else { break };
            self.buried.remove(&oldest);
            self.untold.remove(&oldest);
            self.lost += 1;
            self.dirty.insert(AlertKey::Dead(oldest));
            if !self.sealed.contains(&AlertKey::Lost) {
                self.dirty.insert(AlertKey::Lost);
            }
        }
    }

    fn note_death(&mut self, id: Uuid, dead: &DeadLetter) {
        self.deaths.push((id, dead.clone()));
        if !dead.told {
            self.untold.insert(id, dead.clone());
        }
    }

    fn group_keeps(&self, group: &AlertGroup) -> Option<Duration> {
        let quiet = matches!(group.stage, AlertStage::Quiet);
        let rule = self.spec.rule(&group.rule);
        quiet.then(|| rule.map_or(Duration::ZERO, Rule::remembers) + SLACK)
    }
}

fn line(letter: &Letter) -> Line {
    (letter.target.clone(), letter.to.clone())
}

/// Of the death of such a letter nobody is told: else a rule about dead letters whose target is away
/// would never end.
fn is_about_a_dead_letter(letter: &Letter) -> bool {
    letter.news.bundle.events.iter().any(|of| match &of.event.data {
        Fact::Listener(fact) => fact.change == ListenerChange::DeadLetter,
        _ => false,
    })
}

/// Types of the schema are JSON, which cannot fail.
fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
