//! Time, as events: each period once per fleet. All schedulers tell it, under one id; so none is
//! missing while one of them lives. What began while nobody was there to tell it is left out, and
//! nothing is told late but of the period that still goes on.

use std::time::Duration;

use dsbus_client::Bus;
use dsbus_schema::event::{Event, Fact, Period, Source, TickFact};
use dsbus_schema::moment::Timestamp;
use futures::future::join_all;
use tokio::time::sleep;

use super::RECENT;
use crate::clock;

/// Pause after one that could not be stored.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Which periods have begun. Pure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticker {
    /// Of each period, when the last one began that is known.
    known: [i64; Period::ALL.len()],
    /// Those that are to be told, one of each period at most.
    untold: [Option<TickFact>; Period::ALL.len()],
}

impl Ticker {
    /// One that tells what begins after `now`, in seconds since 1970.
    pub fn new(now: i64) -> Ticker {
        Ticker { known: Period::ALL.map(|period| began(period, now)), untold: [const { None }; 3] }
    }

    /// What is to be told at `now`. What began before the last of its period, or so long ago that NATS
    /// may have forgotten that another scheduler told it, is not.
    pub fn due(&mut self, now: i64) -> Vec<TickFact> {
        for (at, tick) in Period::ALL.into_iter().enumerate() {
            let when = began(tick, now);
            if when != self.known[at] {
                self.known[at] = when;
                self.untold[at] = Some(TickFact { tick, when });
            }
            let late = now - when >= i64::try_from(RECENT.as_secs()).unwrap_or(i64::MAX);
            if late {
                self.untold[at] = None;
            }
        }
        self.untold.iter().flatten().cloned().collect()
    }

    /// It was told.
    pub fn told(&mut self, tick: &TickFact) {
        self.untold.iter_mut().filter(|t| t.as_ref() == Some(tick)).for_each(|t| *t = None);
    }
}

fn began(period: Period, now: i64) -> i64 {
    now - now.rem_euclid(period.seconds())
}

/// How long until the next period begins.
fn until_next(now: Timestamp) -> Duration {
    let period = i128::from(Period::Five.seconds()) * 1_000_000_000;
    let left = period - now.unix_nanos().rem_euclid(period);
    Duration::from_nanos(u64::try_from(left).unwrap_or(0))
}

/// Tells the time for ever.
pub(crate) async fn run(bus: Bus) {
    let mut ticker = Ticker::new(clock::wall().unix_seconds());
    loop {
        let due = ticker.due(clock::wall().unix_seconds());
        let told = join_all(due.iter().map(|tick| tell(&bus, tick))).await;
        for (tick, _) in due.iter().zip(&told).filter(|(_, told)| **told) {
            ticker.told(tick);
        }
        let failed = told.iter().any(|told| !told);
        let next = until_next(clock::wall());
        sleep(if failed { next.min(AGAIN_AFTER) } else { next }).await;
    }
}

async fn tell(bus: &Bus, tick: &TickFact) -> bool {
    let time = Timestamp::from_unix_nanos(i128::from(tick.when) * 1_000_000_000);
    let fact = Fact::Tick(tick.clone());
    let event = Event::new(bus.fleet(), &Source::Fleet, tick.id(bus.fleet()), time, fact);
    let stored = bus.publish_event(&Source::Fleet, &event).await;
    if let Err(e) = &stored {
        tracing::debug!("{} of {} is not stored: {e}", tick.tick.type_name(), tick.when);
    }
    stored.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon, of some day.
    const NOON: i64 = 1_790_000_000 - 1_790_000_000 % 86_400 + 43_200;

    fn due(ticker: &mut Ticker, now: i64) -> Vec<(i64, i64)> {
        let due = ticker.due(now);
        for tick in &due {
            ticker.told(tick);
        }
        due.iter().map(|t| (t.tick.seconds(), t.when - NOON)).collect()
    }

    #[test]
    fn each_period_is_told_once_when_it_begins() {
        let mut ticker = Ticker::new(NOON - 3);
        assert_eq!(due(&mut ticker, NOON - 1), [], "what had begun before");
        assert_eq!(due(&mut ticker, NOON), [(5, 0), (60, 0), (3600, 0)]);
        assert_eq!(due(&mut ticker, NOON + 4), []);
        assert_eq!(due(&mut ticker, NOON + 5), [(5, 5)]);
        assert_eq!(due(&mut ticker, NOON + 61), [(5, 60), (60, 60)], "a late one is aligned, too");
    }

    #[test]
    fn after_a_pause_only_what_still_goes_on_is_told() {
        let mut ticker = Ticker::new(NOON + 1);
        let hour = 3_600;
        assert_eq!(
            due(&mut ticker, NOON + hour + 122),
            [(5, 120 + hour), (60, 120 + hour), (3600, hour)]
        );
        assert_eq!(
            due(&mut ticker, NOON + 2 * hour + 600),
            [(5, 600 + 2 * hour), (60, 600 + 2 * hour)],
            "the hour began too long ago"
        );
    }

    #[test]
    fn what_is_not_stored_is_told_until_the_next_begins() {
        let mut ticker = Ticker::new(NOON - 1);
        assert_eq!(ticker.due(NOON).len(), 3);
        assert_eq!(ticker.due(NOON + 4).len(), 3, "again");
        let later = ticker.due(NOON + 600);
        let whens: Vec<i64> = later.iter().map(|tick| tick.when - NOON).collect();
        assert_eq!(whens, [600, 600], "no backlog");
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_ticking() {
        let mut ticker = Ticker::new(NOON);
        assert_eq!(due(&mut ticker, NOON - 100), [(5, -100), (60, -120), (3600, -3600)][..2]);
    }

    #[test]
    fn one_wakes_up_when_the_next_begins() {
        let at = |nanos: i128| until_next(Timestamp::from_unix_nanos(nanos * 1_000_000));
        assert_eq!(at(5_000), Duration::from_secs(5));
        assert_eq!(at(7_250), Duration::from_millis(2_750));
    }
}
