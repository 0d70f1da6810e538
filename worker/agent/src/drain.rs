//! A worker that is told to stop gives its instances away before it does: the schedulers are asked
//! to, and do it one by one; the supervisor is told when none is left. It waits for that no longer
//! than its owner said, so nothing here gives up. When it is started again it takes the drain back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dsbus_client::Bus;
use dsbus_schema::command::{Ask, Envelope, Verb, WorkerAct, WorkerActed};
use dsbus_schema::ids::{InstanceId, UserName, WorkerName};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::WorkerRow;
use dsbus_supervisor::protocol::ToSupervisor;
use uuid::Uuid;

use crate::bus_side::Phase;
use crate::errands::Done;
use crate::retry::Retry;
use crate::run::Agent;

/// Name of a file in the state directory: this worker had itself drained, and nobody else had
/// before. Where it is at a start, the drain is taken back; what a person wanted stays.
const NOTE: &str = "drained";

/// How far the worker is with giving its instances away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Nobody asks for it.
    Not,
    /// The schedulers are to be asked.
    Wanted,
    /// They are being asked.
    Asking,
    /// They do it.
    Going,
    /// The supervisor was told that it is done.
    Told,
}

/// Who a worker is when it sends commands, unless somebody else was named: its name alone could be a
/// person's. A worker of a very long name has no such user, and stays whom it is connected as.
pub(crate) fn user(given: UserName, worker: &WorkerName) -> UserName {
    if given != UserName::default() {
        return given;
    }
    UserName::parse(&format!("worker-{worker}")).unwrap_or(given)
}

impl Agent {
    /// The worker is to be drained.
    pub(crate) fn begin_drain(&mut self) {
        if self.drain == Drain::Not {
            tracing::info!("giving away what is placed here");
            self.drain = Drain::Wanted;
        }
    }

    /// Does what comes next.
    pub(crate) fn tend_drain(&mut self) {
        match self.drain {
            Drain::Wanted => {
                if let Some(online) = &self.online {
                    let (bus, worker) = (online.bus.clone(), self.side.worker().clone());
                    self.errands.spawn(begin(bus, worker, self.note()));
                    self.drain = Drain::Asking;
                }
            }
            Drain::Asking | Drain::Going => {
                let left = !self.nothing_is_left();
                let knows = self.drain == Drain::Going && matches!(self.side.phase, Phase::Live);
                if knows && !left && self.link.say(ToSupervisor::Drained) {
                    self.drain = Drain::Told;
                }
            }
            Drain::Not | Drain::Told => {}
        }
    }

    /// Takes back the drain of an earlier run.
    pub(crate) fn take_back_drain(&mut self) {
        let Some(online) = &self.online else { return };
        let note = self.note();
        if self.drain == Drain::Not && !self.side.hello.stopping && note.exists() {
            let (bus, worker) = (online.bus.clone(), self.side.worker().clone());
            self.errands.spawn(take_back(bus, worker, note));
        }
    }

    fn note(&self) -> PathBuf {
        Path::new(&self.side.me.directory).join(NOTE)
    }

    /// Whether everything has left that ran, or was to run, since the drain began. What rests has
    /// nothing to be moved for, and programs that run on every worker stop with it.
    fn nothing_is_left(&mut self) -> bool {
        let placed = self.side.placements.placed();
        let here = placed.iter().filter(|(_, p)| p.wanted.run && p.rest.is_none());
        let busy = here.map(|(name, _)| name).chain(self.guards.names());
        let stays = |name: &InstanceId| placed.get(name).is_some_and(|p| p.spec.system);
        self.left_to_drain.extend(busy.filter(|name| !stays(name)).cloned());
        // A child may outlive its placement by the time it takes to stop.
        let lives: BTreeSet<&InstanceId> = self.guards.names().collect();
        self.left_to_drain.retain(|name| placed.contains_key(name) || lives.contains(name));
        self.left_to_drain.is_empty()
    }
}

/// Asks the schedulers to give everything away that is placed on this worker.
async fn begin(bus: Bus, worker: WorkerName, note: PathBuf) -> Done {
    let mut retry = Retry::new(&bus, "ask whether this worker is drained");
    let rows: Vec<WorkerRow> = loop {
        match bus.command(Verb::Workers, &Ask::default()).await {
            Ok(rows) => break rows,
            Err(error) => retry.after(&error).await,
        }
    };
    let wanted =
        |row: &WorkerRow| matches!(row.state, WorkerState::Draining | WorkerState::Cordoned);
    if !rows.iter().any(|row| row.name == worker && wanted(row))
        && let Err(error) = tokio::fs::write(&note, "").await
    {
        let note = note.display();
        tracing::warn!(%error, "{note} cannot be written: dsbus undrain {worker} after a new start");
    }
    ask(&bus, Verb::Drain, &worker, "ask for this worker to be drained").await;
    Done::DrainBegun
}

async fn take_back(bus: Bus, worker: WorkerName, note: PathBuf) -> Done {
    ask(&bus, Verb::Undrain, &worker, "take this worker's own drain back").await;
    if let Err(error) = tokio::fs::remove_file(&note).await {
        tracing::warn!(%error, "{} cannot be removed", note.display());
    }
    Done::Nothing
}

/// Sends a command about this worker until it is answered; its id makes it act once.
async fn ask(bus: &Bus, verb: Verb, worker: &WorkerName, what: &'static str) {
    let envelope = Envelope { id: Some(Uuid::now_v7()), ..Envelope::default() };
    let act = WorkerAct { envelope, names: vec![worker.clone()] };
    let mut retry = Retry::new(bus, what);
    while let Err(error) = bus.command::<_, Vec<WorkerActed>>(verb, &act).await {
        retry.after(&error).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_asks_under_its_own_name_unless_another_was_given() {
        let worker = WorkerName::parse("w1").unwrap();
        assert_eq!(user(UserName::default(), &worker).as_str(), "worker-w1");
        let ann = UserName::parse("ann").unwrap();
        assert_eq!(user(ann.clone(), &worker), ann);
        let long = WorkerName::parse(&"x".repeat(64)).unwrap();
        assert_eq!(user(UserName::default(), &long), UserName::default());
    }
}
