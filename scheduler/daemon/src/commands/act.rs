//! `start`, `stop`, `restart`, `reload`, `enable`, `disable` and `remove`: they write goals, and
//! nothing but goals.

mod refusal;

use dsbus_client::{Error, Refusal, Write};
use dsbus_schema::command::{Act, Acted, ActedInstance, Verb, code};
use dsbus_schema::goal::{Arguments, Goal, Sender};
use dsbus_schema::ids::{InstanceId, UserName};
use dsbus_schema::state::State;
use dsbus_schema::storage::{Bucket, goal_key};
use uuid::Uuid;

use self::refusal::{refusal, refuse_arguments, refuse_two_copies, starts};
use super::{Commander, Meant, RACES_MAX, id, unavailable};

/// What is to be done to goals, and by which command.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// What to do.
    pub verb: Verb,
    /// Its id.
    pub command: Uuid,
    /// Who sent it.
    pub sender: Option<Sender<'a>>,
    /// A restart goes from instance to instance.
    pub rolling: bool,
    /// Words after those of the command, for this start.
    pub arguments: &'a [String],
}

impl<'a> Order<'a> {
    /// An order without particulars.
    pub fn new(verb: Verb, command: Uuid, sender: Option<Sender<'a>>) -> Order<'a> {
        Order { verb, command, sender, rolling: false, arguments: &[] }
    }
}

/// The goals that decide about what a command means: its program's, and its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisive {
    /// The program's, when the command is about one instance.
    all: Option<Goal>,
    /// That of what is meant.
    own: Option<Goal>,
}

