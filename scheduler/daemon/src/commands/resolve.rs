//! What the names in a command mean.

use dsbus_client::Refusal;
use dsbus_planner::View;
use dsbus_schema::command::code;
use dsbus_schema::ids::{Copies, InstanceId, ProgramName, Target};
use dsbus_schema::program::Program;

use super::Commander;

/// Most names in one command: some times as many as a fleet has programs, and less than a message
/// could hold, each of which may mean all of them.
pub(super) const NAMES_MAX: usize = 10_000;
/// So many repeats are held before they are left out.
const REPEATS_MAX: usize = 10_000;
/// Names that differ by no more than this are suggested.
const SIMILARITY_MIN: f64 = 0.75;

/// A program, or one instance of it, that a command is about.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    pub(super) program: Program,
    pub(super) index: Option<u32>,
    /// It was named itself, and is not only one of all or of a group.
    pub(super) named: bool,
}

impl Meant {
    /// A program that was named.
    pub(super) fn whole(program: Program) -> Meant {
        Meant { program, index: None, named: true }
    }

    /// Its instances; of a program that has one on each worker those that there are.
    pub(super) fn instances(&self, view: &View) -> Vec<InstanceId> {
        let name = |index| InstanceId::new(self.program.name.clone(), index);
        match self.index {
            Some(index) => vec![name(index)],
            None => view.declared(&self.program).into_iter().map(name).collect(),
        }
    }
}

impl Commander {
    /// The instances that the names mean, by program, sorted and without repeats. The name of a
    /// group means its programs.
    pub(super) async fn resolve(&self, names: &[Target]) -> Result<Vec<Meant>, Refusal> {
        if names.len() > NAMES_MAX {
            let text = format!("{} names at once; at most {NAMES_MAX}", names.len());
            return Err(Refusal::new(code::BAD_REQUEST, text));
        }
        self.fresh().await?;
        let (mut meant, mut tidy_at): (Vec<Meant>, usize) = (Vec::new(), REPEATS_MAX);
        for name in names {
            if meant.len() > tidy_at {
                // Many patterns may mean the same.
                meant = sorted(meant);
                tidy_at = meant.len() + REPEATS_MAX;
            }
            match name {
                Target::All => meant.extend(self.those(|_| true)),
                Target::Program(name) => meant.extend(self.program_or_group(name).await?),
                Target::Id(id) => {
                    let mut found = self.those(|program| program.id == *id);
                    let Some(found) = found.pop() else {
                        let text = format!("no program has the id {id}");
                        return Err(Refusal::new(code::NOT_FOUND, text));
                    };
                    meant.push(Meant::whole(self.known(&found.program.name).await?));
                }
                Target::Copies(copies) => {
                    let found = self.copies(copies);
                    if found.is_empty() {
                        let text = format!("nothing is named {:?}", copies.to_string());
                        return Err(Refusal::new(code::NOT_FOUND, text));
                    }
                    meant.extend(found);
                }
                Target::Instance(InstanceId { program, index }) => {
                    let called = self.called(name);
                    if let [_, ..] = called.as_slice() {
                        meant.extend(called);
                        continue;
                    }
                    let program = self.known(program).await?;
                    let placed = InstanceId::new(program.name.clone(), *index);
                    let known = {
                        let view = &self.shared.lock().view;
                        view.is_declared(&program, *index) || view.placed(&placed).is_some()
                    };
                    if !known {
                        let (name, n) = (&program.name, program.spec.numprocs);
                        let text = if program.spec.system {
                            format!("no instance {name}:{index}: dsbus status {name} shows them")
                        } else {
                            format!("no instance {name}:{index}: {name} has {n}, from {name}:0")
                        };
                        return Err(Refusal::new(code::NOT_FOUND, text));
                    }
                    meant.push(Meant { program, index: Some(*index), named: true });
                }
            }
        }
        Ok(sorted(meant))
    }

