//! `apply` and `create`: they write programs.

use std::collections::BTreeMap;

use dsbus_client::{Error, Refusal, Write};
use dsbus_planner::rows;
use dsbus_schema::command::{
    APPLY_PROGRAMS_MAX, Applied, AppliedProgram, Apply, Change, Create, Verb, code,
};
use dsbus_schema::goal::Commands;
use dsbus_schema::ids::{ProgramId, ProgramName, WorkerName};
use dsbus_schema::program::{Problem, Program, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::storage::Bucket;
use uuid::Uuid;

use super::{Commander, Meant, RACES_MAX, capable, id, nearest, unavailable};

impl Commander {
    /// Declares programs: all in one atomic batch, or none.
    pub(super) async fn apply(&self, apply: Apply) -> Result<Applied, Refusal> {
        let command = id(&apply.envelope);
        if apply.programs.len() > APPLY_PROGRAMS_MAX {
            let text =
                format!("{} programs at once; at most {APPLY_PROGRAMS_MAX}", apply.programs.len());
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        let specs = read_all(&apply)?;
        self.hear_of_workers(specs.values()).await?;
        for _ in 0..RACES_MAX {
            let mut writes = Vec::new();
            let mut programs = Vec::new();
            let mut problems = Vec::new();
            for (name, spec) in &specs {
                let (stored, seq) = self.program(name).await?;
                let acted = stored.as_ref().is_some_and(|p| p.commands.has_acted(command));
                let (program, change) = declared(name, spec, stored, command)?;
                if change != Change::Unchanged && !acted {
                    problems.extend(self.impossible(name, spec));
                    let put = Write::put(name.as_str(), &program).map_err(unavailable)?;
                    writes.push(put.expect(seq));
                }
                programs.push(self.applied(&program, change));
            }
            if !problems.is_empty() {
                return Err(refused(problems));
            }
            if writes.is_empty() {
                return Ok(Applied { programs });
            }
            match self.bus.batch(Bucket::Programs, writes).await {
                Ok(_) => return Ok(Applied { programs }),
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(Refusal::new(code::CONFLICT, "these programs are being changed by too many at once"))
    }

    /// Declares one program that does not exist, or is stopped.
    pub(super) async fn create(&self, create: Create) -> Result<Applied, Refusal> {
        let command = id(&create.envelope);
        let spec =
            ProgramSpec::read(&create.program).map_err(|problems| wrong(&create.name, problems))?;
        self.hear_of_workers([&spec]).await?;
        for _ in 0..RACES_MAX {
            let (stored, seq) = self.program(&create.name).await?;
            if let Some(program) = &stored {
                if program.commands.has_acted(command) {
                    return self.created(program, command).await;
                }
                self.fresh().await?;
                self.refuse_if_live(program)?;
            }
            let problems = self.impossible(&create.name, &spec);
            if !problems.is_empty() {
                return Err(refused(problems));
            }
            let (mut program, _) = declared(&create.name, &spec, stored, command)?;
            if !program.commands.has_acted(command) {
                program.commands.remember(command, Verb::Create.name());
            }
            let write =
                Write::put(create.name.as_str(), &program).map_err(unavailable)?.expect(seq);
            match self.bus.write(Bucket::Programs, write).await {
                Ok(_) => return self.created(&program, command).await,
                Err(Error::LostRace { .. }) => {}
                Err(e) => return Err(unavailable(e)),
            }
        }
        let text = format!("{} is being changed by too many at once", create.name);
        Err(Refusal::new(code::CONFLICT, text))
    }

    /// The program is written. One that replaces a stopped program must be told to start, which a
    /// retry does again if the first try did not get that far.
    async fn created(&self, program: &Program, command: Uuid) -> Result<Applied, Refusal> {
        let replaced = program.revision > 1;
        if replaced && program.spec.autostart && !program.removing {
            let meant = Meant { program: program.clone(), index: None };
            self.set_goal(&meant, Verb::Start, command).await?;
        }
        Ok(Applied { programs: vec![self.applied(program, Change::Created)] })
    }

    fn applied(&self, program: &Program, change: Change) -> AppliedProgram {
        let mut warnings = program.spec.warnings();
        warnings.extend(self.unknown_machines(&program.spec));
        warnings.extend(capable::warnings(&program.spec, &self.shared.lock().view.workers));
        AppliedProgram {
            name: program.name.clone(),
            id: program.id,
            revision: program.revision,
            change,
            numprocs: program.spec.numprocs,
            warnings,
        }
    }

    /// What depends on the workers is judged by those that are there.
    async fn hear_of_workers(
        &self,
        specs: impl IntoIterator<Item = &ProgramSpec>,
    ) -> Result<(), Refusal> {
        let asks = specs.into_iter().any(|spec| spec.exclusive || !spec.needs().is_empty());
        if asks { self.fresh().await } else { Ok(()) }
    }

    /// What a declaration needs, and no worker can do.
    fn impossible(&self, name: &ProgramName, spec: &ProgramSpec) -> Vec<Problem> {
        named(name, capable::problems(spec, &self.shared.lock().view.workers)).collect()
    }

    /// Machines that no worker of this fleet is named after: allowed, since one may come.
    fn unknown_machines(&self, spec: &ProgramSpec) -> Vec<Problem> {
        let core = self.shared.lock();
        let known = &core.view.workers;
        let unknown = spec.machines.iter().filter(|machine| !known.contains_key(*machine));
        unknown
            .map(|machine| {
                let names = known.keys().map(WorkerName::as_str);
                let near = nearest(machine.as_str(), names);
                Problem {
                    key: "machines".to_owned(),
                    message: format!("no worker named {machine} has joined this fleet yet"),
                    hint: near.map(|name| format!("did you mean {name}?")),
                }
            })
            .collect()
    }

    fn refuse_if_live(&self, program: &Program) -> Result<(), Refusal> {
        let core = self.shared.lock();
        let live = program.instances().any(|name| {
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

fn read_all(apply: &Apply) -> Result<BTreeMap<ProgramName, ProgramSpec>, Refusal> {
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

fn wrong(name: &ProgramName, problems: Vec<Problem>) -> Refusal {
    refused(named(name, problems).collect())
}

/// One sentence for whoever reads only that, and all problems for whoever can show them.
fn refused(problems: Vec<Problem>) -> Refusal {
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Refusal { code: code::BAD_REQUEST, text: told.join("; "), problems }
}

/// The record of a program after it is declared as `spec`. The simulation declares by it, too.
///
/// # Errors
/// When it is being removed.
pub fn declared(
    name: &ProgramName,
    spec: &ProgramSpec,
    stored: Option<Program>,
    command: Uuid,
) -> Result<(Program, Change), Refusal> {
    let Some(mut program) = stored else {
        let mut commands = Commands::default();
        commands.remember(command, Verb::Apply.name());
        let program = Program {
            id: ProgramId(Uuid::now_v7()),
            name: name.clone(),
            revision: 1,
            spec: spec.clone(),
            removing: false,
            commands,
        };
        return Ok((program, Change::Created));
    };
    if program.removing {
        let text = format!("{name} is being removed; try again when it is gone");
        return Err(Refusal::new(code::CONFLICT, text));
    }
    if program.commands.has_acted(command) {
        let change = if program.revision == 1 { Change::Created } else { Change::Changed };
        return Ok((program, change));
    }
    if program.spec == *spec {
        return Ok((program, Change::Unchanged));
    }
    program.revision += 1;
    program.spec = spec.clone();
    program.commands.remember(command, Verb::Apply.name());
    Ok((program, Change::Changed))
}
