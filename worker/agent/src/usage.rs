//! What instances use now, read from `/proc` when somebody asks. Only what the supervisor started is
//! told of, whatever process ids are asked for.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use dsbus_schema::call::{UsageOf, Use, Using};
use nix::unistd::{SysconfVar, sysconf};

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
pub(crate) fn read(supervisor: i32, asked: &[UsageOf]) -> io::Result<Using> {
    let of_system = |variable, otherwise| {
        let value = sysconf(variable).ok().flatten();
        value.and_then(|value| u64::try_from(value).ok()).unwrap_or(otherwise)
    };
    let ticks = of_system(SysconfVar::CLK_TCK, 100);
    let page = of_system(SysconfVar::PAGE_SIZE, 4096);
    let at_ms = clock::now().0 / 1_000_000;
    let processes = all()?;
    let used = sum(&processes, supervisor, asked);
    let used = used.into_iter().map(|(of, used)| Use {
        name: of.name.clone(),
        pid: of.pid,
        cpu_ms: used.0.saturating_mul(1000) / ticks.max(1),
        memory: used.1.saturating_mul(page),
    });
    Ok(Using { at_ms, instances: used.collect() })
}

/// Every process of the machine that can be seen.
fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        processes.extend(parse(&text));
    }
    Ok(processes)
}

/// Reads a line of `/proc/PID/stat`, see proc(5). The name of a process may hold anything.
fn parse(text: &str) -> Option<Process> {
    let (begin, rest) = (text.find('(')?, text.rfind(')')?);
    let pid = text[..begin].trim().parse().ok()?;
    // From the third field on.
    let fields: Vec<&str> = text[rest + 1..].split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let count = |number: usize| Some(u64::try_from(field(number)?).unwrap_or(0));
    let id = |number: usize| i32::try_from(field(number)?).ok();
    Some(Process {
        pid,
        parent: id(4)?,
        session: id(6)?,
        ticks: count(14)? + count(15)? + count(16)? + count(17)?,
        pages: count(24)?,
    })
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
    fn a_line_of_stat_is_read_whatever_the_process_is_called() {
        let line =
            "42 (a) b (c)) S 7 42 40 0 -1 4194304 100 0 0 0 11 22 3 4 20 0 1 0 99 8192 256 18";
        let read = Process { pid: 42, parent: 7, session: 40, ticks: 40, pages: 256 };
        assert_eq!(parse(line), Some(read));
        assert_eq!(parse("42 (a) S 7"), None);
        assert_eq!(parse(""), None);
    }

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
    }
}
