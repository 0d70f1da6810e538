//! `rebalance`: instances are told to leave the places that they have.

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::View;
use dsbus_planner::explain::explain;
use dsbus_planner::rebalance::rebalance;
use dsbus_schema::command::{PlannedMove, Rebalance, Verb, code};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, InstanceId, UserName};
use dsbus_schema::storage::{Bucket, goal_key};
use uuid::Uuid;

use super::{Commander, RACES_MAX, id, unavailable};
use crate::clock;
use crate::grants::Touched;

impl Commander {
    /// Says which instances would be moved so that workers are loaded evenly, and, unless that is
    /// all that was asked for, tells each to leave.
    pub(super) async fn rebalance(
        &self,
        by: &UserName,
        ask: &Rebalance,
    ) -> Result<Vec<PlannedMove>, Refusal> {
        self.permit(by, Verb::Rebalance, Touched::Everything)?;
        let command = id(&ask.envelope);
        self.fresh().await?;
        let (told, planned) = {
            let core = self.shared.lock();
            (told(&core.view, command), rebalance(&core.view))
        };
        // Sent again, the command moves nothing that it has not told to leave the first time.
        if !told.is_empty() {
            return Ok(told);
        }
        for planned in planned.iter().filter(|_| !ask.dry_run) {
            let epoch = {
                let core = self.shared.lock();
                let placed = core.view.placed(&planned.name);
                placed.filter(|placed| placed.worker == planned.from).map(|placed| placed.epoch)
            };
            // What has left meanwhile need not be told to.
            if let Some(epoch) = epoch {
                self.send_away(&planned.name, epoch, (command, by)).await?;
            }
        }
        Ok(planned)
    }

    /// Tells an instance to leave the place that it has under this epoch.
    async fn send_away(
        &self,
        name: &InstanceId,
        epoch: Epoch,
        (command, by): (Uuid, &UserName),
    ) -> Result<(), Refusal> {
        let key = goal_key(&name.program, Some(name.index));
        let pattern = format!("{}.*", name.program);
        for _ in 0..RACES_MAX {
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let last = last.map_or(0, |entry| entry.seq);
            let mut goals: [Option<Goal>; 2] = [None, None];
            for (goal, key) in goals.iter_mut().zip([&goal_key(&name.program, None), &key]) {
                let entry = self.goal_entry(key).await?;
                *goal = entry.map(|e| e.json()).transpose().map_err(unavailable)?.flatten();
            }
            let [all, one] = goals;
            // A goal that is made only for this says what the program's says, and is never the
            // later one.
            let mut goal =
                one.unwrap_or_else(|| Goal { run: all.is_none_or(|g| g.run), ..Goal::default() });
            if goal.commands.has_acted(command) {
                return Ok(());
            }
            goal.leave = epoch;
            let sender = Some(self.sender(by));
            goal.commands.remember(command, Verb::Rebalance.name(), sender);
            let write = Write::put(key.clone(), &goal).map_err(unavailable)?.guard(&pattern, last);
            match self.write_goal(write).await {
                Ok(_) => return Ok(()),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, format!("{name} is being changed by too many at once")))
    }
}

/// The moves that the same command has asked for before.
fn told(view: &View, command: Uuid) -> Vec<PlannedMove> {
    let now = clock::both();
    let placements = view.placements();
    placements
        .filter_map(|(name, placed)| {
            let goal = view.goal(&name).filter(|goal| goal.commands.has_acted(command))?;
            let at = placed.worker.clone();
            if placed.epoch > goal.leave {
                return Some(PlannedMove { name, from: placed.from.clone()?, to: at });
            }
            // It is on its way out, and goes where it would go now.
            let workers = explain(view, &name, now)?.workers.into_iter();
            let to =
                workers.filter(|w| w.refusal.is_none() && w.name != at).map(|w| w.name).next()?;
            Some(PlannedMove { name, from: at, to })
        })
        .collect()
}
