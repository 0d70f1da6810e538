//! Who may command what: slips in the files that say so.

use super::super::facts::{Bus, GrantsFound};
use super::super::finding::Finding;
use super::NAMES_MAX;
use crate::file::did_you_mean;
use dsbus_schema::storage::Bucket;

const CHECK: &str = "grants";

/// Judges each file; with the bus also whether what it names is there.
pub(super) fn judge(files: &[GrantsFound], bus: Option<&Bus>) -> Vec<Finding> {
    files.iter().map(|file| of(file, bus)).collect()
}

fn of(file: &GrantsFound, bus: Option<&Bus>) -> Finding {
    let path = &file.path;
    let grants = match &file.read {
        Ok(grants) => grants,
        Err(why) => {
            let text = format!("{path} cannot be used: {why}");
            let fix = "mend it: a scheduler does not start with it, and one that runs keeps to what \
                       it said before";
            return Finding::wrong(CHECK, text, fix);
        }
    };
    let mut slips = Vec::new();
    for user in grants.users() {
        let Some(known) = file.users.as_ref().filter(|known| !known.contains(user)) else {
            continue;
        };
        let near = did_you_mean(user, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        slips.push(format!(
            "user.{user}: neither dsbus auth nor a gateway here has that user{near}"
        ));
    }
    let hidden = |bus: &Bus| {
        let missing = |bucket| bus.unread.iter().any(|(unread, _)| *unread == bucket);
        missing(Bucket::Programs) || missing(Bucket::Workers)
    };
    // What is not known cannot be said to be missing.
    if let Some(bus) = bus.filter(|bus| !hidden(bus)) {
        let programs = bus.programs.keys().cloned().collect();
        let workers = bus.workers.iter().map(|(worker, _)| worker.name.clone()).collect();
        slips.extend(grants.idle(&programs, &workers));
    }
    let more = slips.len().saturating_sub(NAMES_MAX);
    slips.truncate(NAMES_MAX);
    if slips.is_empty() {
        return Finding::good(CHECK, format!("{path} can be used"));
    }
    if more > 0 {
        slips.push(format!("{more} more"));
    }
    let text = format!("{path}: {}", slips.join("; "));
    Finding::warning(
        CHECK,
        text,
        "write names as dsbus auth list, dsbus status and dsbus workers show them",
    )
}
