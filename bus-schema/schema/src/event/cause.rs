//! Why an instance was moved, of a few causes: for whoever counts. The reason beside it is for people.

use super::PlacementFact;

/// Stands in the reason of a move away from a worker that is lost, after its name.
pub const WORKER_LOST: &str = "is lost: no touch for";
/// Stands in the reason of a move away from a worker that was forgotten, after its name.
pub const WORKER_FORGOTTEN: &str = "was forgotten";
/// Stands in the reason of a move away from a worker that is drained, after its name.
pub const WORKER_DRAINED: &str = "is drained";
/// Begins the reason of a move of an instance that could not be kept running; its worker follows.
pub const INSTANCE_FATAL: &str = "it ended FATAL on";
/// The reason of a move that somebody asked for, so that workers have equally much to do.
pub const BALANCE: &str = "it was asked to leave, for balance";

/// Why an instance was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveCause {
    /// Its worker is lost, or was forgotten.
    WorkerLost,
    /// It ended FATAL there.
    InstanceFatal,
    /// Its worker is drained.
    Drain,
    /// Somebody asked for balance.
    Balance,
    /// Something else: what is declared has changed, or what its worker can do.
    Change,
}

impl MoveCause {
    /// All of them.
    pub const ALL: [MoveCause; 5] = [
        MoveCause::WorkerLost,
        MoveCause::InstanceFatal,
        MoveCause::Drain,
        MoveCause::Balance,
        MoveCause::Change,
    ];

    /// In words, as a label has it.
    pub fn name(self) -> &'static str {
        match self {
            MoveCause::WorkerLost => "worker_lost",
            MoveCause::InstanceFatal => "instance_fatal",
            MoveCause::Drain => "drain",
            MoveCause::Balance => "balance",
            MoveCause::Change => "change",
        }
    }
}

impl PlacementFact {
    /// Why it was done, where this was a move.
    pub fn move_cause(&self) -> MoveCause {
        // Names hold no blanks, so that none of them looks like one of these.
        let reason = self.reason.as_str();
        if reason.contains(WORKER_LOST) || reason.ends_with(WORKER_FORGOTTEN) {
            MoveCause::WorkerLost
        } else if reason.starts_with(INSTANCE_FATAL) {
            MoveCause::InstanceFatal
        } else if reason.ends_with(WORKER_DRAINED) {
            MoveCause::Drain
        } else if reason == BALANCE {
            MoveCause::Balance
        } else {
            MoveCause::Change
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_reason_has_its_cause() {
        for (reason, cause) in [
            ("w1 is lost: no touch for 5 s, no answer", "worker_lost"),
            ("w1 was forgotten", "worker_lost"),
            ("it ended FATAL on w1", "instance_fatal"),
            ("w1 is drained", "drain"),
            ("it was asked to leave, for balance", "balance"),
            ("touch_timeout or exclusive was changed", "change"),
            ("w1 has no label zone", "change"),
        ] {
            let fact: PlacementFact = serde_json::from_value(json!({
                "name": "web:0", "id": "01890a5d-ac96-774b-bcce-b302099a8057", "change": "MOVED",
                "from": "w1", "to": "w2", "epoch": 2, "reason": reason, "scheduler": "s1",
            }))
            .unwrap();
            assert_eq!(fact.move_cause().name(), cause, "{reason}");
        }
        let names = MoveCause::ALL.map(MoveCause::name);
        assert_eq!(names, ["worker_lost", "instance_fatal", "drain", "balance", "change"]);
    }
}
