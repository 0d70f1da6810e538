//! Calm: everything is as wanted, as the schedulers tell it and as the machine shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::Bus;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;

use crate::clients::Ledger;
use crate::clock::{look, millis, nanos, now};
use crate::fleet::{Fleet, LOOK, instances};
use crate::say::say;
use crate::{Outcome, process, programs};

/// A calm that takes longer is told, and what it waited for.
const SLOW: Duration = Duration::from_secs(8);
/// Instances that nobody commands.
const ALWAYS: usize = 4 + 2 + 6;

/// Waits until everything is as wanted; the rows of all instances then.
///
/// # Errors
/// With what is not, when that takes longer than `within`.
pub(crate) async fn wait(
    fleet: &Fleet,
    bus: &Bus,
    ledgers: &[Ledger],
    within: Duration,
) -> Outcome<Vec<InstanceRow>> {
    let begun = now();
    let mut last = String::new();
    let rows = look("calm", within, LOOK, async || {
        let rows = match instances(bus).await {
            Ok(rows) => rows,
            Err(why) => {
                // As a verb that a person types again: another connection.
                bus.reconnect().await;
                last.clone_from(&why);
                return Err(why);
            }
        };
        let wrong = wrong(&rows, ledgers, &living(fleet));
        if wrong.is_empty() {
            return Ok(rows);
        }
        last = wrong.join("; ");
        Err(last.clone())
    })
    .await?;
    if now() > begun + nanos(SLOW) {
        let after = millis(begun, now());
        say(&format!("slow to be calm, after {after} ms; last waited for: {last}"));
    }
    Ok(rows)
}

/// Waits until all that nobody commands runs.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn settled(fleet: &Fleet, bus: &Bus, within: Duration) -> Outcome<()> {
    wait(fleet, bus, &[], within).await.map(drop)
}

/// How many children of each instance live.
fn living(fleet: &Fleet) -> BTreeMap<String, usize> {
    let mut living = BTreeMap::new();
    for (_, instance) in process::witnesses(&fleet.directory) {
        *living.entry(instance).or_default() += 1;
    }
    living
}

/// What is not as wanted. Programs of clients count only with their ledgers.
fn wrong(
    rows: &[InstanceRow],
    ledgers: &[Ledger],
    living: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let always = rows.iter().filter(|row| programs::always_runs(&row.name.to_string())).count();
    if always != ALWAYS {
        wrong.push(format!("{always} instances are known that nobody commands, not {ALWAYS}"));
    }
    for row in rows {
        let name = row.name.to_string();
        let ledger = ledgers.iter().find(|l| l.program == row.program.as_str());
        let run = match ledger {
            Some(ledger) => ledger.runs(),
            None if programs::always_runs(&name) => true,
            None => continue,
        };
        let state = if run { State::Running } else { State::Stopped };
        if row.state != state || row.acted != row.wanted {
            let (place, why) = (row.worker.as_ref(), row.reason.as_deref().unwrap_or_default());
            wrong.push(format!(
                "{name} is {} on {place:?}, not {state}, wanted {:?}, acted {:?} {why}",
                row.state, row.wanted, row.acted
            ));
        }
        let copies = living.get(&name).copied().unwrap_or(0);
        if copies != usize::from(run) {
            wrong.push(format!("{name}: {copies} children live"));
        }
    }
    for ledger in ledgers {
        let of = rows.iter().filter(|row| row.program.as_str() == ledger.program).count();
        if of != ledger.copies() as usize {
            wrong.push(format!("{}: {of} instances, not {}", ledger.program, ledger.copies()));
        }
        let known = |name: &String| rows.iter().any(|row| row.name.to_string() == **name);
        let of_it = |name: &&String| name.split(':').next() == Some(&*ledger.program);
        for left in living.keys().filter(of_it).filter(|name| !known(name)) {
            wrong.push(format!("{left}: a child lives that no row tells of"));
        }
    }
    wrong
}
