//! What a supervisor finds on the disk of its machine, and what it goes on from that with.

use std::collections::{BTreeSet, VecDeque};

use dsbus_schema::event::{Fact, ProcessFact};
use dsbus_schema::ids::InstanceId;
use dsbus_supervisor::clock::Now;
use dsbus_supervisor::instance::Files;
use dsbus_supervisor::protocol::{Order, Report, Reported};
use dsbus_supervisor::report::Ledger;
use dsbus_supervisor::table::Effects;
use uuid::Uuid;

use crate::world::World;

/// What a run leaves to the next one: it was written before any agent heard of it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) reports: VecDeque<Report>,
    pub(crate) reported: u64,
    pub(crate) ledger: Ledger,
    /// The boot of its machine.
    boot: Uuid,
}

impl World {
    /// A supervisor dies.
    pub(crate) fn keep_disk(&mut self, n: usize) {
        let Some(s) = self.supervisors[n].take() else { return };
        let (boot, ledger) = (self.machines[n].boot, s.ledger.of_next_run());
        let (reports, reported) = (s.reports, s.reported);
        self.machines[n].disk = Some(Disk { reports, reported, ledger, boot });
    }

    /// What is on the disk. A machine that lost its power may have lost that, too.
    pub(crate) fn take_disk(&mut self, n: usize) -> Disk {
        let Some(disk) = self.machines[n].disk.take() else { return Disk::default() };
        if disk.boot != self.machines[n].boot && self.dice.one_in(2) {
            self.witness.wiped.insert(n);
            return Disk::default();
        }
        disk
    }

    /// These are all placements of the worker. What the last run had beside them is over.
    pub(crate) fn sync(
        &mut self,
        n: usize,
        mut orders: Vec<Order>,
        keep: &BTreeSet<InstanceId>,
        let_go: &BTreeSet<InstanceId>,
        now: Now,
    ) -> Effects {
        let worker = self.worker(n);
        let Some(s) = &mut self.supervisors[n] else { return Effects::new() };
        let ends = s.ledger.leave(&orders, &worker);
        let mut effects = Effects::new();
        for name in s.table.absent(&orders).into_iter().filter(|name| !keep.contains(name)) {
            effects.extend(if let_go.contains(&name) {
                s.table.let_go(&name, now)
            } else {
                s.table.unplace(&name, now)
            });
        }
        s.table.keep_let_go(let_go);
        self.tell_ends(n, ends, now);
        orders.sort_by_key(|order| order.placement.spec.priority);
        for order in orders {
            effects.extend(self.place(n, order, now));
        }
        effects
    }

    /// An instance that this run does not know yet goes on where an earlier one ended.
    pub(crate) fn place(&mut self, n: usize, mut order: Order, now: Now) -> Effects {
        let worker = self.worker(n);
        let Some(s) = &mut self.supervisors[n] else { return Effects::new() };
        if s.table.get(&order.name).is_none() {
            let (end, last) = s.ledger.meet(&order.name, order.last.take(), &worker);
            order.last = last;
            self.tell_ends(n, end.into_iter().collect(), now);
        }
        let Some(s) = &mut self.supervisors[n] else { return Effects::new() };
        // Some are refused when they come, and some when their child is to be started.
        let refusal =
            s.rules.refusal(&order.name).filter(|_| order.placement.epoch.0.is_multiple_of(2));
        s.table.place_judged(order, Files::default(), refusal, now)
    }

    /// Tells the ends of children that died with the last run.
    fn tell_ends(&mut self, n: usize, ends: Vec<ProcessFact>, now: Now) {
        for end in ends {
            let (id, fact) = (self.uuid(), Box::new(Fact::Process(end)));
            self.report(n, Reported::Event { id, time: now.wall, fact });
        }
    }
}
