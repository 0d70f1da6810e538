//! The birth of a process.
//!
//! The new process shares the memory of this one until exec (`CLONE_VM`), and this one stands
//! still so long (`CLONE_VFORK`): nothing is copied, which fork would do page by page. That is
//! sound because the new process has a stack of its own, runs only [`inside::main`], never returns
//! from it, and takes no signal of this process: all are blocked before, and handlers are reset
//! before they are unblocked. It has rights of its own, but the memory is marked as "not to be
//! dumped" when they change, which protects it from its new user, too; that is undone here.
//!
//! Its descriptors are shared for a moment as well, where that works: see [`super::reserve`].

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};

use super::inside::{self, Errand, Shared};
use super::plan::{Failure, Plan, Step};
use super::reserve::Reserve;

/// Size of the new process's stack until exec, in pieces of 16 bytes: 64 KiB. Its calls are some
/// ten deep, with no buffer among them.
const STACK_PIECES: usize = 4096;

/// Each descriptor, and the number that it gets.
type Places = Vec<(i32, i32)>;

/// Keeps sources out of the way of places, which are 0, 1 and so on: duplicates those that have too
/// low a number.
///
/// # Errors
/// When there are too many open files.
fn out_of_the_way(sources: &[BorrowedFd<'_>]) -> nix::Result<(Places, Vec<OwnedFd>)> {
    use std::os::fd::FromRawFd;
    let top = i32::try_from(sources.len()).unwrap_or(i32::MAX);
    let mut held = Vec::new();
    let mut places = Vec::new();
    for (from, to) in sources.iter().zip(0..) {
        let mut number = from.as_raw_fd();
        if number < top {
            number = fcntl(from, FcntlArg::F_DUPFD_CLOEXEC(top))?;
            // SAFETY: the kernel has just made it for us, and nobody else knows it.
            held.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
        places.push((number, to));
    }
    Ok((places, held))
}

/// What a new process is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) plan: &'a Plan,
    /// What it finds as descriptor 0, 1 and so on.
    pub(super) sources: &'a [BorrowedFd<'a>],
    /// The directory of its cgroup.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// Starts a process. Returns once it executes.
pub(super) fn launch(given: Given<'_>, reserve: &Reserve) -> Result<i32, Failure> {
    launch_by(given, reserve, born_inside)
}

/// A birth within a cgroup; `None` when it must be done in another way.
type Birth = fn(&Errand<'_>, &mut [MaybeUninit<u128>], i32) -> Option<Result<i32, i32>>;

/// The same with another way to be born in a cgroup, for tests of where that is refused.
pub(super) fn launch_by(given: Given<'_>, reserve: &Reserve, birth: Birth) -> Result<i32, Failure> {
    let Given { plan, sources, cgroup } = given;
    if let Some(filled) = reserve.fill(sources, cgroup) {
        let errand = Errand {
            plan,
            places: &filled.places(),
            cgroup: -1,
            shared: Some(Shared { behind: filled.behind(), witness: filled.witness() }),
            failure: Cell::new(None),
        };
        match bear(errand, filled.cgroup(), birth) {
            Err(Failure { step: Step::Table, .. }) => reserve.refuse(),
            done => return done,
        }
    }
    let copied = out_of_the_way(sources);
    let (places, _held) = copied.map_err(|e| Failure { step: Step::Copies, errno: e as i32 })?;
    let errand =
        Errand { plan, places: &places, cgroup: -1, shared: None, failure: Cell::new(None) };
    bear(errand, cgroup.map(|cgroup| cgroup.as_raw_fd()), birth)
}

fn bear(mut errand: Errand<'_>, cgroup: Option<i32>, birth: Birth) -> Result<i32, Failure> {
    let mut stack: Box<[MaybeUninit<u128>]> = Box::new_uninit_slice(STACK_PIECES);
    let before = block_signals();
    let dumpable = dumpable();
    let mut born = None;
    if let Some(directory) = cgroup {
        born = birth(&errand, &mut stack, directory);
        // Where the kernel or a container's filter knows no clone3, it moves there by itself.
        errand.cgroup = directory;
    }
    let born = born.unwrap_or_else(|| born_beside(&errand, &mut stack));
    let failure = errand.failure.get();
    if errand.plan.switch.is_some() {
        set_dumpable(dumpable);
    }
    restore_signals(&before);
    let pid = born.map_err(|errno| Failure { step: Step::Start, errno })?;
    match failure {
        None => Ok(pid),
        Some(failure) => {
            // SAFETY: waits for the process that has just exited; it is no child of anybody else.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            Err(failure)
        }
    }
}

/// What is shared with a new process until exec, or until its first step.
fn flags(errand: &Errand<'_>) -> i32 {
    let table = if errand.shared.is_some() { libc::CLONE_FILES } else { 0 };
    libc::CLONE_VM | libc::CLONE_VFORK | table
}

/// By clone(2) of the C library, which every machine has.
fn born_beside(errand: &Errand<'_>, stack: &mut [MaybeUninit<u128>]) -> Result<i32, i32> {
    let flags = flags(errand) | libc::SIGCHLD;
    let errand = std::ptr::from_ref(errand).cast_mut().cast();
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: see the head of this file. The stack ends at an address that is a multiple of 16, and
    // lives until this call returns, as does the errand.
    let pid = unsafe { libc::clone(inside::main, top, flags, errand) };
    if pid < 0 { Err(errno()) } else { Ok(pid) }
}

/// By clone3(2), which puts it into its cgroup at once: a move would take the lock that every fork
/// of the machine takes. `None` when it must be done in another way.
#[cfg(target_arch = "x86_64")]
fn born_inside(
    errand: &Errand<'_>,
    stack: &mut [MaybeUninit<u128>],
    cgroup: i32,
) -> Option<Result<i32, i32>> {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    // set_tid, set_tid_size, cgroup.
    let mut arguments = [0_u64; 11];
    // CLONE_INTO_CGROUP does not fit in the type that the C library gives it.
    let into_cgroup = 0x2_0000_0000_u64;
    arguments[0] = u64::from(flags(errand).unsigned_abs()) | into_cgroup;
    arguments[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments[5] = stack.as_mut_ptr() as u64;
    arguments[6] = size_of_val(stack) as u64;
    arguments[10] = u64::try_from(cgroup).ok()?;
    let result: i64;
    // SAFETY: see the head of this file. The new process begins behind `syscall` with the new
    // stack, whose end is a multiple of 16, as a call wants it; it calls `inside::main`, which
    // never returns. This process goes on at 2 with its own stack untouched.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments.as_ptr(),
            in("rsi") size_of_val(&arguments),
            in("r12") inside::main as extern "C" fn(*mut libc::c_void) -> i32,
            in("r13") std::ptr::from_ref(errand),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(result) {
        Ok(pid) if pid > 0 => Some(Ok(pid)),
        // Too many processes, or no memory: another way would not help.
        Ok(error) if [-libc::EAGAIN, -libc::ENOMEM].contains(&error) => Some(Err(-error)),
        Ok(_) | Err(_) => None,
    }
}

/// Not written for this architecture: the process moves there by itself.
#[cfg(not(target_arch = "x86_64"))]
fn born_inside(_: &Errand<'_>, _: &mut [MaybeUninit<u128>], _: i32) -> Option<Result<i32, i32>> {
    None
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are on this stack; the first is filled before it is read.
    unsafe {
        let (mut all, mut before) = std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: reads one set.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::from_ref(before), std::ptr::null_mut())
    };
}

fn dumpable() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

fn set_dumpable(before: i32) {
    // Only 0 and 1 can be set; 2 is given by the kernel alone, and is stricter than 0.
    if before == 1 && dumpable() != 1 {
        // SAFETY: sets a number.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
    }
}
