//! All pipes of output that are read, and whose they are.

use std::collections::HashMap;
use std::io::PipeReader;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId};
use serde::{Deserialize, Serialize};

use crate::handover::{Passing, Taking};
use crate::output::{Outlet, OutletLeft, Outputs, Plan, Said};
use crate::poller::{Poller, Ready};

/// Whose output it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// A pipe, as it is left to another version of the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamLeft {
    pub(crate) number: u64,
    speaker: Speaker,
    outlet: OutletLeft,
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
            Ok(outlet) => self.insert(poller, number, speaker, outlet),
            Err(e) => tracing::error!("cannot read the output of {}: {e}", speaker.name),
        }
    }

    pub(crate) fn hand_over(&self, passing: &mut Passing) -> Vec<StreamLeft> {
        let left = |(number, (speaker, outlet)): (&u64, &(Speaker, Outlet))| StreamLeft {
            number: *number,
            speaker: speaker.clone(),
            outlet: outlet.hand_over(passing),
        };
        self.open.iter().map(left).collect()
    }

    /// Reads on where another version of the worker stopped.
    pub(crate) fn take_over(
        &mut self,
        poller: &Poller,
        left: StreamLeft,
        taking: &mut Taking,
    ) -> Result<(), String> {
        let StreamLeft { number, speaker, outlet } = left;
        let outlet = Outlet::take_over(outlet, &mut self.outputs, taking)?;
        self.insert(poller, number, speaker, outlet);
        Ok(())
    }

    fn insert(&mut self, poller: &Poller, number: u64, speaker: Speaker, outlet: Outlet) {
        let added = outlet.fd().map(|fd| poller.add(Ready::Source(number), fd));
        if let Some(Err(e)) = added {
            tracing::error!("cannot read the output of {}: {e}", speaker.name);
        }
        self.open.insert(number, (speaker, outlet));
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
