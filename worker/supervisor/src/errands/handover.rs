//! Commands beside children at a change of the worker's version: they run on.

use std::path::PathBuf;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

use super::{Errand, Errands, Fate, Kin, Purpose};
use crate::children::reopened;

/// One, as it is left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrandLeft {
    pid: i32,
    name: InstanceId,
    purpose: Purpose,
    cgroup: Option<PathBuf>,
    mark: String,
    until: BootTime,
    output: u64,
    fate: Option<Fate>,
    gone_by: Option<BootTime>,
}

impl Errands {
    pub(crate) fn hand_over(&self) -> Vec<ErrandLeft> {
        let left = |(pid, errand): (&i32, &Errand)| ErrandLeft {
            pid: *pid,
            name: errand.name.clone(),
            purpose: errand.purpose,
            cgroup: errand.kin.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
            mark: errand.kin.mark.clone(),
            until: errand.until,
            output: errand.output,
            fate: errand.fate,
            gone_by: errand.gone_by,
        };
        self.running.iter().map(left).collect()
    }

    pub(crate) fn take_over(left: Vec<ErrandLeft>) -> Errands {
        let taken = |left: ErrandLeft| {
            let kin = Kin { cgroup: reopened(left.cgroup.as_deref()), mark: left.mark };
            let ErrandLeft { name, purpose, until, output, fate, gone_by, .. } = left;
            (left.pid, Errand { kin, name, purpose, until, output, fate, gone_by })
        };
        Errands { running: left.into_iter().map(taken).collect() }
    }
}