impl Commander {
    /// Starts, stops, restarts, reloads, enables or disables what is named. Each program's goal is
    /// one write; sent again with the same id, those that were written are left alone.
    pub(super) async fn act(&self, verb: Verb, by: &UserName, act: Act) -> Result<Acted, Refusal> {
        let (command, sender) = (id(&act.envelope), Some(self.sender(by)));
        let (rolling, arguments) = (act.rolling, &act.arguments[..]);
        let order = Order { rolling, arguments, ..Order::new(verb, command, sender) };
        if act.rolling && verb != Verb::Restart {
            let text = format!("rolling means something for restart only, not for {}", verb.name());
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        refuse_arguments(order)?;
        let mut meant = self.named(&act).await?;
        self.permit_programs(by, verb, meant.iter().map(|m| &m.program.name))?;
        if let Some(gone) = meant.iter().find(|m| m.program.removing) {
            let text = format!("{} is being removed", gone.program.name);
            return Err(Refusal::new(code::CONFLICT, text));
        }
        if verb == Verb::Reload {
            refuse_two_copies(&meant)?;
        }
        // Refusals come before the first write, so that a refused command has done nothing.
        let mut kept = Vec::new();
        for meant in meant.drain(..) {
            let goals = self.goals(&meant).await?;
            let refused = refusal(&meant, order, &goals);
            match refused.or_else(|| self.already_runs(&meant, order, &goals)) {
                Some(refusal) if meant.named => return Err(refusal),
                // One of all, or of a group, that is disabled is left out.
                Some(_) => {}
                None => kept.push(meant),
            }
        }
        let mut instances = Vec::new();
        for meant in &kept {
            let goals = self.set_goal(meant, order).await?;
            if verb == Verb::Enable && meant.index.is_none() {
                self.enable_each(meant, order).await?;
            }
            instances.extend(self.acted(meant, &goals, order));
        }
        Ok(Acted { instances })
    }

    /// Begins the removal of programs: their instances are stopped, then all of them is deleted.
    pub(super) async fn remove(&self, by: &UserName, act: Act) -> Result<Acted, Refusal> {
        let command = id(&act.envelope);
        let sender = Some(self.sender(by));
        let order = Order::new(Verb::Remove, command, sender);
        let meant = self.named(&act).await?;
        self.permit_programs(by, Verb::Remove, meant.iter().map(|m| &m.program.name))?;
        if let Some(Meant { program, index: Some(index), .. }) =
            meant.iter().find(|m| m.index.is_some())
        {
            let name = &program.name;
            let text =
                format!("{name}:{index} cannot be removed alone: lower numprocs, or remove {name}");
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        let mut instances = Vec::new();
        for meant in meant {
            self.begin_removal(&meant, order).await?;
            let own = Some(Goal { run: false, stamp: u64::MAX, ..Goal::default() });
            instances.extend(self.acted(&meant, &Decisive { all: None, own }, order));
        }
        Ok(Acted { instances })
    }

    async fn named(&self, act: &Act) -> Result<Vec<Meant>, Refusal> {
        if act.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say what, or \"all\""));
        }
        self.resolve(&act.names).await
    }

    /// Whether a program is disabled as a whole.
    pub(super) async fn is_disabled(&self, meant: &Meant) -> Result<bool, Refusal> {
        Ok(self.goals(meant).await?.own.is_some_and(|goal| goal.disabled))
    }

    async fn goals(&self, meant: &Meant) -> Result<Decisive, Refusal> {
        let read = async |index| {
            let key = goal_key(&meant.program.name, index);
            let entry = self.goal_entry(&key).await?;
            entry.map(|e| e.json()).transpose().map(Option::flatten).map_err(unavailable)
        };
        let all = if meant.index.is_some() { read(None).await? } else { None };
        Ok(Decisive { all, own: read(meant.index).await? })
    }

    /// Changes the goal of a program or an instance by compare-and-set. The guard covers every
    /// goal of the program, and its sequence is the stamp: so the latest command always overrules.
    pub(super) async fn set_goal(
        &self,
        meant: &Meant,
        order: Order<'_>,
    ) -> Result<Decisive, Refusal> {
        let key = goal_key(&meant.program.name, meant.index);
        let pattern = format!("{}.*", meant.program.name);
        for _ in 0..RACES_MAX {
            // The guard is read first: what is written after it makes the write fail.
            let last = self.bus.get(Bucket::Goals, &pattern).await.map_err(unavailable)?;
            let last = last.map_or(0, |entry| entry.seq);
            let mut goals = self.goals(meant).await?;
            if let Some(refusal) = refusal(meant, order, &goals) {
                return Err(refusal);
            }
            let goal = goals.own.take().unwrap_or_default();
            if goal.commands.has_acted(order.command)
                || (order.verb == Verb::Enable && !goal.disabled)
            {
                return Ok(Decisive { own: Some(goal), ..goals });
            }
            let above = goals.all.as_ref().map_or(0, Goal::asked);
            let goal = changed(goal, order, last.saturating_add(1), above);
            let write = Write::put(key.clone(), &goal).map_err(unavailable)?.guard(&pattern, last);
            match self.write_goal(write).await {
                Ok(_) => return Ok(Decisive { own: Some(goal), ..goals }),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        let text = format!("{} is being changed by too many at once", meant.program.name);
        Err(Refusal::new(code::CONFLICT, text))
    }

    /// A start changes nothing of what runs, so it cannot give it arguments.
    fn already_runs(&self, meant: &Meant, order: Order<'_>, goals: &Decisive) -> Option<Refusal> {
        let again = goals.own.as_ref().is_some_and(|goal| goal.commands.has_acted(order.command));
        if order.verb != Verb::Start || order.arguments.is_empty() || again {
            return None;
        }
        let core = self.shared.lock();
        let rows = meant.instances(&core.view).into_iter();
        let mut rows = rows.filter_map(|name| dsbus_planner::rows::instance(&core.view, &name));
        // One that waits for its next try may begin it at any moment.
        let row = rows.find(|row| row.state.may_have_child() || row.state == State::Backoff)?;
        let text = format!(
            "{0} is {1}, and keeps the arguments that it has: dsbus restart {0} -- ... gives it others",
            row.name, row.state
        );
        Some(Refusal::new(code::CONFLICT, text))
    }

    /// Enables those instances of a program that are disabled by themselves.
    async fn enable_each(&self, meant: &Meant, order: Order<'_>) -> Result<(), Refusal> {
        let disabled: Vec<u32> = {
            let core = self.shared.lock();
            let goals = core.view.goals(&meant.program.name);
            let each = goals.into_iter().flat_map(|goals| &goals.each);
            each.filter(|(_, goal)| goal.disabled).map(|(index, _)| *index).collect()
        };
        for index in disabled {
            self.set_goal(&Meant { index: Some(index), ..meant.clone() }, order).await?;
        }
        Ok(())
    }

    async fn begin_removal(&self, meant: &Meant, order: Order<'_>) -> Result<(), Refusal> {
        for _ in 0..RACES_MAX {
            let (Some(mut program), seq) = self.program(&meant.program.name).await? else {
                return Ok(());
            };
            if program.removing || program.id != meant.program.id {
                return Ok(());
            }
            program.removing = true;
            program.commands.remember(order.command, order.verb.name(), order.sender);
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

    /// What is wanted of each instance now that its goals are written. Those that a start leaves
    /// out are not among them.
    fn acted(&self, meant: &Meant, goals: &Decisive, order: Order<'_>) -> Vec<ActedInstance> {
        let core = self.shared.lock();
        let (id, autostart) = (meant.program.id, meant.program.spec.autostart);
        let wanted = |name: InstanceId| {
            let (all, one) = match meant.index {
                None => (goals.own.as_ref(), core.view.goal(&name)),
                Some(_) => (goals.all.as_ref(), goals.own.as_ref()),
            };
            let left_out = starts(order.verb) && one.is_some_and(|goal| goal.disabled);
            let wanted = dsbus_schema::goal::wanted(all, one, autostart);
            (!left_out).then_some(ActedInstance { name, id, wanted })
        };
        meant.instances(&core.view).into_iter().filter_map(wanted).collect()
    }
}

/// The goal after a command; of an instance's, `above` is how many starts and restarts its program's
/// goal has asked for. Pure; the simulation's commands write it, too.
pub fn changed(mut goal: Goal, order: Order<'_>, stamp: u64, above: u64) -> Goal {
    goal.commands.remember(order.command, order.verb.name(), order.sender);
    match order.verb {
        // These say nothing of whether the instance is to run.
        Verb::Reload => {
            goal.reloads = goal.reloads.saturating_add(1);
            return goal;
        }
        Verb::Enable => {
            goal.disabled = false;
            return goal;
        }
        Verb::Start => {
            goal.run = true;
            goal.starts = goal.starts.saturating_add(1);
        }
        Verb::Restart => {
            goal.run = true;
            goal.restarts = goal.restarts.saturating_add(1);
            goal.rolling = order.rolling;
        }
        Verb::Disable => {
            goal.run = false;
            goal.disabled = true;
        }
        _ => goal.run = false,
    }
    goal.stamp = stamp;
    let (words, of) = (order.arguments.to_vec(), goal.asked().saturating_add(above));
    goal.arguments = (!words.is_empty()).then_some(Arguments { words, of });
    goal
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::command::ARGUMENTS_BYTES_MAX;
    use dsbus_schema::ids::{ProgramId, ProgramName};
    use dsbus_schema::program::{Program, ProgramSpec};

    fn meant(index: Option<u32>) -> Meant {
        let name = ProgramName::parse("web").unwrap();
        let program = Program::new(ProgramId(Uuid::nil()), name, ProgramSpec::default());
        Meant { index, ..Meant::whole(program) }
    }

    fn order(verb: Verb, rolling: bool) -> Order<'static> {
        Order { rolling, ..Order::new(verb, Uuid::from_u128(7), None) }
    }

    #[test]
    fn commands_change_a_goal() {
        let goal = |verb| changed(Goal::default(), order(verb, false), 5, 0);
        for (verb, run, stamp) in [
            (Verb::Start, true, 5),
            (Verb::Restart, true, 5),
            (Verb::Stop, false, 5),
            (Verb::Disable, false, 5),
            (Verb::Reload, false, 0),
            (Verb::Enable, false, 0),
        ] {
            assert_eq!((goal(verb).run, goal(verb).stamp), (run, stamp), "{verb:?}");
        }
        let rolling = changed(Goal::default(), order(Verb::Restart, true), 5, 0);
        assert!(rolling.rolling);
        assert!(!changed(rolling.clone(), order(Verb::Restart, false), 6, 0).rolling);
        assert!(changed(rolling, order(Verb::Start, false), 6, 0).rolling, "it goes on");
        let disabled = goal(Verb::Disable);
        assert!(disabled.disabled);
        let enabled = changed(disabled, order(Verb::Enable, false), 6, 0);
        assert!(!enabled.disabled && !enabled.run);
    }

    #[test]
    fn a_goal_that_somebody_made_up_overflows_nothing() {
        let most =
            Goal { starts: u64::MAX, restarts: u64::MAX, reloads: u64::MAX, ..Goal::default() };
        for verb in [Verb::Start, Verb::Restart, Verb::Reload] {
            let goal = changed(most.clone(), order(verb, false), u64::MAX, u64::MAX);
            assert_eq!((goal.starts, goal.restarts, goal.reloads), (u64::MAX, u64::MAX, u64::MAX));
        }
    }

    #[test]
    fn arguments_are_of_one_start() {
        let words = ["--port".to_owned(), "1".to_owned()];
        let with = |verb| Order { arguments: &words, ..order(verb, false) };
        let goal = changed(Goal::default(), with(Verb::Start), 5, 3);
        let given = goal.arguments.clone().unwrap();
        assert_eq!(
            (given.words.as_slice(), given.of),
            (&words[..], 4),
            "3 of the program, and this"
        );
        for verb in [Verb::Start, Verb::Restart, Verb::Stop, Verb::Disable] {
            assert_eq!(changed(goal.clone(), order(verb, false), 6, 3).arguments, None, "{verb:?}");
        }
        let reloaded = changed(goal.clone(), order(Verb::Reload, false), 6, 3);
        assert_eq!(reloaded.arguments, goal.arguments, "the new child has them as well");
        for (verb, words, why) in [
            (Verb::Stop, vec!["x".to_owned()], "for start and restart only"),
            (Verb::Start, vec!["x".repeat(ARGUMENTS_BYTES_MAX)], "a start takes 16384"),
            (Verb::Restart, vec!["a\0b".to_owned()], "NUL"),
        ] {
            let said = refuse_arguments(Order { arguments: &words, ..order(verb, false) });
            let said = said.unwrap_err().text;
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn what_is_disabled_is_not_started() {
        let off = || Some(Goal { disabled: true, ..Goal::default() });
        let said = |index, verb, all, own| {
            refusal(&meant(index), order(verb, false), &Decisive { all, own }).map(|r| r.text)
        };
        let whole = "web is disabled: dsbus enable web lets it be started again";
        assert_eq!(said(None, Verb::Start, None, off()).as_deref(), Some(whole));
        assert_eq!(said(Some(1), Verb::Restart, off(), None).as_deref(), Some(whole));
        let one = said(Some(1), Verb::Start, None, off()).unwrap();
        assert!(one.starts_with("web:1 is disabled: dsbus enable web:1"), "{one}");
        assert_eq!(said(Some(1), Verb::Enable, off(), off()).as_deref(), Some(whole));
        for verb in [Verb::Stop, Verb::Reload, Verb::Enable, Verb::Disable] {
            assert_eq!(said(None, verb, None, off()), None, "{verb:?}");
        }
        let mut acted = Goal { disabled: true, ..Goal::default() };
        acted.commands.remember(Uuid::from_u128(7), "start", None);
        assert_eq!(said(None, Verb::Start, None, Some(acted)), None, "it was, before");
    }
}
