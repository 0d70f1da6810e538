//! What runs, and should.

use dsbus_client::Error;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;

use super::super::facts::Bus;
use super::super::finding::Finding;
use super::names;

const CHECK: &str = "programs";

pub(super) fn judge(bus: &Bus) -> Option<Finding> {
    let rows = match bus.rows.as_ref()? {
        Ok(rows) => rows,
        // Of schedulers and permissions others tell.
        Err(Error::Denied { .. } | Error::NoScheduler | Error::NoResponders) => return None,
        Err(e) => {
            let text = format!("how they are is not known: {e}");
            return Some(Finding::warning(CHECK, text, "ask again: dsbus status"));
        }
    };
    let unwell: Vec<&InstanceRow> = rows.iter().filter(|row| !row.ok).collect();
    let Some(first) = unwell.first() else {
        let text = match rows.len() {
            0 => "none is declared".to_owned(),
            1 => "the only instance is as it should be".to_owned(),
            all => format!("all {all} instances are as they should be"),
        };
        return Some(Finding::good(CHECK, text));
    };
    // Those that nobody tries any more come first.
    let (ended, moving): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
        unwell.iter().partition(|row| has_ended(row.state));
    let first = ended.first().unwrap_or(first);
    let told = ended.iter().chain(&moving);
    let told = told.map(|row| format!("{} ({})", row.name, row.state.name()));
    let verb = if unwell.len() == 1 { "is" } else { "are" };
    let (count, all) = (unwell.len(), rows.len());
    let text = format!("{count} of {all} instances {verb} not as they should be: {}", names(told));
    let text = if count == 1 { text.replace("as they should be", "as it should be") } else { text };
    let name = &first.name;
    let fix = format!("dsbus explain {name} says why, dsbus describe {name} all about it");
    let wrong = !ended.is_empty();
    Some(if wrong { Finding::wrong(CHECK, text, fix) } else { Finding::warning(CHECK, text, fix) })
}

/// Whether it stays so unless somebody does something.
fn has_ended(state: State) -> bool {
    match state {
        State::Fatal | State::Exited | State::Unknown => true,
        State::Pending
        | State::Starting
        | State::Running
        | State::Backoff
        | State::Stopping
        | State::Stopped => false,
    }
}
