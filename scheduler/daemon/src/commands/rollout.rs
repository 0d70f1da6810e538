//! `rollout`: pause, resume, promote and undo.

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::groups;
use dsbus_schema::command::{RolloutAct, RolloutRow, RolloutStep, Verb, code};
use dsbus_schema::ids::UserName;
use dsbus_schema::program::Program;
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::storage::Bucket;
use uuid::Uuid;

use super::declare::{Wish, author};
use super::revise::Author;
use super::{Commander, Meant, RACES_MAX, id, unavailable};
use crate::clock;

impl Commander {
    /// Steers the rollouts of programs: of all that are named, or of none.
    pub(super) async fn rollout(
        &self,
        by: &UserName,
        act: RolloutAct,
    ) -> Result<Vec<RolloutRow>, Refusal> {
        let author = author(id(&act.envelope), Verb::Rollout, self.sender(by));
        let meant = self.rolling(&act, author.command).await?;
        self.permit_programs(by, Verb::Rollout, meant.iter().map(|m| &m.program.name))?;
        if act.step == RolloutStep::Undo {
            let wish = |meant: &Meant| (meant.program.name.clone(), Wish::Earlier(act.to));
            self.declare(&author, &meant.iter().map(wish).collect(), false).await?;
        } else {
            self.steer(&meant, act.step, &author).await?;
        }
        self.fresh().await?;
        let (core, now) = (self.shared.lock(), clock::both());
        let row = |m: &Meant| groups::rollout(&core.view, &m.program.name, now);
        Ok(meant.iter().filter_map(row).collect())
    }

    /// Which programs are meant; of all, and of groups, those that are being rolled out.
    async fn rolling(&self, act: &RolloutAct, command: Uuid) -> Result<Vec<Meant>, Refusal> {
        if act.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say which programs"));
        }
        if act.to.is_some() && act.step != RolloutStep::Undo {
            return Err(Refusal::new(code::BAD_REQUEST, "a revision is given for undo only"));
        }
        let mut meant = self.resolve(&act.names).await?;
        if let Some(Meant { program, index: Some(index), .. }) =
            meant.iter().find(|m| m.index.is_some())
        {
            let name = &program.name;
            let text = format!("a rollout is of a whole program: name {name}, not {name}:{index}");
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        meant.retain(|m| {
            m.named || m.program.rollout.is_some() || m.program.commands.has_acted(command)
        });
        Ok(meant)
    }

    async fn steer(
        &self,
        meant: &[Meant],
        step: RolloutStep,
        author: &Author<'_>,
    ) -> Result<(), Refusal> {
        for _ in 0..RACES_MAX {
            let mut writes = Vec::new();
            for name in meant.iter().map(|m| &m.program.name) {
                let (Some(mut program), seq) = self.program(name).await? else {
                    return Err(self.unknown(name.as_str()));
                };
                if program.commands.has_acted(author.command) {
                    continue;
                }
                let changes = steered(&mut program, step, author)
                    .map_err(|why| Refusal::new(code::CONFLICT, why))?;
                if !changes {
                    continue;
                }
                program.commands.remember(author.command, author.verb, Some(author.sender));
                let put = Write::put(name.as_str(), &program).map_err(unavailable)?;
                writes.push(put.expect(seq));
            }
            if writes.is_empty() {
                return Ok(());
            }
            match self.bus.batch(Bucket::Programs, writes).await {
                Ok(_) => return Ok(()),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, "these programs are being changed by too many at once"))
    }
}

