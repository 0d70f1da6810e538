//! Variables that are named almost as one of ours: a slip would otherwise be obeyed by nobody, and
//! told by nobody.

use super::file::VARIABLE as CONFIG;
use super::{Key, layer};
use crate::commands::COMPLETE;
use crate::config::{LOG, PARENT_ACCESS, PARENT_URL, Surroundings};

/// How all of them begin.
const BEGIN: &str = "DSBUS_";
/// Shorter names may have one slip, longer ones two.
const LONG_MIN: usize = 6;
/// Most slips that are told: more would hide what was asked for.
const TOLD_MAX: usize = 4;

/// What a worker, a listener or an alert tells those that it starts, and what tools around us read.
const OTHERS: [&str; 13] = [
    "DSBUS_CHILD",
    "DSBUS_EPOCH",
    "DSBUS_EXIT_CODE",
    "DSBUS_EXIT_SIGNAL",
    "DSBUS_HOOK",
    "DSBUS_INDEX",
    "DSBUS_INSTANCE",
    "DSBUS_NATS_SERVER",
    "DSBUS_NODE_MODULES",
    "DSBUS_PID",
    "DSBUS_PROGRAM",
    "DSBUS_TEST_ALONE",
    "DSBUS_WORKER",
];
/// Beginnings of names of which there are many.
const FAMILIES: [&str; 2] = ["DSBUS_ALERT_", "DSBUS_EVENT_"];

/// A sentence for each variable that is set and was probably meant to be another one. Names that
/// are like none of ours are somebody else's: of a program `dsbus-NAME`, for example.
pub(crate) fn slips(around: &Surroundings) -> Vec<String> {
    if layer::of_parent(around).is_some() {
        // Who started this process has told it.
        return Vec::new();
    }
    let ours: Vec<&str> = Key::ALL.map(Key::variable).into_iter().chain([CONFIG, LOG]).collect();
    let known = |name: &str| {
        ours.contains(&name)
            || OTHERS.contains(&name)
            || [PARENT_URL, PARENT_ACCESS, COMPLETE].contains(&name)
            || FAMILIES.iter().any(|family| name.starts_with(family))
    };
    let names = around.variables.keys().filter_map(|name| name.to_str());
    let strange = names.filter(|name| name.starts_with(BEGIN) && !known(name));
    let told = strange.filter_map(|name| {
        let meant = nearest(name, &ours)?;
        Some(format!("{name} means nothing here; did you mean {meant}?"))
    });
    told.take(TOLD_MAX).collect()
}

fn nearest<'a>(name: &str, ours: &[&'a str]) -> Option<&'a str> {
    let bare = name.strip_prefix(BEGIN)?;
    let slips_max = if bare.len() < LONG_MIN { 1 } else { 2 };
    ours.iter()
        .map(|ours| (strsim::osa_distance(bare, ours.trim_start_matches(BEGIN)), *ours))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Vec<String> {
        let variables = names.iter().map(|name| (name.into(), "x".into())).collect();
        slips(&Surroundings { variables, ..Surroundings::default() })
    }

    #[test]
    fn slips_are_told_with_what_was_meant() {
        for (slip, meant) in [
            ("DSBUS_FLET", "DSBUS_FLEET"),
            ("DSBUS_FLEETS", "DSBUS_FLEET"),
            ("DSBUS_COLOUR", "DSBUS_COLOR"),
            ("DSBUS_TIMEUOT", "DSBUS_TIMEOUT"),
            ("DSBUS_CONTXT", "DSBUS_CONTEXT"),
            ("DSBUS_NATS_PASWORD", "DSBUS_NATS_PASSWORD"),
            ("DSBUS_CONFG", "DSBUS_CONFIG"),
            ("DSBUS_LGO", "DSBUS_LOG"),
        ] {
            let sentence = format!("{slip} means nothing here; did you mean {meant}?");
            assert_eq!(told(&[slip]), [sentence]);
        }
    }

    #[test]
    fn what_is_ours_or_somebody_elses_is_not() {
        let ours = Key::ALL.map(Key::variable);
        assert_eq!(told(&ours), [""; 0]);
        assert_eq!(told(&OTHERS), [""; 0]);
        let more = ["DSBUS_CONFIG", "DSBUS_LOG", "DSBUS_COMPLETE", "DSBUS_NATS_ACCESS"];
        assert_eq!(told(&more), [""; 0]);
        let others =
            ["DSBUS_DEPLOY_TOKEN", "DSBUS_X", "DSBUS_ALERT_RULE", "FLET", "DSBUS_EVENT_ID"];
        assert_eq!(told(&others), [""; 0]);
        // A process that was started by one of ours looks at what that says alone.
        assert_eq!(told(&["DSBUS_FLET", PARENT_URL]), [""; 0]);
    }
}
