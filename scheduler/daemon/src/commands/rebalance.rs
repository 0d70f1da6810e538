//! `rebalance`: instances are told to leave the places that they have.

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::rebalance::rebalance;
use dsbus_schema::command::{PlannedMove, Rebalance, Verb, code};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::storage::{Bucket, goal_key};
use uuid::Uuid;

use super::{Commander, RACES_MAX, id, unavailable};

impl Commander {
    /// Says which instances would be moved so that workers are loaded evenly, and, unless that is
    /// all that was asked for, tells each to leave.
    pub(super) async fn rebalance(&self, ask: &Rebalance) -> Result<Vec<PlannedMove>, Refusal> {
        let command = id(&ask.envelope);
        self.fresh().await?;
        let moves: Vec<(PlannedMove, Epoch, bool)> = {
            let core = self.shared.lock();
            // Sent again, the command moves nothing that it has not told to leave the first time.
            let acted = |name: &InstanceId| {
                core.view.goal(name).is_some_and(|goal| goal.commands.has_acted(command))
            };
            let again = core.view.programs().any(|p| p.instances().any(|name| acted(&name)));
            let moves = rebalance(&core.view).into_iter();
            let moves = moves.filter(|planned| !again || acted(&planned.name));
            let placed = moves.filter_map(|planned| {
                let placed = core.view.placed(&planned.name)?;
                let done = acted(&planned.name) || placed.worker != planned.from;
                let epoch = placed.epoch;
                Some((planned, epoch, done))
            });
            placed.collect()
        };
        for (planned, epoch, done) in &moves {
            if !ask.dry_run && !done {
                self.send_away(&planned.name, *epoch, command).await?;
            }
        }
        Ok(moves.into_iter().map(|(planned, ..)| planned).collect())
    }

    /// Tells an instance to leave the place that it has under this epoch.
    async fn send_away(
        &self,
        name: &InstanceId,
        epoch: Epoch,
        command: Uuid,
    ) -> Result<(), Refusal> {
        let key = goal_key(&name.program, Some(name.index));
        let pattern = format!("{}.*", name.program);
        for _ in 0..RACES_MAX {
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let last = last.map_or(0, |entry| entry.seq);
            let mut goals: [Option<Goal>; 2] = [None, None];
            for (goal, key) in goals.iter_mut().zip([&goal_key(&name.program, None), &key]) {
                let entry = self.bus.get(Bucket::Goals, key).await.map_err(unavailable)?;
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
            goal.commands.remember(command, Verb::Rebalance.name());
            let write = Write::put(key.clone(), &goal).map_err(unavailable)?.guard(&pattern, last);
            match self.bus.write(Bucket::Goals, write).await {
                Ok(_) => return Ok(()),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, format!("{name} is being changed by too many at once")))
    }
}
