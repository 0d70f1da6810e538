//! How the worker stands, for whoever started it.

use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_starter::Stage;

use super::{Driver, Ending};

/// A worker that has not heard from the bus for so long after its start is as ready as it can be: a
/// machine must come up without the bus, too. What is placed here runs as soon as that is heard.
const WITHOUT_BUS_AFTER: Duration = Duration::from_secs(10);

impl Driver {
    /// Says that this loop goes round, and how the worker stands.
    pub(super) fn tend_starter(&mut self, now: BootTime) {
        if !self.starter.listens() {
            return;
        }
        // How many children there are may change many times a second; how far it is is told at once.
        let due = self.starter_deadline().is_some_and(|at| at <= now);
        if due || self.starter.stage() != self.stage(now) {
            self.tell_starter(now);
        }
        self.starter.beat(Duration::from_nanos(now.0));
    }

    pub(super) fn tell_starter(&mut self, now: BootTime) {
        let stage = self.stage(now);
        let status = match (stage, &self.ending) {
            (Stage::Starting, _) => "waits for the bus".to_owned(),
            (Stage::Stopping, Ending::Draining(_)) => "gives its instances away".to_owned(),
            (Stage::Stopping, _) => format!("stops {}", self.living()),
            (Stage::Reloading, _) => "brings in a new version".to_owned(),
            (Stage::Ready, _) if self.synced => {
                format!("runs {}", self.living())
            }
            (Stage::Ready, _) => {
                "was not told yet what it is to run: the bus is away, or has no scheduler"
                    .to_owned()
            }
        };
        self.starter.stands(stage, &status);
    }

    fn living(&self) -> String {
        match self.children.iter().count() {
            1 => "1 child".to_owned(),
            count => format!("{count} children"),
        }
    }

    fn stage(&self, now: BootTime) -> Stage {
        match self.ending {
            Ending::Not if self.synced || now >= self.patient_until() => {
                if self.upgrade.is_none() {
                    Stage::Ready
                } else {
                    Stage::Reloading
                }
            }
            Ending::Not => Stage::Starting,
            Ending::Draining(_) | Ending::Stopping | Ending::Bye(_) | Ending::Done => {
                Stage::Stopping
            }
        }
    }

    fn patient_until(&self) -> BootTime {
        self.started.boot + WITHOUT_BUS_AFTER
    }

    /// When there is something to say.
    pub(super) fn starter_deadline(&self) -> Option<BootTime> {
        let beat = self.starter.next()?;
        let beat = BootTime(u64::try_from(beat.as_nanos()).unwrap_or(u64::MAX));
        let waits = self.starter.stage() == Stage::Starting;
        Some(if waits { beat.min(self.patient_until()) } else { beat })
    }
}
