//! When a program with a schedule runs. A run that is due is fired or skipped once: whichever
//! scheduler finds it writes its due time into the goal ([`Goal::last_due`]) by compare-and-set, with
//! an id that is the same for all of them.

use std::time::Duration;

use dsbus_schema::goal::Goal;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::{MissedRun, Program, run_id};
use uuid::Uuid;

/// A run is missed when nobody has fired it for so long: the shortest that a line of cron without
/// seconds tells apart, and longer than schedulers need to start, or NATS to elect a leader.
pub const MISSED_AFTER: Duration = Duration::from_secs(60);

/// What becomes of a run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is fired.
    Run,
    /// It is skipped: the last run goes on.
    SkipOverlap,
    /// It is skipped: no scheduler lived when it was due.
    SkipMissed,
    /// It is skipped: the program should not run. What was due meanwhile is not made up for when it
    /// should again.
    SkipStopped,
}

/// A run that is due, and stands for all before it that were neither fired nor skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When it was due: what [`Goal::last_due`] becomes.
    pub at: Timestamp,
    /// Its id: the same, whoever fires it.
    pub id: Uuid,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// The run of this program that is due now, if there is one: after the last one, and after its
/// schedule was declared. `all` is the goal of all of its copies, and `lives` whether one of them
/// may have a child.
pub fn due(program: &Program, all: Option<&Goal>, lives: bool, now: Timestamp) -> Option<Due> {
    let schedule = program.spec.schedule.as_ref().filter(|_| !program.removing)?;
    let known = all.and_then(|goal| goal.last_due).max(program.declared);
    let from = known.unwrap_or_else(|| earlier(now, MISSED_AFTER));
    let at = schedule.last_before(from, now)?;
    let should_run = match all.filter(|goal| goal.stamp > 0) {
        Some(goal) => goal.run,
        None => program.spec.autostart,
    };
    let missed = at < earlier(now, MISSED_AFTER);
    let verdict = if !should_run {
        Verdict::SkipStopped
    } else if missed && schedule.missed() == MissedRun::Skip {
        Verdict::SkipMissed
    } else if lives {
        Verdict::SkipOverlap
    } else {
        Verdict::Run
    };
    Some(Due { at, id: run_id(program.id, at), verdict })
}

