//! The children that live, their output, and how they end.

use std::collections::{BTreeMap, HashMap};

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::Exit;

use crate::home::Home;
use crate::output::{Capture, LogFile, Rotation};
use crate::poller::{Poller, Ready};
use crate::protocol::Child;
use crate::sockets::Sockets;
use crate::spawn::Who;
use crate::{process, spawn};

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
    pub(crate) who: &'a Who<'a>,
}

/// All children.
#[derive(Debug, Default)]
pub(crate) struct Children {
    living: BTreeMap<i32, Living>,
    captures: HashMap<u64, Capture>,
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
        let Start { spec, who } = *what;
        let epoch = who.epoch;
        let directory = home.instance(name);
        std::fs::create_dir_all(&directory)
            .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
        let spawned = spawn::child(spec, who, &Sockets::default(), None)?;
        let pid = spawned.pid;
        let start_time = process::start_time(pid).unwrap_or(0);
        home.note(name, pid, start_time);
        let lease = spec.exclusive.then(|| spec.touch_seconds());
        let child = Child { name: name.clone(), epoch, pid, start_time, lease };
        let out = LogFile::open(
            home.log(name, Channel::Stdout),
            Rotation {
                bytes_max: spec.stdout_logfile_maxbytes.0,
                backups: spec.stdout_logfile_backups,
                ..Rotation::default()
            },
        );
        let stdout = self.capture(poller, spawned.stdout, out);
        let stderr = spawned.stderr.map(|pipe| {
            let err = LogFile::open(
                home.log(name, Channel::Stderr),
                Rotation {
                    bytes_max: spec.stderr_logfile_maxbytes.0,
                    backups: spec.stderr_logfile_backups,
                    ..Rotation::default()
                },
            );
            self.capture(poller, pipe, err)
        });
        self.living.insert(pid, Living { child: child.clone(), stdout, stderr, ended: None });
        Ok(child)
    }

    fn capture(&mut self, poller: &Poller, pipe: std::io::PipeReader, log: LogFile) -> u64 {
        self.pipes += 1;
        let number = self.pipes;
        match Capture::new(pipe, log) {
            Ok(capture) => {
                let added = capture.fd().map(|fd| poller.add(Ready::Pipe(number), fd));
                if let Some(Err(e)) = added {
                    tracing::error!("cannot read a child's output: {e}");
                }
                self.captures.insert(number, capture);
            }
            Err(e) => tracing::error!("cannot read a child's output: {e}"),
        }
        number
    }

    /// There is something to read in a pipe.
    pub(crate) fn read(&mut self, pipe: u64) {
        if let Some(capture) = self.captures.get_mut(&pipe) {
            capture.read();
        }
    }

    /// Reaps whatever ended. Returns other processes' ends: the agent's, or an orphan's.
    pub(crate) fn reap(&mut self) -> Vec<i32> {
        let mut others = Vec::new();
        while let Some(spawn::Reaped { pid, exit, .. }) = spawn::reap() {
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
            if let Some(mut capture) = self.captures.remove(&pipe) {
                capture.drain();
                // Standard error comes last, and without one standard output holds both.
                last_line = capture.log.last_line();
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
