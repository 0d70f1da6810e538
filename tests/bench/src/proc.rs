//! What the kernel says of a process.

use std::fs::read_to_string;

use crate::Outcome;

/// Proportional set size, in KiB.
pub(crate) fn pss(pid: i32) -> Outcome<u32> {
    let text = read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find(|line| line.starts_with("Pss:")).ok_or("no Pss")?;
    Ok(line.split_whitespace().nth(1).ok_or("no Pss")?.parse()?)
}

/// CPU time so far, in ticks of 10 ms.
pub(crate) fn ticks(pid: i32) -> Outcome<u32> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, field 2, may hold anything; it ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied().ok_or("no stat");
    Ok(field(14)?.parse::<u32>()? + field(15)?.parse::<u32>()?)
}

/// How often its threads went to sleep so far, which is how often they were woken up.
pub(crate) fn wakes(pid: i32) -> Outcome<u32> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = read_to_string(thread?.path().join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.ok_or("no voluntary_ctxt_switches")?.trim().parse::<u32>()?;
    }
    Ok(sum)
}

/// Bytes that it wrote so far.
pub(crate) fn written(pid: i32) -> Outcome<u64> {
    let text = read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar:")).ok_or("no wchar")?;
    Ok(line.trim().parse()?)
}