/// When to look again, if nothing else happens before.
pub fn next(program: &Program, now: Timestamp) -> Option<Timestamp> {
    let schedule = program.spec.schedule.as_ref().filter(|_| !program.removing)?;
    schedule.next_after(now)
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    let by = i128::try_from(by.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_unix_nanos(at.unix_nanos().saturating_sub(by))
}

#[cfg(test)]
mod tests {
    use dsbus_schema::ids::{ProgramId, ProgramName};
    use dsbus_schema::program::{ProgramSpec, Schedule};

    use super::*;

    /// On a day in May.
    fn at(time: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-05-01T{time}Z")).unwrap()
    }

    fn program(missed: MissedRun, declared: &str) -> Program {
        let schedule = Schedule::new("0 * * * *", None, missed).unwrap();
        let spec = ProgramSpec { schedule: Some(schedule), ..ProgramSpec::default() };
        let name = ProgramName::parse("backup").unwrap();
        let mut program = Program::new(ProgramId(Uuid::from_u128(9)), name, spec);
        program.declared = Some(at(declared));
        program
    }

    fn last(time: &str) -> Goal {
        Goal { run: true, stamp: 1, last_due: Some(at(time)), ..Goal::default() }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let p = program(MissedRun::Run, "09:30:00");
        assert_eq!(due(&p, None, false, at("09:59:59")), None);
        assert_eq!(next(&p, at("09:59:59")), Some(at("10:00:00")));
        // Declared within the very second.
        let p = program(MissedRun::Run, "10:00:00");
        assert_eq!(due(&p, None, false, at("10:00:00")), None);
        let mut plain = program(MissedRun::Run, "09:30:00");
        plain.spec.schedule = None;
        assert_eq!(
            (due(&plain, None, false, at("12:00:00")), next(&plain, at("12:00:00"))),
            (None, None)
        );
        let removing = Program { removing: true, ..program(MissedRun::Run, "09:30:00") };
        assert_eq!(due(&removing, None, false, at("12:00:00")), None);
    }

    #[test]
    fn a_run_is_due_once_and_has_one_id() {
        let p = program(MissedRun::Skip, "09:30:00");
        let first = due(&p, None, false, at("10:00:00")).unwrap();
        assert_eq!((first.at, first.verdict), (at("10:00:00"), Verdict::Run));
        // Another scheduler, whose clock is slower, or which has only heard of it now.
        assert_eq!(due(&p, None, false, at("10:00:59")), Some(first));
        let goal = Goal { last_due: Some(first.at), ..Goal::default() };
        assert_eq!(due(&p, Some(&goal), false, at("10:00:59")), None);
        // A clock that was put back finds nothing again.
        assert_eq!(due(&p, Some(&goal), false, at("09:59:00")), None);
        let second = due(&p, Some(&goal), false, at("11:00:00")).unwrap();
        assert_eq!((second.at, second.verdict), (at("11:00:00"), Verdict::Run));
        assert_ne!(first.id, second.id);
    }

    #[test]
    fn no_run_begins_while_the_last_one_goes_on() {
        for missed in [MissedRun::Skip, MissedRun::Run] {
            let p = program(missed, "09:30:00");
            let found = due(&p, Some(&last("10:00:00")), true, at("11:00:01")).unwrap();
            assert_eq!((found.at, found.verdict), (at("11:00:00"), Verdict::SkipOverlap));
            // It is not made up for when the last run has ended.
            assert_eq!(due(&p, Some(&last("11:00:00")), false, at("11:00:30")), None);
        }
    }

    #[test]
    fn what_was_missed_is_skipped_or_run_once() {
        let verdict = |missed, now| {
            let found = due(&program(missed, "07:00:00"), Some(&last("08:00:00")), false, at(now));
            found.map(|due| (due.at, due.verdict))
        };
        let ten = at("10:00:00");
        assert_eq!(verdict(MissedRun::Skip, "10:20:00"), Some((ten, Verdict::SkipMissed)));
        assert_eq!(verdict(MissedRun::Run, "10:20:00"), Some((ten, Verdict::Run)));
        // Late, but not missed.
        assert_eq!(verdict(MissedRun::Skip, "10:01:00"), Some((ten, Verdict::Run)));
        assert_eq!(verdict(MissedRun::Skip, "10:01:01"), Some((ten, Verdict::SkipMissed)));
    }

    #[test]
    fn what_was_due_before_the_schedule_was_declared_is_none_of_its_own() {
        let p = program(MissedRun::Run, "10:30:00");
        assert_eq!(due(&p, Some(&last("08:00:00")), false, at("10:59:59")), None);
        let found = due(&p, Some(&last("08:00:00")), false, at("11:00:00")).unwrap();
        assert_eq!(found.at, at("11:00:00"));
        // Nobody knows when: only what is due now counts.
        let p = Program { declared: None, ..p };
        assert_eq!(due(&p, None, false, at("10:20:00")), None);
        assert!(due(&p, None, false, at("10:00:30")).is_some());
    }

    #[test]
    fn what_should_not_run_is_not_fired_and_makes_up_for_nothing() {
        let p = program(MissedRun::Run, "09:30:00");
        let stopped = Goal { run: false, stamp: 2, ..Goal::default() };
        let found = due(&p, Some(&stopped), false, at("10:00:00")).unwrap();
        assert_eq!(found.verdict, Verdict::SkipStopped);
        let started = Goal { run: true, stamp: 3, last_due: Some(found.at), ..Goal::default() };
        assert_eq!(due(&p, Some(&started), false, at("10:10:00")), None);
        // Nobody has commanded anything yet: `autostart` decides.
        let mut manual = program(MissedRun::Run, "09:30:00");
        manual.spec.autostart = false;
        let found = due(&manual, Some(&Goal::default()), false, at("10:00:00")).unwrap();
        assert_eq!(found.verdict, Verdict::SkipStopped);
    }
}
