//! What is asked of the fleet, in whose name, and waiting until it is so.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::command::{Act, Acted, ActedInstance, Envelope, Verb, code};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{InstanceId, Target, UserName};
use dsbus_schema::program::Problem;
use dsbus_schema::status::InstanceRow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Change, Fleet};

/// Why a command was not carried out.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// One of [`code`], which mean what those of HTTP mean.
    pub(crate) code: u16,
    /// Why, in one sentence.
    pub(crate) text: String,
    /// What is wrong with single keys of what was sent.
    pub(crate) problems: Vec<Problem>,
}

impl From<Error> for Failed {
    fn from(e: Error) -> Failed {
        match e {
            Error::Refused { code, text, problems } => Failed { code, text, problems },
            other => {
                let open =
                    if other == Error::Timeout { "; it may be done, now or soon" } else { "" };
                let text = format!("{other}{open}");
                Failed { code: code::UNAVAILABLE, text, problems: Vec::new() }
            }
        }
    }
}

/// What became of instances that were waited for.
#[derive(Debug)]
pub(crate) struct Until<V> {
    /// Verdicts by name.
    pub(crate) verdicts: BTreeMap<InstanceId, V>,
    /// Those that had none when the time was up, as they stand; without a row where none is known.
    pub(crate) late: BTreeMap<InstanceId, Option<InstanceRow>>,
}

impl Fleet {
    /// Sends a command in somebody's name.
    ///
    /// # Errors
    /// When it was refused, or nobody answered.
    pub(crate) async fn command<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        user: &UserName,
        verb: Verb,
        request: &Q,
    ) -> Result<A, Failed> {
        Ok(self.0.bus.speaking_for(user.clone()).command(verb, request).await?)
    }

    /// Starts, stops, restarts, reloads or removes, and returns what is wanted of each instance now.
    ///
    /// # Errors
    /// As [`Fleet::command`].
    pub(crate) async fn act(
        &self,
        user: &UserName,
        verb: Verb,
        names: Vec<Target>,
    ) -> Result<Vec<ActedInstance>, Failed> {
        let envelope = Envelope { id: Some(Uuid::now_v7()), version: None };
        let acted: Acted = self.command(user, verb, &Act::new(envelope, names)).await?;
        Ok(acted.instances)
    }

    /// Waits until `judge` has a verdict on each of these instances, by what is wanted of it and how
    /// it stands, or the time is up. What is known is looked at whenever it changes.
    pub(crate) async fn until<V>(
        &self,
        acted: Vec<ActedInstance>,
        limit: Duration,
        judge: impl Fn(&Wanted, Option<&InstanceRow>) -> Option<V>,
    ) -> Until<V> {
        let deadline = Instant::now() + limit;
        // Before the first look, so that no change is missed between the two.
        let mut changes = self.changes();
        let mut left: BTreeMap<InstanceId, Wanted> =
            acted.into_iter().map(|one| (one.name, one.wanted)).collect();
        let mut verdicts = BTreeMap::new();
        loop {
            {
                let known = self.known();
                left.retain(|name, wanted| {
                    let row = known.rows().get(name).map(AsRef::as_ref);
                    let Some(verdict) = judge(wanted, row) else { return true };
                    verdicts.insert(name.clone(), verdict);
                    false
                });
            }
            let over = left.is_empty() || Instant::now() >= deadline;
            if over {
                let known = self.known();
                let row = |name: &InstanceId| known.rows().get(name).map(|row| (**row).clone());
                let late = left.into_keys().map(|name| (name.clone(), row(&name))).collect();
                return Until { verdicts, late };
            }
            let rows_changed = async {
                loop {
                    match changes.recv().await {
                        Ok(Change::Rows { .. }) | Err(RecvError::Lagged(_)) => return,
                        Ok(_) => {}
                        Err(RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            // Late is looked at once more.
            drop(timeout_at(deadline, rows_changed).await);
        }
    }
}
