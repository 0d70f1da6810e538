//! `docs/what-breaks.md`, made of the report of a run. No number in it is from elsewhere.

use std::fmt::Write as _;

use crate::kind::{self, Role};
use crate::report::{Report, Spread};

/// The whole document.
pub(crate) fn document(report: &Report) -> String {
    let mut text = String::from(HEAD);
    let machine: Vec<String> =
        report.machine.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let _ = writeln!(
        text,
        "Measured on {} by `./run chaos --seed {} --faults {}`: {} faults in {} s on one machine ({}). \
         Three NATS servers, three schedulers, four workers, each on a host of its own (a network namespace), \
         {} lives of children, {} events, {} commands.\n",
        report.date,
        report.seed,
        report.faults,
        report.faults,
        report.seconds,
        machine.join(", "),
        report.lives,
        report.events,
        report.commands
    );
    if let Some(why) = &report.no_network {
        let _ = writeln!(text, "Without network namespaces ({why}): hosts were not cut.\n");
    }
    text += "| what must be 0 | measured |\n|---|---|\n";
    for (what, number) in report.zeros() {
        let _ = writeln!(text, "| {what} | {number} |");
    }
    let thawed = &report.thawed;
    let _ = writeln!(
        text,
        "\nTold apart, since only a child that checks `DSBUS_EPOCH` can be safe from it: after the thaw of a whole \
         machine an outdated exclusive child lived beside a newer one {} times, {}; a store that \
         remembers the highest epoch refused {} writes of outdated children, and took {}.",
        thawed.overlaps,
        match Spread::of(thawed.lived_ms.clone()) {
            None => "never for a measurable time".to_owned(),
            Some(s) => format!("for {} ms at most", s.max),
        },
        thawed.refused,
        thawed.taken
    );
    let _ = writeln!(
        text,
        "\nInstances that nobody commanded moved {} times in all, {} of them because a link that lost a fifth of its packets was silent for too long.",
        report.moves, report.moves_on_lossy_links
    );
    text += COLUMNS;
    text += &tables(report);
    text
}

/// A table for each role.
fn tables(report: &Report) -> String {
    let mut text = String::new();
    for (role, title) in [
        (Role::Worker, "A worker, or what runs on it"),
        (Role::Scheduler, "A scheduler"),
        (Role::Nats, "A NATS server"),
    ] {
        let _ = writeln!(
            text,
            "\n## {title}\n\n| what happens | what users see | times (alone) | moved | ordinary | exclusive, 5 s | exclusive, 15 s | commands |\n|---|---|---|---|---|---|---|---|"
        );
        for row in &report.kinds {
            let Some(kind) = kind::named(&row.name).filter(|kind| kind.role == role) else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {} (`{}`) | {} | {} ({}) | {} | {} | {} | {} | {} |",
                kind.what,
                kind.name,
                kind.seen,
                row.injected,
                row.alone,
                row.moves,
                cell(row.ordinary),
                cell(row.exclusive_5),
                cell(row.exclusive_15),
                cell(row.commands)
            );
        }
    }
    text
}

/// Seconds, as people compare them.
fn cell(spread: Option<Spread>) -> String {
    let seconds = |ms: u64| format!("{}.{:02}", ms / 1000, ms % 1000 / 10);
    match spread {
        None => "not measured".to_owned(),
        Some(Spread { max: 0, .. }) => "never".to_owned(),
        Some(s) => format!("{} / {} / {}", seconds(s.p50), seconds(s.p99), seconds(s.max)),
    }
}

const HEAD: &str = "\
# What breaks when

What happens to programs and to people when something of a fleet fails. This page is generated from `what-breaks.json`, \
the report of a run of `tests/chaos`; `./run chaos --write-docs` makes both anew, and nobody edits them.

";

const COLUMNS: &str = "
Each kind of fault came alone some times, with calm before and after: the times are from those. \
All kinds also came together, overlapping each other; what must be 0 counts those, too. \
Faults last from a tenth of a second to 20 s, so their effect is that of a mixture; whatever is shorter than `touch_timeout` moves nothing.

- *times*: how often it was injected (and how often alone).
- *moved*: instances that moved to another worker, of those 12 that nobody commanded, over all faults that were alone.
- *ordinary*, *exclusive*: seconds without a living copy, of the instance that missed one longest: p50 / p99 / max over the \
faults that were alone; less than 0.25 s is not told. Ordinary programs have a `touch_timeout` of 5 s; an exclusive program has 15 s unless it asks for less. \
An instance that runs on a machine that is cut off counts as living.
- *commands*: seconds that the slowest command waited for its answer: p50 / p99 / max.
";
