//! `docs/what-breaks.md`, made of the report of a run. No number in it is from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::cases::Case;
use crate::kind::{self, Role};
use crate::report::{Report, Spread};

/// What was measured last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The random run.
    pub(crate) run: Option<Report>,
    /// Failures that were thought of, by name.
    pub(crate) cases: BTreeMap<String, Vec<String>>,
}

/// Reads what was kept.
pub(crate) fn read(path: &Path) -> Outcome<Kept> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Changes what is kept, and makes the document anew.
pub(crate) fn write(change: impl FnOnce(&mut Kept)) -> Outcome<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("what-breaks.json");
    let mut kept = if file.exists() { read(&file)? } else { Kept::default() };
    change(&mut kept);
    std::fs::write(&file, serde_json::to_string(&kept)? + "\n")?;
    Ok(std::fs::write(folder.join("what-breaks.md"), document(&kept))?)
}

/// The whole document.
pub(crate) fn document(kept: &Kept) -> String {
    let mut text = String::from(HEAD);
    if let Some(report) = &kept.run {
        text += &random(report);
    }
    if !kept.cases.is_empty() {
        text += "\n## Failures that were thought of\n\nEach was played by itself on a fleet of its own (`./run chaos case NAME`).\n";
    }
    for case in Case::value_variants() {
        let Some(lines) = kept.cases.get(&format!("{case:?}")) else { continue };
        let value = case.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        let help = value.as_ref().and_then(|value| value.get_help()).map(ToString::to_string);
        let _ = writeln!(text, "\n`{name}`: {}.\n", help.unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "- {line}");
        }
    }
    text
}

/// The random run.
fn random(report: &Report) -> String {
    let mut text = String::new();
    let machine: Vec<String> =
        report.machine.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let _ = writeln!(
        text,
        "Measured on {} by `./run chaos --seed {} --faults {} --alone {}`: {} faults in {} s on one machine ({}). \
         Three NATS servers, three schedulers, four workers, each on a host of its own (a network namespace), \
         {} lives of children, {} events, {} commands, answered after {}.\n",
        report.date,
        report.seed,
        report.faults,
        report.kinds.iter().map(|row| row.alone).max().unwrap_or(0),
        report.faults,
        report.seconds,
        machine.join(", "),
        report.lives,
        report.events,
        report.commands,
        of_many(report.commands_ms)
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
        let _ = writeln!(text, "\n## {title}\n\n{HEADER}");
        let rows = report.kinds.iter().filter(|row| row.alone > 0);
        let rows = rows.filter_map(|row| Some((kind::named(&row.name)?, row)));
        let mut before = "";
        for (kind, row) in rows.filter(|(kind, _)| kind.role == role) {
            // What is the same for both lengths is told once.
            let again = before == kind.name;
            before = kind.name;
            let (what, seen) = if again { ("", "") } else { (kind.what, kind.seen) };
            let _ = writeln!(
                text,
                "| {what} {} | {seen} | {} | {} | {} | {} | {} | {} | {} |",
                if again {
                    String::new()
                } else {
                    format!("(`{}`, {} in all)", kind.name, row.injected)
                },
                if kind.is_instant() {
                    "-".to_owned()
                } else {
                    format!("{} s", row.hold_ms / 1000)
                },
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

/// Seconds, as people compare them. Of a few faults, the 99th percentile is the greatest.
fn cell(spread: Option<Spread>) -> String {
    match spread {
        None => "not measured".to_owned(),
        Some(Spread { max: 0, .. }) => "none".to_owned(),
        Some(s) => format!("{} / {}", seconds(s.p50), seconds(s.max)),
    }
}

/// The same of many.
fn of_many(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "not measured".to_owned(),
        |s| {
            format!(
                "{} / {} / {} s (p50 / p99 / max)",
                seconds(s.p50),
                seconds(s.p99),
                seconds(s.max)
            )
        },
    )
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02}", ms / 1000, ms % 1000 / 10)
}

const HEAD: &str = "\
# What breaks when

What happens to programs and to people when something of a fleet fails. This page is generated from `what-breaks.json`, \
which `./run chaos --write-docs` and `./run chaos case NAME --write-docs` measure; nobody edits them.

";

const HEADER: &str = "\
| what happens | what users see | for | times | moved | ordinary | exclusive, 5 s | exclusive, 15 s | commands |
|---|---|---|---|---|---|---|---|---|";

const COLUMNS: &str = "
Each kind of fault came alone, with calm before and after: the times are from those. \
Faults of all kinds also came together, some tenth of a second to 20 s long and overlapping; what must be 0 counts those, too.

- *for*: how long it lasted, or how long what was killed stayed away: less than every `touch_timeout`, and more.
- *times*: how often it came alone so.
- *moved*: instances that moved to another worker meanwhile, of the 12 that nobody commanded.
- *ordinary*, *exclusive*: seconds without a living copy, of the instance that missed one longest: p50 / max. \
Ordinary programs have a `touch_timeout` of 5 s; an exclusive program has 15 s unless it asks for less. \
An instance that runs on a machine that is cut off counts as living; one that is frozen does not.
- *commands*: seconds that the slowest command waited for its answer: p50 / max. A client asks all schedulers when one is silent for a second, \
and sends again what was not answered, with the same id.
";
