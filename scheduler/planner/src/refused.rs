//! Instances that their worker refuses to run: that is noted first, in the instance's goal, and then
//! they leave. Nobody sends them back to the same worker so.

use dsbus_schema::goal::RefusedBy;

use crate::action::Action;
use crate::moves::Held;
use crate::placed;
use crate::plan::Scene;
use crate::view::Placed;

/// The note that its worker refused the placement that it has.
pub(crate) fn here<'a>(scene: &Scene<'a>, index: u32, placed: &Placed) -> Option<&'a RefusedBy> {
    let refused = &scene.entry.goals.each.get(&index)?.refused;
    refused.iter().find(|by| by.worker == placed.worker && by.epoch == placed.epoch)
}

/// The note that its worker refuses it, if it does, and that is not noted yet.
pub(crate) fn note(scene: &Scene<'_>, held: Held<'_>) -> Option<Action> {
    let Held { name, instance, placed: there } = held;
    let refusal = instance.acted(there).filter(|_| there.wanted.run)?.refused.clone()?;
    if here(scene, name.index, there).is_some() {
        return None;
    }
    let by = RefusedBy { worker: there.worker.clone(), epoch: there.epoch, refusal };
    let asked = placed::asked(scene.program, there.wanted);
    Some(Action::NoteRefusal { name: name.clone(), by, asked })
}