/// Steers one rollout. Says whether that is news.
fn steered(program: &mut Program, step: RolloutStep, author: &Author<'_>) -> Result<bool, String> {
    let name = &program.name;
    if program.removing {
        return Err(format!("{name} is being removed"));
    }
    let canary = program.spec.update.canary;
    let Some(rollout) = &mut program.rollout else {
        return Err(format!(
            "no rollout of {name} is going on; dsbus history {name} shows what was declared"
        ));
    };
    match (step, rollout.state) {
        (RolloutStep::Pause, RolloutState::Failed) => Err(format!(
            "the rollout of {name} has failed, and changes nothing more; \
             dsbus rollout undo {name} goes back, dsbus rollout resume {name} goes on"
        )),
        (RolloutStep::Pause, RolloutState::Paused)
        | (RolloutStep::Resume, RolloutState::Rolling) => Ok(false),
        (RolloutStep::Pause, RolloutState::Rolling) => {
            rollout.state = RolloutState::Paused;
            rollout.reason = Some(format!("paused by {}", author.sender.by));
            Ok(true)
        }
        (RolloutStep::Resume, RolloutState::Paused | RolloutState::Failed) => {
            rollout.state = RolloutState::Rolling;
            rollout.reason = None;
            Ok(true)
        }
        (RolloutStep::Promote, RolloutState::Failed) => Err(format!(
            "the rollout of {name} has failed: its canaries are not good; \
             dsbus rollout undo {name} goes back, dsbus rollout resume {name} tries on"
        )),
        (RolloutStep::Promote, _) if canary == 0 => {
            Err(format!("there is nothing to promote: {name} has no canaries (update.canary is 0)"))
        }
        (RolloutStep::Promote, _) if rollout.promoted => Ok(false),
        (RolloutStep::Promote, RolloutState::Rolling | RolloutState::Paused) => {
            rollout.promoted = true;
            Ok(true)
        }
        (RolloutStep::Undo, _) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::goal::Sender;
    use dsbus_schema::ids::{ProgramId, ProgramName};
    use dsbus_schema::moment::Timestamp;
    use dsbus_schema::program::ProgramSpec;
    use dsbus_schema::rollout::{Rollout, Stable};

    fn program(state: Option<RolloutState>, canary: u32) -> Program {
        let mut spec = ProgramSpec { numprocs: 3, ..ProgramSpec::default() };
        spec.update.canary = canary;
        let name = ProgramName::parse("web").unwrap();
        let rollout = state.map(|state| {
            Box::new(Rollout {
                stable: Stable { revision: 1, spec: spec.clone() },
                state,
                promoted: canary == 0,
                reverts: None,
                reason: Some("why".to_owned()),
                since: Timestamp::from_unix_nanos(0),
            })
        });
        Program { rollout, ..Program::new(ProgramId(Uuid::nil()), name, spec) }
    }

    #[test]
    fn steps_of_a_rollout() {
        use RolloutState::{Failed, Paused, Rolling};
        let by = UserName::parse("ann").unwrap();
        let author = author(Uuid::nil(), Verb::Rollout, Sender { by: &by, at: 0 });
        let step = |state, canary, step| {
            let mut program = program(state, canary);
            let told = steered(&mut program, step, &author);
            (told, program.rollout)
        };
        for (state, canary, asked, news, then) in [
            (Rolling, 0, RolloutStep::Pause, true, Paused),
            (Paused, 0, RolloutStep::Pause, false, Paused),
            (Paused, 0, RolloutStep::Resume, true, Rolling),
            (Failed, 0, RolloutStep::Resume, true, Rolling),
            (Rolling, 0, RolloutStep::Resume, false, Rolling),
            (Rolling, 1, RolloutStep::Promote, true, Rolling),
            (Paused, 1, RolloutStep::Promote, true, Paused),
        ] {
            let (said, rollout) = step(Some(state), canary, asked);
            assert_eq!(said, Ok(news), "{state:?} {asked:?}");
            let rollout = rollout.unwrap();
            assert_eq!(rollout.state, then, "{state:?} {asked:?}");
            assert_eq!(rollout.promoted, canary == 0 || asked == RolloutStep::Promote);
        }
        assert_eq!(
            step(Some(Rolling), 0, RolloutStep::Pause).1.unwrap().reason.as_deref(),
            Some("paused by ann")
        );
        for (state, canary, asked, why) in [
            (None, 0, RolloutStep::Pause, "no rollout of web"),
            (Some(Rolling), 0, RolloutStep::Promote, "no canaries"),
            (Some(Failed), 1, RolloutStep::Promote, "not good"),
            (Some(Failed), 0, RolloutStep::Pause, "dsbus rollout undo web"),
        ] {
            let said = step(state, canary, asked).0.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
