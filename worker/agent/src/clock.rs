//! The clocks. Everything is decided on CLOCK_BOOTTIME, which goes on while the machine sleeps; the
//! one timer of the loop runs on it too, since tokio's timers stand still meanwhile.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dsbus_schema::moment::{BootTime, Timestamp};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time;
use tokio::io::unix::AsyncFd;

/// Now, for deciding.
pub(crate) fn now() -> BootTime {
    // The clock exists since Linux 2.6.39, so the read does not fail; if it ever did, moment zero
    // would extend no lease.
    let read = time::clock_gettime(time::ClockId::CLOCK_BOOTTIME);
    read.map_or(BootTime(0), |spec| BootTime(0) + Duration::from(spec))
}

/// Now, for people.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the clock")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

/// A timer on CLOCK_BOOTTIME.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: AsyncFd<Fd>,
    armed: Option<BootTime>,
}

/// What tokio waits for; nix's own type cannot say its number.
#[derive(Debug)]
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer that is not armed. Needs a tokio runtime.
    pub(crate) fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        #[expect(deprecated, reason = "what replaces it is unsafe; an Fd keeps its number open")]
        let fd = AsyncFd::new(Fd(fd))?;
        Ok(Timer { fd, armed: None })
    }

    /// Lets it expire at `at`, or never. One in the past expires at once.
    pub(crate) fn arm(&mut self, at: Option<BootTime>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        match at {
            // Zero would disarm it.
            Some(at) => self.fd.get_ref().0.set(
                Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(at.0.max(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => self.fd.get_ref().0.unset()?,
        }
        self.armed = at;
        Ok(())
    }

    /// Waits until it expires. Cancel-safe.
    pub(crate) async fn expired(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.get_inner().0.wait() {
                Ok(()) => {
                    // It is not armed now, so nothing new can be missed, and no read is in vain.
                    ready.clear_ready();
                    self.armed = None;
                    return Ok(());
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timer_expires_at_its_moment_and_not_before() {
        let mut timer = Timer::new().unwrap();
        let at = now() + Duration::from_millis(30);
        timer.arm(Some(at)).unwrap();
        timer.expired().await.unwrap();
        assert!(now() >= at);
        timer.arm(Some(BootTime(0))).unwrap();
        timer.expired().await.unwrap();
    }
}
