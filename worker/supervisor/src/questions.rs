//! Questions about children that only the agent can ask: over the network. They wait for an agent
//! as long as there is none, and are asked again when a new one takes over.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::program::Probe;
use serde::{Deserialize, Serialize};

use crate::instance::{Input, Question};
use crate::protocol::{Asked, ToAgent};

/// A question that is not answered yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    name: InstanceId,
    pid: i32,
    question: Question,
    ask: Asked,
    timeout: Duration,
}

/// All of them. There are at most two for each child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Questions {
    last: u64,
    open: BTreeMap<u64, Open>,
}

impl Questions {
    /// A question; what to say to the agent.
    pub(crate) fn add(
        &mut self,
        name: InstanceId,
        pid: i32,
        question: Question,
        ask: Asked,
        probe: &Probe,
    ) -> ToAgent {
        self.last += 1;
        let open = Open { name, pid, question, ask, timeout: probe.timeout.0 };
        let said = open.said(self.last);
        self.open.insert(self.last, open);
        said
    }

    /// What a new agent is to be asked.
    pub(crate) fn waiting(&self) -> Vec<ToAgent> {
        self.open.iter().map(|(number, open)| open.said(*number)).collect()
    }

    /// The agent answered.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        trouble: Option<String>,
    ) -> Option<(InstanceId, Input)> {
        let Open { name, pid, question, .. } = self.open.remove(&number)?;
        Some((name, Input::Probed { pid, question, trouble }))
    }

    /// A child of this instance is known by another number now.
    pub(crate) fn rename_child(&mut self, name: &InstanceId, first: i32, main: i32) {
        for open in self.open.values_mut().filter(|o| o.name == *name && o.pid == first) {
            open.pid = main;
        }
    }

    /// Nobody wants to know it any longer.
    pub(crate) fn forget_child(&mut self, pid: i32) {
        self.open.retain(|_, open| open.pid != pid);
    }
}

impl Open {
    fn said(&self, number: u64) -> ToAgent {
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        ToAgent::Probe { number, ask: self.ask.clone(), timeout_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_agent_is_asked_again_and_each_is_answered_once() {
        let mut questions = Questions::default();
        let probe = Probe { timeout: "250ms".parse().unwrap(), ..Probe::default() };
        let name: InstanceId = "web:0".parse().unwrap();
        let ask = Asked::Tcp("localhost:1".to_owned());
        let said = questions.add(name.clone(), 7, Question::Liveness, ask.clone(), &probe);
        assert_eq!(said, ToAgent::Probe { number: 1, ask: ask.clone(), timeout_ms: 250 });
        questions.add(name.clone(), 8, Question::Readiness, ask, &probe);
        assert_eq!(questions.waiting().len(), 2);
        questions.forget_child(8);
        assert_eq!(questions.waiting(), [said]);
        let input = Input::Probed { pid: 7, question: Question::Liveness, trouble: None };
        assert_eq!(questions.answered(1, None), Some((name, input)));
        assert_eq!(questions.answered(1, None), None);
    }
}
