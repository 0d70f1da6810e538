//! `start`, `stop`, `restart`, `reload` and `remove`: they write goals, and nothing but goals.

use dsbus_client::{Error, Refusal, Write};
use dsbus_schema::command::{Act, Acted, ActedInstance, Verb, code};
use dsbus_schema::goal::Goal;
use dsbus_schema::storage::{Bucket, goal_key};
use uuid::Uuid;

use super::{Commander, Meant, RACES_MAX, id, unavailable};

impl Commander {
    /// Starts, stops, restarts or reloads what is named. Each program's goal is one write; sent again with
    /// the same id, those that were written are left alone.
    pub(super) async fn act(&self, verb: Verb, act: Act) -> Result<Acted, Refusal> {
        let command = id(&act.envelope);
        let meant = self.named(&act).await?;
        if let Some(gone) = meant.iter().find(|m| m.program.removing) {
            let text = format!("{} is being removed", gone.program.name);
            return Err(Refusal::new(code::CONFLICT, text));
        }
        if verb == Verb::Reload {
            refuse_two_copies(&meant)?;
        }
        let mut instances = Vec::new();
        for meant in &meant {
            let goal = self.set_goal(meant, verb, command).await?;
            instances.extend(self.acted(meant, &goal));
        }
        Ok(Acted { instances })
    }

    /// Begins the removal of programs: their instances are stopped, then all of them is deleted.
    pub(super) async fn remove(&self, act: Act) -> Result<Acted, Refusal> {
        let command = id(&act.envelope);
        let meant = self.named(&act).await?;
        if let Some(Meant { program, index: Some(index) }) =
            meant.iter().find(|m| m.index.is_some())
        {
            let name = &program.name;
            let text =
                format!("{name}:{index} cannot be removed alone: lower numprocs, or remove {name}");
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        let mut instances = Vec::new();
        for meant in meant {
            self.begin_removal(&meant, command).await?;
            let goal = Goal { run: false, stamp: u64::MAX, ..Goal::default() };
            instances.extend(self.acted(&meant, &goal));
        }
        Ok(Acted { instances })
    }

    async fn named(&self, act: &Act) -> Result<Vec<Meant>, Refusal> {
        if act.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say what, or \"all\""));
        }
        self.resolve(&act.names).await
    }

    /// Changes the goal of a program or an instance by compare-and-set. The guard covers every
    /// goal of the program, and its sequence is the stamp: so the latest command always overrules.
    pub(super) async fn set_goal(
        &self,
        meant: &Meant,
        verb: Verb,
        command: Uuid,
    ) -> Result<Goal, Refusal> {
        let key = goal_key(&meant.program.name, meant.index);
        let pattern = format!("{}.*", meant.program.name);
        for _ in 0..RACES_MAX {
            // The guard is read first: what is written after it makes the write fail.
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let last = last.map_or(0, |entry| entry.seq);
            let entry = self.bus.get(Bucket::Goals, &key).await.map_err(unavailable)?;
            let stored: Option<Goal> =
                entry.map(|e| e.json()).transpose().map_err(unavailable)?.flatten();
            let goal = stored.unwrap_or_default();
            if goal.commands.has_acted(command) {
                return Ok(goal);
            }
            let goal = changed(goal, verb, last + 1, command);
            let write = Write::put(key.clone(), &goal).map_err(unavailable)?.guard(&pattern, last);
            match self.bus.write(Bucket::Goals, write).await {
                Ok(_) => return Ok(goal),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        let text = format!("{} is being changed by too many at once", meant.program.name);
        Err(Refusal::new(code::CONFLICT, text))
    }

    async fn begin_removal(&self, meant: &Meant, command: Uuid) -> Result<(), Refusal> {
        for _ in 0..RACES_MAX {
            let (Some(mut program), seq) = self.program(&meant.program.name).await? else {
                return Ok(());
            };
            if program.removing || program.id != meant.program.id {
                return Ok(());
            }
            program.removing = true;
            program.commands.remember(command, Verb::Remove.name());
            let write =
                Write::put(program.name.as_str(), &program).map_err(unavailable)?.expect(seq);
            match self.bus.write(Bucket::Programs, write).await {
                Ok(_) => return Ok(()),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        let text = format!("{} is being changed by too many at once", meant.program.name);
        Err(Refusal::new(code::CONFLICT, text))
    }

    /// What is wanted of each instance now that `goal` is written.
    fn acted(&self, meant: &Meant, goal: &Goal) -> Vec<ActedInstance> {
        let core = self.shared.lock();
        let known = core.view.goals.get(&meant.program.name);
        meant
            .instances()
            .into_iter()
            .map(|name| {
                let one = known.and_then(|goals| goals.each.get(&name.index));
                let (all, one) = match meant.index {
                    None => (Some(goal), one),
                    Some(_) => (known.and_then(|goals| goals.all.as_ref()), Some(goal)),
                };
                let wanted = dsbus_schema::goal::wanted(all, one, meant.program.spec.autostart);
                ActedInstance { name, id: meant.program.id, wanted }
            })
            .collect()
    }
}

/// A reload without a signal runs two children for a moment, which an exclusive instance never has.
fn refuse_two_copies(meant: &[Meant]) -> Result<(), Refusal> {
    let two = |m: &&Meant| m.program.spec.exclusive && m.program.spec.reload_signal.is_none();
    let Some(Meant { program, .. }) = meant.iter().find(two) else { return Ok(()) };
    let name = &program.name;
    let text = format!(
        "{name} is exclusive, and a reload would run two copies of it for a moment: \
         set reload_signal, or restart {name}"
    );
    Err(Refusal::new(code::CONFLICT, text))
}

/// The goal after a command. Pure; the simulation's commands write it, too.
pub fn changed(mut goal: Goal, verb: Verb, stamp: u64, command: Uuid) -> Goal {
    goal.commands.remember(command, verb.name());
    match verb {
        // It says nothing of whether the instance is to run.
        Verb::Reload => {
            goal.reloads += 1;
            return goal;
        }
        Verb::Start => {
            goal.run = true;
            goal.starts += 1;
        }
        Verb::Restart => {
            goal.run = true;
            goal.restarts += 1;
        }
        _ => goal.run = false,
    }
    goal.stamp = stamp;
    goal
}
