//! Programs of which something is not known: nothing is planned for them, since what runs must not
//! end, nor start, only because somebody wrote over what was declared, or lost it.

use std::collections::BTreeSet;

use dsbus_schema::ids::ProgramName;

use super::View;

/// What is known of a program's declaration by its absence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Its tombstone was read: it was removed in order.
    removed: bool,
    /// What stands there now cannot be read: the declaration, the goal of all, or those of these
    /// instances.
    program: bool,
    all: bool,
    each: BTreeSet<u32>,
}

/// What cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is declared.
    Program,
    /// A goal, of all (`None`) or of one instance.
    Goal(Option<u32>),
}

impl View {
    /// What stands on the bus there cannot be read, and nothing is known of what stood there before.
    pub fn set_unread(&mut self, name: &ProgramName, part: Part) {
        let unread = self.unread.entry(name.clone()).or_default();
        match part {
            Part::Program => unread.program = true,
            Part::Goal(None) => unread.all = true,
            Part::Goal(Some(index)) => drop(unread.each.insert(index)),
        }
    }

    /// It was read; a declaration is gone when its tombstone was.
    pub(super) fn read(&mut self, name: &ProgramName, part: Part, gone: bool) {
        if !gone && !self.unread.contains_key(name) {
            return;
        }
        let unread = self.unread.entry(name.clone()).or_default();
        match part {
            Part::Program => (unread.program, unread.removed) = (false, gone),
            Part::Goal(None) => unread.all = false,
            Part::Goal(Some(index)) => drop(unread.each.remove(&index)),
        }
        if *unread == Unread::default() {
            self.unread.remove(name);
        }
    }

    /// Of a bucket that is delivered anew nothing is known.
    pub(super) fn unread_reset(&mut self, part: Part) {
        self.unread.retain(|_, unread| {
            match part {
                Part::Program => (unread.program, unread.removed) = (false, false),
                Part::Goal(_) => (unread.all, unread.each) = (false, BTreeSet::new()),
            }
            *unread != Unread::default()
        });
    }

    /// Whether enough is known of a program to plan for it. One that is neither declared nor removed
    /// was lost: what it runs goes on.
    pub(crate) fn is_known(&self, name: &ProgramName) -> bool {
        let unread = self.unread.get(name);
        let read = unread.is_none_or(|u| !u.program && !u.all && u.each.is_empty());
        read && (self.program(name).is_some() || unread.is_some_and(|unread| unread.removed))
    }
}
