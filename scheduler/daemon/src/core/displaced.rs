//! What stands where a declaration or a goal stood, and no scheduler wrote: answers of the server
//! that somebody aimed there, mostly. It counts nowhere; `restore.rs` writes again what it
//! displaced.

use dsbus_client::{Entry, Error, Value, Write};
use dsbus_planner::view::{Part, Seen};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::Program;
use dsbus_schema::storage::{Bucket, parse_goal_key, parse_worker_goal_key};
use dsbus_schema::worker_goal::WorkerGoal;

use super::Core;

/// Something that was displaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// Where.
    pub bucket: Bucket,
    /// The key.
    pub key: String,
    /// Sequence of what stands there now.
    pub seq: u64,
}

impl Core {
    /// An entry of a bucket that only schedulers write cannot be read. What is known goes on to count.
    pub(super) fn unreadable(&mut self, bucket: Bucket, entry: &Entry) {
        if !matches!(bucket, Bucket::Programs | Bucket::Goals) {
            return;
        }
        let by_scheduler = entry.by.is_some() && entry.value != Value::Copied;
        if !by_scheduler {
            self.displaced.insert((bucket, entry.key.clone()), entry.seq);
        }
        if self.knows(bucket, &entry.key) {
            return;
        }
        match bucket {
            Bucket::Programs => {
                if let Ok(name) = entry.key.parse() {
                    self.view.set_unread(&name, Part::Program);
                }
            }
            _ => {
                if let Some((program, index)) = parse_goal_key(&entry.key) {
                    self.view.set_unread(&program, Part::Goal(index));
                }
            }
        }
    }

    /// What is displaced now.
    pub fn displaced(&self) -> Vec<Displaced> {
        let all = self.displaced.iter();
        all.map(|((bucket, key), seq)| Displaced { bucket: *bucket, key: key.clone(), seq: *seq })
            .collect()
    }

    fn knows(&self, bucket: Bucket, key: &str) -> bool {
        self.known(bucket, key).is_ok_and(|known| known.is_some())
    }

    /// The write that says again what is known to have stood under a key; `None` when nothing is.
    ///
    /// # Errors
    /// [`Error::Malformed`] when that cannot be written as JSON.
    pub fn known(&self, bucket: Bucket, key: &str) -> Result<Option<Write>, Error> {
        if bucket == Bucket::Programs {
            let name: Option<ProgramName> = key.parse().ok();
            let program = name.as_ref().and_then(|name| self.view.program(name));
            return program.map(|program| Write::put(key, program)).transpose();
        }
        if let Some(worker) = parse_worker_goal_key(key) {
            let goal = self.view.worker_goal(&worker);
            let goal = goal.filter(|goal| **goal != WorkerGoal::default());
            return goal.map(|goal| Write::put(key, goal)).transpose();
        }
        let Some((program, index)) = parse_goal_key(key) else { return Ok(None) };
        let goals = self.view.goals(&program);
        let goal = goals.and_then(|goals| match index {
            None => goals.all.as_ref(),
            Some(index) => goals.each.get(&index),
        });
        goal.map(|goal| Write::put(key, goal)).transpose()
    }

    /// What stood there before a scheduler began is known now. Nothing is told of it: it is not new.
    ///
    /// # Errors
    /// [`Error::Malformed`] when this release cannot read it.
    pub fn learn(&mut self, bucket: Bucket, entry: &Entry) -> Result<(), Error> {
        if self.knows(bucket, &entry.key) {
            return Ok(());
        }
        if bucket == Bucket::Programs {
            let Ok(name) = entry.key.parse() else { return Ok(()) };
            let program = entry.json::<Program>()?;
            self.view.set_program(&name, program.map(|value| Seen { seq: entry.seq, value }));
        } else if let Some(worker) = parse_worker_goal_key(&entry.key) {
            let goal = entry.json::<WorkerGoal>()?;
            self.view.set_worker_goal(&worker, goal.map(|value| Seen { seq: entry.seq, value }));
        } else if let Some((program, index)) = parse_goal_key(&entry.key) {
            self.view.set_goal(&program, index, entry.json::<Goal>()?);
        }
        Ok(())
    }
}
