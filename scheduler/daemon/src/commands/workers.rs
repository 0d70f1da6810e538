//! `cordon`, `uncordon`, `drain`, `undrain` and `forget`: what people want of workers.

use dsbus_client::{Error, Refusal, Value, Write};
use dsbus_planner::rows;
use dsbus_schema::command::{Verb, WorkerAct, WorkerActed, code};
use dsbus_schema::ids::{UserName, WorkerName};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::WorkerRow;
use dsbus_schema::storage::{Bucket, worker_goal_key};
use dsbus_schema::worker_goal::WorkerGoal;
use uuid::Uuid;

use super::resolve::NAMES_MAX;
use super::{Commander, RACES_MAX, did_you_mean, id, unavailable};
use crate::clock;
use crate::grants::Touched;

impl Commander {
    /// Cordons, uncordons, drains or undrains workers. Each one's goal is one write; sent again
    /// with the same id, those that were written are left alone.
    pub(super) async fn steer_workers(
        &self,
        verb: Verb,
        by: &UserName,
        act: WorkerAct,
    ) -> Result<Vec<WorkerActed>, Refusal> {
        let command = id(&act.envelope);
        self.fresh().await?;
        let names = distinct(&act)?;
        self.permit(by, verb, Touched::Workers(&names))?;
        {
            let core = self.shared.lock();
            for name in &names {
                if core.view.worker(name).is_none() {
                    let known = core.view.workers().map(|worker| worker.name.as_str());
                    return Err(unknown(name, known));
                }
            }
        }
        let mut acted = Vec::new();
        for name in names {
            let goal = self.set_worker_goal(&name, verb, by, command).await?;
            acted.push(WorkerActed {
                cordoned: goal.cordoned,
                draining: goal.draining,
                instances: self.row(&name).map_or(0, |row| row.instances),
                name,
            });
        }
        Ok(acted)
    }

    async fn set_worker_goal(
        &self,
        name: &WorkerName,
        verb: Verb,
        by: &UserName,
        command: Uuid,
    ) -> Result<WorkerGoal, Refusal> {
        let key = worker_goal_key(name);
        for _ in 0..RACES_MAX {
            let entry = self.goal_entry(&key).await?;
            let seq = entry.as_ref().map_or(0, |entry| entry.seq);
            let stored: Option<WorkerGoal> =
                entry.map(|e| e.json()).transpose().map_err(unavailable)?.flatten();
            let before = stored.unwrap_or_default();
            if before.commands.has_acted(command) {
                return Ok(before);
            }
            let mut goal = before.clone();
            let changes =
                steered(&mut goal, name, verb).map_err(|why| Refusal::new(code::CONFLICT, why))?;
            if !changes {
                return Ok(before);
            }
            goal.by = Some(by.clone());
            goal.since = Some(clock::wall());
            goal.commands.remember(command, verb.name(), Some(self.sender(by)));
            let write = Write::put(key.clone(), &goal).map_err(unavailable)?.expect(seq);
            match self.write_goal(write).await {
                Ok(_) => return Ok(goal),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, format!("{name} is being changed by too many at once")))
    }

    /// Forgets workers that are gone: their records and goals are deleted. One that was forgotten
    /// before is not refused, so that the command can be sent again.
    pub(super) async fn forget(
        &self,
        by: &UserName,
        act: WorkerAct,
    ) -> Result<Vec<WorkerActed>, Refusal> {
        self.fresh().await?;
        let names = distinct(&act)?;
        self.permit(by, Verb::Forget, Touched::Workers(&names))?;
        for name in &names {
            self.refuse_if_there(name).await?;
        }
        let mut acted = Vec::new();
        for name in names {
            self.forget_one(&name).await?;
            acted.push(WorkerActed { name, cordoned: false, draining: false, instances: 0 });
        }
        Ok(acted)
    }

    /// Refuses to forget a worker that lives, has something, or never was.
    async fn refuse_if_there(&self, name: &WorkerName) -> Result<(), Refusal> {
        match self.row(name) {
            Some(row) => match living(&row) {
                Some(why) => Err(Refusal::new(code::CONFLICT, why)),
                None => Ok(()),
            },
            None => {
                let entry = self.bus.get(Bucket::Workers, name.as_str()).await;
                match entry.map_err(unavailable)? {
                    Some(entry) if entry.value == Value::Deleted => Ok(()),
                    Some(_) | None => {
                        let core = self.shared.lock();
                        let known = core.view.workers().map(|worker| worker.name.as_str());
                        Err(unknown(name, known))
                    }
                }
            }
        }
    }

