//! The agent at a change of the worker's version. It lives on while the supervisor becomes another
//! one, so that somebody enforces deadlines; then it is replaced by one of the new version.

use std::io::PipeReader;
use std::os::fd::RawFd;

use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

use super::{Agent, AgentLink};
use crate::handover::{Passing, Taking};
use crate::process;

/// The agent, as it is left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AgentLeft {
    generation: u64,
    agent: Option<Left>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Left {
    pid: i32,
    socket: RawFd,
    words: Option<RawFd>,
}

impl AgentLink {
    pub(crate) fn hand_over(&self, passing: &mut Passing) -> AgentLeft {
        let left = |agent: &Agent| Left {
            pid: agent.pid,
            socket: passing.pass(&agent.socket),
            words: agent.words.as_ref().map(|words| passing.pass(words)),
        };
        AgentLeft { generation: self.generation, agent: self.agent.as_ref().map(left) }
    }

    /// Has the agent of the version before, until it is replaced.
    pub(crate) fn take_over(
        &mut self,
        left: &AgentLeft,
        taking: &mut Taking,
        now: BootTime,
    ) -> Result<(), String> {
        self.generation = left.generation;
        let Some(Left { pid, socket, words }) = left.agent else { return Ok(()) };
        let socket = taking.take(socket)?.into();
        let words = words.map(|words| taking.take(words)).transpose()?.map(PipeReader::from);
        self.agent = Some(Agent { words, ..Agent::new(pid, socket, now) });
        Ok(())
    }

    /// Ends the agent of the version before; the next one is started at once. Its socket is closed
    /// only when it is dead: an agent that finds it closed kills all children.
    pub(crate) fn replace(&mut self, now: BootTime) {
        let Some(pid) = self.agent.as_ref().map(|agent| agent.pid) else { return };
        self.pass_on_last_words();
        process::kill_one(pid);
        // It may have said something since, such as why it wanted to end.
        self.pass_on_last_words();
        self.agent = None;
        self.start_at = now;
    }
}
