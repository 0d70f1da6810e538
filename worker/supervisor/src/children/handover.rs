//! Children at a change of the worker's version: they notice nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use serde::{Deserialize, Serialize};

use super::{Children, Life, Living};
use crate::cgroup::Cgroup;
use crate::handover::{Passing, Taking};
use crate::protocol::Child;
use crate::stdin::{Stdin, StdinLeft};

/// All children, as they are left.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChildrenLeft {
    living: Vec<LivingLeft>,
    doomed: Vec<PathBuf>,
    doomed_at: BootTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct LivingLeft {
    number: u64,
    child: Child,
    #[serde(with = "crate::handover::specs")]
    spec: Arc<ProgramSpec>,
    mark: String,
    group: i32,
    seen: Vec<(i32, u64)>,
    stdin: Option<StdinLeft>,
    stdout: Option<u64>,
    stderr: Option<u64>,
    notify: Option<u64>,
    cgroup: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    executable: PathBuf,
    group_asked: bool,
    life: Life,
    condemned: Option<BootTime>,
}

/// A cgroup that an earlier version made. One that is gone had nobody left in it.
pub(crate) fn reopened(path: Option<&Path>) -> Option<Cgroup> {
    let path = path?;
    Cgroup::reopen(path)
        .inspect_err(|e| tracing::warn!("the cgroup {} cannot be opened: {e}", path.display()))
        .ok()
}

impl Children {
    pub(crate) fn hand_over(&self, passing: &mut Passing) -> ChildrenLeft {
        let living = self.living.iter().map(|(number, living)| living.hand_over(*number, passing));
        ChildrenLeft {
            living: living.collect(),
            doomed: self.doomed.iter().map(|cgroup| cgroup.path().to_owned()).collect(),
            doomed_at: self.doomed_at,
        }
    }

    pub(crate) fn take_over(left: ChildrenLeft, taking: &mut Taking) -> Result<Children, String> {
        let ChildrenLeft { living: all, doomed, doomed_at } = left;
        let doomed = doomed.iter().filter_map(|path| reopened(Some(path))).collect();
        let mut children =
            Children { numbers: HashMap::new(), doomed, doomed_at, ..Children::default() };
        for left in all {
            let number = left.number;
            let living = Living::take_over(left, taking)?;
            if !living.life.is_reaped() {
                children.numbers.insert(living.child.pid, number);
            }
            children.living.insert(number, living);
        }
        Ok(children)
    }
}

impl Living {
    fn hand_over(&self, number: u64, passing: &mut Passing) -> LivingLeft {
        LivingLeft {
            number,
            child: self.child.clone(),
            spec: Arc::clone(&self.spec),
            mark: self.mark.clone(),
            group: self.group,
            seen: self.seen.clone(),
            stdin: self.stdin.as_ref().map(|stdin| stdin.hand_over(passing)),
            stdout: self.stdout,
            stderr: self.stderr,
            notify: self.notify,
            cgroup: self.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
            pidfile: self.pidfile.clone(),
            executable: self.executable.clone(),
            group_asked: self.group_asked,
            life: self.life,
            condemned: self.condemned,
        }
    }

    fn take_over(left: LivingLeft, taking: &mut Taking) -> Result<Living, String> {
        Ok(Living {
            child: left.child,
            spec: left.spec,
            mark: left.mark,
            group: left.group,
            seen: left.seen,
            stdin: left.stdin.map(|stdin| Stdin::take_over(stdin, taking)).transpose()?,
            stdout: left.stdout,
            stderr: left.stderr,
            notify: left.notify,
            cgroup: reopened(left.cgroup.as_deref()),
            pidfile: left.pidfile,
            executable: left.executable,
            group_asked: left.group_asked,
            life: left.life,
            condemned: left.condemned,
        })
    }
}
