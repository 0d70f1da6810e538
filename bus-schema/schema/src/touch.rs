//! Touches: how workers and schedulers say that they live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::Incarnation;
use crate::moment::BootTime;

/// Every worker holds a lease of this many seconds, whatever its instances ask for: its presence.
pub const PRESENCE_SECONDS: u64 = 5;

/// One renewal of a worker's lease. Key `<worker>._touch.<seconds>` of the fleet bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Touch {
    /// `/etc/machine-id` of the machine, or what stands for it.
    pub machine: String,
    /// Boot id of the machine's kernel: [`BootTime`]s of two boots cannot be compared.
    pub boot: Uuid,
    /// The worker's state directory: two workers of one name on one machine differ in it.
    pub directory: String,
    /// Host name, for people.
    pub host: String,
    /// The supervisor's run.
    pub incarnation: Incarnation,
    /// Grows with every attempt of this incarnation.
    pub attempt: u64,
    /// When this attempt was sent, on the worker's own clock.
    pub sent: BootTime,
}

/// One renewal of a scheduler's lease. Key `_scheduler.<id>` of the fleet bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulerTouch {
    /// Host name, for people.
    pub host: String,
    /// Process id, for people.
    pub pid: u32,
    /// Grows with every attempt.
    pub attempt: u64,
    /// Which run of it this is: schedulers of one name come one after the other. Nil where that was
    /// not said yet.
    #[serde(default, skip_serializing_if = "Uuid::is_nil")]
    pub run: Uuid,
    /// It knows all that is on the bus, and answers commands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// It was told to stop, and this is its last touch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// How many events it has still to tell. While there are some, the other schedulers keep in mind
    /// what it wrote, to tell it in its place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
