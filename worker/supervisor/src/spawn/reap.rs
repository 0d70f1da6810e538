//! How processes ended.

use dsbus_schema::state::{Exit, Usage};

/// Unit of `ru_maxrss` on Linux (getrusage(2)).
const MAXRSS_BYTES: u64 = 1024;

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
        memory_peak: u64::try_from(usage.ru_maxrss).unwrap_or(0) * MAXRSS_BYTES,
    }
}
