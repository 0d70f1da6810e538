//! Limits of the worker's own process, raised to what its file asks for at least.

use dsbus_schema::program::Rlimit;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

use crate::failure::Failure;

/// Less than a page is no core file; and where cores go to a program (`|` in
/// `/proc/sys/kernel/core_pattern`), 0 is no limit to the kernel, and 1 is none at all
/// (`coredump_pipe` in its fs/coredump.c).
const NO_CORE: rlim_t = 1;

/// What to do about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Raise {
    /// It is great enough.
    No,
    /// Set it to these, soft and hard.
    To(rlim_t, rlim_t),
}

/// Raises the limit of open files. The one before is what children get, if it differs.
///
/// # Errors
/// When the file asks for more than the machine allows.
pub(super) fn files(least: u64, asked: bool) -> Result<Option<Rlimit>, Failure> {
    raise("minfds", "open files", "ulimit -Hn", Resource::RLIMIT_NOFILE, least, asked)
}

/// Raises the limit of processes.
///
/// # Errors
/// When the file asks for more than the machine allows.
pub(super) fn processes(least: u64, asked: bool) -> Result<(), Failure> {
    raise("minprocs", "processes", "ulimit -Hu", Resource::RLIMIT_NPROC, least, asked).map(drop)
}

/// Keeps the worker from leaving its memory in a core file: the values of secrets are in it, and keys
/// in its agent's. The limit before is what children get. The hard limit stays, so that they may have
/// what they are declared to.
///
/// # Errors
/// When the limit cannot be set.
pub(super) fn no_core() -> Result<Option<Rlimit>, Failure> {
    let unset =
        |e: nix::Error| Failure::failed(format!("failed to set the limit of core files: {e}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE).map_err(unset)?;
    if soft == NO_CORE || hard < NO_CORE {
        return Ok(None);
    }
    setrlimit(Resource::RLIMIT_CORE, NO_CORE, hard).map_err(unset)?;
    Ok(Some(Rlimit { soft: shown(soft), hard: shown(hard) }))
}

fn raise(
    key: &str,
    what: &str,
    shown_by: &str,
    resource: Resource,
    least: u64,
    asked: bool,
) -> Result<Option<Rlimit>, Failure> {
    let unread = |e: nix::Error| Failure::failed(format!("failed to set the limit of {what}: {e}"));
    let (soft, hard) = getrlimit(resource).map_err(unread)?;
    let Raise::To(new_soft, new_hard) = wanted(soft, hard, least, asked) else { return Ok(None) };
    match setrlimit(resource, new_soft, new_hard) {
        Ok(()) => Ok(Some(Rlimit { soft: shown(soft), hard: shown(hard) })),
        Err(_) if new_hard > hard => {
            let why =
                format!("{key} = {least} is more than the {hard} {what} that are allowed here");
            let hint = format!("lower it, or raise the hard limit ({shown_by}) before the start");
            Err(Failure::usage(why).hint(hint))
        }
        Err(e) => Err(unread(e)),
    }
}

/// A default that does not fit is met as far as it can be; what was asked for is met, or refused.
fn wanted(soft: rlim_t, hard: rlim_t, least: u64, asked: bool) -> Raise {
    let least = if asked { least } else { least.min(hard) };
    if soft >= least { Raise::No } else { Raise::To(least, hard.max(least)) }
}

fn shown(limit: rlim_t) -> Option<u64> {
    (limit != RLIM_INFINITY).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_and_never_lowered() {
        for (soft, hard, least, asked, expected) in [
            (1024, 4096, 1024, true, Raise::No),
            (1024, 4096, 512, true, Raise::No),
            (RLIM_INFINITY, RLIM_INFINITY, 9, true, Raise::No),
            (1024, 4096, 2000, true, Raise::To(2000, 4096)),
            (1024, 4096, 5000, true, Raise::To(5000, 5000)),
            (256, 512, 1024, false, Raise::To(512, 512)),
            (512, 512, 1024, false, Raise::No),
        ] {
            assert_eq!(wanted(soft, hard, least, asked), expected, "{soft} {hard} {least} {asked}");
        }
    }
}
