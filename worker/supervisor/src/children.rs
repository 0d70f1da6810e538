//! The children that live, their output, and how they end.

use std::collections::{BTreeMap, HashMap};

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::Exit;

use crate::home::Home;
use crate::output::{Outlet, Outputs, Plan};
use crate::poller::{Poller, Ready};
use crate::protocol::Child;
use crate::{Settings, process, spawn};

/// A child.
#[derive(Debug)]
struct Living {
    child: Child,
    stdout: u64,
    stderr: Option<u64>,
    /// Reaped; its process group is not empty yet.
    ended: Option<Exit>,
}

/// A child that is gone, with all of its group.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) name: InstanceId,
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    pub(crate) stderr_line: Option<String>,
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a ProgramSpec,
    /// Variables that tell the child who it is.
    pub(crate) identity: &'a BTreeMap<&'static str, String>,
    pub(crate) epoch: Epoch,
}

/// All children.
#[derive(Debug, Default)]
pub(crate) struct Children {
    living: BTreeMap<i32, Living>,
    outlets: HashMap<u64, Outlet>,
    outputs: Outputs,
    pipes: u64,
}

impl Children {
    /// Starts a child of an instance.
    ///
    /// # Errors
    /// Why it could not be started.
    pub(crate) fn start(
        &mut self,
        home: &Home,
        poller: &Poller,
        name: &InstanceId,
        what: &Start<'_>,
    ) -> Result<Child, String> {
        let Start { spec, identity, epoch } = *what;
        let directory = home.instance(name);
        std::fs::create_dir_all(&directory)
            .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
        let spawned = spawn::child(spec, &directory, identity)?;
        let pid = spawned.pid;
        let start_time = process::start_time(pid).unwrap_or(0);
        home.note(name, pid, start_time);
        let lease = spec.exclusive.then(|| spec.touch_seconds());
        let child = Child { name: name.clone(), epoch, pid, start_time, lease };
        let plan = |channel| {
            let (log, tag) = (home.log(name, channel), name.program.to_string());
            Plan::of(spec, channel, &log, &tag, &Settings::default(), str::to_owned)
        };
        let stdout = self.attach(poller, spawned.stdout, plan(Channel::Stdout));
        let stderr = spawned.stderr.map(|pipe| self.attach(poller, pipe, plan(Channel::Stderr)));
        self.living.insert(pid, Living { child: child.clone(), stdout, stderr, ended: None });
        Ok(child)
    }

    fn attach(&mut self, poller: &Poller, pipe: std::io::PipeReader, plan: Plan) -> u64 {
        self.pipes += 1;
        let number = self.pipes;
        match self.outputs.attach(pipe, plan) {
            Ok(outlet) => {
                let added = outlet.fd().map(|fd| poller.add(Ready::Pipe(number), fd));
                if let Some(Err(e)) = added {
                    tracing::error!("cannot read a child's output: {e}");
                }
                self.outlets.insert(number, outlet);
            }
            Err(e) => tracing::error!("cannot read a child's output: {e}"),
        }
        number
    }

    /// There is something to read in a pipe.
    pub(crate) fn read(&mut self, pipe: u64) {
        if let Some(outlet) = self.outlets.get_mut(&pipe) {
            outlet.read(&mut self.outputs, &mut Vec::new());
        }
    }

    /// Reaps whatever ended. Returns other processes' ends: the agent's, or an orphan's.
    pub(crate) fn reap(&mut self) -> Vec<i32> {
        let mut others = Vec::new();
        while let Some((pid, exit)) = spawn::reap() {
            match self.living.get_mut(&pid) {
                Some(living) => {
                    living.ended = Some(exit);
                    // Whatever it left in its group ends with it.
                    process::signal_group(pid, libc::SIGKILL);
                }
                None => others.push(pid),
            }
        }
        others
    }

    /// Children that are reaped and whose process group is empty; each is told once.
    pub(crate) fn gone(&mut self, home: &Home) -> Vec<Gone> {
        let gone: Vec<_> = self
            .living
            .iter()
            .filter(|(pid, living)| living.ended.is_some() && process::group_is_empty(**pid))
            .map(|(pid, _)| *pid)
            .collect();
        gone.into_iter().filter_map(|pid| self.finish(home, pid)).collect()
    }

    fn finish(&mut self, home: &Home, pid: i32) -> Option<Gone> {
        let living = self.living.remove(&pid)?;
        let mut last_line = None;
        for pipe in [Some(living.stdout), living.stderr].into_iter().flatten() {
            if let Some(mut outlet) = self.outlets.remove(&pipe) {
                outlet.drain(&mut self.outputs, &mut Vec::new());
                // Standard error comes last, and without one standard output holds both.
                last_line = outlet.last_line();
            }
        }
        let name = living.child.name;
        home.unnote(&name);
        Some(Gone { name, pid, exit: living.ended?, stderr_line: last_line })
    }

    /// Whether a child is reaped whose group is not empty yet.
    pub(crate) fn some_linger(&self) -> bool {
        self.living.values().any(|living| living.ended.is_some())
    }

    /// Whether a child's group may still be signalled: its leader is not reaped.
    pub(crate) fn signal(&self, pid: i32, signal: i32) {
        if self.living.contains_key(&pid) {
            process::signal_group(pid, signal);
        }
    }

    /// All that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.living.values().map(|living| &living.child)
    }

    /// Whether none lives.
    pub(crate) fn is_empty(&self) -> bool {
        self.living.is_empty()
    }
}
