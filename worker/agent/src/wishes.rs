//! Calls that the supervisor acts on, since it owns the children and holds the logs open. A call waits
//! here for its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::call::{Clear, Inventory, InventoryAsk, SignalAsk, StdinAsk};
use dsbus_supervisor::protocol::{Handed, NotHanded, ToSupervisor};
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for the loop, and calls that wait for the supervisor: one for each instance of
/// a large worker at once.
pub(crate) const WISHES_MAX: usize = 1024;
/// How long a call waits for the supervisor, whose disk may be slow.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a call wants done.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Empty the logs.
    Clear(Clear),
    /// Send a signal.
    Signal(SignalAsk),
    /// Write to a standard input.
    Stdin(StdinAsk),
    /// Say what is here: the agent knows.
    Inventory(InventoryAsk),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Granted {
    /// The logs are empty.
    Cleared,
    /// It was done to the child.
    Handed(Handed),
    /// What is here.
    Has(Box<Inventory>),
}

/// Why it was not done, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The instance that is meant is not here, or its child does not live.
    Gone(String),
    /// It cannot be done to it.
    Refused(String),
    /// It failed, or is not known to be done.
    Failed(String),
}

type Answer = Result<Granted, Denied>;

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    wish: Wish,
    answer: oneshot::Sender<Answer>,
}

impl Call {
    /// Answers what the agent knows by itself; gives any other call back.
    pub(crate) fn answered(self, has: impl FnOnce(&InventoryAsk) -> Inventory) -> Option<Call> {
        let Wish::Inventory(ask) = &self.wish else { return Some(self) };
        // Whoever asked may have stopped to wait at this very moment.
        let _ = self.answer.send(Ok(Granted::Has(Box::new(has(ask)))));
        None
    }
}

/// Asks for it, and waits until it is done.
///
/// # Errors
/// Why it was not done, or is not known to be.
pub(crate) async fn wish(calls: &mpsc::Sender<Call>, wish: Wish) -> Answer {
    let failed = |why: &str| Err(Denied::Failed(why.to_owned()));
    let (answer, answered) = oneshot::channel();
    if calls.try_send(Call { wish, answer }).is_err() {
        return failed("too much is asked of this worker at once");
    }
    match tokio::time::timeout(ANSWER_MAX, answered).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => failed("the supervisor has too much to do"),
        Err(_) => failed("the supervisor did not answer"),
    }
}

/// Calls that the supervisor has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl Wishes {
    /// A call came: what to say to the supervisor. `None` when too many wait; the caller is told.
    pub(crate) fn begin(&mut self, call: Call) -> Option<ToSupervisor> {
        // Whoever waited too long has gone.
        self.waiting.retain(|_, answer| !answer.is_closed());
        if self.waiting.len() >= WISHES_MAX {
            return None;
        }
        let number = self.last + 1;
        let said = match call.wish {
            Wish::Clear(Clear { name, forget }) => ToSupervisor::ClearLogs { number, name, forget },
            Wish::Signal(ask) => ToSupervisor::Signal { number, ask },
            Wish::Stdin(ask) => ToSupervisor::Stdin { number, ask },
            // The agent has answered it.
            Wish::Inventory(_) => return None,
        };
        self.last = number;
        self.waiting.insert(number, call.answer);
        Some(said)
    }

    /// The supervisor answered a call that empties logs.
    pub(crate) fn cleared(&mut self, number: u64, trouble: Option<String>, unknown: bool) {
        let denied = if unknown { Denied::Gone } else { Denied::Failed };
        let outcome = trouble.map_or(Ok(Granted::Cleared), |why| Err(denied(why)));
        self.ended(number, outcome);
    }

    /// The supervisor answered a call about a child.
    pub(crate) fn handed(&mut self, number: u64, outcome: Result<Handed, NotHanded>) {
        let outcome = outcome.map(Granted::Handed).map_err(|why| match why {
            NotHanded::Gone(why) => Denied::Gone(why),
            NotHanded::Refused(why) => Denied::Refused(why),
        });
        self.ended(number, outcome);
    }

    fn ended(&mut self, number: u64, outcome: Answer) {
        if let Some(answer) = self.waiting.remove(&number) {
            // It may have stopped to wait at this very moment.
            let _ = answer.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> (Call, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let clear = Clear { name: "web:0".parse().unwrap(), forget: false };
        (Call { wish: Wish::Clear(clear), answer }, answered)
    }

    fn number(said: Option<ToSupervisor>) -> u64 {
        match said {
            Some(ToSupervisor::ClearLogs { number, .. }) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_call_gets_its_own_answer() {
        let mut wishes = Wishes::default();
        let ((one, mut first), (two, mut second)) = (call(), call());
        let (one, two) = (number(wishes.begin(one)), number(wishes.begin(two)));
        wishes.cleared(two, Some("disk".to_owned()), false);
        wishes.cleared(two, None, false);
        assert!(first.try_recv().is_err());
        assert_eq!(second.try_recv(), Ok(Err(Denied::Failed("disk".to_owned()))));
        wishes.handed(one, Err(NotHanded::Gone("it ended".to_owned())));
        assert_eq!(first.try_recv(), Ok(Err(Denied::Gone("it ended".to_owned()))));
        let (three, mut third) = call();
        let three = number(wishes.begin(three));
        wishes.cleared(three, Some("none:0 is not placed here".to_owned()), true);
        assert!(matches!(third.try_recv(), Ok(Err(Denied::Gone(_)))), "nobody is to try again");
    }

    #[test]
    fn those_who_went_make_room() {
        let mut wishes = Wishes::default();
        let waiting: Vec<_> = (0..WISHES_MAX)
            .map(|_| {
                let (call, answered) = call();
                wishes.begin(call).unwrap();
                answered
            })
            .collect();
        assert!(wishes.begin(call().0).is_none());
        drop(waiting);
        assert!(wishes.begin(call().0).is_some());
    }
}
