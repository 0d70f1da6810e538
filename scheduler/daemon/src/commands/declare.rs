//! `apply`, `create` and `scale`: they write programs.

use std::collections::BTreeMap;

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::preview::preview;
use dsbus_planner::{View, rows};
use dsbus_schema::command::{
    APPLY_PROGRAMS_MAX, Applied, AppliedProgram, Apply, Change, Create, Scale, Verb, code,
};
use dsbus_schema::goal::Sender;
use dsbus_schema::ids::{InstanceId, ProgramName, UserName};
use dsbus_schema::program::{Problem, Program, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::storage::Bucket;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::act::Order;
use super::revise::{self, Author, Revised, revised};
use super::{Commander, Meant, RACES_MAX, capable, id, nearest, order, unavailable};
use crate::clock;

/// Most keys that mean nothing which are told of one program: an answer is one message.
const STRANGE_MAX: usize = 16;
/// What is said of each.
const STRANGE: &str = "is ignored: this scheduler knows no such key";

/// What a program is to be declared as.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// As this.
    Spec(Box<ProgramSpec>),
    /// As it is, with so many copies.
    Copies(u32),
    /// As it was under an earlier revision; the one before when not given.
    Earlier(Option<u64>),
}

impl Commander {
    /// Declares programs: all in one atomic batch, or none.
    pub(super) async fn apply(&self, by: &UserName, apply: Apply) -> Result<Applied, Refusal> {
        self.permit_programs(by, Verb::Apply, apply.programs.keys())?;
        let specs = read_all(&apply)?;
        let wishes =
            specs.into_iter().map(|(name, spec)| (name, Wish::Spec(Box::new(spec)))).collect();
        let author = author(id(&apply.envelope), Verb::Apply, self.sender(by));
        let mut applied = self.declare(&author, &wishes, apply.dry_run).await?;
        for program in &mut applied.programs {
            program
                .warnings
                .extend(apply.programs.get(&program.name).map_or_else(Vec::new, strange));
        }
        Ok(applied)
    }

