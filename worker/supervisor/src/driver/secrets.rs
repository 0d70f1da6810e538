//! Secrets that programs here name: asked for before their first start, and told when they change.

use std::collections::BTreeSet;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::SecretName;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::secret::SealedSecret;

use super::Driver;
use crate::clock::Now;
use crate::protocol::ToAgent;

/// Most instances that one event names.
const NAMES_MAX: usize = 8;

impl Driver {
    /// Asks the agent for what a program names and is not known here.
    pub(super) fn want_secrets(&mut self, spec: &ProgramSpec, now: Now) {
        for name in self.secrets.want(spec, now.boot) {
            self.agent.send(&ToAgent::Secret { name });
        }
    }

    /// The agent tells of a secret.
    pub(super) fn hear_secret(&mut self, name: &SecretName, found: Option<&SealedSecret>) {
        let changed = self.secrets.hear(name, found);
        self.release();
        let Some(change) = changed else { return };
        let users: Vec<String> = self
            .table
            .iter()
            .filter(|(_, instance)| instance.spec().secrets().any(|named| named == name))
            .map(|(id, _)| id.to_string())
            .collect();
        let more = match users.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = users.len().min(NAMES_MAX);
        if let Some(users) = users.get(..shown).filter(|users| !users.is_empty()) {
            let users = users.join(", ");
            let reason = format!("secret {name} {change}: from the next start on of {users}{more}");
            tracing::info!("{reason}");
            self.worker_event(WorkerChange::SecretChanged, Some(reason));
        }
    }

    /// Gives up waiting for answers where it is time to.
    pub(super) fn tend_secrets(&mut self, now: Now) {
        if self.secrets.expire(now.boot) {
            self.release();
        }
    }

    fn release(&mut self) {
        self.wanted.extend(self.held.drain(..));
        self.orders.release();
    }

    /// Wipes what no program here names any longer.
    pub(super) fn forget_secrets(&mut self) {
        if self.secrets.names().next().is_none() {
            return;
        }
        let specs = self.table.iter().map(|(_, instance)| instance.spec());
        let named: BTreeSet<&SecretName> = specs.flat_map(|spec| spec.secrets()).collect();
        let named = self.orders.secrets(named);
        self.secrets.keep(&named);
    }
}
