//! How much the instances of this worker may declare in all: what the machine has, what the worker
//! may use of it, and what its owner says.

use std::fs;
use std::path::{Path, PathBuf};

use dsbus_schema::worker::Capacity;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::config::CapacityChoice;

/// The capacity. `children` is the cgroup below which children are put; without one they stay in
/// that of this process.
pub(crate) fn capacity(choice: CapacityChoice, children: Option<&Path>) -> Capacity {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (mounts, cgroups) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    let cpu = choice.cpu.unwrap_or_else(|| {
        let quotas = chain(&mounts, &cgroups, "cpu", children);
        let quotas = quotas.iter().filter_map(|directory| cpu_limit(directory));
        // Hundredths: a quota is a fraction of two numbers of microseconds.
        (quotas.fold(cores(), f64::min) * 100.0).round() / 100.0
    });
    let memory = choice.memory.unwrap_or_else(|| {
        let limits = chain(&mounts, &cgroups, "memory", children);
        limits.iter().filter_map(|directory| memory_limit(directory)).fold(memory(), u64::min)
    });
    Capacity { cpu, memory }
}

/// Processors that this process may run on; what it starts inherits that.
fn cores() -> f64 {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok().map(|set| {
        let may = |cpu: usize| set.is_set(cpu).unwrap_or(false);
        (0..CpuSet::count()).filter(|&cpu| may(cpu)).count()
    });
    // A machine with more processors than the set has room for refuses the question.
    let online = || sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let count = allowed.and_then(|n| u32::try_from(n).ok());
    f64::from(count.or_else(|| online().and_then(|n| u32::try_from(n).ok())).unwrap_or(1).max(1))
}

/// Memory of the machine, in bytes.
fn memory() -> u64 {
    let number = |what| sysconf(what).ok().flatten().and_then(|n| u64::try_from(n).ok());
    match (number(SysconfVar::_PHYS_PAGES), number(SysconfVar::PAGE_SIZE)) {
        (Some(pages), Some(size)) => pages.saturating_mul(size),
        (None, _) | (_, None) => 0,
    }
}

/// The cgroups whose limits hold for children: theirs, and all above it.
fn chain(mounts: &str, cgroups: &str, controller: &str, children: Option<&Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for version in [Version::Two, Version::One(controller)] {
        let Some((point, own)) = version.own(mounts, cgroups) else { continue };
        let lowest = match children {
            Some(path) if matches!(version, Version::Two) => path.to_owned(),
            Some(_) | None => own,
        };
        let above = lowest.ancestors().take_while(|path| path.starts_with(&point));
        found.extend(above.map(Path::to_owned));
    }
    found
}

/// Which cgroups.
#[derive(Debug, Clone, Copy)]
enum Version<'a> {
    Two,
    /// Those of a controller, which has a hierarchy of its own.
    One(&'a str),
}

impl Version<'_> {
    /// Where it is mounted, and this process's own cgroup in it (cgroups(7), proc(5)).
    fn own(self, mounts: &str, cgroups: &str) -> Option<(PathBuf, PathBuf)> {
        let own = cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let is = match self {
                Version::Two => controllers.is_empty(),
                Version::One(name) => controllers.split(',').any(|one| one == name),
            };
            is.then_some(path)
        })?;
        mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut system = right.split(' ');
            let (kind, options) = (system.next()?, system.nth(1).unwrap_or_default());
            let is = match self {
                Version::Two => kind == "cgroup2",
                Version::One(name) => kind == "cgroup" && options.split(',').any(|o| o == name),
            };
            is.then_some(())?;
            let mut fields = left.split(' ').skip(3);
            let (root, point) = (fields.next()?, PathBuf::from(fields.next()?));
            // What is outside of what is mounted is known by its mount point only.
            let below = Path::new(own).strip_prefix(root).unwrap_or(Path::new(""));
            Some((point.clone(), point.join(below)))
        })
    }
}

/// The share of all processors that a cgroup may have, in cores.
fn cpu_limit(directory: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    match read("cpu.max") {
        Some(text) => share(text.split_whitespace()),
        None => {
            let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
            share([quota.trim(), period.trim()].into_iter())
        }
    }
}

/// A quota and its period; `max`, or below zero, is no limit.
fn share<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<f64> {
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The memory that a cgroup may have, in bytes. Version 1 says an unreachable number for none.
fn memory_limit(directory: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let text = read("memory.max").or_else(|| read("memory.limit_in_bytes"))?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
                          33 31 0:30 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    const CGROUPS: &str = "4:memory:/box/a\n1:cpu,cpuacct:/\n0::/x.slice/y.service\n";

    #[test]
    fn both_versions_are_found_with_all_that_is_above() {
        let paths = |controller, children: Option<&str>| -> Vec<String> {
            let found = chain(MOUNTS, CGROUPS, controller, children.map(Path::new));
            found.iter().map(|path| path.display().to_string()).collect()
        };
        let two = "/sys/fs/cgroup/unified";
        let above = [&format!("{two}/x.slice/y.service"), &format!("{two}/x.slice"), two];
        assert_eq!(paths("cpu", None)[..3], above);
        assert_eq!(paths("cpu", None)[3..], ["/sys/fs/cgroup/cpu/"]);
        assert_eq!(
            paths("memory", None)[3..],
            ["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"]
        );
        let elsewhere = paths("memory", Some("/sys/fs/cgroup/unified/z"));
        assert_eq!(elsewhere[..2], [&format!("{two}/z"), two]);
        assert!(chain("", "", "cpu", None).is_empty());
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let directory = tempfile::tempdir().unwrap();
        let (write, path) = (
            |name: &str, text: &str| fs::write(directory.path().join(name), text),
            directory.path(),
        );
        assert_eq!((cpu_limit(path), memory_limit(path)), (None, None));
        write("cpu.cfs_quota_us", "-1\n").unwrap();
        write("cpu.cfs_period_us", "100000\n").unwrap();
        assert_eq!(cpu_limit(path), None);
        write("cpu.cfs_quota_us", "50000\n").unwrap();
        assert_eq!(cpu_limit(path), Some(0.5));
        write("cpu.max", "max 100000\n").unwrap();
        assert_eq!(cpu_limit(path), None);
        write("cpu.max", "250000 100000\n").unwrap();
        assert_eq!(cpu_limit(path), Some(2.5));
        write("memory.max", "max\n").unwrap();
        assert_eq!(memory_limit(path), None);
        write("memory.max", "1048576\n").unwrap();
        assert_eq!(memory_limit(path), Some(1 << 20));
    }

    #[test]
    fn the_owner_wins_over_the_machine_part_by_part() {
        let found = capacity(CapacityChoice::default(), None);
        assert!(found.cpu > 0.0 && found.memory > 0, "{found:?}");
        let chosen = capacity(CapacityChoice { cpu: Some(64.0), memory: None }, None);
        assert_eq!(chosen, Capacity { cpu: 64.0, memory: found.memory });
    }
}
