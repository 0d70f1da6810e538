//! `/instances/{name}/usage`.

use dsbus_schema::moment::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Json;
use super::api::{Api, Call};
use super::instances;
use super::refusal::Refusal;
use crate::usage::Sample;

pub(super) fn add(api: Api) -> Api {
    api.get("/instances/{name}/usage", "What it uses, and used within the last hour", usage)
}

/// What this gateway has asked for, oldest first: while somebody looks at the instance every 2 s,
/// while somebody looks at any every 15 s, for an hour at most.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageRows {
    samples: Vec<UsageRow>,
}

/// What an instance used at a moment.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageRow {
    /// When.
    at: Timestamp,
    /// Processors, of which 1.0 is one that is busy all the time; nothing where the child is new.
    cpu: Option<f32>,
    /// Resident memory, in bytes.
    memory: u64,
}

impl From<Sample> for UsageRow {
    fn from(sample: Sample) -> UsageRow {
        let at = Timestamp::from_unix_nanos(i128::from(sample.at_ms) * 1_000_000);
        UsageRow { at, cpu: sample.cpu, memory: sample.memory }
    }
}

async fn usage(call: Call) -> Result<Json<UsageRows>, Refusal> {
    let row = instances::row(&call.gateway, &call.name)?;
    let samples = call.gateway.metrics.usage().look_at(&row.name);
    Ok(Json(UsageRows { samples: samples.into_iter().map(UsageRow::from).collect() }))
}
