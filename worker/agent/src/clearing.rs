//! Calls that empty logs: the supervisor does it, since it holds the files open. A call waits here
//! for its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_supervisor::protocol::ToSupervisor;
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for the loop, and calls that wait for the supervisor: one for each instance of
/// a large worker at once.
pub(crate) const CLEARS_MAX: usize = 1024;
/// How long a call waits for the supervisor, whose disk may be slow.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    name: InstanceId,
    answer: oneshot::Sender<Result<(), String>>,
}

/// Asks for it, and waits until it is done.
///
/// # Errors
/// Why it was not done, or is not known to be.
pub(crate) async fn clear(calls: &mpsc::Sender<Call>, name: InstanceId) -> Result<(), String> {
    let (answer, answered) = oneshot::channel();
    if calls.try_send(Call { name, answer }).is_err() {
        return Err("too many logs are being cleared at once".to_owned());
    }
    match tokio::time::timeout(ANSWER_MAX, answered).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err("the supervisor has too much to do".to_owned()),
        Err(_) => Err("the supervisor did not answer".to_owned()),
    }
}

/// Calls that the supervisor has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Clearing {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Result<(), String>>>,
}

impl Clearing {
    /// A call came: what to say to the supervisor. `None` when too many wait; the caller is told.
    pub(crate) fn begin(&mut self, call: Call) -> Option<ToSupervisor> {
        // Whoever waited too long has gone.
        self.waiting.retain(|_, answer| !answer.is_closed());
        if self.waiting.len() >= CLEARS_MAX {
            return None;
        }
        self.last += 1;
        self.waiting.insert(self.last, call.answer);
        Some(ToSupervisor::ClearLogs { number: self.last, name: call.name })
    }

    /// The supervisor answered.
    pub(crate) fn ended(&mut self, number: u64, trouble: Option<String>) {
        if let Some(answer) = self.waiting.remove(&number) {
            // It may have stopped to wait at this very moment.
            let _ = answer.send(trouble.map_or(Ok(()), Err));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> (Call, oneshot::Receiver<Result<(), String>>) {
        let (answer, answered) = oneshot::channel();
        (Call { name: "web:0".parse().unwrap(), answer }, answered)
    }

    fn number(said: Option<ToSupervisor>) -> u64 {
        match said {
            Some(ToSupervisor::ClearLogs { number, .. }) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_call_gets_its_own_answer() {
        let mut clearing = Clearing::default();
        let ((one, mut first), (two, mut second)) = (call(), call());
        let (one, two) = (number(clearing.begin(one)), number(clearing.begin(two)));
        clearing.ended(two, Some("disk".to_owned()));
        clearing.ended(two, None);
        assert!(first.try_recv().is_err());
        assert_eq!(second.try_recv(), Ok(Err("disk".to_owned())));
        clearing.ended(one, None);
        assert_eq!(first.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn those_who_went_make_room() {
        let mut clearing = Clearing::default();
        let waiting: Vec<_> = (0..CLEARS_MAX)
            .map(|_| {
                let (call, answered) = call();
                clearing.begin(call).unwrap();
                answered
            })
            .collect();
        assert!(clearing.begin(call().0).is_none());
        drop(waiting);
        assert!(clearing.begin(call().0).is_some());
    }
}
