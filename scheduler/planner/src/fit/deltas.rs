//! What a plan has put on workers so far, beyond what the view has.

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::ProgramSpec;

use crate::view::host::Reserved;
use crate::view::{Host, Slot};

/// What a plan has put on a worker so far, beyond what the view has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delta {
    pub(crate) instances: u64,
    pub(crate) reserved: Reserved,
    pub(crate) programs: Vec<ProgramName>,
}

/// What a plan has put on workers so far, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deltas(Vec<Delta>);

impl Deltas {
    fn of(&self, number: usize) -> Option<&Delta> {
        self.0.get(number)
    }

    fn at(&mut self, host: &Host) -> &mut Delta {
        if self.0.len() <= host.number {
            self.0.resize_with(host.number + 1, Delta::default);
        }
        &mut self.0[host.number]
    }

    /// Counts an instance that the plan puts on a worker.
    pub(crate) fn add(&mut self, host: &Host, name: &ProgramName, spec: &ProgramSpec) {
        let delta = self.at(host);
        delta.instances += 1;
        delta.reserved.add(Reserved::of(spec));
        delta.programs.push(name.clone());
    }

    /// Counts what an instance takes more where it is, as it is to be.
    pub(crate) fn grow(&mut self, host: &Host, before: &ProgramSpec, after: &ProgramSpec) {
        let more = Reserved::of(after).beyond(Reserved::of(before));
        if more != Reserved::default() {
            self.at(host).reserved.add(more);
        }
    }

    pub(super) fn instances(&self, number: usize, slot: &Slot) -> u64 {
        slot.instances + self.of(number).map_or(0, |delta| delta.instances)
    }

    pub(super) fn reserved(&self, number: usize, slot: &Slot) -> Reserved {
        let mut reserved = slot.reserved;
        reserved.add(self.of(number).map_or_else(Reserved::default, |delta| delta.reserved));
        reserved
    }

    pub(super) fn new_copies(&self, number: usize, name: &ProgramName) -> u64 {
        self.of(number).map_or(0, |d| d.programs.iter().filter(|p| *p == name).count()) as u64
    }

    pub(super) fn copies(&self, host: &Host, name: &ProgramName) -> u64 {
        let here = host.copies.get(name).copied().unwrap_or(0);
        u64::from(here) + self.new_copies(host.number, name)
    }

    pub(super) fn hosts(&self, host: &Host, name: &ProgramName) -> bool {
        self.copies(host, name) > 0
    }
}
