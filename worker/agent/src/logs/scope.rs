//! What of a log belongs to an epoch: decided from the lines that the supervisor wrote, pure.

use dsbus_schema::call::{LogAsk, LogFrom, LogPlace};
use dsbus_schema::ids::Epoch;
use dsbus_supervisor::marks::Mark;

/// What follows an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// More of it.
    Open,
    /// Nothing yet: it has ended.
    Over,
    /// Another epoch, from this place on.
    At(LogPlace),
}

/// The part of a log that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// Where it begins, where that is known.
    pub(super) begin: Option<LogPlace>,
    /// What ends it; [`Then::Open`] when no epoch was asked for, or the last lines of all.
    pub(super) then: Then,
    /// Which epoch it is; of all of a log, the last one.
    pub(super) epoch: Option<Epoch>,
}

impl Scope {
    pub(super) fn of(marks: &[Mark], ask: &LogAsk) -> Scope {
        let wanted = match ask.from {
            LogFrom::Epoch(epoch) => Some(epoch),
            LogFrom::Place(_) => ask.epoch,
            LogFrom::Last(_) => None,
        };
        let Some(wanted) = wanted else {
            let epoch = marks.last().map(|mark| mark.epoch);
            return Scope { begin: None, then: Then::Open, epoch };
        };
        let line = marks.iter().rposition(|mark| mark.epoch == wanted && !mark.over);
        // One that began before lines were written has none, but later ones have.
        let later: Vec<&Mark> = match line {
            Some(at) => marks[at + 1..].iter().collect(),
            None => marks.iter().filter(|mark| mark.epoch >= wanted).collect(),
        };
        let next = later.iter().find(|mark| !mark.over).and_then(|mark| mark.begin(ask.channel));
        let then = match next {
            Some(place) => Then::At(place),
            None if later.is_empty() => Then::Open,
            None => Then::Over,
        };
        let begin = line.and_then(|at| marks[at].begin(ask.channel));
        Scope { begin, then, epoch: (!marks.is_empty()).then_some(wanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> LogPlace {
        LogPlace { file: 1, offset, ..LogPlace::default() }
    }

    fn begun(epoch: u64, offset: u64) -> Mark {
        Mark { epoch: Epoch(epoch), stdout: Some(place(offset)), stderr: None, over: false }
    }

    fn over(epoch: u64) -> Mark {
        Mark { epoch: Epoch(epoch), stdout: None, stderr: None, over: true }
    }

    #[test]
    fn an_epoch_ends_where_the_next_line_says() {
        use Then::{At, Open, Over};
        for (marks, wanted, begin, then) in [
            (vec![], 5, None, Open),
            (vec![begun(5, 10)], 5, Some(10), Open),
            (vec![begun(5, 10), over(5)], 5, Some(10), Over),
            (vec![begun(5, 10), over(5), begun(9, 20)], 5, Some(10), At(place(20))),
            (vec![begun(5, 10), begun(9, 20)], 5, Some(10), At(place(20))),
            (vec![begun(5, 10), begun(9, 20)], 9, Some(20), Open),
            (vec![begun(5, 10), over(5), begun(9, 20), over(9)], 9, Some(20), Over),
            // It never began here, or before lines were written.
            (vec![begun(9, 20)], 5, None, At(place(20))),
            (vec![over(5)], 5, None, Over),
            (vec![over(5)], 6, None, Open),
            // A store that was lost counts anew: the order of the lines decides.
            (vec![begun(900, 10), begun(3, 20)], 900, Some(10), At(place(20))),
            (vec![begun(3, 10), begun(900, 20), begun(3, 30)], 3, Some(30), Open),
        ] {
            for from in [LogFrom::Epoch(Epoch(wanted)), LogFrom::Place(place(0))] {
                let mut ask = LogAsk::new("web:0".parse().unwrap(), from);
                ask.epoch = Some(Epoch(wanted));
                let scope = Scope::of(&marks, &ask);
                assert_eq!((scope.begin, &scope.then), (begin.map(place), &then), "{marks:?}");
                assert_eq!(scope.epoch, (!marks.is_empty()).then_some(Epoch(wanted)));
            }
        }
    }

    #[test]
    fn all_of_a_log_ends_with_the_last_epoch() {
        let ask = LogAsk::new("web:0".parse().unwrap(), LogFrom::Last(3));
        let scope = Scope::of(&[begun(5, 10), begun(9, 20), over(9)], &ask);
        assert_eq!((scope.then, scope.epoch), (Then::Open, Some(Epoch(9))));
    }

    #[test]
    fn a_channel_without_a_log_has_no_begin() {
        let mut ask = LogAsk::new("web:0".parse().unwrap(), LogFrom::Epoch(Epoch(5)));
        ask.channel = dsbus_schema::call::Channel::Stderr;
        let scope = Scope::of(&[begun(5, 10), begun(9, 20)], &ask);
        assert_eq!((scope.begin, scope.then), (None, Then::Over));
    }
}
