//! What cannot be read back now: nothing is handed out for a while, and then it is tried again. Pure.

use std::io;

use dsbus_schema::moment::BootTime;
use nix::errno::Errno;

use super::saving::DISK_PAUSE;

/// So many failures in a row are waited for: a minute. What a disk cannot read for so long, it will
/// never read, and what is behind it must not wait for ever. From then on one report is lost each
/// [`DISK_PAUSE`], until one can be read: a disk that is away for some minutes costs hundreds, not all.
const FAILED_MAX: u32 = 60;

/// How reading goes.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Failures in a row.
    failed: u32,
    /// When it is tried again.
    until: Option<BootTime>,
}

impl Unread {
    /// Whether nothing is to be read now.
    pub(super) fn waits(&self) -> bool {
        self.until.is_some()
    }

    /// Time goes on.
    pub(super) fn look(&mut self, now: BootTime) {
        self.until = self.until.filter(|until| now < *until);
    }

    /// Something was read.
    pub(super) fn read(&mut self) {
        self.failed = 0;
    }

    /// Something could not be read; says whether it is given up.
    pub(super) fn failed(&mut self, error: &io::Error, now: BootTime) -> bool {
        if self.failed == 0 {
            tracing::error!("reports cannot be read back; trying again: {error}");
        }
        self.until = Some(now + DISK_PAUSE);
        self.failed = self.failed.saturating_add(1);
        self.failed > FAILED_MAX && !is_of_this_process(error)
    }
}

/// Whether the disk has nothing to do with it: there is no room for another file, or for memory. It is
/// waited for as long as it takes.
fn is_of_this_process(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_disk_cannot_read_for_a_minute_is_given_up() {
        for (code, tries) in [
            (Errno::EIO, Some(61)),
            (Errno::ELOOP, Some(61)),
            (Errno::EMFILE, None),
            (Errno::ENFILE, None),
            (Errno::ENOMEM, None),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            let (mut unread, mut now) = (Unread::default(), BootTime(1));
            let mut given_up = None;
            for attempt in 1..=1_000 {
                assert!(!unread.waits());
                if unread.failed(&error, now) {
                    given_up = given_up.or(Some(attempt));
                }
                unread.look(now);
                assert!(unread.waits(), "{code}");
                now = now + DISK_PAUSE;
                unread.look(now);
            }
            assert_eq!(given_up, tries, "{code}");
            unread.read();
            assert!(!unread.failed(&error, now), "what can be read again is waited for again");
        }
    }
}
