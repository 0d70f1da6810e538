//! What is declared in a run.

use dsbus_schema::ids::{ProgramId, ProgramName, WorkerName};
use dsbus_schema::lenient::Span;
use dsbus_schema::program::{AutoRestart, Command, Program, ProgramSpec};
use dsbus_schema::storage::Bucket;

use crate::world::World;

impl World {
    /// How many copies a program was declared with last.
    pub(crate) fn copies(&self, name: &ProgramName) -> u32 {
        self.specs.get(name).map_or(1, |spec| spec.numprocs)
    }

    /// A declaration of a program: the first, or a change of the last.
    pub(crate) fn another_spec(&mut self, name: &ProgramName) -> ProgramSpec {
        let d = &mut self.dice;
        let mut spec = self.specs.get(name).cloned().unwrap_or_else(|| {
            let exclusive = d.one_in(2);
            let seconds = if exclusive { d.range(4, 7) } else { d.range(2, 5) };
            ProgramSpec {
                command: Command::Line("x0".to_owned()),
                exclusive,
                touch_timeout: Some(Span::from_secs(seconds)),
                numprocs: u32::try_from(d.range(1, 2)).unwrap_or(1),
                stopwaitsecs: Span::from_secs(d.range(1, 2)),
                startsecs: Span::from_secs(1),
                autorestart: AutoRestart::Always,
                ..ProgramSpec::default()
            }
        });
        match d.range(0, 4) {
            0 => spec.numprocs = u32::try_from(d.range(1, 3)).unwrap_or(1),
            1 => spec.command = Command::Line(format!("x{}", d.range(0, 9))),
            2 => spec.priority = i32::try_from(d.range(1, 999)).unwrap_or(1),
            3 => {
                let n = d.below(self.witness.workers.len());
                let other = |(at, _): &(usize, &WorkerName)| *at != n;
                let workers = self.witness.workers.iter().enumerate().filter(other);
                spec.machines = workers.map(|(_, name)| name.clone()).collect();
            }
            _ => spec.machines.clear(),
        }
        self.specs.insert(name.clone(), spec.clone());
        spec
    }

    pub(crate) fn declare(&mut self, name: &ProgramName, spec: &ProgramSpec) {
        let id = ProgramId(self.uuid());
        let program = Program::new(id, name.clone(), spec.clone());
        self.seed_entry(Bucket::Programs, name.as_str(), &program);
    }
}