    async fn forget_one(&self, name: &WorkerName) -> Result<(), Refusal> {
        for (bucket, key) in
            [(Bucket::Workers, name.to_string()), (Bucket::Goals, worker_goal_key(name))]
        {
            let entry = self.bus.get(bucket, &key).await.map_err(unavailable)?;
            let Some(entry) = entry.filter(|e| matches!(e.value, Value::Put(_))) else { continue };
            match self.bus.write(bucket, Write::delete(key).expect(entry.seq)).await {
                Ok(_) => {}
                Err(Error::LostRace { .. }) => {
                    let text = format!("{name} is back: it has just told of itself");
                    return Err(Refusal::new(code::CONFLICT, text));
                }
                Err(e) => return Err(unavailable(e)),
            }
        }
        Ok(())
    }

    fn row(&self, name: &WorkerName) -> Option<WorkerRow> {
        let core = self.shared.lock();
        rows::workers(&core.view).into_iter().find(|row| row.name == *name)
    }
}

/// Workers that are all named where one is not known.
const NAMED_MAX: usize = 8;

fn distinct(act: &WorkerAct) -> Result<Vec<WorkerName>, Refusal> {
    if act.names.is_empty() {
        return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say which workers"));
    }
    if act.names.len() > NAMES_MAX {
        let text = format!("{} names at once; at most {NAMES_MAX}", act.names.len());
        return Err(Refusal::new(code::BAD_REQUEST, text));
    }
    let mut names = act.names.clone();
    names.sort();
    names.dedup();
    Ok(names)
}

fn unknown<'a>(name: &WorkerName, known: impl Iterator<Item = &'a str>) -> Refusal {
    let known: Vec<&str> = known.collect();
    let mut hint = did_you_mean(name.as_str(), known.iter().copied());
    if hint.is_empty() && (1..=NAMED_MAX).contains(&known.len()) {
        hint = format!("; known: {}", known.join(", "));
    }
    Refusal::new(code::NOT_FOUND, format!("no worker is named {:?}{hint}", name.as_str()))
}

/// What is wanted of a worker after a command. Says whether that is news.
fn steered(goal: &mut WorkerGoal, name: &WorkerName, verb: Verb) -> Result<bool, String> {
    let before = (goal.cordoned, goal.draining);
    match verb {
        Verb::Cordon => goal.cordoned = true,
        Verb::Drain => goal.draining = true,
        Verb::Uncordon if goal.draining => {
            return Err(format!("{name} is draining; dsbus undrain {name} lets it take instances"));
        }
        // Whoever takes a drain back wants the worker to be used.
        _ => (goal.cordoned, goal.draining, goal.drained) = (false, false, false),
    }
    Ok((goal.cordoned, goal.draining) != before)
}

/// Why a worker cannot be forgotten.
fn living(row: &WorkerRow) -> Option<String> {
    let WorkerRow { name, state, .. } = row;
    match state {
        // What is placed on it goes elsewhere, or is PENDING: a worker that was forgotten is not
        // waited for.
        WorkerState::Lost | WorkerState::Stopped => None,
        WorkerState::Ready
        | WorkerState::Cordoned
        | WorkerState::Draining
        | WorkerState::Suspect
        | WorkerState::Stopping => {
            Some(format!("{name} is {state}: only a worker that is gone can be forgotten"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wanted_of_a_worker() {
        let name = WorkerName::parse("w1").unwrap();
        let free = (false, false);
        for (before, verb, after) in [
            (free, Verb::Cordon, (true, false)),
            ((true, false), Verb::Cordon, (true, false)),
            ((true, false), Verb::Uncordon, free),
            (free, Verb::Uncordon, free),
            (free, Verb::Drain, (false, true)),
            ((true, false), Verb::Drain, (true, true)),
            ((true, true), Verb::Undrain, free),
            (free, Verb::Undrain, free),
        ] {
            let (cordoned, draining) = before;
            let mut goal =
                WorkerGoal { cordoned, draining, drained: draining, ..WorkerGoal::default() };
            assert_eq!(steered(&mut goal, &name, verb), Ok(before != after), "{before:?} {verb:?}");
            assert_eq!((goal.cordoned, goal.draining), after, "{before:?} {verb:?}");
            assert_eq!(goal.drained, goal.draining && draining, "the next drain is another one");
        }
        let mut draining = WorkerGoal { draining: true, ..WorkerGoal::default() };
        let said = steered(&mut draining, &name, Verb::Uncordon).unwrap_err();
        assert!(said.contains("dsbus undrain w1"), "{said}");
    }

    #[test]
    fn only_what_is_gone_is_forgotten() {
        let said = |state: &str, instances: usize| {
            let row = json!({
                "name": "w1", "state": state, "host": "h", "agent_pid": 1, "supervisor_pid": 2,
                "instances": instances, "last_touch": null, "version": "0",
            });
            living(&serde_json::from_value(row).unwrap())
        };
        assert_eq!(said("lost", 0), None);
        assert_eq!(said("stopped", 0), None);
        let ready = said("ready", 0).unwrap();
        assert!(ready.contains("w1 is ready"), "{ready}");
        assert_eq!(said("lost", 2), None, "what it has goes elsewhere");
    }
}
