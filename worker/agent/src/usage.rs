//! What instances use now, read from `/proc` when somebody asks. Only what the supervisor started is
//! told of, whatever process ids are asked for.

use std::collections::{HashMap, HashSet};

use dsbus_schema::call::{UsageOf, Use, Using};
use procfs::ProcResult;
use procfs::process::all_processes;

use crate::clock;

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    /// Processor time with that of children it waited for, in clock ticks.
    ticks: u64,
    /// Resident pages.
    pages: u64,
}

/// Reads what processes use. May take as long as `/proc` has processes.
pub(crate) fn read(supervisor: i32, asked: &[UsageOf]) -> ProcResult<Using> {
    let (ticks, page) = (procfs::ticks_per_second().max(1), procfs::page_size());
    let at_ms = clock::now().0 / 1_000_000;
    let processes = all()?;
    let used = sum(&processes, supervisor, asked);
    let used = used.into_iter().map(|(of, used)| Use {
        name: of.name.clone(),
        pid: of.pid,
        cpu_ms: used.0.saturating_mul(1000) / ticks,
        memory: used.1.saturating_mul(page),
    });
    Ok(Using { at_ms, instances: used.collect() })
}

/// Every process of the machine that can be seen.
fn all() -> ProcResult<Vec<Process>> {
    // One that cannot be read has ended meanwhile.
    let stats = all_processes()?.filter_map(|process| process.ok()?.stat().ok());
    let process = |stat: procfs::process::Stat| Process {
        pid: stat.pid,
        parent: stat.ppid,
        session: stat.session,
        ticks: stat.utime
            + stat.stime
            + u64::try_from(stat.cutime).unwrap_or(0)
            + u64::try_from(stat.cstime).unwrap_or(0),
        pages: stat.rss,
    };
    Ok(stats.map(process).collect())
}

/// Ticks and pages of those that were asked for, with all that belongs to them.
fn sum<'a>(
    processes: &[Process],
    supervisor: i32,
    asked: &'a [UsageOf],
) -> Vec<(&'a UsageOf, (u64, u64))> {
    let parents: HashMap<i32, i32> = processes.iter().map(|one| (one.pid, one.parent)).collect();
    let ours: HashSet<i32> =
        asked.iter().map(|of| of.pid).filter(|pid| parents.get(pid) == Some(&supervisor)).collect();
    let mut sums: HashMap<i32, (u64, u64)> = HashMap::new();
    for process in processes {
        let Some(root) = root(process, &parents, &ours) else { continue };
        let sum = sums.entry(root).or_default();
        sum.0 += process.ticks;
        sum.1 += process.pages;
    }
    asked.iter().filter_map(|of| Some((of, *sums.get(&of.pid)?))).collect()
}

/// Which of the children a process belongs to.
fn root(process: &Process, parents: &HashMap<i32, i32>, ours: &HashSet<i32>) -> Option<i32> {
    let mut pid = process.pid;
    // As deep as there are processes: what is read one after the other may seem to go round.
    for _ in 0..=parents.len() {
        if ours.contains(&pid) {
            return Some(pid);
        }
        match parents.get(&pid) {
            Some(parent) => pid = *parent,
            None => break,
        }
    }
    ours.get(&process.session).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::ids::{InstanceId, ProgramName};

    #[test]
    fn a_child_counts_with_all_that_belongs_to_it_and_nothing_else_does() {
        let process = |pid, parent, session| Process { pid, parent, session, ticks: 1, pages: 10 };
        let processes = [
            process(1, 0, 1),
            process(5, 1, 5),
            // The supervisor is 5; 10 is a child, with a child and a grandchild.
            process(10, 5, 10),
            process(11, 10, 10),
            process(12, 11, 12),
            // Left behind by one that has ended, and taken in by the supervisor.
            process(13, 5, 10),
            process(20, 5, 20),
            // Somebody else's.
            process(30, 1, 30),
        ];
        let of =
            |pid| UsageOf { name: InstanceId::new(ProgramName::parse("web").unwrap(), 0), pid };
        let asked = [of(10), of(20), of(30), of(12), of(99)];
        let sums = sum(&processes, 5, &asked);
        let told: Vec<(i32, (u64, u64))> =
            sums.into_iter().map(|(of, sum)| (of.pid, sum)).collect();
        assert_eq!(told, [(10, (4, 40)), (20, (1, 10))]);
    }

    #[test]
    fn what_this_process_uses_is_found() {
        let me = i32::try_from(std::process::id()).unwrap();
        let found = all().unwrap().into_iter().find(|one| one.pid == me).unwrap();
        assert!(found.pages > 0);
        assert_eq!(found.parent, nix::unistd::getppid().as_raw());
    }
}
