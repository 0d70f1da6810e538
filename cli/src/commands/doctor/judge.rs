//! What it means. Pure.

mod adrift;
mod ahead;
mod bus;
mod fleet;
mod grants;
mod leftovers;
mod permissions;
mod programs;
mod secrets;

use super::facts::Facts;
use super::finding::Finding;

/// Fewer open files than this are few: each follower of a log, each listener and each server has one.
const OPEN_FILES_MIN: u64 = 1_024;
/// Most names in one finding.
const NAMES_MAX: usize = 8;

/// Judges everything, in the order in which it is to be mended.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = here(facts);
    match &facts.bus {
        Err((why, fix)) => {
            found.push(Finding::wrong("bus", why.clone(), fix.clone()));
            found.extend(grants::judge(&facts.grants, None));
        }
        Ok(bus) => {
            found.extend(bus::server(bus));
            found.push(permissions::judge(facts, bus));
            found.extend(bus::storage(facts, bus));
            found.extend(grants::judge(&facts.grants, Some(bus)));
            found.extend(fleet::judge(facts, bus));
            found.extend(adrift::judge(bus));
            found.extend(ahead::judge(bus));
            found.extend(programs::judge(bus));
            found.extend(secrets::judge(bus));
            found.extend(leftovers::judge(bus));
        }
    }
    found
}

/// This machine.
fn here(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![match &facts.unused {
        None => Finding::good("settings", facts.settings.clone()),
        Some(unused) => Finding::warning(
            "settings",
            format!("{}. {unused}", facts.settings),
            "say both in one place, or leave one of them out",
        ),
    }];
    for file in &facts.open_files {
        let text = format!("others than its owner can read {file}");
        found.push(Finding::warning("secrets", text, format!("chmod 600 {file}")));
    }
    if let Some(most) = facts.open_files_max.filter(|most| *most < OPEN_FILES_MIN) {
        let text = format!("processes that are started here may have {most} files open");
        found.push(Finding::warning(
            "limits",
            text,
            "raise it: ulimit -n 65536, or LimitNOFILE= in a unit",
        ));
    }
    found
}

/// `a b c and 4 more`.
fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let mut all: Vec<String> = all.into_iter().map(|name| name.to_string()).collect();
    let more = all.len().saturating_sub(NAMES_MAX);
    all.truncate(NAMES_MAX);
    if more == 0 { all.join(" ") } else { format!("{} and {more} more", all.join(" ")) }
}
