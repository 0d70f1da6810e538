//! All pipes of output that are read, and whose they are.

use std::collections::HashMap;
use std::io::PipeReader;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId};

use crate::output::{Outlet, Outputs, Plan, Said};
use crate::poller::{Poller, Ready};

/// Whose output it is.
#[derive(Debug, Clone)]
pub(crate) struct Speaker {
    pub(crate) name: InstanceId,
    pub(crate) id: ProgramId,
    pub(crate) epoch: Epoch,
    pub(crate) pid: i32,
    pub(crate) channel: Channel,
}

/// The pipes, by the number of their source.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) outputs: Outputs,
    open: HashMap<u64, (Speaker, Outlet)>,
}

/// What was said, by whom.
pub(crate) type Told = Vec<(Speaker, Said)>;

impl Streams {
    pub(crate) fn new(outputs: Outputs) -> Streams {
        Streams { outputs, open: HashMap::new() }
    }

    /// Reads a pipe from now on.
    pub(crate) fn open(
        &mut self,
        poller: &Poller,
        number: u64,
        pipe: PipeReader,
        plan: Plan,
        speaker: Speaker,
    ) {
        match self.outputs.attach(pipe, plan) {
            Ok(outlet) => {
                let added = outlet.fd().map(|fd| poller.add(Ready::Source(number), fd));
                if let Some(Err(e)) = added {
                    tracing::error!("cannot read the output of {}: {e}", speaker.name);
                }
                self.open.insert(number, (speaker, outlet));
            }
            Err(e) => tracing::error!("cannot read the output of {}: {e}", speaker.name),
        }
    }

    /// There is something to read.
    pub(crate) fn read(&mut self, number: u64) -> Told {
        let Some((speaker, outlet)) = self.open.get_mut(&number) else { return Told::new() };
        let mut said = Vec::new();
        outlet.read(&mut self.outputs, &mut said);
        said.into_iter().map(|said| (speaker.clone(), said)).collect()
    }

    /// Reads what is left, and closes the pipe. Gives its last line, too.
    pub(crate) fn close(&mut self, number: u64) -> (Option<String>, Told) {
        let Some((speaker, mut outlet)) = self.open.remove(&number) else {
            return (None, Told::new());
        };
        let mut said = Vec::new();
        outlet.drain(&mut self.outputs, &mut said);
        (outlet.last_line(), said.into_iter().map(|said| (speaker.clone(), said)).collect())
    }

    /// Goes on by another plan.
    pub(crate) fn change(&mut self, number: u64, plan: Plan) -> Told {
        let Some((speaker, outlet)) = self.open.get_mut(&number) else { return Told::new() };
        let mut said = Vec::new();
        outlet.change(&mut self.outputs, plan, &mut said);
        said.into_iter().map(|said| (speaker.clone(), said)).collect()
    }

    /// Its child is known by another number now.
    pub(crate) fn rename(&mut self, number: u64, pid: i32) {
        if let Some((speaker, _)) = self.open.get_mut(&number) {
            speaker.pid = pid;
        }
    }
}
