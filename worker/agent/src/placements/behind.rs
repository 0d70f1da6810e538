//! Whether the bus tells of an instance as it was earlier under the same epoch. Pure.
//!
//! Invariant, which the planner keeps: while an instance has one epoch, its identity stays, and its revision
//! and what is counted of its wishes never go back. A stop counts nothing; but what was stopped runs again
//! under the same epoch only if something was counted; and so does what has come to rest. So a word that has
//! less, or runs what was stopped or has ended for nothing, is older than what is here: the bus was put back
//! from a copy.

use dsbus_schema::placement::Placement;

/// Why what `stands` on the bus is older than what is `here`; `None` when it is not.
pub(super) fn why(here: &Placement, stands: &Placement) -> Option<String> {
    if here.epoch != stands.epoch {
        return None;
    }
    let (mine, theirs) = (here.wanted, stands.wanted);
    let counted = [
        ("revision", stands.revision, here.revision),
        ("starts", theirs.starts, mine.starts),
        ("restarts", theirs.restarts, mine.restarts),
        ("reloads", theirs.reloads, mine.reloads),
    ];
    let same = counted.iter().all(|(_, stands, here)| stands == here);
    let less = counted.iter().find(|(_, stands, here)| stands < here);
    let told = if here.id != stands.id {
        "it is of another program of that name".to_owned()
    } else if let Some((what, stands, here)) = less {
        format!("it has {what} {stands}, after {here}")
    } else if theirs.run && !mine.run && same {
        "it was stopped since".to_owned()
    } else if theirs.run && here.rest.is_some() && stands.rest.is_none() && same {
        "it has ended since, or was given up".to_owned()
    } else {
        return None;
    };
    let epoch = here.epoch;
    Some(format!(
        "{told}, under the same epoch {epoch}: the bus went back in time, and nothing is changed here; \
         dsbus recover tells it what is"
    ))
}
