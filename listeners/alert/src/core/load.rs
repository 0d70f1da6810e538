//! What is on the bus already, and what others change there.

use std::sync::Arc;

use dsbus_schema::alert::{
    AlertGroup, AlertRate, AlertStage, DeadLetter, Letter, LostLetters, RuleName,
};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::AlertKey;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Core;
use crate::group;
use crate::spec::{Spec, Target};

impl Core {
    /// Takes in what stands under a key; `None` when it was deleted or has expired.
    ///
    /// # Errors
    /// When it cannot be read. Nothing is written over it then, as long as it stands there.
    pub(crate) fn fold(
        &mut self,
        key: &AlertKey,
        body: Option<&[u8]>,
    ) -> Result<(), serde_json::Error> {
        let folded = self.fold_one(key, body);
        match &folded {
            Ok(()) => self.sealed.remove(key),
            Err(_) => self.sealed.insert(key.clone()),
        };
        folded
    }

    fn fold_one(&mut self, key: &AlertKey, body: Option<&[u8]>) -> Result<(), serde_json::Error> {
        match key {
            AlertKey::Lease => {}
            AlertKey::Group(rule, id) => {
                let id = (rule.clone(), *id);
                if let Some(old) = self.groups.remove(&id) {
                    self.unschedule(&id, &old);
                }
                if let Some(group) = read::<AlertGroup>(body)? {
                    self.put_group(id, group, false);
                }
            }
            AlertKey::Rate(rule) => {
                self.rates.remove(rule);
                if let Some(rate) = read::<AlertRate>(body)? {
                    self.rates.insert(rule.clone(), rate);
                }
            }
            AlertKey::Letter(id) => {
                self.remove_letter(*id);
                if let Some(letter) = read::<Letter>(body)? {
                    self.add_letter(*id, letter);
                    self.split(*id);
                }
            }
            AlertKey::Dead(id) => {
                self.dead.retain(|(_, other)| other != id);
                self.untold.remove(id);
                if let Some(dead) = read::<DeadLetter>(body)? {
                    self.dead.insert((dead.died, *id));
                    if !dead.told {
                        self.note_death(*id, &dead);
                    }
                }
            }
            AlertKey::Lost => {
                self.lost = read::<LostLetters>(body)?.unwrap_or_default().count;
            }
        }
        Ok(())
    }

    /// Goes on with these rules and targets. What belongs to none of them any more is dropped, or
    /// becomes a dead letter; how many events that no message told of were dropped.
    pub(crate) fn adopt(&mut self, spec: Arc<Spec>, now: Timestamp) -> u64 {
        self.spec = spec;
        let mut dropped = 0;
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            let Some(mut group) = self.groups.remove(&id) else { continue };
            self.unschedule(&id, &group);
            let changed = match self.spec.rule(&id.0) {
                Some(rule) => sooner(&mut group, now + rule.remembers().max(rule.group_wait)),
                None => {
                    dropped += waits(&group);
                    self.dirty.insert(AlertKey::Group(id.0.clone(), id.1));
                    continue;
                }
            };
            self.put_group(id, group, changed);
        }
        let gone: Vec<RuleName> =
            self.rates.keys().filter(|name| self.spec.rule(name).is_none()).cloned().collect();
        for name in gone {
            let rate = self.rates.remove(&name);
            dropped += rate.map_or(0, |rate| rate.bundle.count);
            self.dirty.insert(AlertKey::Rate(name));
        }
        let lost: Vec<_> = self
            .letters
            .iter()
            .filter_map(|(id, letter)| Some((*id, self.undeliverable(letter)?)))
            .collect();
        for (id, why) in lost {
            self.died(id, why, false, now);
        }
        let ids: Vec<_> = self.letters.keys().copied().collect();
        for id in ids {
            self.split(id);
        }
        dropped
    }

    /// A letter that was posted when its target had one recipient, or by a version that sent one to
    /// all: now each has one of its own.
    fn split(&mut self, id: Uuid) {
        let whole = self.letters.get(&id).filter(|letter| letter.to.is_none());
        let target = whole.and_then(|letter| self.spec.target(&letter.target));
        let recipients: Vec<_> =
            target.map_or_else(Vec::new, Target::recipients).into_iter().flatten().collect();
        if recipients.is_empty() {
            return;
        }
        let Some(letter) = self.remove_letter(id) else { return };
        self.dirty.insert(AlertKey::Letter(id));
        for to in recipients {
            let id = Uuid::new_v5(&id, to.as_bytes());
            self.dirty.insert(AlertKey::Letter(id));
            self.add_letter(id, Letter { to: Some(to), ..letter.clone() });
        }
    }

    /// Why a letter has nowhere to go.
    fn undeliverable(&self, letter: &Letter) -> Option<String> {
        let name = &letter.target;
        let Some(target) = self.spec.target(name) else {
            return Some(format!("the file has no target {name} any more"));
        };
        let to = letter.to.as_ref().filter(|to| !target.reaches(to))?;
        Some(format!("target.{name} of the file has no recipient {to} any more"))
    }
}

/// Another machine's clock may have been ahead, and rules change: nothing waits until after
/// `latest`. Whether that changed the group.
fn sooner(group: &mut AlertGroup, latest: Timestamp) -> bool {
    if group::due(group).is_none_or(|due| due <= latest) {
        return false;
    }
    match &mut group.stage {
        AlertStage::Quiet => {}
        AlertStage::Waiting { due, .. } | AlertStage::Flapping { due, .. } => *due = latest,
    }
    true
}

/// How many events of a group nobody was told of.
fn waits(group: &AlertGroup) -> u64 {
    match &group.stage {
        AlertStage::Quiet => 0,
        AlertStage::Waiting { bundle, .. } | AlertStage::Flapping { bundle, .. } => bundle.count,
    }
}

fn read<T: DeserializeOwned>(body: Option<&[u8]>) -> Result<Option<T>, serde_json::Error> {
    body.map(serde_json::from_slice).transpose()
}
