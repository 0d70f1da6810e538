//! Asking a worker for output, by the better way that is there.

use std::time::Duration;

use crate::{Bus, Error};
use dsbus_schema::call::{LogAsk, LogPart, WorkerVerb};
use dsbus_schema::ids::WorkerName;
use tokio::time::sleep;

/// How long a worker may take to answer, beside the time that it waits for output.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two asks of a worker that cannot wait for output, or did not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How a worker was asked last.
#[derive(Debug, Default)]
pub struct Asking {
    /// A worker that was asked by `log` answers `log-bulk` next.
    bulk: Option<WorkerName>,
}

impl Asking {
    /// Asks. An error that may pass comes after a pause.
    pub async fn ask(
        &mut self,
        bus: &Bus,
        worker: &WorkerName,
        ask: &LogAsk,
    ) -> Result<LogPart, Error> {
        let wait = Duration::from_millis(ask.wait_ms);
        if self.bulk.as_ref() == Some(worker) {
            let answer = bus.call_worker(worker, WorkerVerb::LogBulk, ask, wait + ANSWER_MAX).await;
            match answer {
                // It is not there yet, or not any more; or the worker is not.
                Err(Error::NoResponders) => self.bulk = None,
                Ok(part) => return Ok(part),
                Err(error) => {
                    self.bulk = None;
                    pause(&error).await;
                    return Err(error);
                }
            }
        }
        let answer: Result<LogPart, Error> =
            bus.call_worker(worker, WorkerVerb::Log, ask, ANSWER_MAX).await;
        match &answer {
            Ok(part) => {
                self.bulk = Some(worker.clone());
                if part.is_empty() && !part.ended && !wait.is_zero() {
                    sleep(PAUSE).await;
                }
            }
            Err(error) => {
                if matches!(error, Error::Refused { .. }) {
                    self.bulk = Some(worker.clone());
                }
                pause(error).await;
            }
        }
        answer
    }
}

async fn pause(error: &Error) {
    match error {
        // After a timeout the worker may still be busy with what nobody waits for.
        Error::Timeout | Error::NoResponders | Error::Disconnected => sleep(PAUSE).await,
        _ => sleep(REFUSED_PAUSE).await,
    }
}
