//! How many events a bridge holds that shares them with others: enough that no listener waits for
//! the bus, and so few that a listener elsewhere is not idle while events wait here. Pure.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::pool::Time;

/// What the listeners take in so long is held: several round trips to any bus.
const SPAN: Duration = Duration::from_millis(100);
/// Events that are held for each listener at least: one in its hands, and the next one.
const LEAST_EACH: usize = 2;

/// How many events are worth holding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Appetite {
    least: usize,
    most: NonZeroU16,
    /// How many were taken, and since when that is counted.
    taken: usize,
    since: Time,
    hold: NonZeroU16,
}

impl Appetite {
    /// Of a bridge with so many listeners, which may hold `most` at any rate.
    pub(crate) fn new(listeners: usize, most: NonZeroU16) -> Appetite {
        let mut appetite = Appetite {
            least: listeners.saturating_mul(LEAST_EACH),
            most,
            taken: 0,
            since: Time::ZERO,
            hold: most,
        };
        appetite.hold = appetite.clamp(0);
        appetite
    }

    pub(crate) fn hold(&self) -> NonZeroU16 {
        self.hold
    }

    /// Listeners took so many more.
    pub(crate) fn took(&mut self, more: usize, now: Time) {
        if self.taken == 0 && more > 0 {
            self.since = now;
        }
        self.taken += more;
    }

    /// Says how many to hold from now on, when that is another number.
    pub(crate) fn changed(&mut self, now: Time) -> Option<NonZeroU16> {
        let past = now.saturating_sub(self.since);
        if past < SPAN {
            return None;
        }
        let spans = usize::try_from(past.as_millis() / SPAN.as_millis()).unwrap_or(usize::MAX);
        let hold = self.clamp(self.taken / spans.max(1));
        (self.taken, self.since) = (0, now);
        let changed = hold != self.hold;
        self.hold = hold;
        changed.then_some(hold)
    }

    /// When it may change although nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        (self.hold > self.clamp(0) || self.taken > 0).then(|| self.since + SPAN)
    }

    fn clamp(&self, hold: usize) -> NonZeroU16 {
        let hold = u16::try_from(hold.max(self.least)).unwrap_or(u16::MAX);
        NonZeroU16::new(hold).unwrap_or(NonZeroU16::MIN).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    fn ms(milliseconds: u64) -> Time {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_grows_with_what_is_taken_and_shrinks_without() {
        let mut appetite = Appetite::new(3, number(500));
        assert_eq!((appetite.hold(), appetite.wake_at()), (number(6), None));
        appetite.took(1, ms(1000));
        appetite.took(199, ms(1050));
        assert_eq!(appetite.changed(ms(1099)), None);
        assert_eq!(appetite.changed(ms(1100)), Some(number(200)));
        appetite.took(90_000, ms(1150));
        assert_eq!(appetite.changed(ms(1260)), Some(number(500)), "never more than all");
        assert_eq!(appetite.wake_at(), Some(ms(1360)));
        assert_eq!(appetite.changed(ms(1360)), Some(number(6)));
        assert_eq!(appetite.wake_at(), None, "an idle bridge sleeps");
    }

    #[test]
    fn slow_listeners_hold_little_for_as_long_as_they_like() {
        let mut appetite = Appetite::new(1, number(500));
        for second in 0..100 {
            appetite.took(1, ms(second * 1000));
            assert_eq!(appetite.changed(ms(second * 1000 + 100)), None);
        }
        appetite.took(5, ms(200_000));
        assert_eq!(appetite.changed(ms(201_000)), None, "it was looked at late: 5 in ten spans");
        let few = Appetite::new(100, number(10));
        assert_eq!(few.hold(), number(10));
    }
}
