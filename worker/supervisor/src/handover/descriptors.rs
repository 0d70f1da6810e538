//! Descriptors that stay open from one version to the next, under their numbers.

#![expect(unsafe_code, reason = "descriptors by their number; each use says why it is sound")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

use super::back::give_back;

/// Those that are handed on.
#[derive(Debug, Default)]
pub(crate) struct Passing(Vec<RawFd>);

impl Passing {
    /// Hands one on.
    pub(crate) fn pass(&mut self, fd: &impl AsFd) -> RawFd {
        let number = fd.as_fd().as_raw_fd();
        self.0.push(number);
        number
    }

    /// Hands on what the owner of the worker has open.
    pub(crate) fn pass_numbers(&mut self, numbers: &[RawFd]) {
        self.0.extend(numbers);
    }

    pub(crate) fn all(self) -> Vec<RawFd> {
        self.0
    }
}

/// Those that are taken over; each once. One that cannot be taken gives the place back at once, while
/// whatever was taken before is open still: an error on its way out closes that.
#[derive(Debug, Default)]
pub(crate) struct Taking(BTreeSet<RawFd>);

impl Taking {
    /// Takes one over.
    ///
    /// # Errors
    /// When it is not there, or was taken before, and the place cannot be given back.
    pub(crate) fn take(&mut self, number: RawFd) -> Result<OwnedFd, String> {
        let taken = if self.0.insert(number) {
            take(number)
        } else {
            Err(format!("descriptor {number} is handed over twice"))
        };
        taken.map_err(|why| give_back(&why))
    }
}

/// The descriptor of that number, which no other code of this process has: it was opened by the
/// program that this process executed before.
pub(super) fn take(number: RawFd) -> Result<OwnedFd, String> {
    is_open(number)?;
    // SAFETY: it is open, and nobody else owns it: it was handed over to be owned here.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_cloexec(number, true).map_err(|e| format!("descriptor {number}: {e}"))?;
    Ok(fd)
}

/// Whether a descriptor of that number is there.
pub(super) fn is_open(number: RawFd) -> Result<(), String> {
    // SAFETY: asks for flags, and touches no memory; a number that is not open is an error.
    let flags = if number > 2 { unsafe { libc::fcntl(number, libc::F_GETFD) } } else { -1 };
    if flags < 0 { Err(format!("descriptor {number} was not handed over")) } else { Ok(()) }
}

fn set_cloexec(number: RawFd, on: bool) -> io::Result<()> {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: sets a flag of a descriptor, and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flag) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets descriptors stay open over exec, or not: all of them for which that can be said.
pub(crate) fn keep_open(numbers: &[RawFd], on: bool) -> io::Result<()> {
    numbers.iter().map(|number| set_cloexec(*number, !on)).fold(Ok(()), Result::and)
}

/// The next program could not be executed, and this one goes on: nothing of what was prepared stays,
/// whatever of that cannot be undone.
pub(crate) fn go_on(numbers: &[RawFd]) -> io::Result<()> {
    let (kept, alarm) = (keep_open(numbers, false), disarm_alarm());
    alarm.and(kept)
}

/// Lets the kernel end this process so much later. Unlike other timers this one outlives exec, and so
/// does a signal that is ignored or blocked: whoever started the worker may have left it so.
pub(crate) fn arm_alarm(after: Duration) -> io::Result<()> {
    let mut alarm = SigSet::empty();
    alarm.add(Signal::SIGALRM);
    // SAFETY: it gets no handler.
    unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&alarm), None)?;
    set_alarm(after.max(Duration::from_micros(1)))
}

/// The next program has other timers by now.
pub(crate) fn disarm_alarm() -> io::Result<()> {
    set_alarm(Duration::ZERO)
}

fn set_alarm(after: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(after.subsec_micros()),
    };
    let once =
        libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: reads one value on this stack. This program neither blocks nor handles the signal when it
    // is armed, so that it ends the process.
    if unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;
    use std::sync::{Mutex, PoisonError};

    use nix::sys::signal::SigSet;

    use super::*;

    /// A process has one alarm, and these tests are in one process.
    static ALARM: Mutex<()> = Mutex::new(());

    /// How long until the alarm goes off, in seconds; none is armed at 0.
    fn alarm_in() -> i64 {
        let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let mut left = libc::itimerval { it_interval: zero, it_value: zero };
        // SAFETY: writes one value on this stack.
        assert_eq!(unsafe { libc::getitimer(libc::ITIMER_REAL, &raw mut left) }, 0);
        left.it_value.tv_sec
    }

    #[test]
    fn whoever_goes_on_has_no_alarm_even_if_a_descriptor_is_gone() {
        let _alone = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: asks for flags, and touches no memory.
        let flags = |number: RawFd| unsafe { libc::fcntl(number, libc::F_GETFD) };
        let [gone, there] =
            [(); 2].map(|()| std::fs::File::open("/dev/null").unwrap().into_raw_fd());
        drop(take(gone).unwrap());
        assert!(keep_open(&[gone, there], true).is_err());
        assert_eq!(flags(there) & libc::FD_CLOEXEC, 0);
        arm_alarm(Duration::from_secs(3600)).unwrap();
        assert!(alarm_in() > 3000);
        assert!(go_on(&[gone, there]).is_err(), "it is told");
        assert_eq!((alarm_in(), flags(there) & libc::FD_CLOEXEC), (0, libc::FD_CLOEXEC));
    }

    #[test]
    fn the_alarm_ends_a_process_that_was_told_to_ignore_and_to_block_it() {
        let _alone = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alarm = SigSet::empty();
        alarm.add(Signal::SIGALRM);
        // SAFETY: it gets no handler.
        unsafe { signal(Signal::SIGALRM, SigHandler::SigIgn) }.unwrap();
        alarm.thread_block().unwrap();
        arm_alarm(Duration::from_secs(3600)).unwrap();
        disarm_alarm().unwrap();
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGALRM));
        // SAFETY: it gets no handler.
        let was = unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) }.unwrap();
        assert!(matches!(was, SigHandler::SigDfl), "{was:?}");
    }
}
