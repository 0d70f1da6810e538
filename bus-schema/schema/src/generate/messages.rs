//! Every message, by the name of its schema.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::alert::{AlertGroup, AlertLease, AlertRate, DeadLetter, Letter, LostLetters};
use crate::call::{
    Clear, Cleared, Inventory, InventoryAsk, LogAsk, LogPart, LogWindow, Pong, SignalAsk,
    SignalSent, StdinAsk, StdinTaken, UsageAsk, Using, WindowAsk,
};
use crate::command::{
    Act, Acted, Applied, Apply, Ask, Create, Explanation, GroupRow, Hand, PlannedMove, Rebalance,
    Recover, Recovered, Refused, RevisionRow, RolloutAct, RolloutRow, Scale, WorkerAct,
    WorkerActed,
};
use crate::event::{Event, GroupFact};
use crate::goal::Goal;
use crate::placement::{Placement, Removal};
use crate::program::Program;
use crate::secret::SealedSecret;
use crate::stats::{SchedulerStats, WorkerStats};
use crate::status::{InstanceRow, Status, WorkerRow};
use crate::touch::{SchedulerTouch, Touch};
use crate::version;
use crate::worker::Worker;
use crate::worker_goal::WorkerGoal;

/// A message: what a NATS body holds.
pub(super) struct Message {
    /// Name of the schema's file and of the golden message.
    pub(super) name: &'static str,
    /// Its schema as a part of a larger document.
    pub(super) part: fn(&mut SchemaGenerator) -> Schema,
    whole: fn(SchemaGenerator) -> Schema,
}

/// All of them.
pub(super) const MESSAGES: &[Message] = &[
    message::<Act>("act"),
    message::<Acted>("acted"),
    message::<AlertGroup>("alert-group"),
    message::<AlertLease>("alert-lease"),
    message::<AlertRate>("alert-rate"),
    message::<Applied>("applied"),
    message::<Apply>("apply"),
    message::<Ask>("ask"),
    message::<Clear>("clear"),
    message::<Cleared>("cleared"),
    message::<Create>("create"),
    message::<DeadLetter>("dead-letter"),
    message::<Event>("event"),
    message::<Vec<Explanation>>("explanations"),
    message::<Goal>("goal"),
    message::<GroupFact>("group"),
    message::<Vec<GroupRow>>("group-rows"),
    message::<Vec<InstanceRow>>("instance-rows"),
    message::<Inventory>("inventory"),
    message::<InventoryAsk>("inventory-ask"),
    message::<Letter>("letter"),
    message::<LogAsk>("log-ask"),
    message::<LogPart>("log-part"),
    message::<LogWindow>("log-window"),
    message::<LostLetters>("lost-letters"),
    message::<Placement>("placement"),
    message::<Vec<PlannedMove>>("planned-moves"),
    message::<Pong>("pong"),
    message::<Program>("program"),
    message::<Rebalance>("rebalance"),
    message::<Recover>("recover"),
    message::<Recovered>("recovered"),
    message::<Refused>("refused"),
    message::<Vec<RevisionRow>>("revision-rows"),
    message::<Removal>("removal"),
    message::<RolloutAct>("rollout-act"),
    message::<Vec<RolloutRow>>("rollout-rows"),
    message::<Scale>("scale"),
    message::<SchedulerStats>("scheduler-stats"),
    message::<SchedulerTouch>("scheduler-touch"),
    message::<SealedSecret>("secret"),
    message::<SignalAsk>("signal-ask"),
    message::<SignalSent>("signal-sent"),
    message::<Status>("status"),
    message::<StdinAsk>("stdin-ask"),
    message::<Hand<SignalAsk>>("hand-signal"),
    message::<Hand<StdinAsk>>("hand-stdin"),
    message::<Hand<Clear>>("hand-clear"),
    message::<StdinTaken>("stdin-taken"),
    message::<Touch>("touch"),
    message::<UsageAsk>("usage-ask"),
    message::<Using>("using"),
    message::<WindowAsk>("window-ask"),
    message::<Worker>("worker"),
    message::<WorkerAct>("worker-act"),
    message::<Vec<WorkerActed>>("workers-acted"),
    message::<WorkerGoal>("worker-goal"),
    message::<Vec<WorkerRow>>("worker-rows"),
    message::<WorkerStats>("worker-stats"),
];

const fn message<T: JsonSchema>(name: &'static str) -> Message {
    Message {
        name,
        part: |generator| generator.subschema_for::<T>(),
        whole: |generator| generator.into_root_schema_for::<T>(),
    }
}

impl Message {
    /// Its schema as a document of its own. It describes what is accepted: a key with a default is
    /// not required, and keys that are not listed are ignored.
    pub(super) fn schema(&self) -> Value {
        let mut schema = (self.whole)(SchemaSettings::draft2020_12().into_generator()).to_value();
        schema["$id"] = json!(format!("urn:dsbus:v{}:{}", version::MAJOR, self.name));
        schema
    }
}
