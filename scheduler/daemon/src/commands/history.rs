//! `history`: what was declared before.

use dsbus_client::Refusal;
use dsbus_schema::command::{ANSWER_BYTES_MAX, Ask, RevisionRow, code};
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::storage::Bucket;

use super::ask::is_after;
use super::revise::changed_keys;
use super::{Commander, unavailable};

impl Commander {
    /// Revisions of programs, oldest first; of as many programs as an answer holds.
    pub(super) async fn history(&self, ask: &Ask) -> Result<Vec<RevisionRow>, Refusal> {
        if ask.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say the history of what"));
        }
        let mut names: Vec<ProgramName> =
            self.resolve(&ask.names).await?.into_iter().map(|m| m.program.name).collect();
        names.dedup();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for name in names.iter().filter(|name| is_after(name, ask)) {
            let more = revisions(&self.kept(name).await?);
            bytes += serde_json::to_vec(&more).map_or(0, |more| more.len());
            // An answer has all revisions of a program, or none.
            if bytes > ANSWER_BYTES_MAX && !rows.is_empty() {
                break;
            }
            rows.extend(more);
        }
        Ok(rows)
    }

    /// Every kept record of a program since it was declared for the first time, oldest first.
    pub(super) async fn kept(&self, name: &ProgramName) -> Result<Vec<Program>, Refusal> {
        let entries =
            self.bus.history(Bucket::Programs, name.as_str()).await.map_err(unavailable)?;
        let mut kept = Vec::new();
        for entry in entries {
            let program = match entry.json::<Program>() {
                Ok(Some(program)) => program,
                Ok(None) => {
                    // It was removed; what came after has nothing to do with it.
                    kept.clear();
                    continue;
                }
                Err(e) => {
                    tracing::warn!("left out of the history of {name}: {e}");
                    continue;
                }
            };
            // Older versions did not say when.
            let changed = program.changed.or(Some(entry.time));
            kept.push(Program { changed, ..program });
        }
        Ok(kept)
    }

    /// The declaration to go back to, and its revision.
    pub(super) async fn earlier(
        &self,
        now: &Program,
        to: Option<u64>,
    ) -> Result<(u64, ProgramSpec), Refusal> {
        let kept = if to.is_none() && now.rollout.is_some() {
            Vec::new()
        } else {
            self.kept(&now.name).await?
        };
        chosen(now, &kept, to).map_err(|why| Refusal::new(code::CONFLICT, why))
    }
}

/// Which revision is gone back to. While a rollout is under way: to what ran before it.
fn chosen(now: &Program, kept: &[Program], to: Option<u64>) -> Result<(u64, ProgramSpec), String> {
    let name = &now.name;
    let Some(to) = to else {
        if let Some(rollout) = &now.rollout
            && rollout.stable.spec != now.spec
        {
            return Ok((rollout.stable.revision, rollout.stable.spec.clone()));
        }
        let older = |p: &&Program| p.revision < now.revision && p.spec != now.spec;
        let before = kept.iter().rev().find(older);
        return before.map(|p| (p.revision, p.spec.clone())).ok_or_else(|| {
            format!("there is nothing to go back to: {name} has no other revision than this one")
        });
    };
    let Some(found) = kept.iter().find(|p| p.revision == to) else {
        let oldest = kept.first().map_or(now.revision, |p| p.revision);
        return Err(format!(
            "{name} has no revision {to}: there are {oldest} to {}; dsbus history {name} shows them",
            now.revision
        ));
    };
    if found.spec == now.spec {
        return Err(format!("{name} is as in revision {to} already"));
    }
    Ok((to, found.spec.clone()))
}

/// A row for each revision; of several records of one, the first tells of it.
fn revisions(kept: &[Program]) -> Vec<RevisionRow> {
    let mut rows: Vec<RevisionRow> = Vec::new();
    let mut before: Option<&Program> = None;
    for program in kept {
        if before.is_some_and(|before| before.revision == program.revision) {
            continue;
        }
        let changed = before.map(|before| changed_keys(&before.spec, &program.spec));
        rows.extend(program.changed.map(|at| RevisionRow {
            program: program.name.clone(),
            id: program.id,
            revision: program.revision,
            at,
            by: program.by.clone(),
            reason: program.reason.clone(),
            changed: changed.unwrap_or_default(),
            current: false,
        }));
        before = Some(program);
    }
    if let Some(last) = rows.last_mut() {
        last.current = true;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::ids::ProgramId;
    use dsbus_schema::moment::Timestamp;
    use dsbus_schema::rollout::{Rollout, RolloutState, Stable};
    use serde_json::json;

    fn program(revision: u64, command: &str) -> Program {
        let keys = json!({ "command": command });
        let spec = ProgramSpec::read(keys.as_object().unwrap()).unwrap();
        let name = ProgramName::parse("web").unwrap();
        let changed = Some(Timestamp::from_unix_nanos(i128::from(revision)));
        Program { revision, changed, ..Program::new(ProgramId(uuid::Uuid::nil()), name, spec) }
    }

    #[test]
    fn a_row_for_each_revision() {
        let paused = Program { reason: Some("later".to_owned()), ..program(2, "b") };
        let rows = revisions(&[program(1, "a"), program(2, "b"), paused, program(3, "c")]);
        let told: Vec<_> =
            rows.iter().map(|r| (r.revision, r.changed.join(","), r.current)).collect();
        assert_eq!(
            told,
            [
                (1, String::new(), false),
                (2, "command".to_owned(), false),
                (3, "command".to_owned(), true)
            ]
        );
        assert_eq!(rows[1].reason, None, "the first record of a revision tells of it");
        assert_eq!(revisions(&[]), []);
    }

    #[test]
    fn what_an_undo_goes_back_to() {
        let kept = [program(2, "a"), program(3, "b"), program(4, "a"), program(5, "a")];
        let to = |now: &Program, to| chosen(now, &kept, to).map(|(revision, _)| revision);
        assert_eq!(to(&kept[3], None), Ok(3), "the last one that was different");
        assert_eq!(to(&kept[3], Some(3)), Ok(3));
        assert!(to(&kept[3], Some(2)).unwrap_err().contains("is as in revision 2 already"));
        let said = to(&kept[3], Some(1)).unwrap_err();
        assert!(said.contains("no revision 1: there are 2 to 5"), "{said}");
        let alone = [program(1, "a")];
        let said = chosen(&alone[0], &alone, None).unwrap_err();
        assert!(said.contains("nothing to go back to"), "{said}");

        let mut rolling = program(9, "c");
        rolling.rollout = Some(Box::new(Rollout {
            stable: Stable { revision: 7, spec: program(7, "z").spec },
            state: RolloutState::Rolling,
            promoted: true,
            reverts: None,
            reason: None,
            since: Timestamp::from_unix_nanos(0),
        }));
        assert_eq!(to(&rolling, None), Ok(7), "what ran before the rollout");
    }
}
