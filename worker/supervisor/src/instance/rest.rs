//! What has ended for good, or was given up: it stays so wherever it is placed anew, and is not
//! started before more is wanted. And what has grown too old is started anew.

use std::sync::Arc;

use dsbus_schema::event::Notice;
use dsbus_schema::ids::ProgramId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::RestState;
use dsbus_schema::program::Kind;

use super::phase::{After, Child, Phase, Reload};
use super::{Effect, Instance};
use crate::clock::Now;

/// Copies of a program end over the last part of `max_age`: a tenth of it.
const SPREAD: u32 = 10;
/// 2^32 times the golden ratio: multiples of it, taken modulo 2^32, lie evenly apart however many
/// there are.
const GOLDEN: u32 = 0x9E37_79B9;
/// How many shares there are: 2^32.
const SHARES: f64 = 4_294_967_296.0;

impl Instance {
    /// Whether it has ended for good, or was given up.
    pub(super) fn rests(&self) -> bool {
        match self.phase {
            Phase::Exited { restart_at: None } | Phase::Fatal => true,
            Phase::Exited { restart_at: Some(_) }
            | Phase::Stopped
            | Phase::Preparing { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Stopping { .. }
            | Phase::Leaving { .. } => false,
        }
    }

    /// Whether it has no child, and starts none before more is wanted of it, whatever lease is extended.
    pub(crate) fn stays_at_rest(&self) -> bool {
        self.is_placed() && self.rests() && !self.busy() && !self.waits
    }

    /// A placement that is met anew says that the instance rests: what is wanted beside it was acted
    /// on, elsewhere or before.
    pub(super) fn rest(&mut self, out: &mut Vec<Effect>) {
        let Some(rest) = self.placed.rest.clone() else { return };
        self.phase = match rest.state {
            RestState::Exited => Phase::Exited { restart_at: None },
            RestState::Fatal => Phase::Fatal,
        };
        self.acknowledge_all();
        self.last_spec = Some(Arc::clone(&self.placed.spec));
        self.exit = rest.exit;
        self.reason = rest.reason;
        self.since = rest.since;
        self.report(None, out);
    }

    /// When the child is too old. A reload brings a younger one, and is waited for.
    pub(super) fn too_old_at(&self, child: &Child) -> Option<BootTime> {
        let age = child.spec.max_age?;
        if child.spec.kind != Kind::Service || !matches!(self.reload, Reload::No) {
            return None;
        }
        let sooner = age.0 / SPREAD;
        let share = f64::from(share(self.placed.id, self.name.index)) / SHARES;
        Some(child.since + age.0.saturating_sub(sooner.mul_f64(share)))
    }

    /// Stops a child that is too old; says whether it was.
    pub(super) fn recycled(&mut self, child: &Child, now: Now, out: &mut Vec<Effect>) -> bool {
        if self.too_old_at(child).is_none_or(|at| now.boot < at) {
            return false;
        }
        let age = child.spec.max_age.map(|age| age.to_string()).unwrap_or_default();
        let reason = format!("it is too old: max_age is {age}");
        self.notice(Notice::Recycled, (Some(child.pid), None, None), &reason, out);
        self.stop(child.clone(), &reason, After::Stopped, now, out);
        true
    }
}

/// Where in the spread a copy ends its life: of 2^32. The program's part of it keeps programs apart
/// that were declared together.
fn share(program: ProgramId, index: u32) -> u32 {
    let (_, _, _, tail) = program.0.as_fields();
    let [.., a, b, c, d] = *tail;
    u32::from_be_bytes([a, b, c, d]).wrapping_add(index.wrapping_mul(GOLDEN))
}
