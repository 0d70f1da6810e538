//! What runs in a new process before exec. It shares the memory of the supervisor, which stands
//! still until exec or exit (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)` and Go's os/exec do it):
//! only system calls are made, nothing is allocated, and nothing is written but its own stack, its
//! pid in the environment made for it, and the failure that it reports.
//!
//! Rights are changed by raw system calls: those of the C library would change them in all threads
//! of the process whose memory this is.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::os::fd::RawFd;

use super::plan::{Failure, Plan, Step, Switch};

/// Version 3 of capset(2): two words of 32 capabilities each.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// The kernel's signals are 1 to 64, and a set of them has 8 bytes.
const SIGNAL_MAX: c_int = 64;
const SIGNAL_BYTES: usize = 8;
/// Exit code of a process that could not begin; it is reaped at once, and nobody sees it.
const EXIT: c_int = 127;

/// What the new process is given: the plan, and a place for what goes wrong.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) plan: &'a Plan,
    /// Each descriptor, and the number that it gets.
    pub(super) places: &'a [(RawFd, RawFd)],
    /// Directory of the cgroup to enter; -1 when it is born there, or has none.
    pub(super) cgroup: RawFd,
    /// Set when it begins with the parent's own table of descriptors.
    pub(super) shared: Option<Shared>,
    pub(super) failure: Cell<Option<Failure>>,
}

/// How a new process leaves its parent's table of descriptors; see [`super::reserve`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The first descriptor that is not for it.
    pub(super) behind: RawFd,
    /// One behind that, which is open in the parent's table.
    pub(super) witness: RawFd,
}

/// The first and last function of the new process.
pub(super) extern "C" fn main(errand: *mut libc::c_void) -> c_int {
    // SAFETY: the pointer is to the Errand of the parent, which stands still until this process
    // executes or exits, and reads the failure only then.
    let errand = unsafe { &*errand.cast::<Errand<'_>>() };
    let failure = run(errand);
    errand.failure.set(Some(failure));
    // SAFETY: ends this process only, and runs nothing of the parent's.
    unsafe { libc::_exit(EXIT) }
}

fn run(errand: &Errand<'_>) -> Failure {
    match prepare(errand) {
        Err(failure) => failure,
        Ok(()) => {
            let plan = errand.plan;
            // SAFETY: path, words and environment end with NUL, the lists with a null pointer.
            unsafe {
                if let Some(file) = plan.held {
                    return execute_held(file, plan);
                }
                libc::execve(plan.path.as_ptr(), plan.argv.pointers(), plan.environment.pointers())
            };
            failed(Step::Exec)
        }
    }
}

/// Executes an open file: what was looked at, whatever its path leads to by now.
unsafe fn execute_held(file: RawFd, plan: &Plan) -> Failure {
    // SAFETY: as execve; the path is empty, which means the descriptor itself.
    unsafe {
        libc::fcntl(file, libc::F_SETFD, libc::FD_CLOEXEC);
        let (words, environment) = (plan.argv.pointers(), plan.environment.pointers());
        let path = c"".as_ptr();
        libc::syscall(libc::SYS_execveat, file, path, words, environment, libc::AT_EMPTY_PATH);
    }
    failed(Step::Exec)
}

fn failed(step: Step) -> Failure {
    // SAFETY: errno of this thread; the parent's thread, whose it is too, stands still.
    Failure { step, errno: unsafe { *libc::__errno_location() } }
}

fn did(result: impl Into<c_long>, step: Step) -> Result<(), Failure> {
    if result.into() < 0 { Err(failed(step)) } else { Ok(()) }
}

fn prepare(errand: &Errand<'_>) -> Result<(), Failure> {
    let plan = errand.plan;
    // SAFETY: system calls that change this process only; each pointer is to what lives in the
    // plan or on this stack.
    unsafe {
        // Before anything else, or the parent would be robbed of its descriptors.
        if let Some(shared) = errand.shared {
            leave_table(shared)?;
        }
        did(libc::setsid(), Step::Session)?;
        if errand.cgroup >= 0 {
            did(enter(errand.cgroup), Step::Cgroup)?;
        }
        if let Some(umask) = plan.umask {
            libc::umask(umask);
        }
        place(errand.places)?;
        if let Some(text) = &plan.oom_score_adj {
            did(write_to(c"/proc/self/oom_score_adj", libc::AT_FDCWD, text), Step::OomScoreAdj)?;
        }
        if let Some(nice) = plan.nice {
            did(libc::setpriority(libc::PRIO_PROCESS, 0, nice), Step::Nice)?;
        }
        for (index, (resource, limit)) in plan.rlimits.iter().enumerate() {
            let done = libc::syscall(
                libc::SYS_prlimit64,
                0,
                *resource,
                std::ptr::from_ref(limit),
                std::ptr::null::<libc::rlimit>(),
            );
            did(done, Step::Rlimit(index))?;
        }
        if let Some(switch) = &plan.switch {
            become_user(switch, !plan.capabilities.is_empty())?;
        }
        keep(&plan.capabilities)?;
        did(libc::chdir(plan.directory.as_ptr()), Step::Directory)?;
        // Changes of rights take it away, so it comes after them.
        did(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), Step::Parent)?;
        // The parent may have died before the line above.
        if libc::getppid() != plan.parent {
            return Err(Failure { step: Step::Parent, errno: libc::ESRCH });
        }
        plan.environment.write_pid(libc::getpid());
    }
    if reset_signals() { Ok(()) } else { Err(failed(Step::Signals)) }
}

