//! What others refused, or did not do, as an answer.

use dsbus_client::Error;
use dsbus_schema::command::{Refused, code};

use super::refusal::Refusal;
use crate::fleet::Failed;

impl Refusal {
    /// What a worker did not do.
    pub(super) fn of_worker(worker: &dsbus_schema::ids::WorkerName, e: Error) -> Refusal {
        match e {
            Error::NoResponders => Refusal::new(
                code::UNAVAILABLE,
                format!("worker {worker} does not answer; nothing was done"),
            ),
            Error::Timeout => Refusal::new(
                code::UNAVAILABLE,
                format!("worker {worker} did not answer; it may have been done"),
            ),
            Error::Refused { code, text, problems } => {
                Refusal(Refused { code, error: format!("{text} (on {worker})"), problems })
            }
            other => Refusal::new(code::UNAVAILABLE, format!("worker {worker}: {other}")),
        }
    }
}

impl From<Failed> for Refusal {
    fn from(Failed { code, text, problems }: Failed) -> Refusal {
        Refusal(Refused { code, error: text, problems })
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Refusal {
        Failed::from(e).into()
    }
}
