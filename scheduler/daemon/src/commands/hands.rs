//! What a worker does at once, because a scheduler says that somebody may: a signal, input, empty
//! logs. The scheduler passes it on, and knows nothing of it afterwards.

use std::time::Duration;

use dsbus_client::{Error, Refusal};
use dsbus_schema::call::{Clear, Cleared, SignalAsk, SignalSent, StdinAsk, StdinTaken, WorkerVerb};
use dsbus_schema::command::{Hand, Verb, code};
use dsbus_schema::ids::{InstanceId, UserName, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Commander;

/// A worker answers at once, or when its supervisor has written; who asked waits a second longer.
const ANSWER_MAX: Duration = Duration::from_secs(6);

impl Commander {
    pub(super) async fn signal(
        &self,
        by: &UserName,
        hand: Hand<SignalAsk>,
    ) -> Result<SignalSent, Refusal> {
        let ask = SignalAsk { by: by.clone(), ..hand.ask };
        let verbs = (Verb::Signal, WorkerVerb::Signal);
        self.pass_on(by, verbs, (&hand.worker, &ask.name), &ask).await
    }

    pub(super) async fn stdin(
        &self,
        by: &UserName,
        hand: Hand<StdinAsk>,
    ) -> Result<StdinTaken, Refusal> {
        let ask = StdinAsk { by: by.clone(), ..hand.ask };
        let verbs = (Verb::Stdin, WorkerVerb::Stdin);
        self.pass_on(by, verbs, (&hand.worker, &ask.name), &ask).await
    }

    pub(super) async fn clear(&self, by: &UserName, hand: Hand<Clear>) -> Result<Cleared, Refusal> {
        let verbs = (Verb::Clear, WorkerVerb::Clear);
        self.pass_on(by, verbs, (&hand.worker, &hand.ask.name), &hand.ask).await
    }

    async fn pass_on<Q: Serialize, A: DeserializeOwned>(
        &self,
        by: &UserName,
        (verb, call): (Verb, WorkerVerb),
        (worker, name): (&WorkerName, &InstanceId),
        ask: &Q,
    ) -> Result<A, Refusal> {
        self.permit_programs(by, verb, [&name.program])?;
        let answer = self.bus.call_worker(worker, call, ask, ANSWER_MAX).await;
        answer.map_err(|error| match error {
            Error::Refused { code, text, problems } => Refusal { code, text, problems },
            Error::NoResponders => {
                let text = format!("worker {worker} does not answer; nothing was done");
                Refusal::new(code::NO_WORKER, text)
            }
            error => {
                let text = format!("worker {worker} did not say whether it was done: {error}");
                Refusal::new(code::UNAVAILABLE, text)
            }
        })
    }
}
