//! Whether another scheduler lives under this one's id. Each would take what the other one wrote for
//! its own, and for told: so the one that began later ends.
//!
//! A run before this one, which was killed, may have a touch or two on their way; it never touches
//! again and again.

use dsbus_schema::touch::SchedulerTouch;
use uuid::Uuid;

/// So many touches of another run after the first one of this run are of one that lives: more than a
/// killed one can have left on its way to a server.
const TOUCHES_MIN: u32 = 4;

/// What this scheduler has heard under its own key.
#[derive(Debug)]
pub(crate) struct Twin {
    run: Uuid,
    /// Its own first touch was heard.
    touched: bool,
    /// The other run, and how often it touched since.
    other: Option<(Uuid, u32)>,
}

/// Another scheduler has this one's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Met {
    /// Where the other one is, for people.
    pub(crate) other: String,
    /// This one began later.
    pub(crate) later: bool,
}

impl Twin {
    /// Of this run.
    pub(crate) fn new(run: Uuid) -> Twin {
        Twin { run, touched: false, other: None }
    }

    /// A touch was heard under this scheduler's key. Says once of each other run that it lives.
    pub(crate) fn heard(&mut self, touch: &SchedulerTouch) -> Option<Met> {
        if touch.run == self.run {
            self.touched = true;
            return None;
        }
        if !self.touched || touch.leaving || touch.run.is_nil() {
            return None;
        }
        let count = match self.other {
            Some((run, count)) if run == touch.run => count.saturating_add(1),
            Some(_) | None => 1,
        };
        self.other = Some((touch.run, count));
        (count == TOUCHES_MIN).then(|| Met {
            other: format!("pid {} on {}", touch.pid, touch.host),
            // Runs are numbered by the time at which they began.
            later: self.run > touch.run,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(run: u128, leaving: bool) -> SchedulerTouch {
        SchedulerTouch {
            host: "h".into(),
            pid: 7,
            attempt: 1,
            run: Uuid::from_u128(run),
            ready: true,
            leaving,
            untold: 0,
        }
    }

    /// What is said after each of these touches, of the run 5.
    fn said(runs: &[u128]) -> Vec<Option<bool>> {
        let mut twin = Twin::new(Uuid::from_u128(5));
        let heard = runs.iter().map(|run| twin.heard(&touch(*run, false)));
        heard.map(|met| met.map(|met| met.later)).collect()
    }

    #[test]
    fn one_that_goes_on_lives_and_the_later_one_of_the_two_ends() {
        let last = |runs: &[u128]| said(runs).pop().unwrap();
        assert_eq!(last(&[5, 3, 5, 3, 5, 3, 5, 3]), Some(true));
        assert_eq!(last(&[5, 9, 9, 5, 9, 9]), Some(false));
        assert_eq!(last(&[5, 9, 9, 5, 9, 9, 9]), None, "it is said once");
    }

    #[test]
    fn a_run_that_has_ended_is_none() {
        for runs in [
            // It touched before this one did.
            &[3, 3, 3, 3, 3, 5][..],
            // What it had sent came late.
            &[3, 3, 5, 3, 3, 3, 5, 5, 5],
            // Several were killed, one after the other.
            &[5, 1, 1, 2, 2, 3, 3, 5],
            // One of an older version does not say which run it is.
            &[5, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(said(runs).iter().all(Option::is_none), "{runs:?}");
        }
        let mut twin = Twin::new(Uuid::from_u128(5));
        assert_eq!(twin.heard(&touch(5, false)), None);
        assert!((0..9).all(|_| twin.heard(&touch(3, true)).is_none()));
    }
}