/// Gives this process a table of descriptors of its own, which holds only what is for it.
unsafe fn leave_table(shared: Shared) -> Result<(), Failure> {
    // SAFETY: it is closed in a copy of the table, or the call fails and nothing is closed; then a
    // flag is asked for. No memory is touched.
    unsafe {
        let flags = libc::CLOSE_RANGE_UNSHARE;
        did(libc::syscall(libc::SYS_close_range, shared.behind, u32::MAX, flags), Step::Table)?;
        // A filter of system calls may say that it was done, and have done nothing.
        if libc::fcntl(shared.witness, libc::F_GETFD) >= 0 {
            return Err(Failure { step: Step::Table, errno: libc::ENOSYS });
        }
    }
    Ok(())
}

/// Writes a short text to a file; negative when that fails.
unsafe fn write_to(path: &std::ffi::CStr, at: RawFd, text: &std::ffi::CStr) -> c_long {
    // SAFETY: the path ends with NUL, and the text is as long as it says.
    unsafe {
        let file = libc::openat(at, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return -1;
        }
        let text = text.to_bytes();
        libc::write(file, text.as_ptr().cast(), text.len()) as c_long
    }
}

/// Moves this process into a cgroup, by its directory.
unsafe fn enter(cgroup: RawFd) -> c_long {
    // SAFETY: as write_to.
    unsafe { write_to(c"cgroup.procs", cgroup, c"0") }
}

/// Puts each descriptor at its place, and closes all others at exec. No descriptor stands at the
/// place of another: [`super::launch`] sees to that.
unsafe fn place(places: &[(RawFd, RawFd)]) -> Result<(), Failure> {
    let mut first_other = 3;
    for (index, (from, to)) in places.iter().enumerate() {
        // SAFETY: system calls on numbers; the table of descriptors is this process's own.
        did(unsafe { libc::dup2(*from, *to) }, Step::Descriptor(index))?;
        first_other = first_other.max(to.unsigned_abs() + 1);
    }
    // Everything that the supervisor opens is closed at exec anyway; this is for what was opened
    // by others. A kernel before 5.11 does not know it.
    // SAFETY: sets flags in this process's own table.
    unsafe {
        libc::syscall(libc::SYS_close_range, first_other, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    Ok(())
}

/// Becomes another user; with `keep`, without losing the capabilities that are permitted.
unsafe fn become_user(switch: &Switch, keep: bool) -> Result<(), Failure> {
    let Switch { uid, gid, groups } = switch;
    // SAFETY: raw system calls, which change this thread only; the list of groups is as long as
    // it says.
    unsafe {
        if keep {
            did(libc::prctl(libc::PR_SET_KEEPCAPS, 1), Step::User)?;
        }
        did(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), Step::User)?;
        did(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid), Step::User)?;
        did(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid), Step::User)
    }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes capabilities ambient: exec gives them to a program that is not root. Only what is
/// permitted and inheritable can be.
unsafe fn keep(capabilities: &[u8]) -> Result<(), Failure> {
    if capabilities.is_empty() {
        return Ok(());
    }
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut words = [CapabilityWord::default(); 2];
    // SAFETY: capget and capset take a header and two words, which are on this stack.
    unsafe {
        let (head, body) = (std::ptr::from_ref(&header), words.as_mut_ptr());
        did(libc::syscall(libc::SYS_capget, head, body), Step::Capability(0))?;
        for (index, number) in capabilities.iter().enumerate() {
            let bit = 1_u32 << (number % 32);
            let word = if *number < 32 { &mut words[0] } else { &mut words[1] };
            if word.permitted & bit == 0 {
                return Err(Failure { step: Step::Capability(index), errno: libc::EPERM });
            }
            word.inheritable |= bit;
        }
        let body = words.as_ptr();
        did(libc::syscall(libc::SYS_capset, head, body), Step::Capability(0))?;
        for (index, number) in capabilities.iter().enumerate() {
            let done = libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                u64::from(*number),
                0_u64,
                0_u64,
            );
            did(done, Step::Capability(index))?;
        }
    }
    Ok(())
}

/// Nothing ignored, nothing blocked: the supervisor blocks the signals that it reads from its
/// signalfd, and a child that inherits that cannot be asked to stop.
pub(crate) fn reset_signals() -> bool {
    // What sigaction(2) and sigprocmask(2) take at the kernel: the C library would keep its hands
    // on two numbers that it uses itself, and those may have been ignored by whoever started us.
    let default = [0_u64; 4];
    let none = 0_u64;
    // SAFETY: all-zero is SIG_DFL without flags, which is valid for every number; those that
    // cannot be set are refused. Both are read only, and as long as the kernel's.
    unsafe {
        for number in 1..=SIGNAL_MAX {
            let unasked = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), unasked, SIGNAL_BYTES);
        }
        let unasked = std::ptr::null_mut::<u64>();
        let set = libc::SIG_SETMASK;
        libc::syscall(libc::SYS_rt_sigprocmask, set, &raw const none, unasked, SIGNAL_BYTES) == 0
    }
}
