//! What people want of a program.

use std::collections::BTreeMap;

use dsbus_schema::goal::{Goal, Wanted, arguments, wanted};
use dsbus_schema::program::Program;

/// Goals of a program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Goals {
    /// For all of its instances.
    pub all: Option<Goal>,
    /// For single ones.
    pub each: BTreeMap<u32, Goal>,
}

impl Goals {
    /// What people want of an instance of `program`.
    pub fn wanted(&self, program: &Program, index: u32) -> Wanted {
        let mut wanted = wanted(self.all.as_ref(), self.each.get(&index), program.spec.autostart);
        wanted.run &= !self.is_disabled(index);
        // What has a schedule is first started when that says so.
        wanted.run &= program.spec.schedule.is_none() || wanted.starts > 0;
        wanted
    }

    /// Whether anybody has commanded anything of an instance. A goal without a stamp only counts.
    pub fn is_commanded(&self, index: u32) -> bool {
        self.all.iter().chain(self.each.get(&index)).any(|goal| goal.stamp > 0)
    }

    /// The words that belong to the last start of an instance.
    pub fn arguments(&self, index: u32) -> &[String] {
        arguments(self.all.as_ref(), self.each.get(&index))
    }

    pub(crate) fn is_disabled(&self, index: u32) -> bool {
        let disabled = |goal: Option<&Goal>| goal.is_some_and(|goal| goal.disabled);
        disabled(self.all.as_ref()) || disabled(self.each.get(&index))
    }
}
