//! How a change is rolled out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::lenient::{self, Span};

/// Most extra instances of a rollout.
const SURGE_MAX: u32 = 1_000;

/// How a change that needs new children reaches the instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Update {
    /// So many instances may be down at once, for a rollout, a drain or a rolling restart.
    #[serde(deserialize_with = "lenient::number")]
    pub max_unavailable: u32,
    /// So many extra instances are run meanwhile, on indexes after the last one.
    #[serde(deserialize_with = "lenient::number")]
    pub max_surge: u32,
    /// The first so many instances are changed, and the rest when that is promoted. At the first start, the rest is
    /// started when these are healthy.
    #[serde(deserialize_with = "lenient::number")]
    pub canary: u32,
    /// How long a changed instance must be RUNNING before the next one is changed.
    pub min_healthy: Span,
    /// Go back to the declaration before when a changed instance ends FATAL; else the rollout stops there.
    #[serde(deserialize_with = "lenient::boolean")]
    pub auto_revert: bool,
}

impl Default for Update {
    fn default() -> Self {
        Update {
            max_unavailable: 1,
            max_surge: 0,
            canary: 0,
            min_healthy: Span::from_secs(0),
            auto_revert: false,
        }
    }
}

impl Update {
    pub(super) fn problem(&self, exclusive: bool, numprocs: u32) -> Option<Problem> {
        let wrong = |message: String| Some(Problem::new("update", message));
        if self.max_unavailable == 0 && self.max_surge == 0 {
            return wrong(
                "max_unavailable and max_surge cannot both be 0: nothing could change".to_owned(),
            );
        }
        if self.max_surge > SURGE_MAX {
            return wrong(format!("max_surge must be at most {SURGE_MAX}, not {}", self.max_surge));
        }
        if exclusive && self.max_surge > 0 {
            return wrong(
                "max_surge cannot be more than 0 for an exclusive program: it runs more copies than wanted".to_owned(),
            );
        }
        if self.canary > 0 && self.canary >= numprocs {
            return wrong(format!(
                "canary must be less than numprocs ({numprocs}), not {}",
                self.canary
            ));
        }
        None
    }
}
