//! What the driver sleeps on: signals, a timer on CLOCK_BOOTTIME, the agent, pipes and sockets.

use std::os::fd::{AsFd, BorrowedFd};

use dsbus_schema::moment::BootTime;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timer::Timer;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::{Fatal, fatal};

/// Most wake-ups taken at once.
const EVENTS_MAX: usize = 256;

/// Signals that are read, and not acted on by the kernel.
const SIGNALS: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR2,
];

/// Whose descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Signal,
    Timer,
    Agent,
    /// What has this number.
    Source(u64),
}

impl Ready {
    fn token(self) -> u64 {
        match self {
            Ready::Signal => 0,
            Ready::Timer => 1,
            Ready::Agent => 2,
            Ready::Source(n) => n + 3,
        }
    }

    fn from_token(token: u64) -> Ready {
        match token {
            0 => Ready::Signal,
            1 => Ready::Timer,
            2 => Ready::Agent,
            n => Ready::Source(n - 3),
        }
    }
}

/// Sleeps until something happens.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
    signals: SignalFd,
    timer: TimerFd,
    /// Rule 14's last resort: the kernel itself kills this process by it, frozen or not, and the
    /// parent-death signal its children.
    last_resort: Timer,
    armed: Option<BootTime>,
}

impl Poller {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// When the kernel lacks what is needed.
    pub(crate) fn new() -> Result<Poller, Fatal> {
        Poller::open().map_err(|e| fatal(format!("cannot wait for events: {e}")))
    }

    fn open() -> nix::Result<Poller> {
        let mut mask = SigSet::empty();
        for signal in SIGNALS {
            mask.add(signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        let notify =
            nix::sys::signal::SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let last_resort = Timer::new(
            nix::time::ClockId::CLOCK_BOOTTIME,
            nix::sys::signal::SigEvent::new(notify),
        )?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let poller = Poller { epoll, signals, timer, last_resort, armed: None };
        poller.add(Ready::Signal, poller.signals.as_fd())?;
        poller.add(Ready::Timer, poller.timer.as_fd())?;
        Ok(poller)
    }

    /// Wakes up when there is something to read there, until it is closed.
    pub(crate) fn add(&self, who: Ready, fd: BorrowedFd<'_>) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, who.token()))
    }

    /// Wakes up for the agent also when it reads again, or no longer.
    pub(crate) fn watch_writing(&self, agent: BorrowedFd<'_>, on: bool) {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, on);
        let mut event = EpollEvent::new(flags, Ready::Agent.token());
        if let Err(e) = self.epoll.modify(agent, &mut event) {
            tracing::error!("cannot watch the agent: {e}");
        }
    }

    /// Sleeps until something happens, or `deadline`.
    pub(crate) fn wait(&self, deadline: Option<BootTime>, now: BootTime) -> Vec<Ready> {
        let mut timeout = EpollTimeout::NONE;
        match deadline {
            Some(at) if at <= now => timeout = EpollTimeout::ZERO,
            Some(at) => self.set_timer(at),
            None => {
                if let Err(e) = self.timer.unset() {
                    tracing::error!("cannot unset the timer: {e}");
                }
            }
        }
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        // Interrupted or not, the loop goes round.
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        events[..count].iter().map(|event| Ready::from_token(event.data())).collect()
    }

    fn set_timer(&self, at: BootTime) {
        let once = Expiration::OneShot(timespec(at));
        if let Err(e) = self.timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME) {
            tracing::error!("cannot set the timer: {e}");
        }
    }

    /// The timer has told what it had to tell.
    pub(crate) fn timer_heard(&self) {
        // It does not block, and what it says is not needed.
        let _ = self.timer.wait();
    }

    /// Signals that arrived.
    pub(crate) fn signals(&self) -> Vec<i32> {
        let mut arrived = Vec::new();
        while let Ok(Some(info)) = self.signals.read_signal() {
            arrived.push(i32::try_from(info.ssi_signo).unwrap_or(0));
        }
        arrived
    }

    /// Lets the kernel kill this process at that moment at the latest.
    pub(crate) fn last_resort_by(&mut self, at: Option<BootTime>) {
        self.set_last_resort(self.armed.into_iter().chain(at).min());
    }

    /// Lets the kernel kill this process at that moment, or never.
    pub(crate) fn set_last_resort(&mut self, at: Option<BootTime>) {
        if self.armed == at {
            return;
        }
        // A moment of zero would disarm it.
        let when = timespec(at.map_or(BootTime(0), |at| at.max(BootTime(1))));
        let once = Expiration::OneShot(when);
        match self.last_resort.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME) {
            Ok(()) => self.armed = at,
            Err(e) => tracing::error!("cannot set the last resort: {e}"),
        }
    }
}

fn timespec(at: BootTime) -> TimeSpec {
    let nanos = i64::try_from(at.0).unwrap_or(i64::MAX);
    TimeSpec::new(nanos / 1_000_000_000, nanos % 1_000_000_000)
}
