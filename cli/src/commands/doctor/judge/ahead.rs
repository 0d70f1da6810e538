//! What is held back: its placement knows of more than goals and programs do.

use dsbus_scheduler::AHEAD;
use dsbus_schema::status::InstanceRow;

use super::super::facts::Bus;
use super::super::finding::Finding;
use super::adrift::RECOVER;
use super::names;

/// Says for which instances nothing is planned; nothing where there is none, or nobody who knows it.
pub(super) fn judge(bus: &Bus) -> Option<Finding> {
    let rows = bus.rows.as_ref()?.as_ref().ok()?;
    let says = |row: &&InstanceRow| row.reason.as_deref().is_some_and(|why| why.ends_with(AHEAD));
    let ahead: Vec<_> = rows.iter().filter(says).map(|row| &row.name).collect();
    (!ahead.is_empty()).then(|| {
        let text = format!(
            "the bus has lost commands or declarations that placements know of; these stay as they are, and \
             do not fail over: {}",
            names(ahead)
        );
        Finding::wrong("ahead", text, RECOVER)
    })
}
