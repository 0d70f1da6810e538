//! How processes ended.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use dsbus_schema::state::{Exit, Usage};

/// Unit of `ru_maxrss` (getrusage(2)) and of sizes in `/proc/<pid>/status`.
const KIB: u64 = 1024;
/// How much more than this process's own peak may still be that: the kernel counts pages for each
/// processor apart, and adds them up with less care at exec than when it is asked.
const MEMORY_DOUBT: u64 = 4 << 20;

/// [`own_peak`], as it was asked for last.
static OWN_PEAK: AtomicU64 = AtomicU64::new(0);

/// A process that has ended, and is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    pub(crate) usage: Usage,
}

/// Reaps one process that has ended, if there is one. nix cannot: it loses a process that was
/// ended by a real-time signal.
pub(crate) fn reap() -> Option<Reaped> {
    reap_of(-1)
}

/// The same for one process; -1 is any.
pub(crate) fn reap_of(pid: i32) -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: status and usage are places on this stack, and nothing else is written; all-zero is
    // a usage.
    let (pid, usage) = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        (libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    (pid > 0).then(|| Reaped { pid, exit: exit(status), usage: told(&usage) })
}

fn exit(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit { core: libc::WCOREDUMP(status), ..Exit::signal(libc::WTERMSIG(status)) }
    } else {
        Exit::code(libc::WEXITSTATUS(status))
    }
}

fn told(usage: &libc::rusage) -> Usage {
    let ms = |time: libc::timeval| {
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        positive(time.tv_sec) * 1000 + positive(time.tv_usec) / 1000
    };
    Usage {
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        memory_peak: memory_peak(u64::try_from(usage.ru_maxrss).unwrap_or(0) * KIB),
    }
}

/// The most memory of a process that held `told` at once, as the kernel tells it; 0 when that is
/// not known.
///
/// A new process shares the memory of this one until exec, where the kernel takes the most that
/// this one ever held for what the new one did. So what is not more than that says nothing.
fn memory_peak(told: u64) -> u64 {
    let is_ours = |own: u64| told <= own + MEMORY_DOUBT;
    // It only grows, so that it need not be asked for again while it explains what was told.
    if is_ours(OWN_PEAK.load(Relaxed)) {
        return 0;
    }
    OWN_PEAK.store(own_peak(), Relaxed);
    if is_ours(OWN_PEAK.load(Relaxed)) { 0 } else { told }
}

/// The most memory that this process ever held at once, in bytes (proc(5)).
fn own_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * KIB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::tests::{Place, alone, script};

    #[test]
    fn a_small_child_has_not_the_memory_of_its_worker_and_a_big_one_has_its_own() {
        const NAME: &str = "spawn::reap::tests::\
            a_small_child_has_not_the_memory_of_its_worker_and_a_big_one_has_its_own";
        const MIB: u64 = 1 << 20;
        if !alone(NAME) {
            return;
        }
        let place = Place::new();
        let mut held = vec![0_u8; 100 << 20];
        held.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let peak = |text: &str| {
            let pid = place.start(&script(text)).unwrap().pid;
            let reaped = std::iter::repeat_with(|| reap_of(pid)).find_map(|reaped| reaped);
            reaped.unwrap().usage.memory_peak
        };
        assert_eq!(peak("exec true"), 0);
        let big = peak("exec dd if=/dev/zero of=/dev/null bs=200M count=1 2> /dev/null");
        assert!((200 * MIB..230 * MIB).contains(&big), "{big}");
        assert!(own_peak() > 100 * MIB && own_peak() < 200 * MIB);
        assert_eq!(held.len(), 100 << 20);
    }
}
