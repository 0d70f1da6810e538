//! What follows when an instance is given up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What its worker does when an instance ends for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFatal {
    /// Goes on.
    #[default]
    Nothing,
    /// Stops, and ends with the exit code of the instance: for a container whose only purpose is
    /// that program.
    Exit,
}
