//! Placements that are on their way from the agent to the table: a thousand of them come at once,
//! and are not acted on in one go.

use std::collections::VecDeque;

use dsbus_schema::ids::InstanceId;

use super::{Driver, TURN};
use crate::clock::{self, Now};
use crate::instance::Input;
use crate::protocol::Order;

/// What is to be done with one instance.
#[derive(Debug)]
enum Pending {
    Place(Box<Order>),
    Unplace(InstanceId),
}

/// Orders, in the order in which they came. They are as many as the agent has placements.
#[derive(Debug, Default)]
pub(super) struct Orders(VecDeque<Pending>);

impl Orders {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn place(&mut self, order: Box<Order>) {
        self.0.push_back(Pending::Place(order));
    }

    pub(super) fn unplace(&mut self, name: InstanceId) {
        self.0.push_back(Pending::Unplace(name));
    }
}

impl Driver {
    /// All placements of this worker: what is not among them goes; what has the lower priority is
    /// started first. Whatever was ordered before is part of it.
    pub(super) fn sync(&mut self, mut orders: Vec<Order>) {
        self.orders = Orders::default();
        for name in self.table.absent(&orders) {
            self.orders.unplace(name);
        }
        orders.sort_by_key(|order| order.placement.spec.priority);
        for order in orders {
            self.orders.place(Box::new(order));
        }
    }

    /// Acts on orders for one turn.
    pub(super) fn take_orders(&mut self, now: Now) {
        while let Some(pending) = self.orders.0.pop_front() {
            let moment = clock::now();
            let effects = match pending {
                Pending::Place(order) => {
                    let files = self.files(&order.name, &order.placement.spec);
                    self.table.place(*order, files, moment)
                }
                Pending::Unplace(name) => self.table.handle(&name, Input::Unplace, moment),
            };
            self.perform(effects, moment);
            if moment.boot.since(now.boot) > TURN {
                return;
            }
        }
    }
}
