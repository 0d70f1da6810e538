//! What the supervisor remembers for its agents, which come and go.

use std::collections::BTreeSet;

use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

/// Most epochs that an agent is told: the latest are those that an old copy of the bus may name. With
/// names of 40 bytes they are a quarter of a megabyte.
pub const EPOCHS_TOLD_MAX: usize = 4096;

/// What the supervisor remembers besides its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// So many [`LetGo`](super::ToAgent::LetGo) follow.
    #[serde(default)]
    pub let_go: usize,
    /// The lowest epochs under which instances that it has no more may begin here again; the latest
    /// [`EPOCHS_TOLD_MAX`] of them.
    #[serde(default)]
    pub epochs: Vec<(InstanceId, Epoch)>,
    /// The last time that the bus began anew.
    #[serde(default)]
    pub anew: Option<Anew>,
}

/// The bus began anew: it has lost what it knew, or has gone back in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anew {
    /// When that was found.
    pub at: BootTime,
    /// The exclusive instances that could live here then, for their lease was alive.
    pub ran: BTreeSet<InstanceId>,
}
