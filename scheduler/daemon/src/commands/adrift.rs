//! What workers still have, and the bus has lost, is not declared as new: it would run twice.

use dsbus_client::Refusal;
use dsbus_schema::command::code;
use dsbus_schema::ids::ProgramName;

use super::Commander;

impl Commander {
    /// Refuses to declare as new what workers still have: the bus has lost it.
    pub(super) fn refuse_adrift(&self, name: &ProgramName) -> Result<(), Refusal> {
        let core = self.shared.lock();
        let Some((instance, worker)) = core.view.undeclared(name) else { return Ok(()) };
        let text = format!(
            "worker {worker} still has {instance}, which the bus knows nothing of: it has lost what it \
             knew; first rebuild that with dsbus recover"
        );
        Err(Refusal::new(code::CONFLICT, text))
    }
}
