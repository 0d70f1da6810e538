//! Everything that is known of one worker.

use dsbus_schema::moment::Timestamp;
use dsbus_schema::status::WorkerRow;
use dsbus_schema::worker::{Capacity, Disk, Facts};

use super::{current, touched};
use crate::args::Width;
use crate::describe;
use crate::describe::size;
use crate::table::{Text, Tone};

/// What begins the name of a facility of which there are many.
const CAPABILITY: &str = "capability ";

/// Names and values, in an order that people look for them.
pub(super) fn pairs(row: &WorkerRow, now: Timestamp) -> Vec<(&'static str, Text)> {
    let mut pairs: Vec<(&'static str, Text)> = vec![
        ("name", row.name.to_string().into()),
        ("state", describe::worker_cell(row.state)),
        ("instances", row.instances.to_string().into()),
        ("touched", touched(row, now, Width::Whole).into()),
        (
            "labels",
            or_none(row.labels.iter().map(|(name, value)| format!("{name}={value}"))).into(),
        ),
        ("capacity", capacity(row.capacity).into()),
    ];
    if let Some(refuses) = &row.refuses {
        pairs.push(("refuses", Text { text: refuses.clone(), tone: Tone::Bad }));
    }
    pairs.push(("host", row.host.clone().into()));
    match current(row) {
        Some(facts) => pairs.extend(facts_pairs(facts, now)),
        None if row.facts.at.is_some() => pairs.extend(lasting(&row.facts)),
        None => {}
    }
    let (capabilities, others): (Vec<&String>, Vec<&String>) =
        row.facilities.iter().partition(|facility| facility.starts_with(CAPABILITY));
    pairs.push(("can", or_none(others.into_iter().cloned()).into()));
    if !capabilities.is_empty() {
        let names = capabilities.iter().map(|name| name.trim_start_matches(CAPABILITY));
        pairs.push(("capabilities", names.collect::<Vec<_>>().join(", ").into()));
    }
    let processes = format!("supervisor {}, agent {}", row.supervisor_pid, row.agent_pid);
    pairs.push(("processes", processes.into()));
    pairs.push(("version", format!("dsbus {}", row.version).into()));
    pairs
}

/// What was measured.
fn facts_pairs(facts: &Facts, now: Timestamp) -> Vec<(&'static str, Text)> {
    let cores = if facts.cores == 1 { "core" } else { "cores" };
    let cpu = format!("{:.1} % of {} {cores}", facts.cpu_percent, facts.cores);
    let [one, five, fifteen] = facts.load;
    let load = format!("{one:.2} {five:.2} {fifteen:.2} (of 1, 5 and 15 minutes)");
    let used = |total: u64, free: u64| match total {
        0 => "none".to_owned(),
        total => format!("{} used", size::part(total.saturating_sub(free), total)),
    };
    let mut pairs: Vec<(&'static str, Text)> = vec![
        ("cpu", cpu.into()),
        ("load", load.into()),
        ("memory", used(facts.memory_total, facts.memory_available).into()),
        ("swap", used(facts.swap_total, facts.swap_free).into()),
    ];
    pairs.extend(facts.disks.iter().map(|disk| ("disk", describe_disk(disk).into())));
    pairs.push(("uptime", describe::length(facts.uptime_seconds).into()));
    pairs.extend(lasting(facts));
    if let Some(at) = facts.at {
        pairs.push(("measured", format!("{} ago", describe::age(at, now)).into()));
    }
    pairs
}

/// What holds also for a machine that is gone.
fn lasting(facts: &Facts) -> Vec<(&'static str, Text)> {
    let os = Some(facts.os.as_str()).filter(|os| !os.is_empty());
    let kernel = format!("Linux {}", facts.kernel);
    let system = [os, Some(kernel.as_str()), Some(facts.arch.as_str())];
    let system = system.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let addresses = facts.addresses.iter().map(ToString::to_string);
    vec![("system", system.into()), ("addresses", or_none(addresses).into())]
}

fn describe_disk(disk: &Disk) -> String {
    let used = disk.total.saturating_sub(disk.available);
    format!("{} used, {}", size::part(used, disk.total), disk.path)
}

fn capacity(capacity: Capacity) -> String {
    if capacity == Capacity::default() {
        return "not known".to_owned();
    }
    format!("{} cores, {}", capacity.cpu, size::whole(capacity.memory))
}

fn or_none(words: impl Iterator<Item = String>) -> String {
    let words = words.collect::<Vec<_>>().join(", ");
    if words.is_empty() { "none".to_owned() } else { words }
}
