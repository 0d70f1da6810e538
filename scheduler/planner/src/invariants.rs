//! What must hold in every view, asserted before every plan.

use crate::view::View;

/// Everything that is wrong with a view, for the log. Invariant 1 of DESIGN.md section 5: at most
/// one placement per instance.
pub fn broken(view: &View) -> Vec<String> {
    view.doubled()
        .map(|(name, instance)| {
            let placed = &instance.placements;
            let workers: Vec<_> = placed.iter().map(|p| p.worker.to_string()).collect();
            format!("{name} has {} placements: {}", placed.len(), workers.join(", "))
        })
        .collect()
}