    /// Changes how many copies programs have: all in one atomic batch, or none.
    pub(super) async fn scale(&self, by: &UserName, scale: Scale) -> Result<Applied, Refusal> {
        if scale.programs.is_empty() {
            let text = "programs is empty: say which, and how many copies each is to have";
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        self.permit_programs(by, Verb::Scale, scale.programs.keys())?;
        let author = author(id(&scale.envelope), Verb::Scale, self.sender(by));
        let wishes = scale.programs.into_iter().map(|(name, n)| (name, Wish::Copies(n))).collect();
        self.declare(&author, &wishes, false).await
    }

    /// Declares programs as it is wished, or, for a dry run, says what that would do.
    pub(super) async fn declare(
        &self,
        author: &Author<'_>,
        wishes: &BTreeMap<ProgramName, Wish>,
        dry_run: bool,
    ) -> Result<Applied, Refusal> {
        if wishes.len() > APPLY_PROGRAMS_MAX {
            let text = format!("{} programs at once; at most {APPLY_PROGRAMS_MAX}", wishes.len());
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        // What depends on workers and on other programs is judged by those that are there.
        self.fresh().await?;
        for _ in 0..RACES_MAX {
            let mut writes = Vec::new();
            let (mut new, mut all) = (Vec::new(), Vec::new());
            for (name, wish) in wishes {
                let (stored, seq) = self.program(name).await?;
                if let Some(program) = &stored
                    && program.commands.has_acted(author.command)
                {
                    all.push(self.answered(program, author.command).await?);
                    continue;
                }
                if stored.is_none() && author.verb != Verb::Recover.name() {
                    self.refuse_adrift(name)?;
                }
                let (spec, reason) = self.wished(name, wish, stored.as_ref()).await?;
                let revised = revised(name, stored, &spec, author, reason);
                if revised.change != Change::Unchanged {
                    let put = Write::put(name.as_str(), &revised.program).map_err(unavailable)?;
                    writes.push(put.expect(seq));
                    new.push(revised.clone());
                }
                all.push(revised);
            }
            self.refuse_impossible(&new)?;
            if dry_run {
                let programs: Vec<Program> = new.into_iter().map(|r| r.program).collect();
                let steps = preview(&self.shared.lock().view, &programs, clock::both());
                return Ok(self.told(&all, steps));
            }
            if writes.is_empty() {
                return Ok(self.told(&all, Vec::new()));
            }
            match self.bus.batch(Bucket::Programs, writes).await {
                Ok(_) => return Ok(self.told(&all, Vec::new())),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, "these programs are being changed by too many at once"))
    }

    /// What a wish means for the program as it is stored, and why it is so declared.
    async fn wished(
        &self,
        name: &ProgramName,
        wish: &Wish,
        stored: Option<&Program>,
    ) -> Result<(ProgramSpec, Option<String>), Refusal> {
        if stored.is_some_and(|program| program.removing) {
            return Err(being_removed(name));
        }
        let stored = match (wish, stored) {
            (Wish::Spec(spec), _) => return Ok((spec.as_ref().clone(), None)),
            (_, None) => return Err(self.unknown(name.as_str())),
            (_, Some(program)) => program,
        };
        match wish {
            Wish::Copies(n) => {
                let spec = ProgramSpec { numprocs: *n, ..stored.spec.clone() };
                if spec.system {
                    let text = format!(
                        "{name} runs one copy on each worker (system = true), and has no number of copies"
                    );
                    return Err(Refusal::new(code::CONFLICT, text));
                }
                let problems = spec.problems();
                if problems.is_empty() {
                    Ok((spec, Some(format!("scaled to {n}"))))
                } else {
                    Err(wrong(name, problems))
                }
            }
            Wish::Earlier(to) => {
                let (revision, spec) = self.earlier(stored, *to).await?;
                Ok((spec, Some(format!("undo to revision {revision}"))))
            }
            Wish::Spec(spec) => Ok((spec.as_ref().clone(), None)),
        }
    }

    /// What the command answered when it acted on this program.
    async fn answered(&self, program: &Program, command: Uuid) -> Result<Revised, Refusal> {
        let kept = self.kept(&program.name).await?;
        let acted = |p: &Program| p.id == program.id && p.commands.has_acted(command);
        let Some(at) = kept.iter().position(acted) else {
            // It is so long ago that nobody remembers what was before.
            let (change, changed) = (Change::Changed, Vec::new());
            return Ok(Revised { program: program.clone(), change, changed, rolls: false });
        };
        let after = kept[at].clone();
        let before = at.checked_sub(1).and_then(|n| kept.get(n)).filter(|p| p.id == program.id);
        Ok(match before {
            None if after.revision == 1 => {
                let (change, changed) = (Change::Created, Vec::new());
                Revised { program: after, change, changed, rolls: false }
            }
            None => Revised {
                program: after,
                change: Change::Changed,
                changed: Vec::new(),
                rolls: false,
            },
            Some(before) => Revised {
                change: Change::Changed,
                changed: revise::changed_keys(&before.spec, &after.spec),
                rolls: revise::rolls(&before.spec, &after.spec),
                program: after,
            },
        })
    }

    /// Refuses what the fleet cannot do, and what does not fit the other programs.
    fn refuse_impossible(&self, new: &[Revised]) -> Result<(), Refusal> {
        let core = self.shared.lock();
        let mut problems = Vec::new();
        for Program { name, spec, .. } in new.iter().map(|revised| &revised.program) {
            problems.extend(named(name, capable::problems(spec, &core.view)));
        }
        let all = specs(core.view.programs(), new);
        let applied: Vec<&ProgramName> = new.iter().map(|r| &r.program.name).collect();
        for (name, problem) in order::problems(&all, &applied) {
            problems.extend(named(name, vec![problem]));
        }
        if problems.is_empty() { Ok(()) } else { Err(refused(problems)) }
    }

    /// Declares one program that does not exist, or is stopped.
    pub(super) async fn create(&self, by: &UserName, create: Create) -> Result<Applied, Refusal> {
        let mut applied = self.declare_new(by, &create).await?;
        applied.programs.iter_mut().for_each(|p| p.warnings.extend(strange(&create.program)));
        Ok(applied)
    }

    async fn declare_new(&self, by: &UserName, create: &Create) -> Result<Applied, Refusal> {
        let author = author(id(&create.envelope), Verb::Create, self.sender(by));
        let name = &create.name;
        self.permit_programs(by, Verb::Create, [name])?;
        let spec = ProgramSpec::read(&create.program).map_err(|problems| wrong(name, problems))?;
        self.fresh().await?;
        for _ in 0..RACES_MAX {
            let (stored, seq) = self.program(name).await?;
            if let Some(program) = &stored {
                if program.commands.has_acted(author.command) {
                    return self.created(program, author.command).await;
                }
                self.fresh().await?;
                self.refuse_if_live(program)?;
                if self.is_disabled(&Meant::whole(program.clone())).await? {
                    let text = format!(
                        "{name} exists and is disabled: dsbus enable {name}, or remove it first"
                    );
                    return Err(Refusal::new(code::CONFLICT, text));
                }
                if program.removing {
                    return Err(being_removed(name));
                }
            }
            let mut program = revised(name, stored, &spec, &author, None).program;
            // Nothing of it runs that could be changed step by step.
            program.rollout = None;
            if !program.commands.has_acted(author.command) {
                program.commands.remember(author.command, author.verb, Some(author.sender));
            }
            let new =
                Revised { program, change: Change::Created, changed: Vec::new(), rolls: false };
            self.refuse_impossible(std::slice::from_ref(&new))?;
            let write = Write::put(name.as_str(), &new.program).map_err(unavailable)?.expect(seq);
            match self.bus.write(Bucket::Programs, write).await {
                Ok(_) => return self.created(&new.program, author.command).await,
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        let text = format!("{name} is being changed by too many at once");
        Err(Refusal::new(code::CONFLICT, text))
    }

    /// The program is written. One that replaces a stopped program must be told to start, which a
    /// retry does again if the first try did not get that far.
    async fn created(&self, program: &Program, command: Uuid) -> Result<Applied, Refusal> {
        let replaced = program.revision > 1;
        if replaced && program.spec.autostart && !program.removing {
            let sender = program.by.as_ref().map(|by| self.sender(by));
            let order = Order::new(Verb::Start, command, sender);
            self.set_goal(&Meant::whole(program.clone()), order).await?;
        }
        let new = Revised {
            program: program.clone(),
            change: Change::Created,
            changed: Vec::new(),
            rolls: false,
        };
        Ok(self.told(&[new], Vec::new()))
    }

    /// The answer.
    fn told(&self, all: &[Revised], steps: Vec<String>) -> Applied {
        let core = self.shared.lock();
        let specs = specs(core.view.programs(), all);
        let programs = all.iter().map(|Revised { program, change, changed, rolls }| {
            let mut warnings = program.spec.warnings();
            warnings.extend(unknown_machines(&program.spec, &core.view));
            warnings.extend(capable::warnings(&program.spec, &core.view));
            warnings.extend(order::warnings(&specs, &program.spec));
            AppliedProgram {
                name: program.name.clone(),
                id: program.id,
                revision: program.revision,
                change: *change,
                numprocs: program.spec.numprocs,
                warnings,
                changed: changed.clone(),
                rolls: *rolls,
            }
        });
        Applied { programs: programs.collect(), steps }
    }

    fn refuse_if_live(&self, program: &Program) -> Result<(), Refusal> {
        let core = self.shared.lock();
        let mut names = core.view.declared(program).into_iter();
        let live = names.any(|index| {
            let name = InstanceId::new(program.name.clone(), index);
            rows::instance(&core.view, &name).is_some_and(|row| {
                row.wanted.run || row.state.may_have_child() || row.state == State::Backoff
            })
        });
        if live {
            let (name, id) = (&program.name, program.id);
            let text = format!(
                "{name} exists and is live (id {id}): stop or remove it first, or apply a file to change it"
            );
            return Err(Refusal::new(code::CONFLICT, text));
        }
        Ok(())
    }
}

pub(super) fn author(command: Uuid, verb: Verb, sender: Sender<'_>) -> Author<'_> {
    Author { command, verb: verb.name(), sender, at: clock::wall() }
}

fn being_removed(name: &ProgramName) -> Refusal {
    let text = format!("{name} is being removed; try again when it is gone");
    Refusal::new(code::CONFLICT, text)
}

/// What is stored, and over it what is declared now.
fn specs<'a>(stored: impl Iterator<Item = &'a Program>, new: &'a [Revised]) -> order::Specs<'a> {
    let stored = stored.filter(|program| !program.removing);
    let new = new.iter().map(|revised| &revised.program);
    stored.chain(new).map(|program| (&program.name, &program.spec)).collect()
}

/// Machines that no worker of this fleet is named after: allowed, since one may come.
fn unknown_machines(spec: &ProgramSpec, view: &View) -> Vec<Problem> {
    let unknown = spec.machines.iter().filter(|machine| view.worker(machine).is_none());
    unknown
        .map(|machine| {
            let names = view.workers().map(|worker| worker.name.as_str());
            let near = nearest(machine.as_str(), names);
            Problem {
                key: "machines".to_owned(),
                message: format!("no worker named {machine} has joined this fleet yet"),
                hint: near.map(|name| format!("did you mean {name}?")),
            }
        })
        .collect()
}

/// Keys that mean nothing here. They are no mistake on the bus, where a newer client may know more keys
/// than this scheduler; but whoever mistyped one should hear of it.
fn strange(keys: &Map<String, Value>) -> Vec<Problem> {
    let known = ProgramSpec::keys();
    let mut found = Vec::new();
    for key in keys.keys().filter(|key| !known.contains(key)).take(STRANGE_MAX) {
        let near = nearest(key, known.iter().map(String::as_str));
        let hint = near.map(|near| format!("did you mean {near}?"));
        found.push(Problem { hint, ..Problem::new(key, STRANGE) });
    }
    let inside = ProgramSpec::strange_inside(keys).into_iter().take(STRANGE_MAX);
    found.extend(inside.map(|(key, inside)| Problem::new(&format!("{key}.{inside}"), STRANGE)));
    found
}

pub(super) fn read_all(apply: &Apply) -> Result<BTreeMap<ProgramName, ProgramSpec>, Refusal> {
    let mut specs = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, keys) in &apply.programs {
        match ProgramSpec::read(keys) {
            Ok(spec) => {
                specs.insert(name.clone(), spec);
            }
            Err(found) => problems.extend(named(name, found)),
        }
    }
    if problems.is_empty() { Ok(specs) } else { Err(refused(problems)) }
}

fn named(name: &ProgramName, problems: Vec<Problem>) -> impl Iterator<Item = Problem> + '_ {
    problems.into_iter().map(move |p| Problem { key: format!("program.{name}.{}", p.key), ..p })
}

pub(super) fn wrong(name: &ProgramName, problems: Vec<Problem>) -> Refusal {
    refused(named(name, problems).collect())
}

/// One sentence for whoever reads only that, and all problems for whoever can show them.
fn refused(problems: Vec<Problem>) -> Refusal {
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Refusal { code: code::BAD_REQUEST, text: told.join("; "), problems }
}
