//! What a worker has, for whoever rebuilds what the bus has lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, InstanceId};
use crate::placement::Placement;

/// Most bytes of instances in one answer: a NATS message holds 1 MiB, and one declaration fits beside
/// that. Whoever wants all of them asks again after the last one.
pub const INVENTORY_BYTES_MAX: usize = 256 * 1024;

/// Ask what a worker has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryAsk {
    /// Only instances after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<InstanceId>,
}

/// What it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// By name.
    pub instances: Vec<Holding>,
    /// There are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// An instance, as its worker was told of it last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// The instance.
    pub name: InstanceId,
    /// How it stands there.
    pub hold: Hold,
    /// The highest epoch that the worker knows of it.
    pub epoch: Epoch,
    /// Process id of its child, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its placement.
    pub placement: Placement,
}

/// How an instance stands on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// It is placed there, as far as the worker knows.
    Placed,
    /// It runs, or stands stopped, although the bus has lost its placement, or has it as it was earlier
    /// under the same epoch.
    Adrift,
    /// It was exclusive, and was stopped because the bus has lost its placement.
    LetGo,
    /// It is not here: the bus places it here under an epoch that is lower than the worker knows.
    Refused,
}