    /// A name whose copy is a number may be one of a group, or be what a program calls its copy, where
    /// that is no index of it: `ports:8001`.
    fn called(&self, name: &Target) -> Vec<Meant> {
        let Target::Instance(instance) = name else { return Vec::new() };
        {
            let view = &self.shared.lock().view;
            let own = view.program(&instance.program);
            let declared = |program: &Program| view.is_declared(program, instance.index);
            if own.is_some_and(declared) || view.placed(instance).is_some() {
                return Vec::new();
            }
        }
        Copies::parse(&name.to_string()).map(|copies| self.copies(&copies)).unwrap_or_default()
    }

    /// What a pattern means, or the name that a program gives a copy.
    fn copies(&self, copies: &Copies) -> Vec<Meant> {
        let core = self.shared.lock();
        let view = &core.view;
        let fits = |program: &&Program| {
            let group = program.spec.group.as_ref();
            let names = [Some(&program.name), group].into_iter().flatten();
            !program.removing && names.map(ProgramName::as_str).any(|name| copies.fits(name))
        };
        let mut found = Vec::new();
        for program in view.programs().filter(fits) {
            let meant = |index| Meant { program: program.clone(), index, named: copies.is_name() };
            if copies.all() {
                found.push(meant(None));
                continue;
            }
            for index in view.declared(program) {
                let name = InstanceId::new(program.name.clone(), index);
                let worker = view.placed(&name).map(|placed| &placed.worker);
                let process = worker.and_then(|worker| program.spec.copy_name(&name, worker));
                let process = process.unwrap_or_else(|| program.name.to_string());
                if copies.fits_copy(index, &process) {
                    found.push(meant(Some(index)));
                }
            }
        }
        found
    }

    async fn program_or_group(&self, name: &ProgramName) -> Result<Vec<Meant>, Refusal> {
        if let (Some(program), _) = self.program(name).await? {
            return Ok(vec![Meant::whole(program)]);
        }
        let members = self.those(|program| program.spec.group.as_ref() == Some(name));
        if members.is_empty() { Err(self.unknown(name.as_str())) } else { Ok(members) }
    }

    /// Programs that are known and are not being removed.
    fn those(&self, are: impl Fn(&Program) -> bool) -> Vec<Meant> {
        let core = self.shared.lock();
        let all = core.view.programs().filter(|program| !program.removing && are(program));
        all.map(|program| Meant { program: program.clone(), index: None, named: false }).collect()
    }

    /// Reads a program that must exist.
    pub(super) async fn known(&self, name: &ProgramName) -> Result<Program, Refusal> {
        self.program(name).await?.0.ok_or_else(|| self.unknown(name.as_str()))
    }

    pub(super) fn unknown(&self, name: &str) -> Refusal {
        let core = self.shared.lock();
        let groups = core.view.programs().filter_map(|program| program.spec.group.as_ref());
        let names = core.view.programs().map(|program| &program.name).chain(groups);
        let hint = did_you_mean(name, names.map(ProgramName::as_str));
        Refusal::new(code::NOT_FOUND, format!("no program is named {name:?}{hint}"))
    }
}

fn sorted(mut meant: Vec<Meant>) -> Vec<Meant> {
    // Of the same twice the one that was named is kept.
    let key = |m: &Meant| (m.program.name.clone(), m.index, !m.named);
    meant.sort_by_key(key);
    meant.dedup_by(|a, b| a.program.name == b.program.name && a.index == b.index);
    // A program that is meant whole covers its instances that are named, too.
    let whole: Vec<_> =
        meant.iter().filter(|m| m.index.is_none()).map(|m| m.program.name.clone()).collect();
    meant.retain(|m| m.index.is_none() || !whole.contains(&m.program.name));
    meant
}

/// `; did you mean web?`, if a known name is much like `name`.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// The known name that is most like `name`, if one is; case does not count.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .map(|known| (likeness(&name, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Of 1. Two letters that changed places are one slip, which short names show little of otherwise.
fn likeness(name: &str, known: &str) -> f64 {
    let slip = known.len() > 2 && strsim::osa_distance(name, known) == 1;
    strsim::jaro_winkler(name, known).max(if slip { SIMILARITY_MIN } else { 0.0 })
}
