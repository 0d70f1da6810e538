//! A bus that begins anew may have gone back in time, and name an exclusive instance here that another
//! worker has by now. That one finds it out, too, and stops its child; or it is cut off, and its child dies
//! with its lease. So what could not live here at that moment waits for both. What could is safe: while
//! the lease of an instance lives, nobody else starts it. And what has waited, or was placed when nothing
//! had to wait any more, does not wait again while it is placed here, whatever time to stop it is given. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_supervisor::protocol::Anew;

use crate::bus_side::lives_by;

/// Beyond a lease and the time to stop: others may find it out a moment later.
const MORE: Duration = Duration::from_secs(1);

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// When the bus began anew.
    since: Option<BootTime>,
    /// What could live here then.
    ran: BTreeSet<InstanceId>,
    /// What was let begin here since then.
    begun: BTreeSet<InstanceId>,
    waiting: BTreeMap<InstanceId, BootTime>,
}

impl Early {
    /// As an earlier agent found it.
    pub(crate) fn told(anew: Anew) -> Early {
        Early { since: Some(anew.at), ran: anew.ran, ..Early::default() }
    }

    /// What the next agent must know.
    pub(crate) fn anew(&self) -> Option<Anew> {
        self.since.map(|at| Anew { at, ran: &self.ran | &self.begun })
    }

    /// The bus began anew, when these exclusive instances could live here. What waits begins to wait
    /// anew.
    pub(crate) fn reset(&mut self, ran: BTreeSet<InstanceId>, now: BootTime) {
        *self = Early { since: Some(now), ran, ..Early::default() };
    }

    /// Whether a placement has to wait; it is remembered. One that is stopped or rests starts nothing.
    pub(crate) fn waits(
        &mut self,
        name: &InstanceId,
        placement: &Placement,
        now: BootTime,
    ) -> bool {
        let Some((since, seconds)) = self.since.zip(lives_by(placement)) else {
            self.waiting.remove(name);
            return false;
        };
        let lease = Duration::from_secs(seconds);
        let until = since + placement.spec.stopwaitsecs.0.max(lease) + MORE;
        let may = self.ran.contains(name) || self.begun.contains(name);
        let waits = now < until && !may;
        if waits {
            self.waiting.insert(name.clone(), until);
        } else {
            self.waiting.remove(name);
        }
        waits
    }

    /// A placement that does not wait is obeyed: its instance may live here from now on. Says whether that
    /// is for the next agent to know.
    pub(crate) fn begins(&mut self, name: &InstanceId, placement: &Placement) -> bool {
        let starts = self.since.is_some() && lives_by(placement).is_some();
        starts && !self.ran.contains(name) && self.begun.insert(name.clone())
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &InstanceId> {
        self.waiting.keys()
    }

    /// It is not placed here any more.
    pub(crate) fn gone(&mut self, name: &InstanceId) {
        self.waiting.remove(name);
        self.begun.remove(name);
    }

    /// What need not wait any longer.
    pub(crate) fn due(&mut self, now: BootTime) -> Vec<InstanceId> {
        let due: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(n, _)| n.clone())
            .collect();
        self.waiting.retain(|name, _| !due.contains(name));
        due
    }

    /// When the first of them need not.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        self.waiting.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::goal::Wanted;
    use dsbus_schema::ids::{Epoch, ProgramId};
    use dsbus_schema::lenient::Span;
    use serde_json::json;

    fn placement(exclusive: bool) -> Placement {
        let spec = json!({ "command": "x", "exclusive": exclusive, "touch_timeout": 3, "stopwaitsecs": 5 });
        let spec = serde_json::from_value(spec).unwrap();
        let wanted = Wanted { run: true, ..Wanted::default() };
        Placement::new(ProgramId(uuid::Uuid::nil()), 1, Epoch(1), wanted, spec)
    }

    #[test]
    fn what_is_exclusive_and_could_not_live_here_waits_once_the_bus_began_anew() {
        let (web, db): (InstanceId, InstanceId) =
            ("web:0".parse().unwrap(), "db:0".parse().unwrap());
        let at = |seconds| BootTime(0) + Duration::from_secs(seconds);
        let mut early = Early::default();
        assert!(!early.waits(&web, &placement(true), at(1)), "nothing has happened");
        early.reset([db.clone()].into(), at(10));
        assert!(!early.waits(&db, &placement(true), at(11)));
        assert!(!early.waits(&web, &placement(false), at(11)));
        assert!(early.waits(&web, &placement(true), at(11)));
        assert_eq!(early.deadline(), Some(at(16)));
        assert!(early.due(at(15)).is_empty());
        // A second reset finds it still waiting, and begins anew.
        early.reset([db.clone()].into(), at(15));
        assert_eq!(early.waiting().next(), None, "the placements that follow are judged anew");
        assert!(early.waits(&web, &placement(true), at(16)));
        assert_eq!(early.due(at(21)), std::slice::from_ref(&web));
        // The next agent is told of it, and goes on with it.
        let mut next = Early::told(early.anew().unwrap());
        assert!(next.waits(&web, &placement(true), at(20)));
        assert!(!next.waits(&db, &placement(true), at(20)));
        assert!(!early.waits(&web, &placement(true), at(21)));
        assert_eq!(early.deadline(), None);
        // What is stopped meanwhile waits for nothing; what is started again does.
        early.reset(BTreeSet::new(), at(30));
        let stopped = Placement { wanted: Wanted::default(), ..placement(true) };
        assert!(early.waits(&web, &placement(true), at(31)));
        assert!(!early.waits(&web, &stopped, at(32)) && early.waiting().next().is_none());
        assert!(early.waits(&web, &placement(true), at(33)));
    }

    #[test]
    fn what_may_live_here_does_not_wait_again_until_it_is_taken_away() {
        let web: InstanceId = "web:0".parse().unwrap();
        let at = |seconds| BootTime(0) + Duration::from_secs(seconds);
        let mut patient = placement(true);
        patient.spec.stopwaitsecs = Span::from_secs(600);
        let mut early = Early::default();
        assert!(!early.begins(&web, &placement(true)), "nothing has happened");
        early.reset(BTreeSet::new(), at(10));
        assert!(early.waits(&web, &patient, at(11)));
        // It is given less time to stop, and so need not wait.
        assert!(!early.waits(&web, &placement(true), at(17)));
        assert_eq!(early.deadline(), None);
        assert!(!early.begins(&web, &placement(false)), "it is not exclusive");
        assert!(early.begins(&web, &placement(true)) && !early.begins(&web, &placement(true)));
        assert!(!early.waits(&web, &patient, at(18)));
        let mut next = Early::told(early.anew().unwrap());
        assert!(!next.waits(&web, &patient, at(19)));
        early.gone(&web);
        assert!(early.waits(&web, &patient, at(20)), "somebody else may have had it meanwhile");
    }
}
