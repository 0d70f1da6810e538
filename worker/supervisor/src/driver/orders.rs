//! Placements that are on their way from the agent to the table: a thousand new ones come at once,
//! and are not started in one go.
//!
//! Only instances that the table does not know wait here. Whatever is said of one that it knows is
//! acted on at once, so that nothing that is told later (a lease, above all) meets an instance that
//! should be gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dsbus_schema::ids::{InstanceId, SecretName};
use serde::{Deserialize, Serialize};

use super::{Driver, TURN};
use crate::clock::{self, Now};
use crate::protocol::Order;

/// Orders for instances that are new here, the oldest first; one for each. They are as many as the
/// agent has placements.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Orders {
    turns: VecDeque<InstanceId>,
    waiting: BTreeMap<InstanceId, Box<Order>>,
    /// Those whose turn it was before the secrets were known that they name.
    held: Vec<InstanceId>,
}

impl Orders {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn add(&mut self, order: Box<Order>) {
        let name = order.name.clone();
        if self.waiting.insert(name.clone(), order).is_none() {
            self.turns.push_back(name);
        }
    }

    /// It has its turn again when secrets are known.
    fn hold(&mut self, order: Box<Order>) {
        self.held.push(order.name.clone());
        self.waiting.insert(order.name.clone(), order);
    }

    /// The secrets that its programs name, added to `named`.
    pub(super) fn secrets<'a>(
        &'a self,
        mut named: BTreeSet<&'a SecretName>,
    ) -> BTreeSet<&'a SecretName> {
        named.extend(self.waiting.values().flat_map(|order| order.placement.spec.secrets()));
        named
    }

    /// Secrets are known.
    pub(super) fn release(&mut self) {
        self.turns.extend(self.held.drain(..));
    }

    fn next(&mut self) -> Option<Box<Order>> {
        while let Some(name) = self.turns.pop_front() {
            if let Some(order) = self.waiting.remove(&name) {
                return Some(order);
            }
        }
        None
    }
}

impl Driver {
    /// All placements of this worker: what is not among them goes; what has the lower priority is
    /// started first. Whatever was ordered before is part of it.
    pub(super) fn sync(
        &mut self,
        mut orders: Vec<Order>,
        keep: &BTreeSet<InstanceId>,
        let_go: Option<&BTreeSet<InstanceId>>,
        now: Now,
    ) {
        self.orders = Orders::default();
        self.synced = true;
        for name in self.table.absent(&orders).into_iter().filter(|name| !keep.contains(name)) {
            if let_go.is_some_and(|names| names.contains(&name)) {
                let effects = self.table.let_go(&name, now);
                self.perform(effects, now);
            } else {
                self.unplace(&name, now);
            }
        }
        if let Some(names) = let_go {
            self.table.keep_let_go(names);
        }
        orders.sort_by_key(|order| order.placement.spec.priority);
        // What an earlier run had and this one has not is not waited for any longer.
        for end in self.reports.ledger().leave(&orders, &self.config.worker) {
            self.tell_end(end, now);
        }
        for order in orders {
            self.place(Box::new(order), now);
        }
    }

    pub(super) fn place(&mut self, order: Box<Order>, now: Now) {
        self.want_secrets(&order.placement.spec, now);
        if self.table.get(&order.name).is_some() {
            self.act_on(*order, now);
        } else {
            self.orders.add(order);
        }
    }

    pub(super) fn unplace(&mut self, name: &InstanceId, now: Now) {
        if let Some(order) = self.orders.waiting.remove(name) {
            self.table.over(name, order.placement.epoch);
        }
        let effects = self.table.unplace(name, now);
        self.perform(effects, now);
    }

    fn act_on(&mut self, mut order: Order, now: Now) {
        if self.table.get(&order.name).is_none() {
            let on_bus = order.last.take();
            let ledger = self.reports.ledger();
            let (end, last) = ledger.meet(&order.name, on_bus, &self.config.worker);
            order.last = last;
            if let Some(end) = end {
                self.tell_end(end, now);
            }
        }
        let files = self.files(&order.name, &order.placement.spec);
        let refusal = self.judge(&order.name, &order.placement.spec);
        let effects = self.table.place_judged(order, files, refusal, now);
        self.perform(effects, now);
    }

    /// Acts on orders for one turn.
    pub(super) fn take_orders(&mut self, now: Now) {
        let mut moment = now;
        while moment.boot.since(now.boot) < TURN
            && let Some(order) = self.orders.next()
        {
            // Its hooks need them, too.
            if self.secrets.awaited(&order.placement.spec) {
                self.orders.hold(order);
                continue;
            }
            self.act_on(*order, moment);
            self.start_children();
            moment = clock::now();
        }
    }
}
